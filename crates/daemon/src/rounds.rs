//! Rounds through the repository on schedule: a disk forgets silently, and a backup that was right when it
//! was made may not be any more.

use std::sync::Arc;
use std::time::Duration as Real;

use supakeep_flow::cancel::Limits;
use supakeep_flow::ports::{Clock, Observer, Repository};
use supakeep_flow::reread::reread;
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::id::BackupId;
use supakeep_model::schedule::Schedule;
use supakeep_model::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::status::Status;

/// How often it is asked whether one is due, or whether a run is over.
const EVERY: Real = Real::from_secs(1);

/// Rounds as the configuration wants them.
#[derive(Debug, Clone)]
pub struct RoundsSpec {
    /// When.
    pub schedule: Schedule,
    /// Files that were not read for so long are read again.
    pub every: Duration,
    /// The longest a round may take; what is left is for the next one.
    pub deadline: Duration,
}

/// Makes rounds until it is stopped.
pub(crate) struct Rounds {
    pub(crate) spec: RoundsSpec,
    pub(crate) repository: Arc<dyn Repository>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) status: Arc<Status>,
}

impl Rounds {
    /// Runs until `stop` is cancelled. A round that was missed needs no making up for: what the next one
    /// reads goes by age.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut handled_until = self.clock.now();
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let now = self.clock.now();
            // A clock that was set back must not silence them for as long.
            handled_until = handled_until.min(now);
            if self.spec.schedule.last_until(now).is_some_and(|slot| slot.at > handled_until) {
                handled_until = now;
                self.round(now, &stop).await;
            }
        }
    }

    async fn round(&self, now: OffsetDateTime, stop: &CancellationToken) {
        let catalog = self.status.catalog();
        let due: Vec<BackupId> =
            catalog.unread_since(now - self.spec.every).iter().map(|head| head.id.clone()).collect();
        let limits = Limits::new(stop.clone(), self.spec.deadline);
        let mut read = 0;
        for id in &due {
            if limits.apply(self.quiet()).await.is_err() {
                break;
            }
            match reread(id, false, &*self.repository, &*self.clock, &limits).await {
                Ok(found) => {
                    read += 1;
                    self.observer.observe(&RunEvent::Verified { head: Box::new(found.head) });
                    let unnoted = found.unnoted.map(|error| (error.code, error.message));
                    let unlinked = found.unlinked.map(|failure| (failure.code, failure.message));
                    for (code, why) in unnoted.into_iter().chain(unlinked) {
                        self.fault(
                            &format!("{id} was read again, and what follows was not done"),
                            code,
                            &why,
                        );
                    }
                }
                Err(failure) if matches!(failure.code, Code::Cancelled | Code::DeadlineExceeded) => break,
                // Retention has removed it meanwhile.
                Err(failure) if failure.code == Code::BackupNotFound => {}
                Err(failure) => {
                    self.fault(&format!("{id} could not be read again"), failure.code, &failure.message);
                }
            }
        }
        let left = due.len() - read;
        tracing::info!(read, left, "backups that were not read for long were read again");
    }

    /// Waits until no backup is being made: that one has the disk for itself.
    async fn quiet(&self) -> Result<(), supakeep_flow::failure::Failure> {
        while self.status.running().is_some() {
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    fn fault(&self, what: &str, code: Code, why: &str) {
        self.observer.observe(&RunEvent::Fault { code, message: format!("{what}: {why}") });
    }
}

#[cfg(test)]
mod tests;
