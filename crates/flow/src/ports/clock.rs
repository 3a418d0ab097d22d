//! The time.

use time::OffsetDateTime;

/// Tells the time. The one implementation that reads the wall clock is in the binary.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> OffsetDateTime;
}
