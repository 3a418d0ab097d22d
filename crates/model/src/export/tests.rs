//! Exports as values: found, kept, overdue, and never taken for backups.

use std::sync::Arc;

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::code::Code;
use crate::health::Level;
use crate::keep::KeepPolicy;
use crate::manifest::{Manifest, ManifestError};
use crate::manifest_head::RunError;
use crate::sample;
use crate::schedule::Schedule;
use crate::zone::Zone;

const NOW: OffsetDateTime = datetime!(2026-01-10 12:00 UTC);

fn at(days: i64) -> OffsetDateTime {
    NOW - Duration::days(days)
}

fn catalog(entries: &[(&str, Option<&str>, OffsetDateTime)]) -> ExportCatalog {
    let made = entries.iter().map(|(id, name, started)| Arc::new(sample::export(id, *name, *started)));
    ExportCatalog::new(made.collect(), vec![])
}

fn configs(keep: KeepPolicy) -> ExportProfile {
    let schedule = Schedule::new(vec!["0 2 * * *".parse().expect("valid")], Zone::utc());
    ExportProfile {
        name: "configs".into(),
        rows: RowsSpec::of(vec![TablePattern::exact("public", "configs")]),
        keep,
        schedule: Some(schedule),
        max_age: None,
        catch_up: true,
        retries: 2,
        retry_delay: Duration::MINUTE,
        deadline: ExportProfile::DEADLINE,
    }
}

#[test]
fn retention_keeps_by_the_rules_of_backups_and_removes_nothing_it_cannot_name() {
    let catalog = catalog(&[
        ("configs_1", Some("configs"), at(1)),
        ("configs_9", Some("configs"), at(9)),
        ("configs_30", Some("configs"), at(30)),
        ("gone_30", Some("no-longer-configured"), at(30)),
        ("by-hand_30", None, at(30)),
        ("configs_later", Some("configs"), at(-3)),
    ]);
    let plan = plan_exports(
        &catalog,
        &[configs(KeepPolicy { days: Some(7), ..KeepPolicy::default() })],
        &Zone::utc(),
        NOW,
    );
    let removed: Vec<_> = plan.removals().map(|item| item.id.as_str()).collect();
    assert_eq!(removed, ["configs_9", "configs_30"]);
    assert_eq!(plan.items.len(), 6);
    assert!(plan.items.iter().all(|item| !item.reasons.is_empty()));
}

#[test]
fn the_newest_export_stays_however_old_it_is() {
    let catalog =
        catalog(&[("configs_90", Some("configs"), at(90)), ("configs_99", Some("configs"), at(99))]);
    let keep = KeepPolicy { days: Some(7), ..KeepPolicy::default() };
    let plan = plan_exports(&catalog, &[configs(keep)], &Zone::utc(), NOW);
    let removed: Vec<_> = plan.removals().map(|item| item.id.as_str()).collect();
    assert_eq!(removed, ["configs_99"]);
}

#[test]
fn finds_what_a_person_means() {
    let catalog = catalog(&[
        ("configs_1", Some("configs"), at(1)),
        ("configs_10", Some("configs"), at(2)),
        ("users_1", Some("users"), at(0)),
        ("users_later", Some("users"), at(-1)),
    ]);
    let find = |text: &str| {
        let query: ExportQuery = text.parse().unwrap_or_else(|never| match never {});
        catalog.find(&query, NOW).map(|entry| entry.id.to_string()).map_err(|error| error.code())
    };
    assert_eq!(find("latest"), Ok("users_1".into()));
    assert_eq!(find("latest:configs"), Ok("configs_1".into()));
    assert_eq!(find("configs_1"), Ok("configs_1".into()), "an id is not the beginning of another");
    assert_eq!(find("users_1"), Ok("users_1".into()));
    assert_eq!(find("configs"), Err(Code::BackupAmbiguous));
    assert_eq!(find("latest:nobody"), Err(Code::ExportNotFound));
    assert_eq!(find(""), Err(Code::BackupAmbiguous));
}

#[test]
fn an_export_is_overdue_after_its_schedules_longest_pause_and_never_fails_the_whole() {
    let export = configs(KeepPolicy::default());
    let live = ExportLive::default();
    let fresh = of_export(&export, &catalog(&[("c_1", Some("configs"), at(1))]), at(50), &live, NOW);
    assert_eq!((fresh.status, fresh.overdue, fresh.last_run_ok), (Level::Ok, false, Some(true)));
    let old = of_export(&export, &catalog(&[("c_2", Some("configs"), at(2))]), at(50), &live, NOW);
    assert_eq!((old.status, old.overdue), (Level::Degraded, true));
    assert!(old.reasons[0].starts_with("overdue: the newest is 2d"), "{:?}", old.reasons);
    let never = of_export(&export, &catalog(&[]), at(50), &live, NOW);
    assert_eq!((never.status, never.overdue, never.last_run_ok), (Level::Degraded, true, None));
    let by_hand = ExportProfile { schedule: None, ..export };
    assert!(!of_export(&by_hand, &catalog(&[]), at(50), &live, NOW).overdue);
}

#[test]
fn a_failure_is_told_until_an_export_is_made() {
    let export = configs(KeepPolicy::default());
    let error = RunError { code: Code::DatabaseLost, message: "gone".into(), hint: String::new() };
    let run = ExportRun {
        id: "configs_x".parse().expect("an id"),
        export: Some("configs".into()),
        started: at(0) - Duration::HOUR,
        duration_seconds: 1.0,
        totals: ExportTotals::default(),
        warnings: vec![],
        error: Some(error),
    };
    let live = ExportLive { last_run: Some(run), ..ExportLive::default() };
    let before = catalog(&[("c_1", Some("configs"), at(1))]);
    let health = of_export(&export, &before, at(50), &live, NOW);
    assert_eq!((health.last_run_ok, health.last_error_code), (Some(false), Some(Code::DatabaseLost)));
    assert_eq!(health.status, Level::Degraded);
    let after = catalog(&[("c_0", Some("configs"), at(0))]);
    let health = of_export(&export, &after, at(50), &live, NOW);
    assert_eq!((health.status, health.last_run_ok), (Level::Ok, Some(true)));
}

#[test]
fn neither_manifest_passes_for_the_other() {
    let export = sample::export("c_1", Some("configs"), NOW);
    assert_eq!(ExportManifest::parse(&export.to_json()), Ok(export.clone()));
    assert!(matches!(Manifest::parse(&export.to_json()), Err(ManifestError::Damaged(_))));
    let head = sample::head("b_1", Some("daily"), NOW);
    let backup =
        Manifest { head, databases: vec![], artifacts: vec![], server_settings: vec![], messages: vec![] };
    assert!(matches!(ExportManifest::parse(&backup.to_json()), Err(ManifestError::Damaged(_))));
    let unmarked = String::from_utf8(export.to_json()).expect("JSON").replace("\"holds\": \"export\",", "");
    assert!(matches!(ExportManifest::parse(unmarked.as_bytes()), Err(ManifestError::Damaged(_))));
    let newer = br#"{"format": 9, "holds": "something else"}"#;
    assert_eq!(ExportManifest::parse(newer), Err(ManifestError::Newer { found: 9 }));
}
