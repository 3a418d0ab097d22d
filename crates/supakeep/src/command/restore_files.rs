//! `supakeep restore --parts storage,functions,config`: files alone, while everything runs

use std::process::ExitCode;

use supakeep_flow::ports::Repository as _;
use supakeep_flow::restore::{FilesReport, PlannedFiles, file_parts, plan_files_alone, restore_files};
use supakeep_model::code::Code;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{Outcome as RunOutcome, StackRecord};
use supakeep_model::parts::PartName;
use supakeep_model::quantity::show_bytes;

use super::restore::{check_files, confirm, dry_run};
use super::{Context, Outcome, progress};
use crate::failure::CommandError;
use crate::output::{Output, Paint, right};

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which backup.
    pub(crate) id: String,
    /// Which parts.
    pub(crate) parts: Vec<PartName>,
    /// Only show the plan.
    pub(crate) dry_run: bool,
    /// Do not ask.
    pub(crate) yes: bool,
}

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let ports = context.wire.ports(progress(context.output))?;
    let _lock = ports.repository.lock()?;
    context.settle().await;
    let head = context.find(&context.catalog()?, &wish.id)?;
    if head.outcome == RunOutcome::Failed {
        let message = format!("{} is the record of a failed run: there is nothing to restore", head.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let manifest = context.wire.repository.manifest(&head.id)?;
    if let Some(part) = wish.parts.iter().find(|part| !file_parts(&manifest).any(|held| held == **part)) {
        return Err(CommandError::new(Code::TargetUnfit, format!("{} has no {part}", head.id)));
    }
    check_files(context, &files_of(&manifest), &*ports.observer).await?;
    let planning = plan_files_alone(&wish.parts, &manifest, &ports);
    let planned = context.unless_cancelled(planning).await??;
    show_plan(context.output, &planned);
    if wish.dry_run {
        return dry_run(context, &planned, Ok(()));
    }
    if !wish.yes {
        let project = context.wire.stack_name.clone();
        confirm(context, &StackRecord { project, ..StackRecord::default() }).await?;
    }
    let restored = restore_files(&manifest, &planned, &ports);
    let reports = context.unless_cancelled(restored).await??;
    if context.output.json {
        context.output.json(&serde_json::json!({ "restored": head.id, "files": reports }));
    } else {
        show_files(context.output, &reports);
        context.output.line(format!("restored files of {}", head.id));
    }
    different(&reports).map_or(Ok(ExitCode::SUCCESS), |error| Err(error.after_result()))
}

/// The backup as if it had nothing but files.
pub(super) fn files_of(manifest: &Manifest) -> Manifest {
    let mut out = manifest.clone();
    out.databases.clear();
    out.artifacts.retain(|artifact| artifact.part.is_files());
    out
}

/// What goes where, for a person.
pub(super) fn show_plan(output: Output, planned: &[PlannedFiles]) {
    if output.json {
        return;
    }
    for files in planned {
        let what = match (files.files, files.bytes) {
            (Some(count), Some(bytes)) => format!("{count} files ({})", show_bytes(bytes)),
            _ => "files".to_owned(),
        };
        let held =
            if files.backups > 1 { format!(", held by {} backups", files.backups) } else { String::new() };
        output.note(format!("{:<12}{what} into {}{held}; what else is there stays", files.part, files.into));
    }
}

/// What became of them, for a person.
pub(super) fn show_files(output: Output, reports: &[FilesReport]) {
    if reports.is_empty() {
        return;
    }
    let mut table = output.table(&["FILES", "COUNT", "SIZE", "COMPARED"]);
    for report in reports {
        let compared = match (report.part, report.different) {
            (PartName::Storage, 0) => output.paint("equal", Paint::Good),
            (PartName::Storage, count) => output.paint(&format!("{count} DIFFERENT"), Paint::Bad),
            _ => "-".to_owned(),
        };
        table.add_row(vec![
            comfy_table::Cell::new(report.part),
            right(report.files),
            right(show_bytes(report.bytes)),
            comfy_table::Cell::new(compared),
        ]);
    }
    output.print(&table);
    for report in reports {
        report.notes.iter().for_each(|note| output.note(format!("note: {note}")));
        if report.others > 0 {
            output.note(format!(
                "{}: {} entries that the backup does not have stay there",
                report.part, report.others
            ));
        }
    }
}

/// The error of files that are not what was recorded.
pub(super) fn different(reports: &[FilesReport]) -> Option<CommandError> {
    let differences: Vec<_> = reports.iter().flat_map(|report| report.differences.iter().cloned()).collect();
    (!differences.is_empty()).then(|| CommandError::new(Code::RestoreDiffers, differences.join("\n  ")))
}
