//! Carrying out a retention plan.

use supakeep_model::event::RunEvent;
use supakeep_model::retention::PrunePlan;

use crate::kill_point::kill_point;
use crate::ports::{Observer, Repository, RunLock};

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneReport {
    /// Backups removed.
    pub removed: u64,
    /// Bytes that freed.
    pub freed_bytes: u64,
    /// Backups that could not be removed; the observer was told why.
    pub failed: u64,
}

/// Removes what `plan` removes. One backup that cannot be removed does not keep the others. The lock
/// is asked for as a proof that the caller holds it.
pub fn prune(
    repository: &dyn Repository,
    plan: &PrunePlan,
    observer: &dyn Observer,
    _lock: &dyn RunLock,
) -> PruneReport {
    let mut report = PruneReport::default();
    for item in plan.removals() {
        match repository.remove(&item.id) {
            Ok(()) => {
                report.removed += 1;
                report.freed_bytes += item.stored_bytes;
                observer.observe(&RunEvent::Pruned {
                    id: item.id.clone(),
                    profile: item.profile.clone(),
                    stored_bytes: item.stored_bytes,
                });
            }
            Err(error) => {
                report.failed += 1;
                let message = format!("cannot remove {}: {error}", item.id);
                observer.observe(&RunEvent::Fault { code: error.code, message });
            }
        }
        kill_point("backup-pruned");
    }
    report
}
