//! `supakeep restore --volume NAME`: volumes alone, while those that use them are stopped

use std::process::ExitCode;

use supakeep_flow::backup::Ports;
use supakeep_flow::ports::Repository as _;
use supakeep_flow::restore::{PlannedVolume, VolumeReport, plan_volumes, restore_volumes};
use supakeep_flow::stopped::start_again;
use supakeep_model::code::Code;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{Outcome as RunOutcome, StackRecord};
use supakeep_model::quantity::show_bytes;

use super::restore::{check_files, confirm, dry_run};
use super::restore_files::files_of;
use super::{Context, Outcome, progress};
use crate::failure::CommandError;
use crate::output::{Output, right};

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which backup.
    pub(crate) id: String,
    /// Which volumes; all that it has where there are none.
    pub(crate) volumes: Vec<String>,
    /// Only show the plan.
    pub(crate) dry_run: bool,
    /// Do not ask.
    pub(crate) yes: bool,
}

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let ports = context.wire.ports(progress(context.output))?;
    let _lock = ports.repository.lock()?;
    let manifest = manifest_of(context, &wish.id, &ports).await?;
    let head = &manifest.head;
    let planning = plan_volumes(&wish.volumes, &manifest, &ports);
    let planned = context.unless_cancelled(planning).await??;
    show_plan(context.output, &planned);
    if wish.dry_run {
        return dry_run(context, &planned, Ok(()));
    }
    if !wish.yes {
        let project = context.wire.stack_name.clone();
        confirm(context, &StackRecord { project, ..StackRecord::default() }).await?;
    }
    let restored = context.cancel.run_until_cancelled(restore_volumes(&manifest, &planned, &ports)).await;
    let Some(restored) = restored else {
        start_again(&*ports.repository, &*ports.containers).await?;
        let names: Vec<_> = planned.iter().map(|one| one.name.as_str()).collect();
        let message =
            format!("{} may be half restored; what was stopped was started again", names.join(", "));
        return Err(CommandError::new(Code::Cancelled, message));
    };
    let reports = restored?;
    if context.output.json {
        context.output.json(&serde_json::json!({ "restored": head.id, "volumes": reports }));
    } else {
        show(context.output, &reports);
        context.output.line(format!("restored volumes of {}", head.id));
    }
    let differences: Vec<_> = reports.iter().flat_map(|report| report.differences.iter().cloned()).collect();
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError::new(Code::RestoreDiffers, differences.join("\n  ")).after_result())
}

/// The manifest of a backup of which a part is restored that services are stopped for. Its files were read.
pub(super) async fn manifest_of(
    context: &Context,
    id: &str,
    ports: &Ports,
) -> Result<Manifest, CommandError> {
    context.settle().await;
    if let Some(journal) = ports.repository.journal()? {
        let message = format!("the restore of {} has not ended", journal.backup);
        return Err(CommandError::new(Code::RestoreUnfinished, message));
    }
    let head = context.find(&context.catalog()?, id)?;
    if head.outcome == RunOutcome::Failed {
        let message = format!("{} is the record of a failed run: there is nothing to restore", head.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let manifest = context.wire.repository.manifest(&head.id)?;
    check_files(context, &files_of(&manifest), &*ports.observer).await?;
    Ok(manifest)
}

/// What goes where, for a person.
fn show_plan(output: Output, planned: &[PlannedVolume]) {
    if output.json {
        return;
    }
    for one in planned {
        let becomes = if one.exists { "what is in it is REMOVED first" } else { "it is made anew" };
        let users: Vec<_> =
            one.users.iter().filter(|user| user.is_running).map(|user| user.name.as_str()).collect();
        let stopped = if users.is_empty() {
            String::new()
        } else {
            format!("; {} stopped meanwhile", users.join(", "))
        };
        output.note(format!(
            "{:<12}{} files ({}) into {}: {becomes}{stopped}",
            "volume",
            one.files,
            show_bytes(one.bytes),
            one.name
        ));
    }
}

fn show(output: Output, reports: &[VolumeReport]) {
    let mut table = output.table(&["VOLUME", "FILES", "SIZE"]);
    for report in reports {
        table.add_row(vec![
            comfy_table::Cell::new(&report.name),
            right(report.files),
            right(show_bytes(report.bytes)),
        ]);
    }
    output.print(&table);
    for report in reports {
        report.notes.iter().for_each(|note| output.note(format!("note: {}: {note}", report.name)));
    }
}
