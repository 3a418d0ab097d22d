//! Commands on the backups that are there.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;
use supakeep_tests::{Ended, spawn, without_starting};

use crate::shelf::Shelf;

/// The ids in a list that a command printed as JSON.
fn ids(ended: Ended) -> Vec<String> {
    let listed = ended.ok().json();
    let listed = listed.as_array().expect("a list");
    listed.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn list_shows_the_newest_first_with_failed_runs_and_by_profile() {
    let shelf = Shelf::new();
    let old = shelf.of_profile("daily", 30);
    let weekly = shelf.of_profile("weekly", 20);
    let named = shelf.by_hand(Some("before-migration"), 10);
    let failed = shelf.failed(5);
    let all = [failed.clone(), named.clone(), weekly.clone(), old.clone()];
    assert_eq!(ids(shelf.keeper.run(&["--json", "list"])), all);
    assert_eq!(ids(shelf.keeper.run(&["--json", "list", "--profile", "daily"])), [failed.clone(), old]);
    // Not configured, but there are backups of it.
    assert_eq!(ids(shelf.keeper.run(&["list", "--json", "--profile", "weekly"])), [weekly]);
    assert_eq!(shelf.keeper.refused(&["list", "--profile", "none"]), (3, "profile-not-found".into()));
    let table = shelf.keeper.run(&["list"]).ok().text();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines.len() == 5, "{table}");
    assert!(lines[1].starts_with(&failed) && lines[1].contains("failed: database-lost"), "{table}");
    assert!(
        lines[2].starts_with(&named) && lines[2].contains("named") && lines[2].contains("yes"),
        "{table}"
    );
}

#[test]
fn an_empty_repository_has_nothing_to_list() {
    let shelf = Shelf::new();
    let ended = shelf.keeper.run(&["list"]).ok();
    assert_eq!(
        (ended.text(), ended.stderr.trim()),
        (String::new(), "no backups yet; `supakeep backup` takes one")
    );
    assert_eq!(shelf.keeper.run(&["--json", "list"]).ok().json(), Value::Array(vec![]));
    assert_eq!(shelf.keeper.refused(&["info", "latest"]), (3, "backup-not-found".into()));
    assert_eq!(shelf.keeper.refused(&["verify", "--latest"]), (3, "backup-not-found".into()));
    shelf.keeper.run(&["verify", "--all"]).ok();
    shelf.keeper.run(&["cleanup"]).ok();
}

#[test]
fn a_backup_is_found_by_any_name_that_means_one() {
    let shelf = Shelf::new();
    let daily = shelf.of_profile("daily", 30);
    let named = shelf.by_hand(Some("before-migration"), 10);
    let failed = shelf.failed(5);
    let found = |query: &str| shelf.keeper.run(&["--json", "info", query]).ok().json()["id"].clone();
    assert_eq!(found(&daily), daily.as_str());
    assert_eq!(found("before"), named.as_str());
    assert_eq!(found("latest"), named.as_str());
    assert_eq!(found("latest:daily"), daily.as_str());
    assert_eq!(found(&failed), failed.as_str());
    for missing in ["after", "latest:weekly", "latest:", "", "../../etc/passwd", "..", "a\nb", "$(id)"] {
        assert_eq!(shelf.keeper.refused(&["info", missing]), (3, "backup-not-found".into()), "{missing:?}");
    }
}

#[test]
fn a_beginning_of_several_is_ambiguous_and_lists_them() {
    let shelf = Shelf::new();
    let both = [shelf.of_profile("daily", 30), shelf.of_profile("daily", 10)];
    for command in [&["info", "supabase"][..], &["verify", "supabase"], &["delete", "supabase", "--yes"]] {
        assert_eq!(shelf.keeper.refused(command), (2, "backup-ambiguous".into()), "{command:?}");
        let said = shelf.keeper.run(command).stderr;
        assert!(both.iter().all(|id| said.contains(id)), "{said}");
    }
    assert_eq!(shelf.keeper.ids().len(), 2);
}

