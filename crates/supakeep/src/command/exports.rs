//! `supakeep exports`

use std::process::ExitCode;

use comfy_table::Cell;
use supakeep_flow::export::differs;
use supakeep_flow::failure::io_code;
use supakeep_flow::ports::{Exports as _, Repository as _};
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::export::{ExportCatalog, ExportManifest, ExportQuery, TableRecord, Treatment};
use supakeep_model::quantity::{show_bytes, show_duration, show_time};

use super::question::ask;
use super::{Context, Outcome};
use crate::failure::CommandError;
use crate::output::right;

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which one.
    pub(crate) id: Option<String>,
    /// Read its files.
    pub(crate) verify: bool,
    /// Remove it.
    pub(crate) delete: bool,
    /// Do not ask.
    pub(crate) yes: bool,
}

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let catalog = catalog(context)?;
    let Some(id) = &wish.id else {
        list(context, &catalog);
        return Ok(ExitCode::SUCCESS);
    };
    let manifest = find(context, &catalog, id)?;
    if wish.verify {
        return verify(context, manifest).await;
    }
    if wish.delete {
        return delete(context, manifest, wish.yes).await;
    }
    show(context, manifest);
    Ok(ExitCode::SUCCESS)
}

/// Reads the catalog; complains of manifests that cannot be read.
pub(super) fn catalog(context: &Context) -> Result<ExportCatalog, CommandError> {
    let catalog = context.wire.exports.catalog()?;
    for unreadable in catalog.unreadable() {
        let (code, folder) = (unreadable.error.code(), &unreadable.folder);
        context.output.note(format!("warning[{code}]: exports/{folder}: {}", unreadable.error));
    }
    Ok(catalog)
}

/// The export that a person means.
pub(super) fn find<'a>(
    context: &Context,
    catalog: &'a ExportCatalog,
    id: &str,
) -> Result<&'a ExportManifest, CommandError> {
    let query: ExportQuery = id.parse().unwrap_or_else(|never| match never {});
    let found = catalog.find(&query, context.wire.clock.now());
    found.map_err(|error| CommandError::new(error.code(), error.to_string()))
}

fn list(context: &Context, catalog: &ExportCatalog) {
    let output = context.output;
    if output.json {
        // What lists need: the columns of every table are asked for by id.
        let entries: Vec<_> =
            catalog.entries().map(|entry| ExportManifest { tables: vec![], ..entry.clone() }).collect();
        output.json(&entries);
        return;
    }
    if catalog.entries().len() == 0 {
        output.note("no exports yet; `supakeep export` makes one");
        return;
    }
    let now = context.wire.clock.now();
    let mut table = output.table(&["ID", "EXPORT", "FORMAT", "AGE", "TABLES", "ROWS", "SIZE", "TOOK"]);
    for entry in catalog.entries() {
        table.add_row(vec![
            Cell::new(&entry.id),
            Cell::new(entry.export.as_deref().unwrap_or("-")),
            Cell::new(entry.rows),
            right(show_duration(now - entry.started)),
            right(entry.totals.tables),
            right(entry.totals.rows),
            right(show_bytes(entry.totals.stored_bytes)),
            right(show_duration(Duration::seconds_f64(entry.duration_seconds.ceil()))),
        ]);
    }
    output.print(&table);
}

fn show(context: &Context, manifest: &ExportManifest) {
    let output = context.output;
    if output.json {
        output.json(manifest);
        return;
    }
    let say = |name: &str, value: String| output.line(format!("{name:<10}{value}"));
    say("export", format!("{} ({})", manifest.id, manifest.export.as_deref().unwrap_or("by hand")));
    say("made", show_time(manifest.started));
    let (database, version) = (&manifest.database, &manifest.stack.server_version);
    say("of", format!("{database} as of {}, PostgreSQL {version}", show_time(manifest.snapshot_at)));
    say("format", format!("{}, {}", manifest.rows, manifest.compression));
    if let Some(hash) = &manifest.hash {
        say("hashes", format!("{}, key {}", hash.algorithm, hash.key_id));
    }
    for table in &manifest.tables {
        show_table(context, table);
    }
    manifest.warnings.iter().for_each(|warning| say("warning", warning.clone()));
}

fn show_table(context: &Context, table: &TableRecord) {
    let output = context.output;
    let size = show_bytes(table.bytes);
    output.line(format!("\n{}  {} rows, {size}, sha256 {}", table.path, table.rows, table.sha256));
    if let Some(filter) = &table.filter {
        output.line(format!("  where {filter}"));
    }
    for column in &table.columns {
        let treatment = match column.treatment {
            Treatment::Kept => "",
            Treatment::Hashed => "  hashed",
            Treatment::LeftOut => "  left out",
        };
        let generated = if column.generated { "  generated" } else { "" };
        let identity = if column.identity.is_some() { "  identity" } else { "" };
        output.line(format!("  {} {}{treatment}{identity}{generated}", column.name, column.sql_type));
    }
}

async fn verify(context: &Context, manifest: &ExportManifest) -> Outcome {
    let mut differences = Vec::new();
    for table in &manifest.tables {
        let stored = match context.wire.exports.open(&manifest.id, &table.path) {
            Ok(stored) => stored,
            Err(error) => {
                differences.push(error.message);
                continue;
            }
        };
        let read = context.unless_cancelled(differs(table, stored)).await?;
        differences.extend(read.map_err(|error| CommandError::new(io_code(&error), error.to_string()))?);
    }
    if differences.is_empty() {
        context.output.note(format!("{}: its files are what was written", manifest.id));
        if context.output.json {
            context.output.json(&serde_json::json!({ "id": manifest.id, "ok": true }));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("{} is not what was written:\n  {}", manifest.id, differences.join("\n  "));
    Err(CommandError::new(Code::VerifyFailed, message))
}

async fn delete(context: &Context, manifest: &ExportManifest, yes: bool) -> Outcome {
    let untouched = "nothing was deleted";
    if !yes {
        let prompt = format!("delete {}? type yes: ", manifest.id);
        if ask(context, "deleting", &prompt, untouched).await? != "yes" {
            return Err(CommandError::new(Code::Cancelled, untouched));
        }
    }
    let _lock = context.wire.repository.lock()?;
    context.wire.exports.remove(&manifest.id)?;
    context.output.note(format!("deleted {}", manifest.id));
    if context.output.json {
        context.output.json(&serde_json::json!({ "deleted": [manifest.id] }));
    }
    Ok(ExitCode::SUCCESS)
}
