//! The one place that reads the wall clock.

use supakeep_flow::ports::Clock;
use supakeep_model::OffsetDateTime;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        // Whole seconds: manifests, names and slots have no finer ones, and times that were written
        // compare equal to themselves when they are read.
        let now = OffsetDateTime::now_utc();
        now.replace_nanosecond(0).unwrap_or(now)
    }
}
