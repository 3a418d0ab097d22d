//! What is exported comes back, and other programs read it.

use std::process::Command;

use supakeep_model::export::{Identity, Treatment};
use supakeep_tests::{Keeper, Pg, Stack, run};

use super::{content, export, ids, manifest, quoted, rows};

/// Empties a table and imports it; then its rows are those of `before`.
fn empty_and_import(keeper: &Keeper, stack: &Stack, id: &str, table: &str, before: &str) {
    stack.sql(&format!("SET session_replication_role = replica; DELETE FROM {}{table}", only(table)));
    assert!(rows(stack, table).starts_with("0|"), "{table} is not empty");
    let into = ["import", id, "--table", table, "--yes"];
    if table.contains("bookings") {
        // A check that is NOT VALID is one that old rows need not pass, and new ones have to.
        assert!(keeper.run(&into).stderr.contains("not_checked_yet"));
        keeper.run(&[into.as_slice(), &["--mode", "replace", "--no-safety-backup"]].concat()).ok();
    } else {
        keeper.run(&into).ok();
    }
    assert_eq!(rows(stack, table), before, "{table}");
}

fn only(table: &str) -> &'static str {
    if table.contains("orders") || table.contains("hashed") { "" } else { "ONLY " }
}

fn every_table_comes_back(pg: Pg, format: &str, patterns: &[&str]) {
    let stack = Stack::private(pg, &["db"]);
    let keeper = Keeper::new(&stack);
    let tables: Vec<_> = patterns.iter().flat_map(|pattern| ["--table", pattern]).collect();
    let id = export(&keeper, &[&["--format", format], tables.as_slice()].concat());
    let manifest = manifest(&keeper, &id);
    assert!(manifest.tables.len() >= patterns.len());
    let tables: Vec<_> = manifest.tables.iter().map(|table| quoted(&table.schema, &table.name)).collect();
    // All of them now: emptying one fires a trigger that writes into another.
    let before: Vec<_> = tables.iter().map(|table| rows(&stack, table)).collect();
    for (table, before) in tables.iter().zip(&before) {
        empty_and_import(&keeper, &stack, &id, table, before);
    }
    assert_eq!(stack.supakeep_sessions(), 0);
    assert_eq!(ids(&keeper), [id], "an append saves nothing first");
}

