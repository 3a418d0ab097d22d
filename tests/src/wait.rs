//! Waiting for something to become true.

use std::time::{Duration, Instant};

/// Asks until the answer is there; `None` after `limit`.
pub fn eventually<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until `is_so`.
///
/// # Panics
///
/// If it is not after `limit`.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    assert!(eventually(limit, || is_so().then_some(())).is_some(), "not within {limit:?}: {what}");
}
