//! `supakeep restore --table`, `--into` and the other parts, for which no service is stopped

use std::process::ExitCode;
use std::sync::Arc;

use supakeep_flow::backup::backup;
use supakeep_flow::cancel::Limits;
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Repository, RunLock, Site};
use supakeep_flow::restore::parts::{
    BesideReport, BesideSpec, DumpSource, Leave, PartPorts, PartsReport, TablesSpec, restore_beside,
    restore_data, restore_tables, tables_there,
};
use supakeep_flow::restore::{RestorePorts, restore_globals};
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{DatabaseRecord, Manifest};
use supakeep_model::manifest_head::Outcome as RunOutcome;

use super::restore::{DEADLINE, confirm};
use super::{Context, Outcome, progress, restore_file};
use crate::args::Parts;
use crate::failure::CommandError;
use crate::output::{Paint, right};

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
    if let Some(journal) = ports.backup.repository.journal()? {
        let message = format!("the restore of {} has not ended", journal.backup);
        return Err(CommandError::new(Code::RestoreUnfinished, message));
    }
    if let (Some(file), Some(into)) = (&wish.parts.file, &wish.parts.into) {
        let jobs = wish.jobs.unwrap_or(context.wire.settings.encoders);
        let leave = if wish.parts.schema_only { Leave::Rows } else { Leave::Nothing };
        return restore_file::run(context, &ports, file, BesideSpec::unknown(into, leave, jobs)).await;
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
    let major = |version: &str| version.split(['.', ' ']).next().unwrap_or_default().to_owned();
    let (recorded, there) =
        (&manifest.head.stack.server_version, &site.server().facts().record.server_version);
    if major(recorded) == major(there) {
        return Ok(());
    }
    let message =
        format!("nothing was touched: the backup is of PostgreSQL {recorded}, the server is {there}");
    Err(CommandError::new(Code::TargetUnfit, message))
}

