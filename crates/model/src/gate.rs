//! The anomaly gate: is this backup so much less than the last good one that a person should look?
//!
//! A dump can be complete, verified and still be the dump of a database that somebody emptied. Such a
//! backup is not thrown away; it is marked as suspect, so that it never becomes the reason to remove
//! the good one before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dump::DumpSpec;
use crate::fingerprint::{Dialect, Fingerprint, TablePrint};
use crate::manifest::Manifest;

/// What the gate looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateSpec {
    /// Whether it looks at all.
    pub enabled: bool,
    /// How much may be gone: 0.5 lets half of the bytes or rows go.
    pub max_shrink: f64,
    /// Tables with fewer rows than this may lose them all: queues and sessions come and go.
    pub min_rows: u64,
    /// Tables (`schema.name`) it does not look at.
    pub ignore_tables: Vec<String>,
}

impl Default for GateSpec {
    fn default() -> Self {
        GateSpec { enabled: true, max_shrink: 0.5, min_rows: 100, ignore_tables: Vec::new() }
    }
}

/// What is missing or smaller in `current` against `previous`, a sentence each; empty when the gate
/// lets it pass. Backups that asked pg_dump for different rows are not compared; what they are stored in
/// decides about the comparison of their sizes alone.
pub fn suspicions(previous: &Manifest, current: &Manifest, spec: &GateSpec) -> Vec<String> {
    let (asked_before, asked) = (&previous.head.dump, &current.head.dump);
    if !spec.enabled || !asks_for_the_same(asked_before, asked) {
        return Vec::new();
    }
    let mut out = Vec::new();
    let (before, after) = (&previous.head.totals, &current.head.totals);
    // pg_dump compresses an archive itself: its size depends on both.
    if asked_before.format == asked.format && asked_before.compression == asked.compression {
        let (before, after) = (dump_bytes(previous), dump_bytes(current));
        shrunk(&mut out, "size before compression", before, after, "bytes", spec);
    }
    shrunk(&mut out, "rows of all tables", before.rows, after.rows, "rows", spec);
    match (&previous.head.storage, &current.head.storage) {
        (Some(before), Some(after)) if before.files >= spec.min_rows => {
            shrunk(&mut out, "files of storage", before.files, after.files, "files", spec);
        }
        // A porter that cannot be sent is a warning; that all files are gone from the backups is more.
        (Some(before), None) if before.files > 0 => {
            out.push(format!("the {} files of storage are not in it any more", before.files));
        }
        _ => {}
    }
    for database in &previous.databases {
        match current.database(&database.name) {
            None => out.push(format!("database {} is missing", database.name)),
            Some(now) => {
                if let (Some(before), Some(after)) = (&database.fingerprint, &now.fingerprint) {
                    tables(&mut out, &database.name, before, after, spec);
                }
            }
        }
    }
    out
}

/// Without the files of the stack's folder: those that are deleted are no rows.
fn dump_bytes(manifest: &Manifest) -> u64 {
    let of_folder = manifest.artifacts.iter().filter(|artifact| artifact.part.is_files());
    let of_folder: u64 = of_folder.map(|artifact| artifact.source_bytes).sum();
    manifest.head.totals.source_bytes.saturating_sub(of_folder)
}

fn asks_for_the_same(before: &DumpSpec, after: &DumpSpec) -> bool {
    (before.scope, before.rows, &before.exclude_table_data)
        == (after.scope, after.rows, &after.exclude_table_data)
}

fn tables(out: &mut Vec<String>, database: &str, before: &Fingerprint, after: &Fingerprint, spec: &GateSpec) {
    // Among INSERT statements a table without rows is not there to be seen.
    let hides_empty = after.dialect == Dialect::Inserts;
    let after = rows_by_table(&after.tables);
    for (table, rows) in rows_by_table(&before.tables) {
        if spec.ignore_tables.contains(&table) {
            continue;
        }
        match after.get(&table).or(hides_empty.then_some(&0)) {
            None => out.push(format!("table {database}: {table} is missing ({rows} rows before)")),
            Some(&now) if rows >= spec.min_rows => {
                shrunk(out, &format!("table {database}: {table}"), rows, now, "rows", spec);
            }
            Some(_) => {}
        }
    }
}

/// Rows by table, partitions counted in the partitioned table they belong to: that old ones are
/// dropped is what partitions are for.
fn rows_by_table(tables: &[TablePrint]) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for table in tables {
        let name = table.partition_of.clone().unwrap_or_else(|| format!("{}.{}", table.schema, table.name));
        *rows.entry(name).or_insert(0) += table.rows;
    }
    rows
}