#[test]
fn every_table_of_15_comes_back_from_json_lines() {
    every_table_comes_back(Pg::V15, "jsonl", &["public.*", r#""Odd schema.""q""".*"#]);
}

#[test]
fn every_table_of_17_comes_back_from_json_lines() {
    every_table_comes_back(Pg::V17, "jsonl", &["public.*", r#""Odd schema.""q""".*"#]);
}

/// What CSV could trip over.
const TRAPS: [&str; 9] = [
    "public.every_type",
    "public.copy_traps",
    "public.one_column",
    "public.no_columns",
    "public.only_generated",
    "public.generated",
    "public.identities",
    "public.orders",
    r#""Odd schema.""q""".*"#,
];

#[test]
fn what_csv_could_trip_over_comes_back_on_15() {
    every_table_comes_back(Pg::V15, "csv", &TRAPS);
}

#[test]
fn what_csv_could_trip_over_comes_back_on_17() {
    every_table_comes_back(Pg::V17, "csv", &TRAPS);
}

#[test]
fn csv_is_what_psql_writes_and_what_python_reads() {
    for pg in Pg::ALL {
        let stack = Stack::shared(pg);
        let keeper = Keeper::new(&stack);
        let tables = ["copy_traps", "every_type", "one_column", "generated", "Größe"];
        let wanted: Vec<_> = tables.iter().map(|name| format!("public.{name}")).collect();
        let arguments: Vec<_> = wanted.iter().flat_map(|name| ["--table", name.as_str()]).collect();
        let id =
            export(&keeper, &[&["--format", "csv", "--compression", "none"], arguments.as_slice()].concat());
        for table in manifest(&keeper, &id).tables {
            let (name, ours) = (quoted(&table.schema, &table.name), content(&keeper, &id, &table.path));
            let theirs = stack.sql(&format!(
                "SET search_path = pg_catalog; SET timezone = 'UTC'; SET lc_monetary = 'C';\n\
                 \\copy (SELECT * FROM {name}) TO STDOUT (FORMAT csv, HEADER true)\n"
            ));
            // The harness takes off the line ends at the end; a value that is nothing is one.
            let ours = String::from_utf8(ours).expect("UTF-8");
            let long = |text: &str| text.len() > 100_000;
            if !long(&ours) {
                assert_eq!(ours.trim_end(), theirs, "{name} on {}", pg.major());
            }
            let script =
                "import csv,sys\ncsv.field_size_limit(1<<30)\nprint(len(list(csv.reader(sys.stdin)))-1)";
            let mut python = Command::new("python3");
            python.env("PYTHONIOENCODING", "utf-8").env("PYTHONUTF8", "1").args(["-c", script]);
            let read = run(&mut python, ours.as_bytes()).ok().text();
            // An empty line, which is a row with one NULL in it to PostgreSQL, is a row without a field to Python.
            assert_eq!(read.trim(), table.rows.to_string(), "{name}");
        }
    }
}

#[test]
fn json_lines_are_what_jq_reads_and_numbers_lose_nothing() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack);
    let id = export(&keeper, &["--table", "public.every_type", "--compression", "gzip:6"]);
    let text = content(&keeper, &id, "public.every_type.jsonl.gz");
    let lines: Vec<serde_json::Value> = String::from_utf8(text.clone())
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let text = String::from_utf8_lossy(&text).into_owned();
    let by_id = |id: i64| lines.iter().find(|line| line["id"] == id).expect("a row");
    assert!(text.contains("\"c_numeric_scaled\":99999999999999.999999,"), "as it is, and no float");
    assert_eq!(by_id(2)["c_numeric"], "NaN");
    assert_eq!(by_id(2)["c_double"], "-Infinity");
    assert_eq!(by_id(1)["c_text_array"], serde_json::json!(["a,b", "c\"d", "e\\f", null, "NULL", ""]));
    assert_eq!(by_id(3)["c_int_array"], "[-1:1]={1,2,3}", "bounds of its own");
    assert_eq!(by_id(1)["c_timestamptz"], "2025-06-15T10:34:56.789012+00:00");
    assert_eq!(by_id(1)["c_bytea"], "\\x00ff10");
    assert_eq!(by_id(1)["c_jsonb"], serde_json::json!({"a": [1, 2, null], "b": 1, "n": 1000}));
    assert_eq!(by_id(2).get("c_jsonb"), Some(&serde_json::Value::Null), "null of JSON");
    assert_eq!(by_id(4).get("c_jsonb"), None, "NULL of SQL");
    assert_eq!(by_id(4).get("c_text"), Some(&serde_json::Value::Null));
}

#[test]
fn the_manifest_says_what_a_column_is() {
    let stack = Stack::shared(Pg::V15);
    let keeper = Keeper::new(&stack);
    let id = export(&keeper, &["--table", "public.identities", "--table", "public.generated"]);
    let manifest = manifest(&keeper, &id);
    let identities = manifest.table("public", "identities").expect("a table");
    let of = |name: &str| identities.columns.iter().find(|column| column.name == name).expect("a column");
    assert_eq!(of("always_id").identity, Some(Identity::Always));
    assert_eq!(of("default_id").identity, Some(Identity::ByDefault));
    assert_eq!((of("label").sql_type.as_str(), of("label").treatment), ("text", Treatment::Kept));
    let generated = manifest.table("public", "generated").expect("a table");
    assert!(generated.columns.iter().any(|column| column.name == "total" && column.generated));
    assert_eq!((identities.rows, generated.rows, manifest.totals.rows), (21, 30, 51));
    assert!(manifest.stack.server_version.starts_with("15."));
}
