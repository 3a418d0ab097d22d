//! The result of a drill, noted where everybody looks: the manifest, and a file beside it.

use supakeep_model::event::RunEvent;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{Proof, SampleProof};

use super::{DrillPorts, DrillReport, page};
use crate::backup::link;
use crate::failure::Failure;

/// How a report is kept in the backup's folder, with which it goes away. The manifest has what lists, metrics and
/// health need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptAs {
    /// All of it, for programs.
    pub json: &'static str,
    /// The same as a page for people: of a scheduled drill nobody saw it printed.
    pub page: &'static str,
}

/// The last drill of all of the backup.
pub const WHOLE: KeptAs = KeptAs { json: "drill.json", page: "drill.txt" };
/// The last drill of a sample, which never takes the place of the other.
pub const SAMPLE: KeptAs = KeptAs { json: "sample.json", page: "sample.txt" };

/// Differences that the manifest's head keeps: it is read for every list.
const MOST_DIFFERENCES: usize = 20;

pub(super) fn record(
    report: &DrillReport,
    verified: Option<Proof>,
    ports: &DrillPorts,
) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(report)
        .map_err(|error| Failure::new(supakeep_model::code::Code::Internal, error.to_string()))?;
    let kept = if report.sample.is_some() { SAMPLE } else { WHOLE };
    let attach = |name, content: &[u8]| ports.repository.attach(&report.backup, name, content).err();
    let unattached = [attach(kept.json, &json), attach(kept.page, page(report).as_bytes())];
    let proof = shortened(report.proof(), kept.json);
    // What others have noted since the drill began stays.
    let note = |manifest: &mut Manifest| {
        let head = &mut manifest.head;
        match &report.sample {
            None => head.drilled = Some(proof.clone()),
            Some(sample) => {
                let (tables, of_tables) = (sample.tables.len() as u64, sample.of_tables);
                head.sampled = Some(SampleProof { proof: proof.clone(), tables, of_tables });
            }
        }
        if let Some(verified) = &verified {
            manifest.head.verified = Some(verified.clone());
        }
    };
    let noted = ports.repository.update(&report.backup, &mut { note });
    for error in unattached.into_iter().chain([noted.as_ref().err().map(again)]).flatten() {
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
    let head = Box::new(manifest.head);
    ports.observer.observe(&match report.sample {
        None => RunEvent::Drilled { head },
        Some(_) => RunEvent::Sampled { head },
    });
    Ok(())
}

fn again(error: &crate::ports::StoreError) -> crate::ports::StoreError {
    crate::ports::StoreError::new(error.code, error.message.clone())
}

fn shortened(mut proof: Proof, whole: &str) -> Proof {
    let more = proof.differences.len().saturating_sub(MOST_DIFFERENCES);
    if more > 0 {
        proof.differences.truncate(MOST_DIFFERENCES);
        proof.differences.push(format!("and {more} more: {whole} beside the manifest has all"));
    }
    proof
}
