//! `supakeep restore --table`, `--into` and the other parts, for which no service is stopped

use std::process::ExitCode;
use std::sync::Arc;

use supakeep_flow::cancel::Limits;
use supakeep_flow::failure::Failure;
use supakeep_flow::inspect::select::Contents;
use supakeep_flow::ports::{Repository, RunLock, Site};
use supakeep_flow::restore::parts::{
    BesideSpec, DumpSource, Leave, PartKind, PartPlan, PartPorts, PartsReport, TablesSpec, plan_beside,
    plan_data, plan_tables, restore_beside, restore_data, restore_tables,
};
use supakeep_flow::restore::{RestorePorts, other_version, plan_globals, restore_globals, save_first};
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::fingerprint::Fingerprint;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{DatabaseRecord, Manifest};
use supakeep_model::manifest_head::Outcome as RunOutcome;

mod report;

use report::show_parts;
pub(super) use report::{show_beside, show_plan};

use super::restore::{DEADLINE, confirm, dry_run};
use super::{Context, Outcome, progress, restore_file};
use crate::args::Parts;
use crate::config::default_jobs;
use crate::failure::CommandError;

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which backup; none with a file.
    pub(crate) id: Option<String>,
    /// Which database; `postgres` where nothing is said.
    pub(crate) only_database: Option<String>,
    /// Save nothing first.
    pub(crate) no_safety_backup: bool,
    /// Jobs side by side.
    pub(crate) jobs: Option<usize>,
    /// Only show what would be done.
    pub(crate) dry_run: bool,
    /// Do not ask.
    pub(crate) yes: bool,
    /// The part.
    pub(crate) parts: Parts,
}

/// The database of Supabase's that people mean.
const DATABASE: &str = "postgres";

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let ports = context.wire.restore_ports(progress(context.output))?;
    let lock = ports.backup.repository.lock()?;
    context.settle().await;
    if let Some(journal) = ports.backup.repository.journal()? {
        let message = format!("the restore of {} has not ended", journal.backup);
        return Err(CommandError::new(Code::RestoreUnfinished, message));
    }
    if let (Some(file), Some(into)) = (&wish.parts.file, &wish.parts.into) {
        let jobs = wish.jobs.unwrap_or_else(default_jobs);
        let spec = BesideSpec::unknown(into, leave(&wish), jobs);
        return restore_file::run(context, &ports, file, spec, wish.dry_run).await;
    }
    let manifest = chosen(context, wish.id.as_deref().unwrap_or_default())?;
    let name = format!("restore-{}", manifest.head.id);
    let site = context.unless_cancelled(ports.sites.live(&name)).await??;
    if !site.server().facts().is_superuser {
        return Err(CommandError::new(Code::TargetUnfit, "stack.user is not a superuser"));
    }
    let run = Run { context, wish: &wish, manifest: &manifest, ports: &ports, site: &*site, lock: &*lock };
    if wish.parts.roles_only {
        return run.roles().await;
    }
    fits(&manifest, &*site)?;
    let record = run.database()?;
    match &wish.parts.into {
        Some(name) => run.beside(name, record).await,
        None if wish.parts.data_only => run.data(record).await,
        None => run.tables(record).await,
    }
}

fn chosen(context: &Context, id: &str) -> Result<Manifest, CommandError> {
    let head = context.find(&context.catalog()?, id)?;
    if head.outcome == RunOutcome::Failed {
        let message = format!("{} is the record of a failed run: there is nothing to restore", head.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    if !head.is_good() {
        context.output.note(format!("note: {} is suspect, or its last verification failed", head.id));
    }
    Ok(context.wire.repository.manifest(&head.id)?)
}

/// A dump is read by programs of its own major version.
fn fits(manifest: &Manifest, site: &dyn Site) -> Result<(), CommandError> {
    let (recorded, there) =
        (&manifest.head.stack.server_version, &site.server().facts().record.server_version);
    match other_version(recorded, there) {
        Some(other) => Err(CommandError::new(Code::TargetUnfit, format!("nothing was touched: {other}"))),
        None => Ok(()),
    }
}

fn leave(wish: &Wish) -> Leave {
    if wish.parts.schema_only { Leave::Rows } else { Leave::Nothing }
}

struct Run<'a> {
    context: &'a Context,
    wish: &'a Wish,
    manifest: &'a Manifest,
    ports: &'a RestorePorts,
    site: &'a dyn Site,
    lock: &'a dyn RunLock,
}

/// What the restore of a part of one database works with.
struct Work<'a> {
    site: &'a dyn Site,
    source: DumpSource,
    recorded: Option<&'a Fingerprint>,
    progress: Box<dyn Fn(u64) + Send + Sync>,
    limits: Limits,
}

