//! The result of a drill, noted where everybody looks: the manifest, and a file beside it.

use supakeep_model::event::RunEvent;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::Proof;

use super::{DrillPorts, DrillReport};
use crate::backup::link;
use crate::failure::Failure;

/// The name of the whole report's file in the backup's folder. The manifest has what lists, metrics and
/// health need; it goes away with the backup.
pub const REPORT_FILE: &str = "drill.json";

/// Differences that the manifest's head keeps: it is read for every list.
const MOST_DIFFERENCES: usize = 20;

pub(super) fn record(
    report: &DrillReport,
    verified: Option<Proof>,
    ports: &DrillPorts,
) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(report)
        .map_err(|error| Failure::new(supakeep_model::code::Code::Internal, error.to_string()))?;
    let attached = ports.repository.attach(&report.backup, REPORT_FILE, &json);
    let proof = shortened(report.proof());
    // What others have noted since the drill began stays.
    let note = |manifest: &mut Manifest| {
        manifest.head.drilled = Some(proof.clone());
        if let Some(verified) = &verified {
            manifest.head.verified = Some(verified.clone());
        }
    };
    let noted = ports.repository.update(&report.backup, &mut { note });
    for error in [attached.err(), noted.as_ref().err().map(again)].into_iter().flatten() {
        // A full disk is no reason not to say what was found.
        let message = format!("the result of the drill cannot be noted: {error}");
        ports.observer.observe(&RunEvent::Fault { code: error.code, message });
    }
    let Ok(manifest) = noted else { return Ok(()) };
    if verified.is_some_and(|proof| !proof.ok)
        && let Ok(_lock) = ports.repository.lock()
    {
        // What is good has changed, and with it what `latest` means. A run in progress does it itself.
        link(&*ports.repository, ports.clock.now())?;
    }
    ports.observer.observe(&RunEvent::Drilled { head: Box::new(manifest.head) });
    Ok(())
}

fn again(error: &crate::ports::StoreError) -> crate::ports::StoreError {
    crate::ports::StoreError::new(error.code, error.message.clone())
}

fn shortened(mut proof: Proof) -> Proof {
    let more = proof.differences.len().saturating_sub(MOST_DIFFERENCES);
    if more > 0 {
        proof.differences.truncate(MOST_DIFFERENCES);
        proof.differences.push(format!("and {more} more: {REPORT_FILE} beside the manifest has all"));
    }
    proof
}
