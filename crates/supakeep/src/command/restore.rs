//! `supakeep restore`

use std::process::ExitCode;

use supakeep_flow::ports::{Observer, Repository as _};
use supakeep_flow::restore::{RestorePlan, RestoreReport, RestoreSpec, plan, restore};
use supakeep_flow::verify::verify;
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::journal::{Journal, Remaining};
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::quantity::{show_bytes, show_duration, show_time};

mod explain;

use self::explain::explain;
use super::question::ask;
use super::{Context, Outcome, progress};
use crate::failure::CommandError;
use crate::output::{Paint, right};

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which backup; none with `resume`.
    pub(crate) id: Option<String>,
    /// Only this database.
    pub(crate) only_database: Option<String>,
    /// Finish the restore that did not end.
    pub(crate) resume: bool,
    /// Save nothing first.
    pub(crate) no_safety_backup: bool,
    /// Jobs side by side.
    pub(crate) jobs: Option<usize>,
    /// Only show the plan.
    pub(crate) dry_run: bool,
    /// Do not ask.
    pub(crate) yes: bool,
}

/// The longest a restore may take; whoever waits for it can end it.
pub(super) const DEADLINE: Duration = Duration::hours(48);

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let ports = context.wire.restore_ports(progress(context.output))?;
    let lock = ports.backup.repository.lock()?;
    let unfinished = ports.backup.repository.journal()?;
    let (manifest, only_database) = chosen(context, &wish, unfinished.as_ref())?;
    let mut spec = RestoreSpec {
        only_database,
        resume: wish.resume,
        safety: None,
        jobs: wish.jobs.unwrap_or(context.wire.settings.encoders),
        deadline: DEADLINE,
        manifest,
    };
    if let Some(journal) = &unfinished {
        spec.covers(journal)?;
    }
    let remaining = spec.remaining(unfinished.as_ref());
    if remaining == Remaining::Everything {
        check_files(context, &spec.manifest, &*ports.backup.observer).await?;
    }
    let run = format!("restore-{}", spec.manifest.head.id);
    let site = context.unless_cancelled(ports.sites.live(&run)).await??;
    let planned = context.unless_cancelled(plan(&spec, &*site, &*ports.backup.repository)).await??;
    let replaced = planned.replaced();
    if !wish.no_safety_backup && !replaced.is_empty() {
        spec.safety = Some(context.wire.recipe().before_restore(replaced));
    }
    let rest = unfinished.as_ref().filter(|_| remaining != Remaining::Everything);
    match rest {
        Some(journal) => show_rest(context, journal, &planned, remaining),
        None => show_plan(context, &spec, &planned, unfinished.as_ref()),
    }
    let possible = if rest.is_some() { Ok(()) } else { planned.possible() };
    if wish.dry_run {
        return dry_run(context, &planned, possible);
    }
    possible?;
    if !wish.yes {
        confirm(context, &planned.target).await?;
    }
    let done = restore(&spec, &planned, &*site, &ports, unfinished, &*lock, &context.cancel).await;
    match done {
        Ok(report) => show_report(context, &report),
        Err(failure) => Err(explain(&spec, failure)),
    }
}

