//! Proofs that the daemon gives by itself: reading old backups again, and how often to drill.

use supakeep_daemon::RoundsSpec;
use supakeep_model::Duration;
use supakeep_model::schedule::Schedule;
use supakeep_model::zone::Zone;

use super::profiles::{positive_duration, schedule_of};
use super::reader::{Reader, Section};

/// A schedule of proofs by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proofs {
    /// `verify.schedule`, unless it is configured.
    pub(super) verify: &'static [&'static str],
    /// `drill.schedule`, unless it is configured.
    pub(super) drill: &'static [&'static str],
    /// `drill.sample_schedule`, unless it is configured.
    pub(super) sample: &'static [&'static str],
}

/// Nothing by itself: every backup is read once, when it is made.
const NONE: Proofs = Proofs { verify: &[], drill: &[], sample: &[] };
/// Old backups daily, a sample of tables each week, a drill each month.
const STANDARD: Proofs = Proofs { verify: &["30 4 * * *"], drill: &["0 3 1 * *"], sample: &["0 3 * * 6"] };

/// How old backups are read again.
#[derive(Debug, Clone)]
pub(crate) struct VerifySettings {
    schedule: Option<Schedule>,
    every: Duration,
    deadline: Duration,
}

impl VerifySettings {
    /// What the daemon does; none without a schedule.
    pub(crate) fn rounds(&self) -> Option<RoundsSpec> {
        let VerifySettings { schedule, every, deadline } = self.clone();
        schedule.map(|schedule| RoundsSpec { schedule, every, deadline })
    }
}

/// Reads `proofs`.
pub(super) fn proofs(reader: &mut Reader<'_>, top: &mut Section) -> Proofs {
    let named = reader.parsed(top, "proofs", "none", |text| match text {
        "none" => Ok(NONE),
        "standard" => Ok(STANDARD),
        other => Err(format!("`{other}` is neither none nor standard")),
    });
    named.unwrap_or(NONE)
}

/// Reads `[verify]`.
pub(super) fn verify(
    reader: &mut Reader<'_>,
    top: &mut Section,
    proofs: Proofs,
    zone: &Zone,
) -> Option<VerifySettings> {
    let mut section = reader.section(top, "verify");
    let texts = reader.list(&mut section, "schedule", proofs.verify, ';');
    let schedule = schedule_of(reader, &section, "schedule", &texts, zone);
    let every = reader.parsed(&mut section, "every", "30d", positive_duration);
    let deadline = reader.parsed(&mut section, "deadline", "4h", positive_duration);
    reader.no_others(&section);
    Some(VerifySettings { schedule, every: every?, deadline: deadline? })
}
