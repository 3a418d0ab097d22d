//! Names that are more than names, and repositories that are not what they should be.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use supakeep_tests::{Ended, run, without_starting};

use crate::shelf::Shelf;

/// Every command that looks at the repository.
const COMMANDS: [&[&str]; 7] = [
    &["backup"],
    &["list"],
    &["info", "latest"],
    &["verify", "--all"],
    &["cleanup"],
    &["cleanup", "--dry-run"],
    &["delete", "latest", "--yes"],
];

#[test]
fn names_that_are_more_than_names_are_refused_before_anything_is_done() {
    let shelf = Shelf::new();
    let before = shelf.content();
    let long = "x".repeat(65);
    for name in [
        "..",
        ".",
        "",
        "../up",
        "a/b",
        "/etc/passwd",
        "a b",
        "it's",
        "quo\"te",
        "$(touch x)",
        "`id`",
        "${HOME}",
        "a;b",
        "new\nline",
        "tab\t",
        "größe",
        ".hidden",
        "a.b",
        "*",
        "_x",
        long.as_str(),
    ] {
        assert_eq!(shelf.keeper.refused(&["backup", "--", name]), (2, "name-invalid".into()), "{name:?}");
    }
    // What looks like an option is one.
    assert_eq!(shelf.keeper.run(&["backup", "-rf"]).code(), 2);
    for profile in ["..", "$(id)", "none\n"] {
        let refused = shelf.keeper.refused(&["backup", "--profile", profile]);
        assert_eq!(refused, (3, "profile-not-found".into()), "{profile:?}");
    }
    assert_eq!(shelf.content(), before);
    for id in ["..", "../supabase", ".incoming", "/etc", "$(id)", "a\nb"] {
        assert_eq!(
            shelf.keeper.refused(&["delete", "--yes", "--", id]),
            (3, "backup-not-found".into()),
            "{id:?}"
        );
    }
}

#[test]
fn whoever_only_looks_makes_nothing() {
    let shelf = Shelf::new().with("SUPAKEEP_STACK__PROJECT", "mistyped");
    let before = shelf.content();
    for command in
        [&["status"][..], &["check"], &["list"], &["cleanup", "--dry-run"], &["backup", "--dry-run"]]
    {
        shelf.keeper.run(command);
        assert_eq!(shelf.content(), before, "{command:?}");
    }
}

#[test]
fn a_docker_host_that_names_no_engine_stops_only_what_needs_one() {
    let shelf = Shelf::new().with("DOCKER_HOST", "ssh://backup@db.example");
    shelf.of_profile("daily", 1);
    for command in [&["list"][..], &["info", "latest"], &["verify", "latest"], &["cleanup", "--dry-run"]] {
        let ended = shelf.keeper.run(command);
        assert_eq!(ended.code(), 0, "{command:?}: {}", ended.text());
    }
    for command in [&["backup"][..], &["backup", "--dry-run"]] {
        assert_eq!(shelf.keeper.refused(command), (1, "docker-unreachable".into()), "{command:?}");
    }
    let check = shelf.keeper.run(&["check"]).text();
    assert!(check.contains("ok   repository"), "{check}");
    assert!(
        check.contains("FAIL docker      DOCKER_HOST \"ssh://backup@db.example\" names no engine"),
        "{check}"
    );
}

#[test]
fn a_repository_that_is_missing_is_an_error_for_every_command() {
    let shelf = Shelf::new().with("SUPAKEEP_REPOSITORY__PATH", "/nowhere/backups");
    for command in COMMANDS {
        assert_eq!(shelf.keeper.refused(command), (1, "repository-missing".into()), "{command:?}");
    }
    let status = shelf.keeper.run(&["status"]);
    assert_eq!(status.code(), 1, "{}", status.text());
    let check = shelf.keeper.run(&["check"]).text();
    assert!(check.contains("FAIL repository  the repository /nowhere/backups does not exist"), "{check}");
}

