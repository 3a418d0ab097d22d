//! `supakeep import`

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use supakeep_flow::cancel::Limits;
use supakeep_flow::export::{ExportPorts, export};
use supakeep_flow::failure::{Failure, io_code};
use supakeep_flow::import::{
    ImportPlan, ImportReport, ImportSource, ImportSpec, Mode, import, plan_import, survey,
};
use supakeep_flow::ports::{Exports, Observer as _, RunLock};
use supakeep_model::artifact::Encoding;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::export::{ExportManifest, FILE, RowFormat, RowsSpec, TablePattern};
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::Trigger;
use supakeep_model::quantity::show_time;

use super::exports::{catalog, find};
use super::restore::{DEADLINE, confirm, dry_run};
use super::{Context, Outcome, progress};
use crate::args::ImportArgs;
use crate::failure::CommandError;

/// What is in front of the time in the name of what was there before.
const SAVED: &str = "pre-import";

pub(crate) async fn run(context: &Context, wish: ImportArgs) -> Outcome {
    let observer = progress(context.output);
    let ports = context.wire.restore_ports(observer.clone())?;
    let lock = ports.backup.repository.lock()?;
    if let Some(journal) = ports.backup.repository.journal()? {
        let message = format!("the restore of {} has not ended", journal.backup);
        return Err(CommandError::new(Code::RestoreUnfinished, message));
    }
    let (source, database) = source(context, &wish)?;
    let id: BackupId = "import".parse().map_err(|error| CommandError::new(Code::Internal, error))?;
    let enter = |phase, subject: &str| {
        let (id, subject) = (id.clone(), subject.to_owned());
        observer.observe(&RunEvent::Entered { id, phase, subject, expected_bytes: None });
    };
    enter(Phase::Verify, &source.name);
    let surveyed = context.unless_cancelled(survey(&source)).await??;
    let spec = ImportSpec {
        database: wish.database.clone().unwrap_or(database),
        table: wish.into.clone().unwrap_or_else(|| wish.table.clone()),
        mode: wish.mode,
        cascade: wish.cascade,
        accept_loss: wish.accept_loss,
    };
    let site = context.unless_cancelled(ports.sites.live("import")).await??;
    if !site.server().facts().is_superuser {
        return Err(CommandError::new(Code::PrivilegesMissing, "stack.user is not a superuser"));
    }
    let plan = context.unless_cancelled(plan_import(&spec, &source, &surveyed, &*site)).await??;
    show_plan(context, &plan, &wish, &source);
    if wish.dry_run {
        return dry_run(context, &plan, plan.possible());
    }
    plan.possible()?;
    if !wish.yes {
        confirm(context, &site.server().facts().record).await?;
    }
    let saved = match wish.no_safety_backup || plan.touched().is_empty() {
        true => None,
        false => Some(save(context, &spec, &plan, &*lock).await?),
    };
    enter(Phase::ImportTable, &spec.table.to_string());
    let told = Arc::clone(&observer);
    let told_of = id.clone();
    let moving =
        move |source_bytes| told.observe(&RunEvent::Progressed { id: told_of.clone(), source_bytes });
    let limits = Limits::new(context.cancel.clone(), DEADLINE);
    let report = import(&spec, &plan, &source, &surveyed, &*site, moving, &limits).await?;
    show_report(context, &report, saved.as_ref());
    Ok(ExitCode::SUCCESS)
}

/// The file, and the database that it is from.
fn source(context: &Context, wish: &ImportArgs) -> Result<(ImportSource, String), CommandError> {
    if let Some(file) = &wish.file {
        return Ok((of_file(file)?, RowsSpec::DATABASE.to_owned()));
    }
    let catalog = catalog(context)?;
    let manifest = find(context, &catalog, wish.export.as_deref().unwrap_or_default())?;
    let Some(record) = manifest.table(&wish.table.schema, &wish.table.name) else {
        let there: Vec<_> =
            manifest.tables.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect();
        let message = format!("{} has no table {}; it has {}", manifest.id, wish.table, there.join(", "));
        return Err(CommandError::new(Code::UsageInvalid, message));
    };
    let exports = Arc::clone(&context.wire.exports) as Arc<dyn Exports>;
    let (id, path) = (manifest.id.clone(), record.path.clone());
    let source = ImportSource {
        name: format!("{}/{}", manifest.id, record.path),
        format: manifest.rows,
        encoding: record.encoding,
        record: Some(record.clone()),
        open: Arc::new(move || Ok(exports.open(&id, &path)?)),
    };
    Ok((source, manifest.database.clone()))
}

