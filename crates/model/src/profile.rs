//! A profile: when to back up, what, and how long to keep it.

use time::{Duration, OffsetDateTime};

use crate::dump::DumpSpec;
use crate::gate::GateSpec;
use crate::keep::KeepPolicy;
use crate::parts::Parts;
use crate::quantity::LONGEST;
use crate::schedule::{Schedule, Slot};

/// What is added to the longest pause of a schedule before a missing backup counts as overdue.
const OVERDUE_SLACK: Duration = Duration::HOUR;

/// A profile as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// When it is due.
    pub schedule: Schedule,
    /// A name for each expression of the schedule; empty when they have none.
    pub labels: Vec<String>,
    /// How long its backups stay.
    pub keep: KeepPolicy,
    /// What its backups hold.
    pub parts: Parts,
    /// What is asked of pg_dump.
    pub dump: DumpSpec,
    /// When the anomaly gate speaks up.
    pub gate: GateSpec,
    /// The age at which the newest backup is overdue, where it is not computed from the schedule.
    pub max_age: Option<Duration>,
    /// Whether a slot that was missed is made up for.
    pub catch_up: bool,
    /// Each run starts up to this much later, by an amount that is the same every time.
    pub jitter: Duration,
    /// How often a failed run is tried again within its slot.
    pub retries: u32,
    /// The pause before the first retry; it doubles for each further one.
    pub retry_delay: Duration,
    /// The longest a run may take.
    pub deadline: Duration,
}

impl Profile {
    /// How often a failed run is tried again, by default.
    pub const RETRIES: u32 = 2;
    /// The pause before the first retry, by default.
    pub const RETRY_DELAY: Duration = Duration::minutes(5);
    /// The longest a run may take, by default.
    pub const DEADLINE: Duration = Duration::hours(6);

    /// A profile with a name and a schedule, and everything else as it is by default.
    pub fn new(name: &str, schedule: Schedule) -> Self {
        Profile {
            name: name.to_owned(),
            schedule,
            labels: vec![],
            keep: KeepPolicy::default(),
            parts: Parts::default(),
            dump: DumpSpec::default(),
            gate: GateSpec::default(),
            max_age: None,
            catch_up: true,
            jitter: Duration::ZERO,
            retries: Profile::RETRIES,
            retry_delay: Profile::RETRY_DELAY,
            deadline: Profile::DEADLINE,
        }
    }

    /// The age at which the newest good backup is overdue: as configured, or the longest pause of the
    /// schedule from the one on that `now` is in, the jitter, what a run takes (a backup has the age of the
    /// run's start, and is there at its end), and an hour.
    pub fn max_age(&self, now: OffsetDateTime, run: Duration) -> Duration {
        self.max_age.unwrap_or_else(|| {
            let last = self.schedule.last_until(now).map_or(now, |slot| slot.at - Duration::SECOND);
            self.schedule.longest_gap(last) + self.jitter + run + OVERDUE_SLACK
        })
    }

    /// The label of a slot.
    pub fn label(&self, slot: &Slot) -> Option<&str> {
        self.labels.get(slot.expression).map(String::as_str)
    }

    /// How long after `slot` this profile's run starts: the same for the same slot, spread evenly over
    /// `jitter` for different profiles and slots.
    pub fn delay(&self, slot: &Slot) -> Duration {
        let span = self.jitter.whole_seconds();
        if span <= 0 {
            return Duration::ZERO;
        }
        // FNV-1a, 64 bit: a few lines, and the same on every machine and in every version.
        let seconds = slot.at.unix_timestamp().to_le_bytes();
        let hash = self.name.bytes().chain(seconds).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Duration::seconds((hash % (span.unsigned_abs() + 1)).cast_signed())
    }

    /// The pause before retry `attempt` (counted from 1).
    pub fn backoff(&self, attempt: u32) -> Duration {
        (self.retry_delay * 2_i32.pow(attempt.saturating_sub(1).min(10))).min(LONGEST)
    }
}
