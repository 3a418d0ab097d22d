//! An export and, if it succeeds, what follows from it: retention.

use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::export::{ExportEvent, ExportManifest, ExportProfile, plan_exports};
use supakeep_model::retention::PrunePlan;
use tokio_util::sync::CancellationToken;

use super::run::{ExportPorts, ExportSpec, export};
use crate::failure::Failure;
use crate::kill_point::kill_point;
use crate::ports::{Exports, Observer, RunLock};

/// Makes an export; then, and only then, removes what the policies no longer keep of the same one. Trouble with the removal
/// does not make the export a failure; the observer is told.
pub async fn export_and_prune(
    spec: &ExportSpec,
    configured: &[ExportProfile],
    ports: &ExportPorts,
    lock: &dyn RunLock,
    cancel: &CancellationToken,
) -> Result<ExportManifest, Failure> {
    let made = export(spec, ports, lock, cancel).await?;
    let entered = RunEvent::Entered {
        id: made.id.clone(),
        phase: Phase::Prune,
        subject: String::new(),
        expected_bytes: None,
    };
    ports.observer.observe(&entered);
    match ports.exports.catalog() {
        Ok(catalog) => {
            let plan = plan_exports(&catalog, configured, &spec.zone, ports.clock.now());
            prune_exports(&*ports.exports, &plan.of_profile(made.export.as_deref()), &*ports.observer, lock);
        }
        Err(error) => {
            let message = format!("cannot apply the retention of exports: {error}");
            ports.observer.observe(&RunEvent::Fault { code: error.code, message });
        }
    }
    Ok(made)
}

/// Removes what `plan` removes. One that cannot be removed does not keep the others. Returns how many are gone. The lock
/// is asked for as a proof that the caller holds it.
pub fn prune_exports(
    exports: &dyn Exports,
    plan: &PrunePlan,
    observer: &dyn Observer,
    _lock: &dyn RunLock,
) -> u64 {
    let mut removed = 0;
    for item in plan.removals() {
        match exports.remove(&item.id) {
            Ok(()) => {
                removed += 1;
                let (id, stored_bytes) = (item.id.clone(), item.stored_bytes);
                observer.observe(&RunEvent::Export(ExportEvent::Pruned { id, stored_bytes }));
            }
            Err(error) => {
                let message = format!("cannot remove the export {}: {error}", item.id);
                observer.observe(&RunEvent::Fault { code: error.code, message });
            }
        }
        kill_point("export-pruned");
    }
    removed
}
