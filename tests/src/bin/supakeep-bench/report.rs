//! The tables, and `results.json`.

use std::fs;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};
use supakeep_tests::Pg;

use crate::contender::Measured;
use crate::files::Files;
use crate::many::Facts;
use crate::restoring::Restored;

/// What each of supakeep's rows is to reach, as a share of another row's time.
const TARGETS: [(&str, &str, f64, &[Pg]); 3] = [
    ("supakeep gzip:6", "docker exec pg_dump | gzip -6", 0.35, &Pg::ALL),
    ("supakeep zstd:3", "docker exec pg_dump | zstd -3", 1.0, &Pg::ALL),
    ("supakeep zstd:3", "client pg_dump -Z zstd:3", 1.25, &[Pg::V17]),
];

/// The same for what fills a database.
const RESTORE_TARGETS: [(&str, &str, f64); 2] = [
    ("supakeep restore, plain", "gunzip | docker exec psql", 1.05),
    ("supakeep restore, custom", "docker cp, pg_restore -j2", 1.05),
];

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Prints what was measured on one server.
pub(crate) fn print_race(pg: Pg, measured: &[Measured]) {
    let limit = measured.first().map_or(1.0, |limit| limit.median_seconds);
    let head = format!("PostgreSQL {}", pg.major());
    let mut rows = table(&[&head, "seconds", "× limit", "verify", "stored", "peak RSS"]);
    for one in measured {
        let dash = || "–".to_owned();
        rows.add_row([
            one.name.to_owned(),
            format!("{:.1}", one.median_seconds),
            format!("{:.2}", one.median_seconds / limit),
            one.verify_seconds.map_or_else(dash, |seconds| format!("{seconds:.1}")),
            if one.stored_bytes == 0 { dash() } else { mebibytes(one.stored_bytes) },
            one.peak_rss_bytes.map_or_else(dash, mebibytes),
        ]);
    }
    println!("\n{rows}\n");
    let seconds = |name| measured.iter().find(|one| one.name == name).map(|one| one.median_seconds);
    let mut ratios = table(&["ratio", "measured", "to reach"]);
    for (ours, theirs, most, servers) in TARGETS {
        if let (true, Some(a), Some(b)) = (servers.contains(&pg), seconds(ours), seconds(theirs)) {
            ratios.add_row([format!("{ours} / {theirs}"), format!("{:.2}", a / b), format!("≤ {most:.2}")]);
        }
    }
    println!("{ratios}\n");
    for one in measured.iter().filter(|one| !one.profile.is_empty()) {
        let mut rows = table(&[&format!("processor time, {}, verification included", one.name), "seconds"]);
        for (name, seconds) in one.profile.iter().filter(|(_, seconds)| **seconds >= 0.05) {
            rows.add_row([name.clone(), format!("{seconds:.1}")]);
        }
        println!("{rows}\n");
    }
}

/// Prints what was measured of restores into one server.
pub(crate) fn print_restores(pg: Pg, restored: &[Restored]) {
    let head = format!("PostgreSQL {}, restore", pg.major());
    let mut rows = table(&[&head, "filled", "verify", "compare", "the rest", "peak RSS"]);
    for one in restored {
        let mut row = vec![one.name.to_owned(), format!("{:.1}", one.fill_seconds)];
        match &one.beside {
            Some(beside) => {
                let seconds = [beside.verify_seconds, beside.compare_seconds, beside.rest_seconds];
                row.extend(seconds.map(|seconds| format!("{seconds:.1}")));
                row.push(mebibytes(beside.peak_rss_bytes));
            }
            None => row.extend(vec!["–".to_owned(); 4]),
        }
        rows.add_row(row);
    }
    println!("\n{rows}\n");
    let seconds = |name| restored.iter().find(|one| one.name == name).map(|one| one.fill_seconds);
    let mut ratios = table(&["ratio", "measured", "to reach"]);
    for (ours, theirs, most) in RESTORE_TARGETS {
        if let (Some(a), Some(b)) = (seconds(ours), seconds(theirs)) {
            ratios.add_row([format!("{ours} / {theirs}"), format!("{:.2}", a / b), format!("≤ {most:.2}")]);
        }
    }
    println!("{ratios}\n");
}

