//! The report for people: what is printed by `supakeep drill`, and kept where a drill on schedule has nobody to
//! print it for.

use supakeep_model::Duration;
use supakeep_model::quantity::{show_duration, show_time};

use super::{DrillReport, SampleReport};

/// The report as text. Names in it hold no line ends and no control characters.
pub fn page(report: &DrillReport) -> String {
    let mut page = Page::default();
    head(report, &mut page);
    if let Some(sample) = &report.sample {
        sampled(sample, &mut page);
    }
    differences(report, &mut page);
    phases(report, &mut page);
    compared(report, &mut page);
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    fn field(&mut self, name: &str, value: &str) {
        self.line(&format!("{name:<14}{value}"));
    }

    /// Columns as wide as what is in them, after an empty line; nothing where there are no rows.
    fn table<const N: usize>(&mut self, header: [&str; N], rows: &[[String; N]]) {
        if rows.is_empty() {
            return;
        }
        let header = header.map(str::to_owned);
        let all = || std::iter::once(&header).chain(rows);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..N).map(width).collect();
        self.line("");
        for row in all() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            self.line(&cells.collect::<Vec<_>>().join("  "));
        }
    }
}

fn head(report: &DrillReport, page: &mut Page) {
    page.field("backup", report.backup.as_str());
    let result = match (report.ok, &report.sample, report.differences.len()) {
        (true, None, _) => "restores to what was recorded".to_owned(),
        (true, Some(_), _) => "the sample restores to what was recorded".to_owned(),
        (false, _, 1) => "1 difference".to_owned(),
        (false, _, count) => format!("{count} differences"),
    };
    page.field("result", &result);
    page.field("drilled", &show_time(report.started));
    let took = show_duration(Duration::seconds_f64(report.duration_seconds.ceil()));
    page.field(
        "took",
        &match report.sample {
            None => format!("{took}, from the first file to the last comparison"),
            Some(_) => format!("{took}; only a drill of the whole backup measures the time to restore"),
        },
    );
    if !report.image_id.is_empty() {
        page.field("server", &format!("PostgreSQL {}, image {}", report.server_version, report.image_id));
    }
}

fn sampled(sample: &SampleReport, page: &mut Page) {
    let SampleReport { size, turn, turns, tables, of_tables, left_out } = sample;
    let count = tables.len();
    page.field("sample", &format!("{count} of {of_tables} tables ({size}), turn {turn} of {turns}"));
    for (n, what) in left_out.iter().enumerate() {
        page.field(if n == 0 { "left out" } else { "" }, what);
    }
    let row = |sampled: &super::SampledTable| {
        let table = &sampled.table;
        let name = format!("{}.{}", table.schema, table.name);
        [shown(&table.database), shown(&name), sampled.rows.to_string()]
    };
    page.table(["DATABASE", "SAMPLED TABLE", "ROWS"], &tables.iter().map(row).collect::<Vec<_>>());
}

fn differences(report: &DrillReport, page: &mut Page) {
    if report.differences.is_empty() {
        return;
    }
    page.line("");
    page.line("DIFFERENCES");
    for difference in &report.differences {
        page.line(&format!("- {}", difference.replace('\n', "\n  ")));
    }
}

fn phases(report: &DrillReport, page: &mut Page) {
    let row = |phase: &super::PhaseTime| {
        let what = format!("{} {}", phase.phase, shown(&phase.subject));
        [what.trim_end().to_owned(), format!("{:.1} s", phase.seconds)]
    };
    page.table(["PHASE", "TOOK"], &report.phases.iter().map(row).collect::<Vec<_>>());
}

fn compared(report: &DrillReport, page: &mut Page) {
    let mut rows = Vec::new();
    let mut row = |what: String, content: String, ok: bool| {
        rows.push([what, content, if ok { "equal" } else { "DIFFERENT" }.to_owned()]);
    };
    for database in &report.databases {
        let which = if report.sample.is_some() { "definitions, " } else { "" };
        row(
            format!("database {}", shown(&database.name)),
            format!("{which}{} tables, {} rows", database.tables, database.rows),
            database.differences.is_empty(),
        );
    }
    if let Some(roles) = &report.roles {
        row("roles".to_owned(), format!("{} statements", roles.statements), roles.differences.is_empty());
    }
    for vault in &report.vaults {
        let what = format!("vault of {}", shown(&vault.database));
        row(what, format!("{} secrets", vault.secrets), vault.differences.is_empty());
    }
    for check in &report.checks {
        row(format!("check {}", shown(&check.name)), format!("expects {:?}", check.expect), check.ok);
    }
    page.table(["COMPARED", "WHAT", "RESULT"], &rows);
}

fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
