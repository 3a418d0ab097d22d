//! `supakeep restore`

use std::path::PathBuf;
use std::process::ExitCode;

use supakeep_flow::ports::{Observer, Repository as _, RunLock, Site};
use supakeep_flow::restore::{
    FilesWish, RestorePlan, RestorePorts, RestoreSpec, file_parts, is_foreign, plan, restore,
};
use supakeep_flow::verify::verify;
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::id::BackupId;
use supakeep_model::journal::{Journal, Remaining};
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::parts::PartName;
use supakeep_model::quantity::{show_bytes, show_time};

mod explain;
mod file;
pub(super) mod report;

use self::explain::explain;
use self::report::{Compared, show_report};
use super::question::ask;
use super::{Context, Outcome, progress, restore_files};
use crate::config::default_jobs;
use crate::failure::CommandError;

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which backup; none with `resume`.
    pub(crate) id: Option<String>,
    /// A dump that supakeep did not make, instead.
    pub(crate) file: Option<PathBuf>,
    /// Only this database.
    pub(crate) only_database: Option<String>,
    /// Which parts; those that go together where there are none.
    pub(crate) parts: Vec<PartName>,
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
    context.settle().await;
    let unfinished = ports.backup.repository.journal()?;
    let attempt = Attempt { context, wish: &wish, ports: &ports, lock: &*lock };
    match &wish.file {
        Some(file) => attempt.of_file(file, unfinished).await,
        None => attempt.of_backup(unfinished).await,
    }
}

/// A restore in place as it was asked for, while nobody else changes the repository.
struct Attempt<'a> {
    context: &'a Context,
    wish: &'a Wish,
    ports: &'a RestorePorts,
    lock: &'a dyn RunLock,
}

/// What is restored, and where.
struct Prepared {
    spec: RestoreSpec,
    plan: RestorePlan,
    site: Box<dyn Site>,
    /// What a person calls it.
    name: String,
}

impl Attempt<'_> {
    async fn of_backup(&self, unfinished: Option<Journal>) -> Outcome {
        let (manifest, only_database) = chosen(self.context, self.wish, unfinished.as_ref())?;
        let mut spec = self.spec(manifest, only_database);
        spec.files = self.files(&spec, unfinished.as_ref());
        if let Some(journal) = &unfinished {
            spec.covers(journal)?;
        }
        if spec.remaining(unfinished.as_ref()) == Remaining::Everything {
            check_files(self.context, &spec.manifest, &*self.ports.backup.observer).await?;
        }
        let site = self.site(&spec.manifest.head.id).await?;
        let plan = self.plan(&spec, &*site).await?;
        let name = spec.manifest.head.id.to_string();
        self.carry_out(Prepared { spec, plan, site, name }, unfinished).await
    }

    /// The parts that are files: what was asked for; else those that the rows of a whole restore tell of.
    fn files(&self, spec: &RestoreSpec, unfinished: Option<&Journal>) -> FilesWish {
        if let (true, Some(journal)) = (spec.resume, unfinished) {
            return FilesWish { parts: journal.files.clone(), is_asked: true };
        }
        if self.wish.parts.is_empty() {
            let storage =
                file_parts(&spec.manifest).filter(|part| *part == PartName::Storage && spec.is_whole());
            return FilesWish { parts: storage.collect(), is_asked: false };
        }
        let parts = self.wish.parts.iter().copied().filter(|part| *part != PartName::Database);
        FilesWish { parts: parts.collect(), is_asked: true }
    }

    fn spec(&self, manifest: Manifest, only_database: Option<String>) -> RestoreSpec {
        RestoreSpec {
            only_database,
            files: FilesWish::default(),
            resume: self.wish.resume,
            safety: None,
            jobs: self.wish.jobs.unwrap_or_else(default_jobs),
            deadline: DEADLINE,
            manifest,
        }
    }

    async fn site(&self, id: &BackupId) -> Result<Box<dyn Site>, CommandError> {
        let run = format!("restore-{id}");
        Ok(self.context.unless_cancelled(self.ports.sites.live(&run)).await??)
    }

    async fn plan(&self, spec: &RestoreSpec, site: &dyn Site) -> Result<RestorePlan, CommandError> {
        let planned = plan(spec, site, &self.ports.backup);
        Ok(self.context.unless_cancelled(planned).await??)
    }

    /// Shows what would be done, asks, and does it.
    async fn carry_out(&self, prepared: Prepared, unfinished: Option<Journal>) -> Outcome {
        let Attempt { context, wish, ports, lock } = *self;
        let Prepared { mut spec, plan, site, name } = prepared;
        let remaining = spec.remaining(unfinished.as_ref());
        let replaced = plan.replaced();
        if !wish.no_safety_backup && !replaced.is_empty() {
            spec.safety = Some(context.wire.recipe().before_restore(replaced));
        }
        let rest = unfinished.as_ref().filter(|_| remaining != Remaining::Everything);
        match rest {
            Some(journal) => show_rest(context, journal, &plan, remaining),
            None => show_plan(context, &spec, &plan, unfinished.as_ref(), &name),
        }
        let possible = if rest.is_some() { Ok(()) } else { plan.possible() };
        if wish.dry_run {
            return dry_run(context, &plan, possible);
        }
        possible?;
        if !wish.yes {
            confirm(context, &plan.target).await?;
        }
        let compared = if is_foreign(&spec.manifest) { Compared::WithCount } else { Compared::WithRecord };
        match restore(&spec, &plan, &*site, ports, unfinished, lock, &context.cancel).await {
            Ok(report) => show_report(context, &report, &name, compared),
            Err(failure) => Err(explain(&spec, failure)),
        }
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
pub(super) async fn check_files(
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

fn show_plan(
    context: &Context,
    spec: &RestoreSpec,
    plan: &RestorePlan,
    unfinished: Option<&Journal>,
    name: &str,
) {
    let output = context.output;
    if output.json {
        return;
    }
    let head = &spec.manifest.head;
    let say = |name: &str, value: String| output.note(format!("{name:<12}{value}"));
    let is_named = name != head.id.as_str();
    say("restore", if is_named { name.to_owned() } else { format!("{name} of {}", show_time(head.started)) });
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
    restore_files::show_plan(output, &plan.files);
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
