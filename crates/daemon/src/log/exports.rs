//! Log lines of exports.

use supakeep_model::export::{ExportEvent, ExportRun};
use supakeep_model::quantity::{show_bytes, show_time};

pub(super) fn log(event: &ExportEvent) {
    match event {
        ExportEvent::Started { id, export } => {
            let export = export.as_deref().unwrap_or("-");
            tracing::info!(%id, export, "export started");
        }
        ExportEvent::Ended(run) => ended(run),
        ExportEvent::Skipped { export, slot, reason } => {
            let slot = show_time(*slot);
            tracing::warn!(export, slot, reason, "a scheduled export was skipped");
        }
        ExportEvent::Pruned { id, stored_bytes } => {
            tracing::info!(%id, freed = show_bytes(*stored_bytes), "export removed by retention");
        }
    }
}

fn ended(run: &ExportRun) {
    let (id, export, seconds) = (&run.id, run.export.as_deref().unwrap_or("-"), run.duration_seconds);
    for warning in &run.warnings {
        tracing::warn!(%id, export, "{warning}");
    }
    match &run.error {
        Some(error) => {
            tracing::error!(%id, export, seconds, code = %error.code, hint = error.hint, "export failed: {}", error.message);
        }
        None => {
            let (tables, rows, stored) =
                (run.totals.tables, run.totals.rows, show_bytes(run.totals.stored_bytes));
            tracing::info!(%id, export, seconds, tables, rows, stored, "export complete");
        }
    }
}
