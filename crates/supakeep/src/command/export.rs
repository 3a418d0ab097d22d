//! `supakeep export`

use std::process::ExitCode;

use supakeep_flow::export::{ExportSpec, PlannedTable, export_and_prune, plan_export};
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::export::{ExportManifest, ExportProfile, RowsSpec, Treatment};
use supakeep_model::quantity::{show_bytes, show_duration};

use super::{Context, Outcome, progress};
use crate::args::ExportArgs;
use crate::failure::CommandError;

/// What is in front of the time in the name of an export by hand.
const BY_HAND: &str = "export";

pub(crate) async fn run(context: &Context, wish: ExportArgs) -> Outcome {
    let specs = specify(context, &wish)?;
    if wish.dry_run {
        return context.unless_cancelled(dry_run(context, &specs)).await?;
    }
    let mut made = Vec::with_capacity(specs.len());
    {
        let ports = context.wire.export_ports(progress(context.output))?;
        let lock = ports.repository.lock()?;
        context.settle().await;
        for spec in &specs {
            let configured = &context.wire.settings.exports;
            match export_and_prune(spec, configured, &ports, &*lock, &context.cancel).await {
                Ok(manifest) => made.push(manifest),
                Err(failure) => {
                    report(context, &made);
                    let error = CommandError::from(failure.while_doing(&spec.prefix));
                    return Err(if made.is_empty() { error } else { error.after_result() });
                }
            }
        }
    }
    report(context, &made);
    Ok(ExitCode::SUCCESS)
}

fn specify(context: &Context, wish: &ExportArgs) -> Result<Vec<ExportSpec>, CommandError> {
    let configured = &context.wire.settings.exports;
    if wish.names.is_empty() && !wish.tables.is_empty() {
        return Ok(vec![by_hand(context, wish)]);
    }
    let chosen: Vec<&ExportProfile> = if wish.names.is_empty() {
        configured.iter().collect()
    } else {
        wish.names.iter().map(|name| named(configured, name)).collect::<Result<_, _>>()?
    };
    if chosen.is_empty() {
        let message = "no export is configured ([[exports]]), and no table is named (--table)";
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    chosen.into_iter().map(|export| of_profile(context, export, wish)).collect()
}

fn named<'a>(configured: &'a [ExportProfile], name: &str) -> Result<&'a ExportProfile, CommandError> {
    let found = configured.iter().find(|export| export.name == name);
    found.ok_or_else(|| CommandError::new(Code::ExportNotFound, format!("no export {name:?} is configured")))
}

fn of_profile(
    context: &Context,
    export: &ExportProfile,
    wish: &ExportArgs,
) -> Result<ExportSpec, CommandError> {
    let mut rows = changed(export.rows.clone(), wish);
    let is_whole = wish.tables.is_empty();
    rows.only.clone_from(&wish.tables);
    let mut spec = context.wire.export_spec(&export.name, rows);
    spec.deadline = export.deadline;
    // A part of it is not what others rely on when they look for the newest.
    spec.export = is_whole.then(|| export.name.clone());
    Ok(spec)
}

fn by_hand(context: &Context, wish: &ExportArgs) -> ExportSpec {
    let mut rows = changed(RowsSpec::of(wish.tables.clone()), wish);
    if let Some(database) = &wish.database {
        rows.database.clone_from(database);
    }
    context.wire.export_spec(BY_HAND, rows)
}

fn changed(mut rows: RowsSpec, wish: &ExportArgs) -> RowsSpec {
    rows.format = wish.format.unwrap_or(rows.format);
    rows.compression = wish.compression.unwrap_or(rows.compression);
    rows.exclude.extend(wish.exclude.iter().cloned());
    rows.hash.extend(wish.hash.iter().cloned());
    rows
}

/// What a configured export hides, and an export by hand shows.
fn shown_here_alone(context: &Context, spec: &ExportSpec, tables: &[PlannedTable]) -> Vec<String> {
    let mut notes = Vec::new();
    for export in context.wire.settings.exports.iter().filter(|_| spec.export.is_none()) {
        let hidden = || export.rows.exclude.iter().chain(&export.rows.hash);
        for table in tables {
            let kept = table.columns.iter().filter(|column| column.treatment == Treatment::Kept);
            for column in kept
                .filter(|column| hidden().any(|rule| rule.matches(&table.schema, &table.name, &column.name)))
            {
                let (schema, name, column) = (&table.schema, &table.name, &column.name);
                let other = &export.name;
                notes.push(format!("{schema}.{name}.{column} is written as it is; export {other} hides it"));
            }
        }
    }
    notes
}

async fn dry_run(context: &Context, specs: &[ExportSpec]) -> Outcome {
    let stack = context.wire.looking()?;
    let output = context.output;
    let mut plans = Vec::with_capacity(specs.len());
    for spec in specs {
        let (tables, mut notes) = plan_export(spec, &stack).await?;
        notes.extend(shown_here_alone(context, spec, &tables));
        if !output.json {
            show_plan(context, spec, &tables);
        }
        notes.iter().for_each(|note| output.note(format!("warning: {note}")));
        plans.push(serde_json::json!({
            "export": spec.export, "prefix": spec.prefix, "database": spec.rows.database, "format": spec.rows.format,
            "compression": spec.rows.compression, "tables": tables, "warnings": notes,
        }));
    }
    if output.json {
        output.json(&serde_json::json!({ "dry_run": true, "exports": plans }));
    }
    Ok(ExitCode::SUCCESS)
}

fn show_plan(context: &Context, spec: &ExportSpec, tables: &[PlannedTable]) {
    let output = context.output;
    output.line(format!("would write  {}/{}_…", context.wire.exports.folder().display(), spec.prefix));
    let (format, compression) = (spec.rows.format, spec.rows.compression);
    output.line(format!("of           {}, as {format}, {compression}", spec.rows.database));
    for table in tables {
        let rows = table.estimated_rows.map_or("? rows".to_owned(), |rows| format!("about {rows} rows"));
        output.line(format!("  {}  ({rows})", table.path));
        for (treatment, word) in [(Treatment::LeftOut, "left out"), (Treatment::Hashed, "hashed")] {
            let columns: Vec<_> = table
                .columns
                .iter()
                .filter(|column| column.treatment == treatment)
                .map(|column| column.name.as_str())
                .collect();
            if !columns.is_empty() {
                output.line(format!("    {word}: {}", columns.join(", ")));
            }
        }
        if let Some(filter) = &table.filter {
            output.line(format!("    where {filter}"));
        }
    }
}

fn report(context: &Context, made: &[ExportManifest]) {
    let output = context.output;
    for warning in made.iter().flat_map(|manifest| &manifest.warnings) {
        output.note(format!("warning: {warning}"));
    }
    if output.json {
        if !made.is_empty() {
            output.json(&made);
        }
        return;
    }
    for manifest in made {
        let took = show_duration(Duration::seconds_f64(manifest.duration_seconds.ceil()));
        let totals = manifest.totals;
        output.line(format!(
            "{}: {} tables, {} rows; {} from {} in {took}, verified",
            manifest.id,
            totals.tables,
            totals.rows,
            show_bytes(totals.stored_bytes),
            show_bytes(totals.source_bytes),
        ));
    }
}
