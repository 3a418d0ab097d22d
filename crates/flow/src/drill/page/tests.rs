use supakeep_model::drill_sample::TableId;
use supakeep_model::event::Phase;
use time::macros::datetime;

use super::super::{PhaseTime, RolesReport, SampledTable};
use super::*;
use crate::restore::DatabaseReport;

fn report() -> DrillReport {
    let at = datetime!(2026-01-10 3:00 UTC);
    let database =
        |name: &str, rows| DatabaseReport { name: name.into(), tables: 2, rows, differences: vec![] };
    DrillReport {
        backup: "daily_1".parse().expect("a valid id"),
        sample: None,
        ok: true,
        started: at,
        finished: at,
        duration_seconds: 19.2,
        image_id: "sha256:abc".into(),
        server_version: "17.4".into(),
        phases: vec![PhaseTime { phase: Phase::Verify.as_str(), subject: String::new(), seconds: 1.25 }],
        databases: vec![database("_supabase", 3255), database("a\nb", 7)],
        roles: Some(RolesReport { statements: 30, differences: vec![], beyond: vec![] }),
        vaults: vec![],
        checks: vec![],
        differences: vec![],
    }
}

fn sample() -> DrillReport {
    let table = TableId { database: "postgres".into(), schema: "auth".into(), name: "users".into() };
    let sample = SampleReport {
        size: "10%".into(),
        turn: 3,
        turns: 9,
        tables: vec![SampledTable { table, rows: 41 }],
        of_tables: 45,
        left_out: vec!["the rows of 44 other tables (900 rows)".into(), "your own checks (2)".into()],
    };
    DrillReport { sample: Some(sample), ..report() }
}

#[test]
fn a_whole_drill_on_a_page() {
    let wanted = "\
backup        daily_1
result        restores to what was recorded
drilled       2026-01-10T03:00:00Z
took          20s, from the first file to the last comparison
server        PostgreSQL 17.4, image sha256:abc

PHASE             TOOK
verifying files   1.2 s

COMPARED            WHAT                 RESULT
database _supabase  2 tables, 3255 rows  equal
database a\\nb       2 tables, 7 rows     equal
roles               30 statements        equal
";
    let found = page(&report());
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let phase = Phase::Verify.as_str();
    assert_eq!(words(&found), words(&wanted.replace("verifying files", phase)), "{found}");
    assert!(found.contains("\ndatabase a\\nb       2 tables, 7 rows     equal\n"), "{found}");
}

#[test]
fn a_sample_says_that_it_is_one_and_what_it_left_out() {
    let page = page(&sample());
    for part in [
        "result        the sample restores to what was recorded\n",
        "sample        1 of 45 tables (10%), turn 3 of 9\n",
        "left out      the rows of 44 other tables (900 rows)\n              your own checks (2)\n",
        "postgres  auth.users     41\n",
        "only a drill of the whole backup measures the time to restore",
    ] {
        assert!(page.contains(part), "{part:?} is not in:\n{page}");
    }
}

#[test]
fn every_difference_is_on_the_page() {
    let differences: Vec<_> = (0..30).map(|n| format!("table public.t{n}: 1 rows\nof two lines")).collect();
    let page = page(&DrillReport { ok: false, differences, ..sample() });
    assert!(page.contains("result        30 differences\n"), "{page}");
    assert!(page.contains("- table public.t29: 1 rows\n  of two lines\n"), "{page}");
}
