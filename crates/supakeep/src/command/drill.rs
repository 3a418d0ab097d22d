//! `supakeep drill`

use std::process::ExitCode;

use comfy_table::Cell;
use supakeep_flow::drill::{DrillReport, drill};
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::manifest_head::Outcome as RunOutcome;
use supakeep_model::quantity::{show_duration, show_time};

use super::{Context, Outcome, progress};
use crate::failure::CommandError;
use crate::output::{Output, Paint, right};

pub(crate) async fn run(context: &Context, id: Option<&str>) -> Outcome {
    let head = context.find(&context.catalog()?, id.unwrap_or("latest"))?;
    if head.outcome == RunOutcome::Failed {
        let message = format!("{} is the record of a failed run: there is nothing to drill", head.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let report = {
        let ports = context.wire.drill_ports(progress(context.output))?;
        drill(&context.wire.drill_spec(head.id), &ports, &context.cancel).await?
    };
    if context.output.json {
        context.output.json(&report);
    } else {
        page(context.output, &report);
    }
    if report.ok {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!(
        "{} does not come back as it was recorded:\n  {}",
        report.backup,
        report.differences.join("\n  ")
    );
    Err(CommandError::new(Code::DrillFailed, message).after_result())
}

/// The report for people.
fn page(output: Output, report: &DrillReport) {
    let field = |name: &str, value: String| output.line(format!("{name:<14}{value}"));
    let result = match report.ok {
        true => output.paint("restores to what was recorded", Paint::Good),
        false => output.paint(&format!("{} differences", report.differences.len()), Paint::Bad),
    };
    field("backup", report.backup.to_string());
    field("result", result);
    field("drilled", show_time(report.started));
    field("took", format!("{}, from the first file to the last comparison", took(report.duration_seconds)));
    if !report.image_id.is_empty() {
        field("server", format!("PostgreSQL {}, image {}", report.server_version, report.image_id));
    }
    phases(output, report);
    compared(output, report);
}

fn phases(output: Output, report: &DrillReport) {
    let mut table = output.table(&["PHASE", "TOOK"]);
    for phase in &report.phases {
        let what = format!("{} {}", phase.phase, phase.subject.escape_debug());
        table.add_row(vec![Cell::new(what.trim_end()), right(format!("{:.1} s", phase.seconds))]);
    }
    output.line("");
    output.print(&table);
}

fn compared(output: Output, report: &DrillReport) {
    let mut table = output.table(&["COMPARED", "WHAT", "RESULT"]);
    let mut row = |what: String, content: String, ok: bool| {
        let result =
            if ok { output.paint("equal", Paint::Good) } else { output.paint("DIFFERENT", Paint::Bad) };
        table.add_row(vec![Cell::new(what), Cell::new(content), Cell::new(result)]);
    };
    for database in &report.databases {
        row(
            format!("database {}", database.name.escape_debug()),
            format!("{} tables, {} rows", database.tables, database.rows),
            database.differences.is_empty(),
        );
    }
    if let Some(roles) = &report.roles {
        row("roles".to_owned(), format!("{} statements", roles.statements), roles.differences.is_empty());
    }
    for vault in &report.vaults {
        let what = format!("vault of {}", vault.database.escape_debug());
        row(what, format!("{} secrets", vault.secrets), vault.differences.is_empty());
    }
    for check in &report.checks {
        row(format!("check {}", check.name), format!("expects {:?}", check.expect), check.ok);
    }
    if report.roles.is_none() && report.databases.is_empty() {
        return;
    }
    output.line("");
    output.print(&table);
}

fn took(seconds: f64) -> String {
    show_duration(Duration::seconds_f64(seconds.ceil()))
}
