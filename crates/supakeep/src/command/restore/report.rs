//! What became of a restore in place.

use std::process::ExitCode;

use supakeep_flow::restore::{DatabaseReport, RestoreReport};
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::quantity::show_duration;

use crate::command::restore_files::show_files;
use crate::command::{Context, Outcome};
use crate::failure::CommandError;
use crate::output::{Output, Paint, right};

/// What a database was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Compared {
    /// With what the backup recorded of it.
    WithRecord,
    /// With the number of rows in a file.
    WithCount,
}

impl Compared {
    /// Where nothing differs.
    fn word(self) -> &'static str {
        match self {
            Compared::WithRecord => "equal",
            Compared::WithCount => "as many rows",
        }
    }
}

/// A line for each database.
pub(in crate::command) fn show_databases(output: Output, databases: &[DatabaseReport], compared: Compared) {
    let mut table = output.table(&["DATABASE", "TABLES", "ROWS", "COMPARED"]);
    for database in databases {
        let (word, paint) = if database.differences.is_empty() {
            (compared.word(), Paint::Good)
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
}

/// What was restored, how it compares, and where what was there before is. `restored` is what a person calls it.
pub(super) fn show_report(
    context: &Context,
    report: &RestoreReport,
    restored: &str,
    compared: Compared,
) -> Outcome {
    let output = context.output;
    let of_databases = report.databases.iter().flat_map(|database| {
        database.differences.iter().map(move |what| format!("{}: {what}", database.name))
    });
    let of_files = report.files.iter().flat_map(|files| files.differences.iter().cloned());
    let differences: Vec<_> = of_databases.chain(of_files).collect();
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
            "restored": restored, "safety_backup": report.safety, "databases": databases,
            "files": report.files,
            "duration_seconds": report.duration_seconds,
        }));
    } else {
        show_databases(output, &report.databases, compared);
        show_files(output, &report.files);
        let took = show_duration(Duration::seconds_f64(report.duration_seconds.ceil()));
        output.line(format!("restored {restored} in {took}"));
        if let Some(safety) = &report.safety {
            output.line(format!("what was there before is in {safety}"));
        }
    }
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError::new(Code::RestoreDiffers, differences.join("\n  ")).after_result())
}
