//! What an export comes to: tables, columns, and what is done with each.
//!
//! A rule for a column that matches none is an error, not a remark: a password that is exported because its column was
//! misspelt cannot be taken back.

use supakeep_model::code::Code;
use supakeep_model::export::{ColumnPattern, RowsSpec, TablePattern, Treatment};

use super::describe::{ColumnFacts, Listed, TableFacts};
use crate::failure::Failure;
use crate::inspect::select::Name;

/// A table that is exported.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    pub(super) facts: TableFacts,
    /// What is done with each column, in the table's order.
    pub(super) treatments: Vec<Treatment>,
    /// What is so of the rows that are exported.
    pub(super) filter: Option<String>,
}

impl Chosen {
    /// The columns that are in the file, with what is done with them.
    pub(super) fn written(&self) -> impl Iterator<Item = (&ColumnFacts, Treatment)> {
        let all = self.facts.columns.iter().zip(self.treatments.iter().copied());
        all.filter(|(_, treatment)| *treatment != Treatment::LeftOut)
    }
}

fn unfit(message: String) -> Failure {
    Failure::new(Code::ExportUnfit, message)
}

/// The tables that are meant, of those that are there.
pub(super) fn tables(spec: &RowsSpec, there: &[Listed]) -> Result<Vec<Listed>, Failure> {
    let mut chosen: Vec<Listed> = Vec::new();
    for pattern in &spec.tables {
        let found: Vec<&Listed> = there.iter().filter(|table| meant(pattern, table)).collect();
        if found.is_empty() {
            let what = if pattern.is_glob() { "no table matches" } else { "there is no table" };
            return Err(unfit(format!("{what} {pattern} in database {}", spec.database.escape_debug())));
        }
        for table in found {
            if matches!(table.kind, 'v' | 'f') {
                return Err(unfit(format!(
                    "{} is a view or a foreign table: reading it would run what others have written, as a superuser. \
                     Export the tables behind it, or a materialized view",
                    table.name()
                )));
            }
            if !chosen.contains(table) {
                chosen.push(table.clone());
            }
        }
    }
    chosen.sort_by_key(Listed::name);
    Ok(chosen)
}

/// A pattern means tables, and no partition beside the table that has its rows too.
fn meant(pattern: &TablePattern, table: &Listed) -> bool {
    let Name { schema, name } = table.name();
    let is_found_by_glob = matches!(table.kind, 'r' | 'p') && !table.is_partition;
    pattern.matches(&schema, &name) && (!pattern.is_glob() || is_found_by_glob)
}

/// What is done with the columns of these tables; and what a person should know.
pub(super) fn columns(
    spec: &RowsSpec,
    described: Vec<TableFacts>,
) -> Result<(Vec<Chosen>, Vec<String>), Failure> {
    let mut chosen = Vec::with_capacity(described.len());
    for facts in described {
        let Name { schema, name } = facts.name();
        let is = |rules: &[ColumnPattern], column: &str| {
            rules.iter().any(|rule| rule.matches(&schema, &name, column))
        };
        let treatment = |column: &ColumnFacts| match () {
            () if is(&spec.exclude, &column.name) => Treatment::LeftOut,
            () if is(&spec.hash, &column.name) => Treatment::Hashed,
            () => Treatment::Kept,
        };
        let treatments: Vec<_> = facts.columns.iter().map(treatment).collect();
        if !treatments.is_empty() && treatments.iter().all(|treatment| *treatment == Treatment::LeftOut) {
            return Err(unfit(format!("every column of {} is left out", facts.name())));
        }
        let mut filters = spec.filters.iter().filter(|(table, _)| table.matches(&schema, &name));
        let filter = filters.next().map(|(_, filter)| filter.clone());
        if let Some((other, _)) = filters.next() {
            return Err(unfit(format!("two filters are for {}, one of them {other}", facts.name())));
        }
        chosen.push(Chosen { facts, treatments, filter });
    }
    // Rules for the tables that are not wanted now are not misspelt.
    let notes = unused(spec, &chosen)?;
    Ok((narrowed(spec, chosen)?, notes))
}

/// What is left where only some of the tables are wanted.
fn narrowed(spec: &RowsSpec, mut chosen: Vec<Chosen>) -> Result<Vec<Chosen>, Failure> {
    let is = |pattern: &TablePattern, table: &Chosen| {
        let Name { schema, name } = table.facts.name();
        pattern.matches(&schema, &name)
    };
    if let Some(none) = spec.only.iter().find(|pattern| !chosen.iter().any(|table| is(pattern, table))) {
        return Err(unfit(format!("{none} is no table of this export")));
    }
    chosen.retain(|table| spec.only.is_empty() || spec.only.iter().any(|pattern| is(pattern, table)));
    Ok(chosen)
}