impl Work<'_> {
    fn ports(&self) -> PartPorts<'_> {
        PartPorts {
            site: self.site,
            source: &self.source,
            recorded: self.recorded,
            progress: &*self.progress,
            limits: &self.limits,
        }
    }

    /// What the dump holds. A dry run has read every file when it says that nothing stands in the way; a
    /// restore reads those that it needs.
    async fn contents(&self, all: bool) -> Result<Contents, CommandError> {
        let contents = self.ports().survey().await?;
        if all {
            self.ports().check(&contents).await?;
        }
        Ok(contents)
    }
}

impl Run<'_> {
    fn database(&self) -> Result<&DatabaseRecord, CommandError> {
        let name = self.wish.only_database.as_deref().unwrap_or(DATABASE);
        self.manifest.database(name).ok_or_else(|| {
            let there: Vec<_> =
                self.manifest.databases.iter().map(|database| database.name.as_str()).collect();
            let message = format!("the backup has no database {name}; it has {}", there.join(", "));
            CommandError::new(Code::UsageInvalid, message)
        })
    }

    fn enter(&self, phase: Phase, subject: &str) {
        self.ports.backup.observer.observe(&RunEvent::Entered {
            id: self.manifest.head.id.clone(),
            phase,
            subject: subject.to_owned(),
            expected_bytes: None,
        });
    }

    fn limits(&self) -> Limits {
        Limits::new(self.context.cancel.clone(), DEADLINE)
    }

    fn work<'r>(&'r self, record: &'r DatabaseRecord) -> Result<Work<'r>, CommandError> {
        let repository = Arc::clone(&self.ports.backup.repository) as Arc<dyn Repository>;
        let id = self.manifest.head.id.clone();
        let observer = Arc::clone(&self.ports.backup.observer);
        Ok(Work {
            site: self.site,
            source: DumpSource::of_backup(self.manifest, repository, record)?,
            recorded: record.fingerprint.as_ref(),
            progress: Box::new(move |source_bytes| {
                observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
            }),
            limits: self.limits(),
        })
    }

    /// Whether to go on: not in a dry run, and not where something stands in the way.
    fn decide(&self, plan: &PartPlan) -> Result<bool, CommandError> {
        show_plan(self.context.output, plan);
        if self.wish.dry_run {
            return dry_run(self.context, plan, plan.possible()).map(|_| false);
        }
        plan.possible()?;
        Ok(true)
    }

    /// Asks, and saves what is replaced: `database`, or any where it belongs to none.
    async fn prepare(&self, database: Option<&DatabaseRecord>) -> Result<Option<BackupId>, CommandError> {
        let facts = self.site.server().facts();
        if !self.wish.yes {
            confirm(self.context, &facts.record).await?;
        }
        if self.wish.no_safety_backup {
            return Ok(None);
        }
        let saved = database.map_or(DATABASE, |record| &record.name);
        let saved = facts.databases.iter().filter(|name| *name == saved).cloned().collect();
        let spec = self.context.wire.recipe().before_restore(saved);
        Ok(Some(save_first(&spec, &self.ports.backup, self.lock, &self.context.cancel).await?))
    }

    async fn tables(&self, record: &DatabaseRecord) -> Outcome {
        let parts = &self.wish.parts;
        let spec = TablesSpec {
            database: record.name.clone(),
            tables: parts.tables.clone(),
            into_schema: parts.into_schema.clone(),
        };
        let work = self.work(record)?;
        let contents = work.contents(self.wish.dry_run).await?;
        let plan = plan_tables(&spec, work.ports(), &contents).await?;
        if !self.decide(&plan)? {
            return Ok(ExitCode::SUCCESS);
        }
        let mut safety = None;
        if !plan.replaces.is_empty() {
            safety = self.prepare(Some(record)).await?;
        }
        self.enter(Phase::RestoreDatabase, &record.name);
        let report = restore_tables(&spec, work.ports(), contents).await.map_err(of_transaction)?;
        show_parts(self.context, &self.manifest.head.id, &report, safety.as_ref())
    }

    async fn data(&self, record: &DatabaseRecord) -> Outcome {
        let work = self.work(record)?;
        let contents = work.contents(self.wish.dry_run).await?;
        let plan = plan_data(&record.name, work.ports(), &contents).await?;
        if !self.decide(&plan)? {
            return Ok(ExitCode::SUCCESS);
        }
        let safety = self.prepare(Some(record)).await?;
        self.enter(Phase::RestoreDatabase, &record.name);
        let report = restore_data(&record.name, work.ports(), &contents).await.map_err(of_transaction)?;
        show_parts(self.context, &self.manifest.head.id, &report, safety.as_ref())
    }

    async fn roles(&self) -> Outcome {
        let repository = &*self.ports.backup.repository;
        let mut plan = PartPlan::new(PartKind::Roles, "");
        let planned = plan_globals(self.manifest, repository, self.site);
        let planned = self.limits().apply(planned).await?;
        (plan.makes, plan.replaces) = (planned.makes, planned.alters);
        plan.notes.push(
            "what roles may, their settings and passwords are replaced; passwords of the stack's services stay"
                .to_owned(),
        );
        if !self.decide(&plan)? {
            return Ok(ExitCode::SUCCESS);
        }
        let safety = self.prepare(None).await?;
        self.enter(Phase::RestoreGlobals, "");
        let restored = self.limits().apply(restore_globals(self.manifest, repository, self.site)).await;
        restored.map_err(|failure| of_roles(failure, safety.as_ref()))?;
        show_parts(self.context, &self.manifest.head.id, &PartsReport::default(), safety.as_ref())
    }

    async fn beside(&self, name: &str, record: &DatabaseRecord) -> Outcome {
        let work = self.work(record)?;
        let spec = BesideSpec {
            name: name.to_owned(),
            record: Some(record.clone()),
            dump: Some(self.manifest.head.dump.clone()),
            leave: leave(self.wish),
            jobs: self.wish.jobs.unwrap_or_else(default_jobs),
        };
        let contents = work.contents(self.wish.dry_run).await?;
        let plan = plan_beside(&spec, work.ports(), &contents).await?;
        if !self.decide(&plan)? {
            return Ok(ExitCode::SUCCESS);
        }
        self.enter(Phase::RestoreDatabase, name);
        let restored = restore_beside(&spec, work.ports(), &contents).await;
        let report = restored.map_err(|failure| of_beside(name, failure))?;
        show_beside(self.context, self.manifest.head.id.as_str(), name, &report)
    }
}

