//! `supakeep delete`

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use supakeep_flow::backup::link;
use supakeep_flow::ports::Repository as _;
use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::ManifestHead;
use supakeep_model::quantity::show_bytes;

use super::{Context, Outcome};
use crate::failure::CommandError;

pub(crate) fn run(context: &Context, ids: &[String], yes: bool) -> Outcome {
    let repository = &context.wire.repository;
    let lock = repository.lock()?;
    let catalog = context.catalog()?;
    let mut chosen = Vec::new();
    for id in ids {
        let head = context.find(&catalog, id)?;
        if !chosen.iter().any(|other: &ManifestHead| other.id == head.id) {
            chosen.push(head);
        }
    }
    check_needed(&catalog, &chosen)?;
    check_unused(&repository.in_use()?, &chosen)?;
    if !yes {
        confirm(context, &chosen)?;
    }
    for head in &chosen {
        repository.remove(&head.id)?;
        if !context.output.json {
            context.output.line(format!("deleted {}", head.id));
        }
    }
    link(&**repository, context.wire.clock.now())?;
    drop(lock);
    if context.output.json {
        let ids: Vec<_> = chosen.iter().map(|head| &head.id).collect();
        context.output.json(&serde_json::json!({ "deleted": ids }));
    }
    Ok(ExitCode::SUCCESS)
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

/// A drill reads a backup for as long as restoring it takes.
fn check_unused(in_use: &BTreeSet<BackupId>, chosen: &[ManifestHead]) -> Result<(), CommandError> {
    match chosen.iter().find(|head| in_use.contains(&head.id)) {
        Some(head) => Err(CommandError::new(Code::Busy, format!("{} is being drilled", head.id))),
        None => Ok(()),
    }
}

fn confirm(context: &Context, chosen: &[ManifestHead]) -> Result<(), CommandError> {
    if !io::stdin().is_terminal() {
        let message = "deleting asks for confirmation, and there is no terminal to ask on: add --yes";
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    for head in chosen {
        let good = if head.is_good() { "" } else { ", not a good one" };
        context.output.note(format!("{} ({}{good})", head.id, show_bytes(head.totals.stored_bytes)));
    }
    let _ = write!(io::stderr(), "delete for good? [y/N] ");
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CommandError::new(Code::Cancelled, "nothing was deleted"))
}