/// The rows of `results.json` for restores into one server.
pub(crate) fn restore_rows(pg: Pg, restored: &[Restored]) -> Vec<Value> {
    let row = |one: &Restored| {
        json!({
            "name": one.name,
            "server": pg.major(),
            "median_seconds": one.fill_seconds,
            "peak_rss_bytes": one.beside.as_ref().map(|beside| beside.peak_rss_bytes),
        })
    };
    restored.iter().map(row).collect()
}

/// The rows of `results.json` for one server.
pub(crate) fn rows(pg: Pg, measured: &[Measured]) -> Vec<Value> {
    let row = |one: &Measured| {
        json!({
            "name": one.name,
            "server": pg.major(),
            "median_seconds": one.median_seconds,
            "peak_rss_bytes": one.peak_rss_bytes,
        })
    };
    measured.iter().map(row).collect()
}

/// Writes `target/bench/results.json`.
pub(crate) fn write(results: &[Value]) -> std::io::Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
    fs::create_dir_all(folder)?;
    fs::write(format!("{folder}/results.json"), serde_json::to_vec_pretty(results)?)
}

/// Prints what was measured of the storage service's files.
pub(crate) fn print_files(sets: &[Files]) {
    let head = [
        "files of Storage",
        "tar, zstd -1",
        "stored",
        "supakeep",
        "stored",
        "1 % changed",
        "stored",
        "peak RSS",
        "porter's",
    ];
    let mut rows = table(&head);
    for one in sets {
        let mut row = vec![one.name.to_owned()];
        for (seconds, bytes) in [one.tar, one.first, one.second] {
            row.extend([format!("{seconds:.1} s"), mebibytes(bytes)]);
        }
        row.extend([mebibytes(one.peak_rss_bytes.0), mebibytes(one.peak_rss_bytes.1)]);
        rows.add_row(row);
    }
    println!("\n{rows}\n");
    let mut ratios = table(&["ratio", "measured", "to reach"]);
    for one in sets {
        let share = |a: f64, b: f64| format!("{:.3}", a / b);
        ratios.add_row([
            format!("{}: second / first, bytes", one.name),
            share(one.second.1 as f64, one.first.1 as f64),
            "≤ 0.050".to_owned(),
        ]);
        ratios.add_row([
            format!("{}: second / first, time", one.name),
            share(one.second.0, one.first.0),
            "≤ 0.050".to_owned(),
        ]);
        ratios.add_row([
            format!("{}: supakeep / tar, time", one.name),
            share(one.first.0, one.tar.0),
            "–".to_owned(),
        ]);
    }
    println!("{ratios}\n");
}

/// Prints what was measured beside the race.
pub(crate) fn print_facts(facts: &Facts) {
    let mut rows = table(&["", "measured", "to reach"]);
    let milliseconds = |seconds: f64| format!("{:.0} ms", seconds * 1_000.0);
    let many = facts.backups;
    let with = format!("{many} backups, manifests of {} KiB", facts.manifest_bytes / 1024);
    let mut row = |what: &str, measured: String, most: &str| {
        rows.add_row([what.to_owned(), measured, most.to_owned()]);
    };
    row(&format!("`list`, {with}"), milliseconds(facts.list_seconds), "≤ 200 ms");
    row(&format!("`cleanup --dry-run`, {with}"), milliseconds(facts.cleanup_seconds), "≤ 200 ms");
    row(&format!("`/metrics`, {with}"), milliseconds(facts.metrics_seconds), "≤ 200 ms");
    row("daemon waiting, empty repository", mebibytes(facts.idle_rss_bytes), "≤ 20 MB");
    row(&format!("daemon waiting, {many} backups"), mebibytes(facts.many_rss_bytes.0), "–");
    row(&format!("daemon's peak, {many} backups"), mebibytes(facts.many_rss_bytes.1), "–");
    let image = facts.image_bytes.map_or("not built (`make image`)".to_owned(), mebibytes);
    row("image", image, "≤ 30 MB");
    println!("{rows}");
}