#[test]
fn info_tells_everything_and_why_a_run_failed() {
    let shelf = Shelf::new();
    let good = shelf.of_profile("daily", 10);
    let text = shelf.keeper.run(&["info", &good]).ok().text();
    for part in ["complete", "daily", "public.users", "300", "postgres.sql.gz", "SHA-256", "definitions"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let manifest = serde_json::to_value(shelf.keeper.manifest(&good)).expect("a manifest is JSON");
    assert_eq!(shelf.keeper.run(&["--json", "info", &good]).ok().json(), manifest);
    let failed = shelf.failed(5);
    let text = shelf.keeper.run(&["info", &failed]).ok().text();
    assert!(text.contains("database-lost: the server went away") && text.contains("hint"), "{text}");
}

#[test]
fn delete_asks_and_removes_nothing_without_an_answer() {
    let shelf = Shelf::new();
    let [old, new] = [shelf.of_profile("daily", 30), shelf.of_profile("daily", 10)];
    let before = shelf.content();
    assert_eq!(shelf.keeper.refused(&["delete", &old]), (2, "usage-invalid".into()));
    assert_eq!(shelf.keeper.refused(&["delete", &old, "nothing", "--yes"]), (3, "backup-not-found".into()));
    assert_eq!(shelf.content(), before);
    assert_eq!(shelf.keeper.run(&["delete", &new, &new, "--yes"]).ok().text(), format!("deleted {new}\n"));
    assert_eq!((shelf.keeper.ids(), shelf.latest()), (vec![old.clone()], Some(old.clone().into())));
    let deleted = shelf.keeper.run(&["--json", "delete", "-y", "latest"]).ok().json();
    assert_eq!(deleted, serde_json::json!({ "deleted": [old] }));
    assert_eq!((shelf.keeper.ids(), shelf.latest()), (vec![], None));
}

#[test]
fn the_link_of_a_profile_goes_with_its_last_backup() {
    let shelf = Shelf::new();
    let [daily, weekly] = [shelf.of_profile("daily", 30), shelf.of_profile("weekly", 10)];
    shelf.keeper.run(&["delete", &weekly, "--yes"]).ok();
    let link = |name: &str| fs::read_link(shelf.keeper.folder().join(name)).ok();
    assert_eq!(link("latest-weekly"), None, "it would lead nowhere");
    assert_eq!(link("latest-daily"), Some(daily.into()));
}

/// On a terminal of its own, which `script` makes.
#[test]
fn delete_waits_for_an_answer_without_the_lock_and_a_signal_ends_it() {
    let shelf = Shelf::new();
    let id = shelf.of_profile("daily", 10);
    for (typed, code) in [("\x03", 130), ("n\n", 130), ("y\n", 0)] {
        let own = shelf.keeper.command(&["delete", &id]);
        let line = format!("exec {} delete {id}", own.get_program().display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_clear();
        script.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = spawn(script.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut screen = child.stdout.take().expect("it was asked for");
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).contains("[y/N]") {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).expect("a screen"), 1, "{}", String::from_utf8_lossy(&shown));
            shown.push(byte[0]);
        }
        let lock = shelf.locked();
        without_starting(|| drop(lock));
        let mut keys = child.stdin.take().expect("it was asked for");
        keys.write_all(typed.as_bytes()).expect("a keyboard");
        let ended = child.wait().expect("our own child");
        assert_eq!(ended.code(), Some(code), "{typed:?}");
        assert_eq!(shelf.keeper.ids().is_empty(), code == 0, "{typed:?}");
    }
}

#[test]
fn cleanup_prints_first_what_it_then_does() {
    let shelf = Shelf::new().with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "2");
    let named = shelf.by_hand(Some("before-migration"), 900);
    let retired = shelf.of_profile("retired", 800);
    let daily: Vec<_> = [96, 72, 48, 24].map(|hours| shelf.of_profile("daily", hours)).into();
    let before = shelf.content();
    let planned = shelf.keeper.run(&["--json", "cleanup", "--dry-run"]).ok().json();
    assert_eq!(
        (shelf.content(), &planned["dry_run"], &planned["removed"]),
        (before, &true.into(), &0.into())
    );
    let table = shelf.keeper.run(&["cleanup", "--dry-run"]).ok().text();
    for part in [
        "the newest good one, last 2",
        "no rule keeps it",
        "named by hand",
        "profile retired is not in the configuration",
        "would remove 2 of 6",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let header = table.lines().next().expect("a header");
    let first = table.lines().nth(1).expect("a row");
    assert_eq!(header.find("ID"), first.find(&daily[3]), "{table}");
    let done = shelf.keeper.run(&["--json", "cleanup"]).ok().json();
    assert_eq!(
        (&done["items"], &done["removed"], &done["failed"]),
        (&planned["items"], &2.into(), &0.into())
    );
    let left = [daily[3].clone(), daily[2].clone(), retired, named];
    assert_eq!(shelf.keeper.ids(), left);
    assert!(shelf.keeper.run(&["cleanup"]).ok().text().contains("removed 0 of 4"));
}