/// The backup that is meant. A restore that did not end is finished or replaced, never forgotten.
fn chosen(
    context: &Context,
    wish: &Wish,
    unfinished: Option<&Journal>,
) -> Result<(Manifest, Option<String>), CommandError> {
    let repository = &context.wire.repository;
    if let (true, Some(journal)) = (wish.resume, unfinished) {
        return Ok((repository.manifest(&journal.backup)?, journal.only_database.clone()));
    }
    let Some(id) = &wish.id else {
        return Err(CommandError::new(Code::BackupNotFound, "there is no restore that has not ended"));
    };
    let head = context.find(&context.catalog()?, id)?;
    if head.outcome == supakeep_model::manifest_head::Outcome::Failed {
        let message = format!("{} is the record of a failed run: there is nothing to restore", head.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    Ok((repository.manifest(&head.id)?, wish.only_database.clone()))
}

/// Nothing is touched for files that are not what was written.
async fn check_files(
    context: &Context,
    manifest: &Manifest,
    observer: &dyn Observer,
) -> Result<(), CommandError> {
    let id = manifest.head.id.clone();
    let expected_bytes = Some(manifest.head.totals.stored_bytes);
    observer.observe(&RunEvent::Entered {
        id: id.clone(),
        phase: Phase::Verify,
        subject: id.to_string(),
        expected_bytes,
    });
    let progress = |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
    let repository = &context.wire.repository;
    let open =
        |artifact: &supakeep_model::artifact::Artifact| repository.open(&manifest.head.id, &artifact.path);
    let proof = tokio::select! {
        proof = verify(manifest, open, &*context.wire.clock, progress) => proof?,
        () = context.cancel.cancelled() => {
            return Err(CommandError::new(Code::Cancelled, "nothing was touched"));
        }
    };
    if proof.ok {
        return Ok(());
    }
    let message = format!(
        "nothing was touched: {} is not what was written:\n  {}",
        manifest.head.id,
        proof.differences.join("\n  ")
    );
    Err(CommandError::new(Code::VerifyFailed, message))
}

fn show_plan(context: &Context, spec: &RestoreSpec, plan: &RestorePlan, unfinished: Option<&Journal>) {
    let output = context.output;
    if output.json {
        return;
    }
    let head = &spec.manifest.head;
    let say = |name: &str, value: String| output.note(format!("{name:<12}{value}"));
    say("restore", format!("{} of {}", head.id, show_time(head.started)));
    say(
        "into",
        format!(
            "{} ({}), PostgreSQL {}",
            plan.target.project, plan.target.container, plan.target.server_version
        ),
    );
    for database in &plan.databases {
        let replaced = match database.replaces_bytes {
            Some(bytes) => format!("replaces what is there ({})", show_bytes(bytes)),
            None => "is made".to_owned(),
        };
        say("database", format!("{} ({}) {replaced}", database.name, show_bytes(database.size_bytes)));
    }
    if !plan.left_alone.is_empty() {
        say("left alone", plan.left_alone.join(", "));
    }
    if spec.is_whole() {
        say("roles", "created and altered; passwords of the stack's services stay".to_owned());
        let key = if plan.replaces_root_key { "replaced, and the database restarted" } else { "as it is" };
        say("root key", key.to_owned());
    }
    let running: Vec<_> = plan
        .services
        .iter()
        .filter(|service| service.is_running)
        .map(|service| service.name.as_str())
        .collect();
    say("stopped", if running.is_empty() { "nothing runs".to_owned() } else { running.join(", ") });
    let half = unfinished.filter(|journal| journal.is_half());
    let safety = match (half.map(|journal| &journal.safety), &spec.safety) {
        (Some(Some(safety)), _) => format!("{safety}, of the restore that did not end"),
        (Some(None), _) => "none: what is there is half restored, and is not saved".to_owned(),
        (None, Some(_)) => "a pre-restore backup is taken first".to_owned(),
        (None, None) => "nothing is saved first".to_owned(),
    };
    say("way back", safety);
    plan.notes.iter().for_each(|note| say("note", note.clone()));
}

/// What would be done, for programs; a person has been shown it already.
pub(super) fn dry_run(
    context: &Context,
    plan: &impl serde::Serialize,
    possible: Result<(), supakeep_flow::failure::Failure>,
) -> Outcome {
    if context.output.json {
        context.output.json(plan);
    }
    possible.map(|()| ExitCode::SUCCESS).map_err(|failure| CommandError::from(failure).after_result())
}

/// What is left of a restore whose data is all there: nothing is dropped any more.
fn show_rest(context: &Context, journal: &Journal, plan: &RestorePlan, remaining: Remaining) {
    let output = context.output;
    if output.json {
        return;
    }
    let say = |name: &str, value: String| output.note(format!("{name:<12}{value}"));
    say("finish", format!("the restore of {}, whose data is all there: it stays as it is", journal.backup));
    if remaining == Remaining::Comparison {
        say("compared", "with what the backup recorded".to_owned());
    }
    say("restarted", plan.target.container.clone());
    let stopped: Vec<_> = journal.stopped.iter().map(|service| service.name.as_str()).collect();
    say("started", if stopped.is_empty() { "nothing".to_owned() } else { stopped.join(", ") });
}

/// The stack's name, typed: a habit of answering `y` is not enough. The lock is held meanwhile, so that
/// what was verified and planned is what is done.
pub(super) async fn confirm(context: &Context, target: &StackRecord) -> Result<(), CommandError> {
    let wanted = if target.project.is_empty() { &target.container } else { &target.project };
    let untouched = "nothing was touched";
    let answer = ask(context, "restoring", &format!("type {wanted} to go on: "), untouched).await?;
    if answer == *wanted {
        return Ok(());
    }
    Err(CommandError::new(Code::Cancelled, untouched))
}

fn show_report(context: &Context, report: &RestoreReport) -> Outcome {
    let output = context.output;
    let differences: Vec<_> = report
        .databases
        .iter()
        .flat_map(|database| {
            database.differences.iter().map(move |what| format!("{}: {what}", database.name))
        })
        .collect();
    if output.json {
        let databases: Vec<_> = report
            .databases
            .iter()
            .map(|database| {
                serde_json::json!({
                    "name": database.name, "tables": database.tables, "rows": database.rows,
                    "differences": database.differences,
                })
            })
            .collect();
        output.json(&serde_json::json!({
            "restored": report.backup, "safety_backup": report.safety, "databases": databases,
            "duration_seconds": report.duration_seconds,
        }));
    } else {
        let mut table = output.table(&["DATABASE", "TABLES", "ROWS", "COMPARED"]);
        for database in &report.databases {
            let (word, paint) = if database.differences.is_empty() {
                ("equal", Paint::Good)
            } else {
                ("DIFFERENT", Paint::Bad)
            };
            table.add_row(vec![
                comfy_table::Cell::new(&database.name),
                right(database.tables),
                right(database.rows),
                comfy_table::Cell::new(output.paint(word, paint)),
            ]);
        }
        output.print(&table);
        let took = show_duration(Duration::seconds_f64(report.duration_seconds.ceil()));
        output.line(format!("restored {} in {took}", report.backup));
        if let Some(safety) = &report.safety {
            output.line(format!("what was there before is in {safety}"));
        }
    }
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError::new(Code::RestoreDiffers, differences.join("\n  ")).after_result())
}