fn of_file(file: &Path) -> Result<ImportSource, CommandError> {
    let cannot = |error: &std::io::Error| format!("cannot read {}: {error}", file.display());
    let read = |error: std::io::Error| CommandError::new(Code::UsageInvalid, cannot(&error));
    let mut beginning = [0; 4];
    let mut opened = std::fs::File::open(file).map_err(read)?;
    if !opened.metadata().map_err(read)?.is_file() {
        let message = format!("{} is no file: it is read twice, so it cannot be a pipe", file.display());
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let length = opened.read(&mut beginning).map_err(read)?;
    let encoding = match &beginning[..length] {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Encoding::Zstd,
        _ => Encoding::Identity,
    };
    let path = file.to_owned();
    let open = move || {
        let opened = std::fs::File::open(&path);
        let opened = opened.map_err(|error| {
            Failure::new(io_code(&error), format!("cannot read {}: {error}", path.display()))
        })?;
        Ok(Box::new(tokio::fs::File::from_std(opened)) as supakeep_flow::ports::Stored)
    };
    Ok(ImportSource {
        name: file.display().to_string(),
        format: format_of(file)?,
        encoding,
        record: recorded(file)?,
        open: Arc::new(open),
    })
}

/// By its name: `orders.csv`, `orders.jsonl.zst`.
fn format_of(file: &Path) -> Result<RowFormat, CommandError> {
    let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("jsonl" | "ndjson") => Ok(RowFormat::Jsonl),
        Some("csv") => Ok(RowFormat::Csv),
        _ => {
            let message = format!(
                "{}: how its rows are written is told by its name: .jsonl or .csv, .gz or .zst after it",
                file.display()
            );
            Err(CommandError::new(Code::UsageInvalid, message))
        }
    }
}

/// What the manifest beside it says of it, where it is a file of an export that was copied as a whole.
fn recorded(file: &Path) -> Result<Option<supakeep_model::export::TableRecord>, CommandError> {
    let Ok(json) = std::fs::read(file.with_file_name(FILE)) else { return Ok(None) };
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match ExportManifest::parse(&json) {
        Ok(manifest) => Ok(manifest.tables.into_iter().find(|table| table.path == name)),
        // Whatever it is the manifest of, it says nothing of this file.
        Err(_) => Ok(None),
    }
}

/// Exports what is removed or changed.
async fn save(
    context: &Context,
    spec: &ImportSpec,
    plan: &ImportPlan,
    lock: &dyn RunLock,
) -> Result<BackupId, CommandError> {
    let exact = |name: &supakeep_flow::inspect::select::Name| TablePattern::exact(&name.schema, &name.name);
    let rows = RowsSpec {
        database: spec.database.clone(),
        ..RowsSpec::of(plan.touched().iter().map(exact).collect())
    };
    let mut saving = context.wire.export_spec(SAVED, rows);
    saving.trigger = Trigger::PreRestore;
    let ports: ExportPorts = context.wire.export_ports(progress(context.output))?;
    let saved = export(&saving, &ports, lock, &context.cancel).await.map_err(|failure| {
        let message = format!(
            "what is there cannot be saved first, so nothing was touched: {}. If it is worth nothing: --no-safety-backup",
            failure.message
        );
        CommandError::new(failure.code, message)
    })?;
    Ok(saved.id)
}

fn show_plan(context: &Context, plan: &ImportPlan, wish: &ImportArgs, source: &ImportSource) {
    let output = context.output;
    if output.json {
        return;
    }
    let say = |name: &str, value: String| output.note(format!("{name:<12}{value}"));
    say("import", format!("{} rows of {}", plan.rows, plan.source));
    let known = match &source.record {
        Some(_) => "its digest is the one that was recorded".to_owned(),
        None => "nothing is known of it but what is in it".to_owned(),
    };
    say("file", format!("read to its end; {known}"));
    say("into", format!("{} of {}, {}", plan.table, plan.database, plan.mode));
    say("columns", plan.columns.join(", "));
    if !plan.left_to_the_table.is_empty() {
        say("not filled", plan.left_to_the_table.join(", "));
    }
    if !plan.sequences.is_empty() {
        say("sequences", format!("{}, moved on where they are behind", plan.sequences.join(", ")));
    }
    let way_back = match (plan.mode, wish.no_safety_backup) {
        (Mode::Append, _) => "nothing is removed or changed, so nothing is saved first".to_owned(),
        (_, true) => "nothing is saved first".to_owned(),
        (_, false) => format!("{} is exported first, as {SAVED}_…", plan.saved_first.join(", ")),
    };
    say("way back", way_back);
    plan.notes.iter().for_each(|note| say("note", note.clone()));
}

fn show_report(context: &Context, report: &ImportReport, saved: Option<&BackupId>) {
    let output = context.output;
    if output.json {
        output.json(&serde_json::json!({ "import": report, "saved": saved }));
        return;
    }
    let now = show_time(context.wire.clock.now());
    output.line(format!("{}: {} rows imported ({}), counted, {now}", report.table, report.rows, report.mode));
    if let Some(saved) = saved {
        let table = &report.table;
        output.line(format!("back: supakeep import {saved} --table {table} --mode replace"));
    }
}
