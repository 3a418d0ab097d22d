//! `supakeep verify`

use std::process::ExitCode;

use supakeep_flow::backup::link;
use supakeep_flow::ports::Repository as _;
use supakeep_flow::verify::verify;
use supakeep_model::code::Code;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{ManifestHead, Outcome as RunOutcome, Proof};

use super::{Context, Outcome};
use crate::failure::CommandError;
use crate::output::Paint;

/// Which backups.
pub(crate) struct Which {
    /// One; the newest good one where there is none.
    pub(crate) id: Option<String>,
    /// All.
    pub(crate) all: bool,
    /// Whether to accept a suspect one.
    pub(crate) accept: bool,
}

pub(crate) async fn run(context: &Context, which: Which) -> Outcome {
    let catalog = context.catalog()?;
    let chosen: Vec<ManifestHead> = match (&which.id, which.all) {
        (_, true) => catalog.backups().cloned().collect(),
        (Some(id), false) => vec![context.find(&catalog, id)?],
        (None, false) => vec![context.find(&catalog, "latest")?],
    };
    if let Some(failed) = chosen.iter().find(|head| head.outcome == RunOutcome::Failed) {
        let message = format!("{} is the record of a failed run: there is nothing to verify", failed.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let mut results = Vec::new();
    for head in chosen {
        if context.cancel.is_cancelled() {
            return Err(CommandError::new(Code::Cancelled, "the verification was cancelled"));
        }
        results.push(one(context, &head, which.accept).await?);
    }
    report(context, &results)
}

async fn one(
    context: &Context,
    head: &ManifestHead,
    accept: bool,
) -> Result<(ManifestHead, Proof), CommandError> {
    let repository = &context.wire.repository;
    let mut manifest = repository.manifest(&head.id)?;
    let proof = {
        let open = |artifact: &supakeep_model::artifact::Artifact| repository.open(&head.id, &artifact.path);
        let check = verify(&manifest, open, &*context.wire.clock, |_| {});
        tokio::select! {
            proof = check => proof,
            () = context.cancel.cancelled() => {
                return Err(CommandError::new(Code::Cancelled, "the verification was cancelled"));
            }
        }
    };
    let now = context.wire.clock.now();
    let note = |manifest: &mut Manifest| {
        manifest.head.verified = Some(proof.clone());
        if let Some(suspicion) = manifest.head.suspicion.as_mut().filter(|_| accept && proof.ok) {
            suspicion.accepted_at = Some(now);
        }
    };
    match repository.update(&head.id, &mut { note }) {
        Ok(noted) => manifest = noted,
        Err(error) if accept => return Err(error.into()),
        // A full or read-only disk is no reason not to say what was found.
        Err(error) => {
            context.output.note(format!("warning[{}]: the result cannot be noted: {error}", error.code));
            note(&mut manifest);
            return Ok((manifest.head, proof));
        }
    }
    // What is good may have changed, and with it what `latest` means. A run in progress does it itself.
    if let Ok(_lock) = repository.lock() {
        link(&**repository, context.wire.clock.now())?;
    }
    Ok((manifest.head, proof))
}

fn report(context: &Context, results: &[(ManifestHead, Proof)]) -> Outcome {
    let output = context.output;
    if output.json {
        let shown: Vec<_> = results
            .iter()
            .map(|(head, proof)| serde_json::json!({ "id": head.id, "good": head.is_good(), "verified": proof }))
            .collect();
        output.json(&shown);
    }
    let mut damaged = Vec::new();
    for (head, proof) in results {
        if !proof.ok {
            damaged.push(format!("{}:\n    {}", head.id, proof.differences.join("\n    ")));
        } else if !output.json {
            let suspect = head.suspicion.is_some() && !head.is_good();
            let (word, paint) = if suspect { ("ok, suspect", Paint::Warn) } else { ("ok", Paint::Good) };
            output.line(format!(
                "{} {} in {:.1} s",
                head.id,
                output.paint(word, paint),
                proof.duration_seconds
            ));
        }
    }
    if damaged.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("not what was written:\n  {}", damaged.join("\n  "));
    Err(CommandError::new(Code::VerifyFailed, message).after_result())
}
