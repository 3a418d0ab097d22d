//! Ending a piece of work early: by a signal, or because its time is up.

use std::future::Future;

use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::quantity::show_duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// What ends a run before its time: a signal or a deadline.
#[derive(Debug, Clone)]
pub struct Limits {
    cancel: CancellationToken,
    whole: Duration,
    at: Instant,
}

impl Limits {
    /// Ends when `cancel` is cancelled, or `whole` after now.
    pub fn new(cancel: CancellationToken, whole: Duration) -> Limits {
        let length = std::time::Duration::try_from(whole).unwrap_or_default();
        Limits { cancel, whole, at: Instant::now() + length }
    }

    /// Runs `work` until it ends or has to. Work that is not finished then is dropped.
    pub async fn apply<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Failure::new(Code::Cancelled, "the run was cancelled")),
            result = work => result,
            () = tokio::time::sleep_until(self.at) => {
                let message = format!("the run did not end within {}", show_duration(self.whole));
                Err(Failure::new(Code::DeadlineExceeded, message))
            }
        }
    }
}
