//! Drills of a sample: what is sampled comes back, what differs in it is found, and none of it passes for a drill.

#[path = "drill/left.rs"]
mod left;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use left::left;
use serde_json::Value;
use supakeep_tests::{Daemon, Ended, Keeper, Pg, Stack, tamper, tamper_text};

/// Drills a sample, and looks that nothing of it passes for a drill.
fn sample(keeper: &Keeper, id: &str, size: &str) -> Ended {
    let ended = keeper.run(&["--json", "drill", id, "--sample", size]);
    assert_eq!(left(keeper), Vec::<String>::new(), "{}", ended.stderr);
    assert_eq!(keeper.manifest(id).head.drilled, None);
    ended
}

/// The tables that a report says were sampled, as `database schema.name`.
fn sampled(report: &Value) -> BTreeSet<String> {
    let tables = report["sample"]["tables"].as_array().expect("a sample has tables");
    let text = |table: &Value, key: &str| table[key].as_str().expect("a text").to_owned();
    let name =
        |table| format!("{} {}.{}", text(table, "database"), text(table, "schema"), text(table, "name"));
    tables.iter().map(name).collect()
}

#[test]
fn a_sample_of_a_good_backup_comes_back_and_is_told_as_what_it_is() {
    for pg in Pg::ALL {
        let keeper = Keeper::new(&Stack::shared(pg));
        // All of one, as every kind of table that there is has to come back.
        for (format, percent) in [("plain", 30), ("custom", 100), ("directory", 30)] {
            let id = keeper.backup(&[format, "--format", format]);
            let report = sample(&keeper, &id, &format!("{percent}%")).ok().json();
            let all = keeper.manifest(&id).head.totals.tables;
            assert_eq!(
                (&report["ok"], &report["sample"]["of_tables"]),
                (&true.into(), &all.into()),
                "{report}"
            );
            let taken = sampled(&report).len() as u64;
            assert!(taken > 0 && taken <= (all * percent).div_ceil(100), "{taken} of {all}");
            let found: u64 = report["databases"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|d| d["tables"].as_u64())
                .sum();
            assert_eq!(found, taken, "{report}");
            let noted = keeper.manifest(&id).head.sampled.expect("the result is in the manifest");
            assert!(noted.proof.ok && (noted.tables, noted.of_tables) == (taken, all), "{noted:?}");
            let shown = &keeper.run(&["--json", "list"]).ok().json()[0];
            assert!(shown["drilled_at"].is_null() && shown["sampled_at"].is_string(), "{shown}");
            let kept =
                fs::read_to_string(keeper.folder().join(&id).join("sample.txt")).expect("a page is kept");
            assert!(
                kept.contains("the sample restores to what was recorded") && kept.contains("left out"),
                "{kept}"
            );
            assert_eq!(keeper.run(&["info", &id, "--drill"]).ok().text().trim_end(), kept.trim_end());
        }
        let id = keeper.backup(&[]);
        assert_eq!(keeper.refused(&["info", &id, "--drill"]), (3, "backup-not-found".to_owned()));
    }
}

#[test]
fn a_changed_row_is_found_by_the_sample_that_has_its_table() {
    for pg in Pg::ALL {
        let keeper = Keeper::new(&Stack::shared(pg));
        let id = keeper.backup(&[]);
        tamper(&keeper, &id, "postgres.sql.gz", |content| {
            let rows = b"COPY auth.users (";
            let begin = content.windows(rows.len()).position(|window| window == rows).expect("it has users");
            let at = content[begin..].iter().position(|byte| *byte == b'@').expect("they have addresses");
            content[begin + at + 1] ^= 1;
        });
        for size in ["50%", "100%"] {
            let ended = sample(&keeper, &id, size);
            let has_it = sampled(&ended.json()).contains("postgres auth.users");
            let differs = ended.stderr.contains("postgres: table auth.users: ");
            let code = if has_it { 5 } else { 0 };
            assert_eq!((ended.code(), differs), (code, has_it), "{size}: {}", ended.stderr);
            assert!(has_it || size == "50%", "{}", ended.stderr);
            assert_eq!(ended.json()["differences"].as_array().map(Vec::len), Some(usize::from(has_it)));
        }
        assert!(keeper.manifest(&id).head.sampled.is_some_and(|sampled| !sampled.proof.ok));
        assert!(keeper.run(&["list"]).ok().text().contains("sample FAILED"));
        let page = keeper.run(&["info", &id, "--drill"]).ok().text();
        assert!(page.contains("- postgres: table auth.users: "), "{page}");
        tamper_text(
            &keeper,
            &id,
            "postgres.sql.gz",
            "CREATE TABLE public.duplicates (",
            "CREATE TABLE public.duplicates (added int, ",
        );
        let ended = sample(&keeper, &id, "1");
        assert!(ended.code() == 5 && ended.stderr.contains("postgres: definitions: "), "{}", ended.stderr);
    }
}

#[test]
fn the_daemon_drills_samples_on_schedule_and_keeps_a_page_that_can_be_read() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_DRILL__SAMPLE_SCHEDULE", "*/20 * * * * *");
    let mut keeper = keeper.with("SUPAKEEP_DRILL__SAMPLE", "2");
    let id = keeper.backup(&["--profile", "daily"]);
    let daemon = Daemon::start(&mut keeper);
    let of_daily = |name: &str| format!("supabase_backup_{name}{{profile=\"daily\"}}");
    daemon.wait_for_metric(&of_daily("last_drill_sample_success"), 1.0, Duration::from_secs(180));
    assert_eq!(daemon.metric(&of_daily("drill_sample_tables")), Some(2.0));
    for name in ["last_drill_success", "last_drill_timestamp_seconds", "drill_duration_seconds"] {
        assert_eq!(daemon.metric(&of_daily(name)), None, "{name}: a sample is no drill");
    }
    let (_, health) = daemon.get("/health").expect("it answers");
    let health: Value = serde_json::from_str(&health).expect("it is JSON");
    let drill = &health["drill"];
    assert!(drill["next_sample"].is_string() && drill["next_run"].is_null(), "{health}");
    let (status, log) = daemon.stop();
    assert!(
        status.success() && log.contains("a sample was drilled: it restores to what was recorded"),
        "{log}"
    );
    assert_eq!(left(&keeper), Vec::<String>::new(), "{log}");
    let page = keeper.run(&["info", &id, "--drill"]).ok().text();
    assert!(
        page.contains("the sample restores to what was recorded") && page.contains("(2 tables)"),
        "{page}"
    );
}