/// Rules that are for nothing: an error where they name something, a note where they only might.
fn unused(spec: &RowsSpec, chosen: &[Chosen]) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    let columns = || {
        chosen.iter().flat_map(|table| {
            let name = table.facts.name();
            table.facts.columns.iter().map(move |column| (name.clone(), column.name.as_str()))
        })
    };
    for (rules, key) in [(&spec.exclude, "exclude"), (&spec.hash, "hash")] {
        for rule in rules {
            if columns().any(|(table, column)| rule.matches(&table.schema, &table.name, column)) {
                continue;
            }
            let message = format!("{key} = {rule}: no column of the exported tables is called so");
            if !rule.is_glob() {
                return Err(unfit(message));
            }
            notes.push(message);
        }
    }
    for table in spec.filters.keys() {
        let is_used = chosen.iter().any(|chosen| {
            let Name { schema, name } = chosen.facts.name();
            table.matches(&schema, &name)
        });
        if !is_used {
            return Err(unfit(format!("where = {table}: no table that is exported is called so")));
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Vec<Listed> {
        let tables = [
            ("app", "seen", 'v', false),
            ("public", "configs", 'r', false),
            ("public", "counts", 'm', false),
            ("public", "orders", 'p', false),
            ("public", "orders_2026", 'r', true),
        ];
        let json = tables.map(|(schema, name, kind, is_partition)| {
            serde_json::json!({"schema": schema, "name": name, "kind": kind, "is_partition": is_partition})
        });
        serde_json::from_value(json.to_vec().into()).expect("tables")
    }

    fn spec(tables: &[&str]) -> RowsSpec {
        RowsSpec::of(tables.iter().map(|text| text.parse().expect("a pattern")).collect())
    }

    fn named(tables: &[&str]) -> Result<Vec<String>, Code> {
        let found = super::tables(&spec(tables), &listed()).map_err(|failure| failure.code)?;
        Ok(found.iter().map(|table| table.name().to_string()).collect())
    }

    #[test]
    fn a_glob_finds_tables_and_no_partition_beside_its_whole() {
        assert_eq!(named(&["public.*"]), Ok(vec!["public.configs".into(), "public.orders".into()]));
        assert_eq!(named(&["public.orders_2026"]), Ok(vec!["public.orders_2026".into()]));
        assert_eq!(named(&["public.counts"]), Ok(vec!["public.counts".into()]));
        assert_eq!(named(&["public.configs", "public.c*"]), Ok(vec!["public.configs".into()]));
    }

    #[test]
    fn what_is_not_there_or_runs_the_words_of_others_is_refused() {
        for wrong in ["public.config", "nowhere.*", "app.seen"] {
            assert_eq!(named(&[wrong]), Err(Code::ExportUnfit), "{wrong}");
        }
    }

    fn users() -> TableFacts {
        let column = |name: &str| {
            serde_json::json!({"name": name, "type": "text", "nullable": true, "identity": "", "generated": false,
                "has_default": false, "shape": "text", "padded": false})
        };
        let columns: Vec<_> = ["id", "email", "password"].map(column).to_vec();
        serde_json::from_value(serde_json::json!({"schema": "public", "name": "users", "kind": "r",
            "estimated_rows": -1.0, "primary_key": ["id"], "columns": columns}))
        .expect("a table")
    }

    #[test]
    fn what_is_left_out_is_not_hashed() {
        let mut spec = spec(&["public.users"]);
        spec.exclude = vec!["public.users.password".parse().expect("a column")];
        spec.hash = vec!["public.users.*".parse().expect("a column")];
        let (chosen, notes) = columns(&spec, vec![users()]).expect("it fits");
        assert_eq!(chosen[0].treatments, [Treatment::Hashed, Treatment::Hashed, Treatment::LeftOut]);
        assert!(notes.is_empty());
    }

    #[test]
    fn a_rule_that_names_no_column_is_an_error_before_anything_is_written() {
        let with = |exclude: &[&str], hash: &[&str], filter: Option<&str>| {
            let mut spec = spec(&["public.users"]);
            spec.exclude = exclude.iter().map(|text| text.parse().expect("a column")).collect();
            spec.hash = hash.iter().map(|text| text.parse().expect("a column")).collect();
            let filter = filter.map(|table| (table.parse().expect("a table"), "true".to_owned()));
            spec.filters = filter.into_iter().collect();
            columns(&spec, vec![users()]).map(|(_, notes)| notes.len()).map_err(|failure| failure.code)
        };
        assert_eq!(with(&["public.users.pasword"], &[], None), Err(Code::ExportUnfit));
        assert_eq!(with(&[], &["public.user.email"], None), Err(Code::ExportUnfit));
        assert_eq!(with(&[], &[], Some("public.user")), Err(Code::ExportUnfit));
        assert_eq!(with(&["*.*.*"], &[], None), Err(Code::ExportUnfit), "nothing would be left");
        assert_eq!(with(&[], &["*.*.ssn"], None), Ok(1), "a glob may be for what is not there yet");
        assert_eq!(with(&["public.users.password"], &["public.users.email"], Some("public.users")), Ok(0));
    }
}
