//! What the server is asked for.

use supakeep_model::export::{RowFormat, Treatment};

use super::choose::Chosen;
use super::describe::{ColumnFacts, Shape, of_t};

/// How values are written and read as text, the same on the way out and on the way in, whatever a role, a database or a
/// server has set: exact numbers, times in UTC, money without a country.
pub(crate) const SETTINGS: &str = "SET LOCAL search_path = pg_catalog;
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1;
SET LOCAL lc_monetary = 'C';
SET LOCAL xmloption = 'content';
SET LOCAL quote_all_identifiers = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL row_security = off;
SET LOCAL client_encoding = 'UTF8';
";

/// Copies the rows of a table.
pub(super) fn copy(table: &Chosen, format: RowFormat) -> String {
    let columns: Vec<_> = table
        .written()
        .map(|(column, treatment)| match format {
            // Hashed is what PostgreSQL writes, however the rest of the row is written.
            _ if treatment == Treatment::Hashed => hashed(column),
            RowFormat::Csv => of_t(&column.name),
            RowFormat::Jsonl => json(column),
        })
        .collect();
    let filter = table.filter.as_ref().map(|filter| format!(" WHERE ({filter}\n)")).unwrap_or_default();
    format!(
        "{SETTINGS}COPY (SELECT {} FROM {} t{filter}) TO STDOUT;",
        columns.join(", "),
        table.facts.itself()
    )
}

fn hashed(column: &ColumnFacts) -> String {
    let name = of_t(&column.name);
    // The blanks at the end of a character(n) are the column's and not the value's.
    if column.padded { format!("{name}::text") } else { name }
}

fn json(column: &ColumnFacts) -> String {
    let name = of_t(&column.name);
    match column.shape {
        Shape::Value => format!("to_json({name})"),
        // An array that does not begin at 1 says so in PostgreSQL's own text alone.
        Shape::Array => {
            format!(
                "CASE WHEN array_dims({name}) ~ '\\[(?!1:)' THEN to_json({name}::text) ELSE to_json({name}) END"
            )
        }
        Shape::Json | Shape::Text => name,
    }
}