fn shrunk(out: &mut Vec<String>, what: &str, before: u64, after: u64, unit: &str, spec: &GateSpec) {
    // Exact enough: a difference in the last bit of a count of 2^53 is no anomaly.
    let lost = 1.0 - after as f64 / before.max(1) as f64;
    if after < before && lost > spec.max_shrink {
        out.push(format!("{what}: {before} {unit} before, {after} now ({:.0} % less)", lost * 100.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{Dialect, MultisetHash, Tally};
    use crate::manifest::DatabaseRecord;
    use crate::sample::head;
    use time::macros::datetime;

    fn manifest(bytes: u64, tables: &[(&str, u64, Option<&str>)]) -> Manifest {
        let at = datetime!(2026-01-01 02:00 UTC);
        let mut head = head("b", Some("daily"), at);
        let tables: Vec<_> = tables
            .iter()
            .map(|&(name, rows, parent)| TablePrint {
                schema: "public".into(),
                name: name.into(),
                rows,
                bytes: rows,
                hash: MultisetHash::default(),
                partition_of: parent.map(str::to_owned),
            })
            .collect();
        head.totals.source_bytes = bytes;
        head.totals.rows = tables.iter().map(|table| table.rows).sum();
        let fingerprint = Fingerprint {
            dialect: Dialect::Copy,
            schema: Tally::default(),
            large_objects: Tally::default(),
            sequences: vec![],
            tables,
        };
        let database = DatabaseRecord {
            name: "postgres".into(),
            owner: "postgres".into(),
            encoding: "UTF8".into(),
            collate: "C".into(),
            ctype: "C".into(),
            size_bytes: 0,
            snapshot_at: at,
            extensions: vec![],
            fingerprint: Some(fingerprint),
        };
        Manifest {
            head,
            databases: vec![database],
            artifacts: vec![],
            server_settings: vec![],
            messages: vec![],
        }
    }

    #[test]
    fn lets_growth_and_small_losses_pass() {
        let before = manifest(1_000, &[("users", 1_000, None), ("sessions", 99, None)]);
        let after = manifest(600, &[("users", 560, None), ("sessions", 0, None), ("new", 1, None)]);
        assert_eq!(suspicions(&before, &after, &GateSpec::default()), Vec::<String>::new());
    }

    #[test]
    fn notices_what_is_gone() {
        let before = manifest(1_000, &[("users", 1_000, None), ("posts", 5, None)]);
        let after = manifest(400, &[("users", 499, None)]);
        assert_eq!(
            suspicions(&before, &after, &GateSpec::default()),
            [
                "size before compression: 1000 bytes before, 400 now (60 % less)",
                "rows of all tables: 1005 rows before, 499 now (50 % less)",
                "table postgres: public.posts is missing (5 rows before)",
                "table postgres: public.users: 1000 rows before, 499 now (50 % less)",
            ]
        );
    }

    #[test]
    fn notices_a_missing_database() {
        let before = manifest(10, &[]);
        let mut after = before.clone();
        after.databases.clear();
        assert_eq!(suspicions(&before, &after, &GateSpec::default()), ["database postgres is missing"]);
    }

    #[test]
    fn partitions_count_as_one_table() {
        let before = manifest(10, &[("m_1", 500, Some("public.m")), ("m_2", 500, Some("public.m"))]);
        let after = manifest(10, &[("m_2", 500, Some("public.m")), ("m_3", 400, Some("public.m"))]);
        assert_eq!(suspicions(&before, &after, &GateSpec::default()), Vec::<String>::new());
    }

    #[test]
    fn can_be_told_what_to_ignore_and_be_turned_off() {
        let before = manifest(10, &[("queue", 1_000, None), ("users", 1_000, None)]);
        let after = manifest(10, &[("users", 1_000, None)]);
        let ignoring = GateSpec { ignore_tables: vec!["public.queue".into()], ..GateSpec::default() };
        assert_eq!(suspicions(&before, &after, &ignoring), Vec::<String>::new());
        let off = GateSpec { enabled: false, ..GateSpec::default() };
        assert_eq!(suspicions(&before, &manifest(0, &[]), &off), Vec::<String>::new());
    }

    #[test]
    fn a_table_without_rows_is_not_missing_from_inserts() {
        let before = manifest(10, &[("queue", 99, None), ("users", 1_000, None)]);
        let mut after = manifest(10, &[("users", 1_000, None)]);
        let print = after.databases[0].fingerprint.as_mut().expect("it has one");
        print.dialect = Dialect::Inserts;
        assert_eq!(suspicions(&before, &after, &GateSpec::default()), Vec::<String>::new());
        let print = after.databases[0].fingerprint.as_mut().expect("it has one");
        print.tables.clear();
        assert_eq!(
            suspicions(&before, &after, &GateSpec::default()),
            ["table postgres: public.users: 1000 rows before, 0 now (100 % less)"]
        );
    }

    #[test]
    fn another_format_or_compression_hides_no_loss_of_rows() {
        let before = manifest(1_000, &[("users", 1_000, None)]);
        for (format, compression) in [
            (crate::dump::Format::Custom, before.head.dump.compression),
            (before.head.dump.format, crate::dump::Compression::None),
        ] {
            let mut after = manifest(10, &[("users", 1_000, None)]);
            (after.head.dump.format, after.head.dump.compression) = (format, compression);
            assert_eq!(suspicions(&before, &after, &GateSpec::default()), Vec::<String>::new());
            let mut emptied = manifest(10, &[("users", 0, None)]);
            emptied.head.dump = after.head.dump.clone();
            assert_eq!(
                suspicions(&before, &emptied, &GateSpec::default()),
                [
                    "rows of all tables: 1000 rows before, 0 now (100 % less)",
                    "table postgres: public.users: 1000 rows before, 0 now (100 % less)"
                ]
            );
        }
    }

    #[test]
    fn does_not_compare_different_kinds_of_dump() {
        let before = manifest(1_000, &[("users", 1_000, None)]);
        let mut after = manifest(10, &[]);
        after.head.dump.scope = crate::dump::Scope::Schema;
        assert_eq!(suspicions(&before, &after, &GateSpec::default()), Vec::<String>::new());
    }
}
