//! Exports and imports: the real binary, the real engine, PostgreSQL 15 and 17.

#[path = "exports/import.rs"]
mod import;
#[path = "exports/round_trip.rs"]
mod round_trip;
#[path = "exports/runs.rs"]
mod runs;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use supakeep_model::export::ExportManifest;
use supakeep_tests::{Keeper, Stack, run};

/// Makes an export, and returns its id.
#[track_caller]
fn export(keeper: &Keeper, arguments: &[&str]) -> String {
    let made = keeper.run(&[&["--json", "export"], arguments].concat()).ok().json();
    made[0]["id"].as_str().expect("an id").to_owned()
}

fn folder(keeper: &Keeper, id: &str) -> PathBuf {
    keeper.folder().join("exports").join(id)
}

fn manifest(keeper: &Keeper, id: &str) -> ExportManifest {
    let json = fs::read(folder(keeper, id).join("manifest.json")).expect("a manifest");
    ExportManifest::parse(&json).expect("a manifest that can be read")
}

/// The exports that there are, by what lies on the disk.
fn ids(keeper: &Keeper) -> Vec<String> {
    let entries = fs::read_dir(keeper.folder().join("exports")).into_iter().flatten().flatten();
    let mut ids: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    ids.sort_unstable();
    ids
}

/// A file of an export as stock tools open it.
#[track_caller]
fn content(keeper: &Keeper, id: &str, file: &str) -> Vec<u8> {
    let path = folder(keeper, id).join(file);
    let program = match path.extension().and_then(|end| end.to_str()) {
        Some("zst") => "zstdcat",
        Some("gz") => "zcat",
        _ => "cat",
    };
    run(Command::new(program).arg(path), b"").ok().stdout
}

/// The rows of a table as a set in which each may be more than once, and how many they are.
fn rows(stack: &Stack, table: &str) -> String {
    let only = if table.contains("orders") || table.contains("hashed") { "" } else { "ONLY " };
    stack.sql(&format!(
        "SET timezone = 'UTC'; SELECT count(*), md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), '')) FROM {only}{table} t"
    ))
}

/// A table as SQL writes it.
fn quoted(schema: &str, name: &str) -> String {
    let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    format!("{}.{}", quote(schema), quote(name))
}