#[test]
fn cleanup_by_age_spares_the_newest_and_the_named() {
    let shelf = Shelf::new().with("SUPAKEEP_PROFILES__DAILY__KEEP__YEARS", "9");
    let named = shelf.by_hand(Some("emergency"), 2_000);
    let [_, newest] = [shelf.of_profile("daily", 1_500), shelf.of_profile("daily", 1_000)];
    for age in ["30", "soon", "-1d", "1 month"] {
        let ended = shelf.keeper.run(&["cleanup", &format!("--older-than={age}")]);
        assert_eq!(ended.code(), 2, "{age}: {}", ended.stderr);
    }
    shelf.keeper.run(&["cleanup", "--older-than", "30d"]).ok();
    assert_eq!(shelf.keeper.ids(), [newest, named]);
}

#[test]
fn verify_reads_again_and_a_difference_has_its_own_exit_code() {
    let shelf = Shelf::new();
    let [first, second] = [shelf.of_profile("daily", 30), shelf.of_profile("daily", 10)];
    let said = shelf.keeper.run(&["verify", "--all"]).ok().text();
    assert!(said.contains(&format!("{first} ok in")) && said.contains(&format!("{second} ok in")), "{said}");
    shelf.damage(&second);
    let ended = shelf.keeper.run(&["--json", "verify", "--all"]);
    assert_eq!(ended.code(), 5);
    let json = ended.json();
    assert_eq!(
        (&json[0]["id"], &json[0]["good"], &json[0]["verified"]["ok"]),
        (&second.as_str().into(), &false.into(), &false.into())
    );
    assert_eq!((&json[1]["id"], &json[1]["verified"]["ok"]), (&first.as_str().into(), &true.into()));
    assert!(
        ended.stderr.contains("error[verify-failed]") && ended.stderr.contains("postgres.sql.gz"),
        "{}",
        ended.stderr
    );
    assert_eq!(shelf.latest(), Some(first.clone().into()));
    assert!(shelf.keeper.run(&["list"]).ok().text().contains("DAMAGED"));
    // The newest that is good is another one now.
    assert!(shelf.keeper.run(&["verify", "--latest"]).ok().text().starts_with(&first));
    let failed = shelf.failed(1);
    assert_eq!(shelf.keeper.refused(&["verify", &failed]), (2, "usage-invalid".into()));
}

#[test]
fn a_suspect_backup_counts_when_a_person_accepts_it_and_its_files_are_right() {
    let shelf = Shelf::new();
    let good = shelf.of_profile("daily", 30);
    let suspect = shelf.suspect(10);
    assert_eq!(shelf.latest(), Some(good.clone().into()));
    assert!(shelf.keeper.run(&["info", &suspect]).text().contains("public.users: 300 rows before, 20 now"));
    assert!(shelf.keeper.run(&["verify", &suspect]).ok().text().contains("ok, suspect"));
    shelf.damage(&suspect);
    assert_eq!(shelf.keeper.run(&["verify", &suspect, "--accept"]).code(), 5);
    assert_eq!(shelf.latest(), Some(good.into()));
    shelf.damage(&suspect);
    shelf.keeper.run(&["verify", &suspect, "--accept"]).ok();
    assert_eq!(shelf.latest(), Some(suspect.into()));
}

#[test]
fn status_without_a_daemon_goes_by_the_manifests() {
    let shelf = Shelf::new();
    shelf.of_profile("daily", 5);
    let ended = shelf.keeper.run(&["--json", "status"]).ok();
    let json = ended.json();
    assert_eq!((&json["daemon"], &json["health"]["status"]), (&false.into(), &"ok".into()), "{json}");
    assert!(shelf.keeper.run(&["status"]).ok().text().contains("daemon down"));
    let live = shelf.keeper.run(&["--json", "status", "--live"]);
    assert_eq!((live.code(), live.json()), (1, serde_json::json!({ "live": false })));
    let shelf = Shelf::new();
    shelf.of_profile("daily", 40);
    let overdue = shelf.keeper.run(&["status"]);
    assert!(overdue.code() == 1 && overdue.text().contains("overdue"), "{}", overdue.text());
    let shelf = Shelf::new();
    shelf.of_profile("daily", 5);
    shelf.failed(1);
    let failed = shelf.keeper.run(&["status"]);
    assert!(
        failed.code() == 1 && failed.text().contains("the last run failed: database-lost"),
        "{}",
        failed.text()
    );
}
