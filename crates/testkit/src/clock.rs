//! A clock that tells what it is told.

use std::sync::{Mutex, PoisonError};

use supakeep_flow::ports::Clock;
use supakeep_model::{Duration, OffsetDateTime};

/// Stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(Mutex<OffsetDateTime>);

impl TestClock {
    /// A clock that shows `now`.
    pub fn at(now: OffsetDateTime) -> TestClock {
        TestClock(Mutex::new(now))
    }

    /// Sets it, forward or back.
    pub fn set(&self, now: OffsetDateTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Moves it.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
