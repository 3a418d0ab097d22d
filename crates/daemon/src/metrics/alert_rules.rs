//! The alert rules in `deploy/prometheus` ask for nothing that is not exported: an alert on a name that
//! does not exist never fires, and nobody notices.

use std::collections::BTreeSet;

use supakeep_model::dump::DumpSpec;
use supakeep_model::health::{Live, RepositoryHealth, of_profile};
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::profile::Profile;
use supakeep_model::schedule::Schedule;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};
use time::macros::datetime;

use super::*;

const RULES: &str = include_str!("../../../../deploy/prometheus/supakeep.rules.yml");
const NOW: OffsetDateTime = datetime!(2026-01-10 12:00 UTC);

/// A good backup that was verified and drilled, so that every gauge has something to show.
fn head() -> ManifestHead {
    let json = serde_json::json!({
        "format": 1, "id": "supabase_backup_20260110_020000", "profile": "daily", "kind": "profile",
        "trigger": "schedule", "outcome": "complete",
        "started": "2026-01-10T02:00:00Z", "finished": "2026-01-10T02:01:00Z", "duration_seconds": 60.0,
        "totals": { "stored_bytes": 100, "source_bytes": 400, "databases": 2, "tables": 3, "rows": 30 },
        "verified": { "at": "2026-01-10T02:01:00Z", "ok": true, "duration_seconds": 1.0 },
        "drilled": { "at": "2026-01-10T03:00:00Z", "ok": true, "duration_seconds": 9.0 },
        "copies": [], "dump": DumpSpec::default(), "stack": StackRecord::default(),
        "supakeep": { "version": "0.1.0", "revision": "abc" },
    });
    ManifestHead::parse_whole(json.to_string().as_bytes()).expect("a valid head")
}

fn daily() -> Profile {
    Profile {
        name: "daily".into(),
        schedule: Schedule::new(vec!["0 2 * * *".parse().expect("a valid cron")], Zone::utc()),
        labels: vec![],
        keep: Default::default(),
        dump: Default::default(),
        gate: Default::default(),
        max_age: None,
        catch_up: true,
        jitter: Duration::ZERO,
        retries: 2,
        retry_delay: Duration::minutes(5),
        deadline: Duration::hours(6),
    }
}

/// Every name that a daemon exports to which everything has happened once.
fn exported() -> BTreeSet<String> {
    let catalog = Catalog::new(vec![head().into()], vec![]);
    let live = Live { next_run: Some(NOW + Duration::HOUR), ..Live::default() };
    let profile = of_profile(&daily(), &catalog, NOW, live, NOW);
    let repository =
        RepositoryHealth { error: None, free_bytes: 3, total_bytes: 4, needed_bytes: 2, unreadable: vec![] };
    let health = Health::assess("0.1.0", "supabase", vec![profile], repository);
    let build = Build { version: "0.1.0".into(), revision: "abc".into() };
    let text = Metrics::new(&build, &[daily()]).render(&catalog, &health, NOW);
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Every word of the rules' expressions that is a name of ours.
fn asked_for() -> BTreeSet<String> {
    let expressions = RULES.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    expressions
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

#[test]
fn ask_only_for_what_is_exported() {
    let (asked_for, exported) = (asked_for(), exported());
    assert!(asked_for.len() >= 11, "the rules are not read right: {asked_for:?}");
    let unknown: Vec<_> = asked_for.difference(&exported).collect();
    assert!(unknown.is_empty(), "no such metric: {unknown:?}; there are {exported:?}");
}