/// Runs a command as somebody who is not root, where permissions count.
fn as_nobody(shelf: &Shelf, arguments: &[&str]) -> Ended {
    let own = shelf.keeper.command(arguments);
    let copy = shelf.keeper.repository().join("supakeep");
    if !copy.exists() {
        without_starting(|| fs::copy(own.get_program(), &copy)).expect("room for the binary");
    }
    let is_root = run(Command::new("id").arg("-u"), b"").ok().text().trim() == "0";
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        command.args(["--reuid=65532", "--regid=65532", "--clear-groups"]);
    }
    command.arg(&copy).args(own.get_args()).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut command, b"")
}

#[test]
fn a_repository_that_may_only_be_read_can_be_read() {
    let shelf = Shelf::new();
    let id = shelf.of_profile("daily", 5);
    let allow = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own folder");
    };
    // First the binary's copy, then nothing may be written any more.
    as_nobody(&shelf, &["--version"]);
    let folder = shelf.keeper.folder();
    for entry in fs::read_dir(folder.join(&id)).expect("a backup").flatten() {
        allow(&entry.path(), 0o444);
    }
    for path in [folder.join(&id), folder.clone(), shelf.keeper.repository().to_owned()] {
        allow(&path, 0o555);
    }
    for command in [&["list"][..], &["info", "latest"], &["verify", "--all"]] {
        let ended = as_nobody(&shelf, command).ok();
        assert!(ended.text().contains(&id), "{command:?}: {}", ended.text());
    }
    for command in [&["--json", "backup"][..], &["--json", "cleanup"], &["--json", "delete", &id, "--yes"]] {
        let ended = as_nobody(&shelf, command);
        assert_eq!(
            (ended.code(), &ended.json()["error"]["code"]),
            (1, &"repository-read-only".into()),
            "{command:?}"
        );
    }
    assert!(as_nobody(&shelf, &["check"]).text().contains("repository-read-only"));
    allow(shelf.keeper.repository(), 0o755);
    allow(&folder, 0o755);
    assert_eq!(shelf.keeper.ids(), [id]);
}

#[test]
fn what_stands_in_a_repository_s_place_is_left_alone() {
    for make in ["file", "link"] {
        let shelf = Shelf::new();
        let elsewhere = shelf.keeper.repository().join("elsewhere");
        fs::create_dir(&elsewhere).expect("room for a folder");
        fs::write(elsewhere.join("precious"), "x").expect("room for a file");
        match make {
            "file" => fs::write(shelf.keeper.folder(), "x"),
            _ => symlink(&elsewhere, shelf.keeper.folder()),
        }
        .expect("room for it");
        let before = shelf.content();
        for command in [&["backup"][..], &["cleanup"], &["delete", "latest", "--yes"]] {
            let (exit, code) = shelf.keeper.refused(command);
            assert_eq!((exit, code.as_str()), (1, "repository-io"), "{make} {command:?}");
        }
        assert_eq!(shelf.content(), before, "{make}");
    }
}

#[test]
fn a_folder_full_of_other_things_is_no_backup_and_stays_as_it_is() {
    let shelf = Shelf::new();
    let folder = shelf.keeper.folder();
    fs::create_dir_all(folder.join("supabase_backup_20200101_000000")).expect("room for a folder");
    fs::write(folder.join("supabase_backup_20200101_000000/postgres.sql.gz"), "x").expect("room for a file");
    fs::create_dir(folder.join("a b")).expect("room for a folder");
    fs::write(folder.join("a b/manifest.json"), "{}").expect("room for a file");
    fs::write(folder.join("dump.sql"), "x").expect("room for a file");
    let before = shelf.content();
    assert_eq!(shelf.keeper.ids(), Vec::<String>::new());
    assert_eq!(shelf.keeper.refused(&["info", "supabase_backup_2020"]), (3, "backup-not-found".into()));
    shelf.keeper.run(&["cleanup", "--older-than", "1s"]).ok();
    let after = shelf.content();
    assert!(before.iter().all(|entry| after.contains(entry)), "{before:#?} became {after:#?}");
}

