//! What is shown of a restored part.

use std::process::ExitCode;

use supakeep_flow::restore::parts::{BesideReport, PartPlan, PartsReport};
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;

use crate::command::{Context, Outcome};
use crate::failure::CommandError;
use crate::output::{Output, Paint, right};

/// The most names that a plan shows to a person.
const MOST_NAMES: usize = 10;

/// What would be done, for people.
pub(in crate::command) fn show_plan(output: Output, plan: &PartPlan) {
    let say = |name: &str, value: &str| output.note(format!("{name:<12}{value}"));
    if !plan.database.is_empty() {
        say("database", &plan.database);
    }
    for (what, names) in [("replaced", &plan.replaces), ("made", &plan.makes)] {
        let more = names.len().saturating_sub(MOST_NAMES);
        let shown = names.iter().take(MOST_NAMES).map(|name| name.escape_debug().to_string());
        let shown = shown.collect::<Vec<_>>().join(", ");
        match more {
            _ if names.is_empty() => {}
            0 => say(what, &shown),
            more => say(what, &format!("{shown} and {more} more")),
        }
    }
    plan.notes.iter().for_each(|note| say("note", note));
}

/// What became of the tables, or of the roles.
pub(super) fn show_parts(
    context: &Context,
    from: &BackupId,
    report: &PartsReport,
    safety: Option<&BackupId>,
) -> Outcome {
    let output = context.output;
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
            "restored": from, "safety_backup": safety, "tables": tables,
            "violations": report.violations, "notes": report.notes,
        }));
    } else {
        show_tables(context, report);
        output.line(format!("restored from {}", from));
        if let Some(safety) = safety {
            output.line(format!("what was there before is in {safety}"));
        }
    }
    report.notes.iter().for_each(|note| output.note(format!("note: {note}")));
    outcome(&report.differences())
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
pub(in crate::command) fn show_beside(
    context: &Context,
    from: &str,
    name: &str,
    report: &BesideReport,
) -> Outcome {
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

fn outcome(differences: &[String]) -> Outcome {
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError::new(Code::RestoreDiffers, differences.join("\n  ")).after_result())
}
