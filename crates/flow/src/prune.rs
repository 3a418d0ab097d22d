//! Carrying out a retention plan.

use std::collections::BTreeSet;

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

/// Removes what `plan` removes. One backup that cannot be removed does not keep the others. Nothing is
/// removed of a profile whose newest good backup has a manifest that cannot be read from end to end. The
/// lock is asked for as a proof that the caller holds it.
pub fn prune(
    repository: &dyn Repository,
    plan: &PrunePlan,
    observer: &dyn Observer,
    _lock: &dyn RunLock,
) -> PruneReport {
    let mut report = PruneReport::default();
    let unreliable = unreliable(repository, plan, observer);
    for item in plan.removals() {
        if item.profile.as_deref().is_some_and(|profile| unreliable.contains(profile)) {
            report.failed += 1;
            continue;
        }
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

/// The profiles whose newest good backup is not what its head says. Only those are asked that something is
/// removed of: a manifest of many tables takes its time.
fn unreliable<'a>(
    repository: &dyn Repository,
    plan: &'a PrunePlan,
    observer: &dyn Observer,
) -> BTreeSet<&'a str> {
    let concerned: BTreeSet<_> = plan.removals().filter_map(|item| item.profile.as_deref()).collect();
    let relied_on = plan.relied_on.iter().filter(|(profile, _)| concerned.contains(profile.as_str()));
    let mut out = BTreeSet::new();
    for (profile, id) in relied_on {
        if let Err(error) = repository.manifest(id) {
            out.insert(profile.as_str());
            let message = format!(
                "nothing of profile {profile} is removed, since its newest good backup {id} cannot be read: {error}"
            );
            observer.observe(&RunEvent::Fault { code: error.code, message });
        }
    }
    out
}
