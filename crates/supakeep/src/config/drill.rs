//! Drills: when, how much they may take, and what must be so.

use supakeep_flow::drill::CheckSpec;
use supakeep_flow::ports::ScratchSpec;
use supakeep_model::Duration;
use supakeep_model::drill_sample::SampleSize;
use supakeep_model::quantity::parse_bytes;
use supakeep_model::schedule::Schedule;
use supakeep_model::zone::Zone;

use super::profiles::{positive_duration, schedule_of};
use super::proofs::Proofs;
use super::reader::{Reader, Section};
use super::settings::not_empty;

/// The least memory that a server starts in.
const LEAST_MEMORY: u64 = 128 << 20;
/// The least that the engine knows as a share of a core.
const LEAST_CPUS: f64 = 0.01;

/// How drills are made.
#[derive(Debug, Clone)]
pub(crate) struct DrillSettings {
    /// When the daemon makes them; never by itself where there is none.
    pub(crate) schedule: Option<Schedule>,
    /// When it drills a sample; never by itself where there is none.
    pub(crate) sample_schedule: Option<Schedule>,
    /// Of how many tables.
    pub(crate) sample: SampleSize,
    /// What a scratch server may take.
    pub(crate) scratch: ScratchSpec,
    /// The longest a drill may take.
    pub(crate) deadline: Duration,
    /// What must be so in restored databases.
    pub(crate) checks: Vec<CheckSpec>,
}

/// Reads `[drill]`.
pub(super) fn drill(
    reader: &mut Reader<'_>,
    top: &mut Section,
    proofs: Proofs,
    zone: &Zone,
) -> Option<DrillSettings> {
    let mut section = reader.section(top, "drill");
    let texts = reader.list(&mut section, "schedule", proofs.drill, ';');
    let schedule = schedule_of(reader, &section, "schedule", &texts, zone);
    let texts = reader.list(&mut section, "sample_schedule", proofs.sample, ';');
    let sample_schedule = schedule_of(reader, &section, "sample_schedule", &texts, zone);
    let sample = reader.parsed(&mut section, "sample", "10%", str::parse);
    let memory_bytes = reader.parsed(&mut section, "memory", "2GiB", |text| match parse_bytes(text)? {
        bytes if bytes < LEAST_MEMORY => {
            Err(format!("a server needs more than {text}; write 512MiB or more"))
        }
        bytes => Ok(bytes),
    });
    let cpus = reader.parsed(&mut section, "cpus", "1", |text| match text.parse() {
        Ok(cpus) if (LEAST_CPUS..=1024.0).contains(&cpus) => Ok(cpus),
        _ => Err(format!("`{text}` is not a number of cores such as 0.5 or 2")),
    });
    let deadline = reader.parsed(&mut section, "deadline", "12h", positive_duration);
    let checks: Vec<_> =
        reader.sections(&mut section, "checks").into_iter().map(|section| check(reader, section)).collect();
    reader.no_others(&section);
    Some(DrillSettings {
        schedule,
        sample_schedule,
        sample: sample?,
        scratch: ScratchSpec { memory_bytes: memory_bytes?, cpus: cpus? },
        deadline: deadline?,
        checks: checks.into_iter().collect::<Option<_>>()?,
    })
}

fn check(reader: &mut Reader<'_>, mut section: Section) -> Option<CheckSpec> {
    for name in ["name", "sql", "expect"] {
        if !section.has(name) {
            reader.complain(&section, name, "a check needs name, sql and expect".to_owned());
        }
    }
    let text = |text: &str| Ok(text.to_owned());
    let name = reader.optional(&mut section, "name", not_empty);
    let database = reader.parsed(&mut section, "database", "postgres", not_empty);
    let sql = reader.optional(&mut section, "sql", not_empty);
    // Nothing at all can be the right answer.
    let expect = reader.optional(&mut section, "expect", text);
    reader.no_others(&section);
    Some(CheckSpec { name: name?, database: database?, sql: sql?, expect: expect? })
}
