//! `docs/metrics.md` lists every metric that is exported, with its type and labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use supakeep_model::code::Code;
use supakeep_model::export::{ExportEvent, ExportHealth, ExportRun, ExportTotals};
use supakeep_model::health::{Health, Level, Live, RepositoryHealth, of_profile};
use supakeep_model::manifest_head::{ObjectsRecord, Outcome, Proof, SampleProof, StorageRecord};
use supakeep_testkit::{head, profile};
use time::Duration;
use time::macros::datetime;

use super::*;

const PAGE: &str = include_str!("../../../../docs/metrics.md");
const NOW: OffsetDateTime = datetime!(2026-01-10 12:00 UTC);

/// Type and labels of a metric, by its name.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

fn daily() -> Profile {
    profile("daily", "0 2 * * *")
}

fn build() -> Build {
    Build { version: "0.1.0".into(), revision: "abc".into() }
}

/// A good backup of which everything is known that a backup can have.
fn backup(id: &str) -> ManifestHead {
    let head = head(id, Some("daily"), NOW - Duration::hours(10));
    let sample = |proof: Proof| SampleProof { proof, tables: 1, of_tables: 9 };
    let storage = StorageRecord { objects: Some(ObjectsRecord::default()), ..StorageRecord::default() };
    ManifestHead {
        drilled: head.verified.clone(),
        sampled: head.verified.clone().map(sample),
        storage: Some(storage),
        ..head
    }
}

fn scrape(metrics: &Metrics, catalog: &Catalog) -> String {
    let live = Live { next_run: Some(NOW + Duration::HOUR), ..Live::default() };
    let profile = of_profile(&daily(), catalog, NOW, live, NOW);
    let repository = RepositoryHealth {
        error: None,
        free_bytes: 1,
        total_bytes: 2,
        needed_bytes: 1,
        unreadable: vec![],
        damaged: vec![],
    };
    let health = Health::assess("0.1.0", "supabase", vec![profile], repository);
    metrics.render(catalog, &health.with_exports(vec![exported_configs()]), NOW)
}

/// An export of which everything is known that an export can have.
fn exported_configs() -> ExportHealth {
    ExportHealth {
        export: "configs".into(),
        status: Level::Ok,
        reasons: vec![],
        running: false,
        last_success: Some(NOW),
        latest: None,
        rows: Some(1),
        stored_bytes: Some(1),
        age_seconds: Some(0),
        max_age_seconds: Some(1),
        overdue: false,
        last_run_ok: Some(true),
        last_error_code: None,
        next_run: Some(NOW + Duration::HOUR),
        exports: 1,
    }
}

fn export_ended() -> RunEvent {
    RunEvent::Export(ExportEvent::Ended(Box::new(ExportRun {
        id: "configs_1".parse().expect("an id"),
        export: Some("configs".into()),
        started: NOW,
        duration_seconds: 1.0,
        totals: ExportTotals::default(),
        warnings: vec![],
        error: None,
    })))
}

/// What a scrape shows after every kind of event.
pub(super) fn exported() -> Described {
    let metrics = Metrics::new(&build(), &[daily()], &[]);
    metrics.observe(&RunEvent::Ended { head: Box::new(backup("a")) });
    metrics.observe(&RunEvent::Fault { code: Code::RepositoryIo, message: "x".into() });
    metrics.observe(&export_ended());
    let text = scrape(&metrics, &Catalog::new(vec![Arc::new(backup("a"))], vec![]));
    let mut out = Described::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            out.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (series, labels) = line.split_once('{').map_or((line, ""), |(name, rest)| (name, rest));
            let base = series.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            let Some((_, names)) = out.get_mut(base) else { continue };
            names.extend(
                labels
                    .split(',')
                    .filter_map(|label| label.split_once("=\""))
                    .map(|(name, _)| name.to_owned()),
            );
            names.remove("le");
        }
    }
    out
}

/// The rows `| metric | type | labels | unit | meaning |` of the page.
fn documented() -> Described {
    PAGE.lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .filter(|row| row.starts_with(PREFIX) || row.starts_with("process_"))
        .map(|row| {
            let cells: Vec<_> = row.split(" | ").collect();
            let [name, kind, labels, unit, meaning] = cells.as_slice() else {
                panic!("not five cells: {row}")
            };
            assert!(!unit.is_empty() && !meaning.is_empty(), "{name} is not explained");
            let labels = labels.split(", ").filter(|label| *label != "–").map(str::to_owned).collect();
            (name.trim_end_matches('`').to_owned(), ((*kind).to_owned(), labels))
        })
        .collect()
}

#[test]
fn the_page_lists_what_is_exported() {
    assert_eq!(documented(), exported());
}

#[test]
fn a_backup_that_is_gone_leaves_no_number_behind() {
    let metrics = Metrics::new(&build(), &[daily()], &[]);
    let shown = scrape(&metrics, &Catalog::new(vec![Arc::new(backup("a"))], vec![]));
    let gone = [
        "size_bytes",
        "source_bytes",
        "last_run_success",
        "last_verify_success",
        "last_drill_success",
        "last_drill_sample_success",
    ];
    for name in gone {
        assert!(shown.contains(&format!("\n{PREFIX}{name}{{")), "{name} is missing:\n{shown}");
    }
    let shown = scrape(&metrics, &Catalog::default());
    for name in gone {
        assert!(!shown.contains(&format!("\n{PREFIX}{name}{{")), "{name} is still there:\n{shown}");
    }
}

#[test]
fn a_sample_says_nothing_of_a_drill() {
    let metrics = Metrics::new(&build(), &[daily()], &[]);
    let sampled = ManifestHead { drilled: None, ..backup("a") };
    let shown = scrape(&metrics, &Catalog::new(vec![Arc::new(sampled)], vec![]));
    assert!(
        shown.contains(&format!("\n{PREFIX}last_drill_sample_success{{profile=\"daily\"}} 1\n")),
        "{shown}"
    );
    assert!(!shown.contains(&format!("\n{PREFIX}last_drill_success{{")), "{shown}");
    assert!(!shown.contains(&format!("\n{PREFIX}drill_duration_seconds{{")), "{shown}");
}

#[test]
fn what_a_failed_run_had_written_is_not_in_the_repository() {
    let mut failed = backup("b");
    failed.outcome = Outcome::Failed;
    let metrics = Metrics::new(&build(), &[daily()], &[]);
    let shown = scrape(&metrics, &Catalog::new(vec![Arc::new(backup("a")), Arc::new(failed)], vec![]));
    assert!(shown.contains(&format!("\n{PREFIX}repository_bytes 100\n")), "{shown}");
}