/// What a failure has left of the roles.
fn of_roles(failure: Failure, safety: Option<&BackupId>) -> CommandError {
    let state = match failure.code {
        Code::RestoreFailed => "no role was changed: it was one transaction",
        _ => "it was one transaction: either all roles were changed, or none",
    };
    let saved = safety.map(|id| format!("\n  what was there before is in {id}")).unwrap_or_default();
    CommandError::new(failure.code, format!("{}\n  {state}{saved}", failure.message))
}

/// What a failure has left of a transaction.
fn of_transaction(failure: Failure) -> CommandError {
    let state = match failure.code {
        // They say themselves that nothing was touched.
        Code::TargetUnfit | Code::VerifyFailed | Code::DumpIncomplete => return failure.into(),
        Code::RestoreFailed => "nothing was changed: it was one transaction",
        _ => "it was one transaction: either all of it was done, or nothing was changed",
    };
    CommandError::new(failure.code, format!("{}\n  {state}", failure.message))
}

/// What a failure has left of a new database.
pub(super) fn of_beside(name: &str, failure: Failure) -> CommandError {
    if matches!(failure.code, Code::TargetUnfit | Code::VerifyFailed | Code::DumpIncomplete) {
        return failure.into();
    }
    let state = format!("nothing else was changed, and there is no half of the database {name}");
    CommandError::new(failure.code, format!("{}\n  {state}", failure.message))
}