#[test]
fn manifests_that_cannot_be_read_are_told_beside_the_others() {
    let shelf = Shelf::new();
    let good = shelf.of_profile("daily", 5);
    let folder = shelf.keeper.folder();
    for (name, json) in [("newer_1", r#"{"format": 99, "id": 7}"#), ("broken_1", "{"), ("moved_1", "")] {
        fs::create_dir(folder.join(name)).expect("room for a folder");
        fs::write(folder.join(name).join("manifest.json"), json).expect("room for a file");
    }
    fs::copy(folder.join(&good).join("manifest.json"), folder.join("moved_1/manifest.json")).expect("room");
    let ended = shelf.keeper.run(&["--json", "list"]).ok();
    assert_eq!(ended.json().as_array().map(Vec::len), Some(1));
    for part in [
        "warning[manifest-newer]: newer_1: the manifest has format 99",
        "warning[manifest-damaged]: broken_1",
        "warning[manifest-damaged]: moved_1",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(shelf.keeper.refused(&["delete", "newer_1", "--yes"]), (3, "backup-not-found".into()));
    let check = shelf.keeper.run(&["check"]);
    assert!(check.code() == 1 && check.text().contains("3 manifests cannot be read"), "{}", check.text());
    assert!(shelf.keeper.run(&["status"]).ok().text().contains("degraded"));
}

#[test]
fn while_another_run_holds_the_lock_reading_goes_on() {
    let shelf = Shelf::new();
    let id = shelf.of_profile("daily", 5);
    let lock = shelf.locked();
    for command in [&["backup"][..], &["cleanup"], &["delete", &id, "--yes"]] {
        assert_eq!(shelf.keeper.refused(command), (4, "busy".into()), "{command:?}");
        let said = shelf.keeper.run(command).stderr;
        assert!(said.contains("locked by a test"), "{said}");
    }
    for command in [&["list"][..], &["info", &id], &["verify", &id], &["cleanup", "--dry-run"]] {
        shelf.keeper.run(command).ok();
    }
    without_starting(|| drop(lock));
    shelf.keeper.run(&["delete", &id, "--yes"]).ok();
}

#[test]
fn without_an_engine_a_backup_fails_and_leaves_its_record() {
    let shelf = Shelf::new();
    let good = shelf.of_profile("daily", 5);
    assert_eq!(shelf.keeper.refused(&["backup", "--profile", "daily"]), (1, "docker-unreachable".into()));
    assert_eq!(shelf.keeper.refused(&["backup", "--dry-run"]), (1, "docker-unreachable".into()));
    assert_eq!((shelf.keeper.ids(), shelf.keeper.incoming()), (vec![good.clone()], vec![]));
    let listed = shelf.keeper.run(&["list"]).ok().text();
    assert!(
        listed.lines().nth(1).is_some_and(|line| line.contains("failed: docker-unreachable")),
        "{listed}"
    );
    let shelf = shelf.with("DOCKER_HOST", "unix:///nowhere/docker.sock");
    assert_eq!(shelf.keeper.refused(&["backup"]), (1, "docker-unreachable".into()));
    shelf.keeper.run(&["verify", &good]).ok();
    let check = shelf.keeper.run(&["check"]);
    assert!(check.code() == 1 && check.text().contains("FAIL docker"), "{}", check.text());
    assert!(
        check.text().contains("ok   repository") && check.text().contains("1 backups"),
        "{}",
        check.text()
    );
}

#[test]
fn no_wish_makes_the_docker_client_log_what_passes_through_it() {
    let everything = "trace,bollard=trace,bollard::docker=trace,hyper_util::client=trace";
    let shelf = Shelf::new().with("RUST_LOG", everything);
    let said = shelf.keeper.run(&["backup", "--dry-run"]).stderr;
    assert!(said.contains("DEBUG waiting for the database"), "what is ours is logged: {said}");
    assert!(!said.contains("TRACE") && !said.contains("127.0.0.1:9"), "{said}");
}

#[test]
fn a_signal_ends_a_command_that_waits_for_an_engine_which_does_not_answer() {
    let engine = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", engine.local_addr().expect("it has one"));
    let shelf = Shelf::new().with("DOCKER_HOST", &address);
    for command in [&["check"][..], &["backup", "--dry-run"]] {
        let mut child = shelf.keeper.spawn(command);
        let (_called, _) = engine.accept().expect("it asks the engine");
        let sent = Instant::now();
        run(Command::new("kill").args(["-INT", &child.id().to_string()]), b"").ok();
        assert_eq!(child.wait().expect("our own child").code(), Some(130), "{command:?}");
        assert!(sent.elapsed() < Duration::from_secs(10), "{command:?} took {:?}", sent.elapsed());
    }
}

#[test]
fn verifying_all_goes_on_after_a_manifest_that_cannot_be_read() {
    let shelf = Shelf::new();
    let [old, new] = [shelf.of_profile("daily", 30), shelf.of_profile("daily", 5)];
    let broken = shelf.of_profile("daily", 10);
    let manifest = shelf.keeper.folder().join(&broken).join("manifest.json");
    // The head is still there, so that it is listed.
    let json = fs::read_to_string(&manifest).expect("a manifest");
    let (head, _) = json.split_once("\"databases\": [").expect("it has databases");
    fs::write(&manifest, format!("{head}\"databases\": [")).expect("room for a file");
    let ended = shelf.keeper.run(&["verify", "--all"]);
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.text().contains(&format!("{old} ok")) && ended.text().contains(&format!("{new} ok")));
    assert!(ended.stderr.contains("error[manifest-damaged]") && ended.stderr.contains(&broken));
    let shown = shelf.keeper.run(&["--json", "verify", "--all"]).json();
    let of = |id: &str| shown.as_array().and_then(|all| all.iter().find(|one| one["id"] == *id)).cloned();
    assert_eq!(of(&new).expect("it was looked at")["verified"]["ok"], true);
    assert_eq!(of(&broken).expect("it is told")["error"]["code"], "manifest-damaged");
    shelf.damage(&old);
    assert_eq!(shelf.keeper.run(&["verify", "--all"]).code(), 5, "damage weighs more");
}

#[test]
fn what_has_taken_the_name_of_a_link_spoils_nothing_that_was_done() {
    let shelf = Shelf::new().with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "1");
    let [oldest, old, new] = [30, 20, 5].map(|hours| shelf.of_profile("daily", hours));
    let latest = shelf.keeper.folder().join("latest");
    fs::remove_file(&latest).expect("a link");
    fs::create_dir(&latest).expect("room for a folder");
    for command in [&["verify", &new][..], &["delete", &oldest, "--yes"], &["cleanup"]] {
        let ended = shelf.keeper.run(command).ok();
        assert!(!ended.text().is_empty() && ended.stderr.contains("is not a link"), "{command:?}: {ended:?}");
    }
    assert!(!shelf.keeper.ids().contains(&old));
    let link = fs::read_link(shelf.keeper.folder().join("latest-daily")).expect("the other link is set");
    assert_eq!(link.to_str(), Some(new.as_str()));
}

#[test]
fn check_prints_its_report_even_where_the_stack_has_no_name() {
    let shelf = Shelf::new();
    let nameless = |arguments: &[&str]| {
        let mut command = shelf.keeper.command(arguments);
        run(command.env_remove("SUPAKEEP_STACK__PROJECT"), b"")
    };
    let check = nameless(&["check"]);
    assert!(check.code() == 1 && check.text().contains("FAIL stack"), "{check:?}");
    let report = nameless(&["--json", "check"]).json();
    assert_eq!((&report[0]["subject"], &report[0]["ok"]), (&"stack".into(), &false.into()));
}