struct Run<'a> {
    context: &'a Context,
    wish: &'a Wish,
    manifest: &'a Manifest,
    ports: &'a RestorePorts,
    site: &'a dyn Site,
    lock: &'a dyn RunLock,
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

    fn source(&self, record: &DatabaseRecord) -> Result<DumpSource, CommandError> {
        let repository = Arc::clone(&self.ports.backup.repository) as Arc<dyn Repository>;
        Ok(DumpSource::of_backup(self.manifest, repository, record)?)
    }

    /// Says what will be replaced, asks, and saves what is there.
    async fn prepare(&self, replaced: &str) -> Result<Option<BackupId>, CommandError> {
        self.context.output.note(format!("{:<12}{replaced}", "replaces"));
        if !self.wish.yes {
            confirm(self.context, &self.site.server().facts().record).await?;
        }
        if self.wish.no_safety_backup {
            return Ok(None);
        }
        let spec = self.context.wire.recipe().before_restore();
        let head = backup(&spec, &self.ports.backup, self.lock, &self.context.cancel).await?;
        if head.outcome == RunOutcome::Failed {
            let why = head.error.map(|error| error.message).unwrap_or_default();
            let message = format!(
                "what is there cannot be saved first, so nothing was touched: {why}. If it is worth nothing: --no-safety-backup"
            );
            return Err(CommandError::new(Code::RestoreFailed, message));
        }
        Ok(Some(head.id))
    }

    async fn tables(&self, record: &DatabaseRecord) -> Outcome {
        let parts = &self.wish.parts;
        let spec = TablesSpec {
            database: record.name.clone(),
            tables: parts.tables.clone(),
            into_schema: parts.into_schema.clone(),
        };
        let source = self.source(record)?;
        let mut safety = None;
        if spec.into_schema.is_none() {
            let there = tables_there(&spec.database, &spec.tables, self.site).await?;
            let names: Vec<_> = there.iter().map(|name| name.to_string()).collect();
            if self.wish.dry_run {
                self.context.output.note(format!("{:<12}{}", "replaces", names.join(", ")));
                return Ok(ExitCode::SUCCESS);
            }
            if !there.is_empty() {
                safety = self.prepare(&format!("the rows of {}", names.join(", "))).await?;
            }
        } else if self.wish.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        self.enter(Phase::RestoreDatabase, &record.name);
        let limits = self.limits();
        let progress = self.progress();
        let ports = PartPorts {
            site: self.site,
            source: &source,
            recorded: record.fingerprint.as_ref(),
            progress: &progress,
            limits: &limits,
        };
        let report = restore_tables(&spec, ports).await.map_err(of_transaction)?;
        self.show(&report, safety.as_ref())
    }

    async fn data(&self, record: &DatabaseRecord) -> Outcome {
        let source = self.source(record)?;
        if self.wish.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let safety =
            self.prepare(&format!("the rows of all tables of {} that the backup has", record.name)).await?;
        self.enter(Phase::RestoreDatabase, &record.name);
        let limits = self.limits();
        let progress = self.progress();
        let ports = PartPorts {
            site: self.site,
            source: &source,
            recorded: record.fingerprint.as_ref(),
            progress: &progress,
            limits: &limits,
        };
        let report = restore_data(&record.name, ports).await.map_err(of_transaction)?;
        self.show(&report, safety.as_ref())
    }

    async fn roles(&self) -> Outcome {
        if self.wish.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let safety = self
            .prepare("what roles may, their settings and passwords; those of the stack's services stay")
            .await?;
        self.enter(Phase::RestoreGlobals, "");
        let repository = &*self.ports.backup.repository;
        self.limits().apply(restore_globals(self.manifest, repository, self.site)).await?;
        self.show(&PartsReport::default(), safety.as_ref())
    }

    async fn beside(&self, name: &str, record: &DatabaseRecord) -> Outcome {
        let source = self.source(record)?;
        if self.wish.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let leave = if self.wish.parts.schema_only { Leave::Rows } else { Leave::Nothing };
        let spec = BesideSpec {
            name: name.to_owned(),
            record: Some(record.clone()),
            dump: Some(self.manifest.head.dump.clone()),
            leave,
            jobs: self.wish.jobs.unwrap_or(self.context.wire.settings.encoders),
        };
        self.enter(Phase::RestoreDatabase, name);
        let limits = self.limits();
        let progress = self.progress();
        let ports = PartPorts {
            site: self.site,
            source: &source,
            recorded: record.fingerprint.as_ref(),
            progress: &progress,
            limits: &limits,
        };
        let report = restore_beside(&spec, ports).await.map_err(|failure| of_beside(name, failure))?;
        show_beside(self.context, self.manifest.head.id.as_str(), name, &report)
    }

    fn progress(&self) -> impl Fn(u64) + Send + Sync {
        let id = self.manifest.head.id.clone();
        let observer = Arc::clone(&self.ports.backup.observer);
        move |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes })
    }

    fn show(&self, report: &PartsReport, safety: Option<&BackupId>) -> Outcome {
        let output = self.context.output;
        if output.json {
            let tables: Vec<_> = report
                .tables
                .iter()
                .map(|table| {
                    serde_json::json!({
                        "schema": table.name.schema, "name": table.name.name, "made": table.made,
                        "rows": table.rows, "difference": table.difference,
                    })
                })
                .collect();
            output.json(&serde_json::json!({
                "restored": self.manifest.head.id, "safety_backup": safety, "tables": tables,
                "violations": report.violations, "notes": report.notes,
            }));
        } else {
            show_tables(self.context, report);
            output.line(format!("restored from {}", self.manifest.head.id));
            if let Some(safety) = safety {
                output.line(format!("what was there before is in {safety}"));
            }
        }
        report.notes.iter().for_each(|note| output.note(format!("note: {note}")));
        outcome(&report.differences())
    }
}

fn show_tables(context: &Context, report: &PartsReport) {
    if report.tables.is_empty() {
        return;
    }
    let output = context.output;
    let mut table = output.table(&["TABLE", "", "ROWS", "COMPARED"]);
    for restored in &report.tables {
        let (word, paint) =
            if restored.difference.is_none() { ("equal", Paint::Good) } else { ("DIFFERENT", Paint::Bad) };
        table.add_row(vec![
            comfy_table::Cell::new(restored.name.to_string().escape_debug()),
            comfy_table::Cell::new(if restored.made { "made" } else { "replaced" }),
            right(restored.rows),
            comfy_table::Cell::new(output.paint(word, paint)),
        ]);
    }
    output.print(&table);
}

/// What became of a database that was made beside the others.
pub(super) fn show_beside(context: &Context, from: &str, name: &str, report: &BesideReport) -> Outcome {
    let output = context.output;
    if output.json {
        output.json(&serde_json::json!({
            "restored": from, "into": name, "tables": report.tables, "rows": report.rows,
            "differences": report.differences, "notes": report.notes,
        }));
    } else {
        output.line(format!(
            "restored {from} into the database {name}: {} tables, {} rows",
            report.tables, report.rows
        ));
    }
    report.notes.iter().for_each(|note| output.note(format!("note: {note}")));
    outcome(&report.differences)
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

fn outcome(differences: &[String]) -> Outcome {
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError::new(Code::RestoreDiffers, differences.join("\n  ")).after_result())
}
