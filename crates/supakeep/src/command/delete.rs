//! `supakeep delete`

use std::collections::BTreeSet;
use std::process::ExitCode;

use supakeep_flow::ports::Repository as _;
use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::ManifestHead;
use supakeep_model::quantity::show_bytes;

use super::question::ask;
use super::{Context, Outcome};
use crate::failure::CommandError;

pub(crate) async fn run(context: &Context, ids: &[String], yes: bool) -> Outcome {
    let repository = &context.wire.repository;
    let asked_for = if yes { ids.to_vec() } else { confirm(context, ids).await? };
    // Nothing waits for a person who thinks: what was answered for is looked at again under the lock.
    let lock = repository.lock()?;
    context.settle().await;
    let chosen = choose(context, &asked_for)?;
    let mut deleted = Vec::new();
    let ended = remove(context, &chosen, &mut deleted);
    // What is gone is gone, however it ended.
    if context.output.json {
        context.output.json(&serde_json::json!({ "deleted": deleted }));
    }
    context.link(chosen.iter().filter_map(|head| head.profile.as_deref()));
    drop(lock);
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if context.output.json => Err(error.after_result()),
        Err(error) => Err(error),
    }
}

fn remove<'a>(
    context: &Context,
    chosen: &'a [ManifestHead],
    deleted: &mut Vec<&'a BackupId>,
) -> Result<(), CommandError> {
    for head in chosen {
        if context.cancel.is_cancelled() {
            let message = format!("{} of {} were deleted", deleted.len(), chosen.len());
            return Err(CommandError::new(Code::Cancelled, message));
        }
        context.wire.repository.remove(&head.id)?;
        if !context.output.json {
            context.output.line(format!("deleted {}", head.id));
        }
        deleted.push(&head.id);
    }
    Ok(())
}

/// The backups that are meant, if they may go.
fn choose(context: &Context, ids: &[String]) -> Result<Vec<ManifestHead>, CommandError> {
    let catalog = context.catalog()?;
    let mut chosen = Vec::new();
    for id in ids {
        let head = context.find(&catalog, id)?;
        if !chosen.iter().any(|other: &ManifestHead| other.id == head.id) {
            chosen.push(head);
        }
    }
    check_needed(&catalog, &chosen)?;
    check_unused(&context.wire.repository.in_use()?, &chosen)?;
    Ok(chosen)
}

/// What stays must stay whole.
fn check_needed(catalog: &Catalog, chosen: &[ManifestHead]) -> Result<(), CommandError> {
    let going: BTreeSet<&BackupId> = chosen.iter().map(|head| &head.id).collect();
    for head in catalog.entries().filter(|head| !going.contains(&head.id)) {
        if let Some(parent) = head.parents.iter().find(|parent| going.contains(parent)) {
            let message = format!("{parent} is needed by {}: delete that one too, or first", head.id);
            return Err(CommandError::new(Code::UsageInvalid, message));
        }
    }
    Ok(())
}

/// A drill reads a backup for as long as restoring it takes, and a restore that did not end needs its own
/// and the one that leads back.
fn check_unused(in_use: &BTreeSet<BackupId>, chosen: &[ManifestHead]) -> Result<(), CommandError> {
    match chosen.iter().find(|head| in_use.contains(&head.id)) {
        Some(head) => {
            let message = format!("{} is being drilled, or needed by a restore that has not ended", head.id);
            Err(CommandError::new(Code::Busy, message))
        }
        None => Ok(()),
    }
}

/// Shows what would go, and returns the whole ids once a person has said yes: `latest` may be another
/// one by then.
async fn confirm(context: &Context, ids: &[String]) -> Result<Vec<String>, CommandError> {
    let chosen = choose(context, ids)?;
    for head in &chosen {
        let good = if head.is_good() { "" } else { ", not a good one" };
        context.output.note(format!("{} ({}{good})", head.id, show_bytes(head.totals.stored_bytes)));
    }
    let nothing = "nothing was deleted";
    let answer = ask(context, "deleting", "delete for good? [y/N] ", nothing).await?;
    if matches!(answer.as_str(), "y" | "Y" | "yes") {
        return Ok(chosen.iter().map(|head| head.id.to_string()).collect());
    }
    Err(CommandError::new(Code::Cancelled, nothing))
}
