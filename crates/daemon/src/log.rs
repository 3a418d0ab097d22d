//! Events as log lines: the one place where a run is logged.

mod exports;

use supakeep_flow::ports::Observer;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::manifest_head::{ManifestHead, Outcome, SampleProof};
use supakeep_model::quantity::{show_bytes, show_time};

/// Writes a line for each event that somebody may want to read later.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogObserver;

impl Observer for LogObserver {
    fn observe(&self, event: &RunEvent) {
        match event {
            RunEvent::Started { run, .. } => {
                let profile = run.profile.as_deref().unwrap_or("-");
                tracing::info!(id = %run.id, profile, trigger = word(&run.trigger), "backup started");
            }
            RunEvent::Entered { id, phase, subject, .. } => {
                let level_is_info = matches!(phase, Phase::Database | Phase::ExportTable | Phase::Verify);
                if level_is_info {
                    tracing::info!(%id, subject, "{}", phase.as_str());
                } else {
                    tracing::debug!(%id, subject, "{}", phase.as_str());
                }
            }
            RunEvent::Progressed { .. } => {}
            RunEvent::Ended { head } => ended(head),
            RunEvent::Skipped { profile, slot, reason } => {
                let slot = show_time(*slot);
                tracing::warn!(profile, slot, reason, "a scheduled backup was skipped");
            }
            RunEvent::Verified { head } => verified(head),
            RunEvent::Drilled { head } => drilled(head),
            RunEvent::Sampled { head } => sampled(head),
            RunEvent::Pruned { id, profile, stored_bytes } => {
                let profile = profile.as_deref().unwrap_or("-");
                tracing::info!(%id, profile, freed = show_bytes(*stored_bytes), "removed by retention");
            }
            RunEvent::Export(event) => exports::log(event),
            RunEvent::Fault { code, message } => {
                tracing::error!(code = %code, hint = code.hint(), "{message}");
            }
        }
    }
}

/// A value as manifests and the HTTP interface write it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn verified(head: &ManifestHead) {
    let Some(proof) = &head.verified else { return };
    let (id, seconds) = (&head.id, proof.duration_seconds);
    if proof.ok {
        tracing::info!(%id, seconds, "read again: its files are what was written");
    } else {
        let (code, differences) = (Code::VerifyFailed, proof.differences.join("; "));
        tracing::error!(%id, seconds, code = %code, hint = code.hint(), "read again, and damaged: {differences}");
    }
}

fn drilled(head: &ManifestHead) {
    let Some(proof) = &head.drilled else { return };
    let (id, seconds) = (&head.id, proof.duration_seconds);
    if proof.ok {
        tracing::info!(%id, seconds, "drilled: it restores to what was recorded");
    } else {
        let (code, differences) = (Code::DrillFailed, proof.differences.join("; "));
        tracing::error!(%id, seconds, code = %code, hint = code.hint(), "the drill failed: {differences}");
    }
}

fn sampled(head: &ManifestHead) {
    let Some(SampleProof { proof, tables, of_tables }) = &head.sampled else { return };
    let (id, seconds) = (&head.id, proof.duration_seconds);
    if proof.ok {
        tracing::info!(%id, seconds, tables, of_tables, "a sample was drilled: it restores to what was recorded");
    } else {
        let (code, differences) = (Code::DrillFailed, proof.differences.join("; "));
        tracing::error!(%id, seconds, tables, of_tables, code = %code, hint = code.hint(), "the drill of a sample failed: {differences}");
    }
}

fn ended(head: &ManifestHead) {
    let (id, seconds) = (&head.id, head.duration_seconds);
    let profile = head.profile.as_deref().unwrap_or("-");
    for warning in &head.warnings {
        tracing::warn!(%id, profile, "{warning}");
    }
    match (head.outcome, &head.error, &head.suspicion) {
        (Outcome::Failed, Some(error), _) => {
            tracing::error!(%id, profile, seconds, code = %error.code, hint = error.hint, "backup failed: {}", error.message);
        }
        (Outcome::Failed, None, _) => tracing::error!(%id, profile, seconds, "backup failed"),
        (Outcome::Suspect, _, suspicion) => {
            let reasons =
                suspicion.as_ref().map(|suspicion| suspicion.reasons.join("; ")).unwrap_or_default();
            tracing::error!(%id, profile, seconds, code = "suspect", "backup complete, but suspect: {reasons}");
        }
        (Outcome::Complete, _, _) => {
            let (stored, rows) = (show_bytes(head.totals.stored_bytes), head.totals.rows);
            tracing::info!(%id, profile, seconds, stored, rows, "backup complete and verified");
        }
    }
}
