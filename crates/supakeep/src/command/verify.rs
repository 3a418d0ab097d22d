//! `supakeep verify`

use std::process::ExitCode;

use supakeep_flow::cancel::Limits;
use supakeep_flow::reread::reread;
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::manifest_head::{ManifestHead, Outcome as RunOutcome, Proof};

use super::{Context, Outcome};
use crate::failure::CommandError;
use crate::output::Paint;

/// The longest reading one backup may take; whoever waits for it can end it.
const DEADLINE: Duration = Duration::days(7);

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
    let unreadable = catalog.unreadable().iter().filter(|_| which.all);
    let mut failed: Vec<(String, CommandError)> = unreadable
        .map(|what| (what.folder.clone(), CommandError::new(what.error.code(), what.error.to_string())))
        .collect();
    for head in chosen {
        match one(context, &head, which.accept).await {
            Ok(result) => results.push(result),
            Err(error) if !which.all || error.code == Code::Cancelled => return Err(error),
            Err(error) if error.code == Code::BackupNotFound => {
                context.output.note(format!("{} was removed meanwhile", head.id));
            }
            // The others are still worth looking at.
            Err(error) => failed.push((head.id.to_string(), error)),
        }
    }
    report(context, &results, failed)
}

async fn one(
    context: &Context,
    head: &ManifestHead,
    accept: bool,
) -> Result<(ManifestHead, Proof), CommandError> {
    let (repository, clock) = (&*context.wire.repository, &*context.wire.clock);
    let limits = Limits::new(context.cancel.clone(), DEADLINE);
    let found = reread(&head.id, accept, repository, clock, &limits).await?;
    if let Some(error) = found.unnoted {
        context.output.note(format!("warning[{}]: the result cannot be noted: {error}", error.code));
    }
    if let Some(failure) = found.unlinked {
        context.not_linked(&failure);
    }
    Ok((found.head, found.proof))
}

fn report(
    context: &Context,
    results: &[(ManifestHead, Proof)],
    failed: Vec<(String, CommandError)>,
) -> Outcome {
    let output = context.output;
    if output.json {
        let read = results.iter().map(
            |(head, proof)| serde_json::json!({ "id": head.id, "good": head.is_good(), "verified": proof }),
        );
        let unread = failed.iter().map(|(id, error)| {
            serde_json::json!({ "id": id, "good": false, "verified": null, "error": error.json()["error"] })
        });
        output.json(&read.chain(unread).collect::<Vec<_>>());
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
    let unread: Vec<_> = failed.iter().map(|(id, error)| format!("{id}: {}", error.message)).collect();
    if !damaged.is_empty() {
        damaged.extend(unread);
        let message = format!("not what was written:\n  {}", damaged.join("\n  "));
        return Err(CommandError::new(Code::VerifyFailed, message).after_result());
    }
    match failed.first() {
        None => Ok(ExitCode::SUCCESS),
        Some((_, first)) => {
            let message = format!("could not be verified:\n  {}", unread.join("\n  "));
            Err(CommandError::new(first.code, message).after_result())
        }
    }
}
