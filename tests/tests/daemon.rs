//! The daemon as a process.

use std::time::Duration;

use supakeep_tests::{Daemon, Keeper, Pg, Stack, wait_for};

const SECOND: Duration = Duration::from_secs(1);

fn every_three_seconds(stack: &Stack) -> Keeper {
    Keeper::new(stack)
        .with("SUPAKEEP_PROFILES__OFTEN__SCHEDULE", "*/3 * * * * *")
        .with("SUPAKEEP_PROFILES__OFTEN__KEEP__LAST", "2")
}

#[test]
fn runs_its_schedule_serves_its_state_and_ends_cleanly() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = every_three_seconds(&stack);
    let daemon = Daemon::start(&mut keeper);
    daemon.wait_for_metric(
        "supabase_backup_runs_total{profile=\"often\",result=\"complete\"}",
        3.0,
        30 * SECOND,
    );
    let (status, health) = daemon.get("/health").expect("it answers");
    assert_eq!(status, 200, "{health}");
    let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
    // On a slow machine a slot may pass while the backup before it goes on, which is told.
    assert_ne!(health["status"], "failing", "{health}");
    assert_eq!(health["profiles"][0]["profile"], "often");
    assert!(
        health["profiles"][0]["last_success"].is_string() && health["profiles"][0]["next_run"].is_string()
    );
    // Retention comes after the run has ended.
    daemon.wait_for_metric("supabase_backup_pruned_total", 1.0, 10 * SECOND);
    assert!(keeper.ids().len() <= 3, "retention runs: {:?}", keeper.ids());
    assert!(keeper.ids().iter().all(|id| id.starts_with("supabase_backup_")));
    let listed: serde_json::Value =
        serde_json::from_str(&daemon.get("/api/v1/backups").expect("it answers").1).expect("JSON");
    let id = listed[0]["id"].as_str().expect("an id");
    assert_eq!(daemon.get(&format!("/api/v1/backups/{id}")).expect("it answers").0, 200);
    assert_eq!(daemon.get("/api/v1/backups/none").expect("it answers").0, 404);
    assert_eq!(daemon.request("POST", "/api/v1/profiles/often/run", "").expect("it answers").0, 404);
    let shown = keeper.run(&["status"]).ok().text();
    assert!(shown.contains("daemon up") && shown.contains("often"), "{shown}");
    keeper.run(&["status", "--live"]).ok();
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    assert!(log.contains("backup complete and verified") && log.contains("stopped"), "{log}");
    assert_eq!(keeper.run(&["status", "--live"]).code(), 1);
}

/// As a virtual machine does that is moved, or a laptop that sleeps.
#[test]
fn goes_on_after_it_stood_still() {
    const COMPLETE: &str = "supabase_backup_runs_total{profile=\"often\",result=\"complete\"}";
    let stack = Stack::shared(Pg::V17);
    let mut keeper = every_three_seconds(&stack);
    let daemon = Daemon::start(&mut keeper);
    daemon.wait_for_metric(COMPLETE, 1.0, 30 * SECOND);
    daemon.signal("-STOP");
    std::thread::sleep(6 * SECOND);
    daemon.signal("-CONT");
    // One run may have been in progress, and one is made up for.
    let before = daemon.metric(COMPLETE).expect("it answers");
    daemon.wait_for_metric(COMPLETE, before + 4.0, 60 * SECOND);
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
}

/// Makes a backup three days older than it is.
fn backdate(keeper: &Keeper, id: &str) {
    let path = keeper.folder().join(id).join("manifest.json");
    let mut manifest = keeper.manifest(id);
    manifest.head.started -= 3 * time::Duration::DAY;
    manifest.head.finished -= 3 * time::Duration::DAY;
    std::fs::write(path, manifest.to_json()).expect("room for a file");
}

#[test]
fn a_restart_loses_nothing_and_makes_up_for_a_missed_run_once() {
    let stack = Stack::shared(Pg::V15);
    let mut keeper = Keeper::new(&stack).with("SUPAKEEP_PROFILES__DAILY__CATCH_UP", "false");
    let id = keeper.backup(&["--profile", "daily"]);
    let daemon = Daemon::start(&mut keeper);
    let success = daemon.metric("supabase_backup_last_success_timestamp_seconds{profile=\"daily\"}");
    let started = keeper.manifest(&id).head.started.unix_timestamp();
    assert_eq!(success, Some(started as f64));
    assert_eq!(daemon.metric("supabase_backup_backups{profile=\"daily\"}"), Some(1.0));
    assert_eq!(daemon.metric("supabase_backup_last_run_success{profile=\"daily\"}"), Some(1.0));
    assert_eq!(daemon.metric("supabase_backup_overdue{profile=\"daily\"}"), Some(0.0));
    drop(daemon);
    backdate(&keeper, &id);
    let daemon = Daemon::start(&mut keeper);
    daemon.wait_for_metric(
        "supabase_backup_runs_total{profile=\"daily\",result=\"skipped\"}",
        1.0,
        10 * SECOND,
    );
    assert_eq!(daemon.metric("supabase_backup_overdue{profile=\"daily\"}"), Some(1.0));
    drop(daemon);
    keeper.set("SUPAKEEP_PROFILES__DAILY__CATCH_UP", "true");
    let daemon = Daemon::start(&mut keeper);
    daemon.wait_for_metric(
        "supabase_backup_runs_total{profile=\"daily\",result=\"complete\"}",
        1.0,
        20 * SECOND,
    );
    std::thread::sleep(3 * SECOND);
    let (_, log) = daemon.stop();
    assert_eq!(log.matches("trigger=\"catch-up\"").count(), 1, "{log}");
    assert_eq!(keeper.ids().len(), 2);
    let daemon = Daemon::start(&mut keeper);
    std::thread::sleep(2 * SECOND);
    assert_eq!(daemon.metric("supabase_backup_overdue{profile=\"daily\"}"), Some(0.0));
    drop(daemon);
    assert_eq!(keeper.ids().len(), 2, "it is made up for once, not at every start");
}

#[test]
fn what_is_wrong_is_seen_in_health_metrics_and_log() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let mut keeper = every_three_seconds(&stack).with("SUPAKEEP_STACK__WAIT", "1s");
    let daemon = Daemon::start(&mut keeper);
    daemon.wait_for_metric(
        "supabase_backup_runs_total{profile=\"often\",result=\"complete\"}",
        1.0,
        30 * SECOND,
    );
    stack.compose(&["pause", "db"]).ok();
    daemon.wait_for_metric("supabase_backup_errors_total{code=\"database-paused\"}", 1.0, 30 * SECOND);
    assert_eq!(daemon.metric("supabase_backup_last_run_success{profile=\"often\"}"), Some(0.0));
    let (status, health) = daemon.get("/health").expect("it answers");
    assert!(status == 503 && health.contains("database-paused"), "{status} {health}");
    assert_eq!(keeper.run(&["status"]).code(), 1);
    let good = keeper.ids();
    assert!(!good.is_empty());
    stack.compose(&["unpause", "db"]).ok();
    wait_for("it is well again", 30 * SECOND, || {
        daemon.get("/health").is_some_and(|(status, _)| status == 200)
    });
    let (_, log) = daemon.stop();
    assert!(log.contains("code=database-paused"), "{log}");
}

#[test]
fn a_run_is_started_over_http_with_the_token_only() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = Keeper::new(&stack).with("SUPAKEEP_HTTP__TOKEN", "s3cret-t0ken");
    let daemon = Daemon::start(&mut keeper);
    let run = |path: &str, headers: &str| daemon.request("POST", path, headers).expect("it answers").0;
    assert_eq!(run("/api/v1/profiles/daily/run", ""), 401);
    assert_eq!(run("/api/v1/profiles/daily/run", "Authorization: Bearer wrong\r\n"), 401);
    assert_eq!(run("/api/v1/profiles/none/run", "Authorization: Bearer s3cret-t0ken\r\n"), 404);
    assert_eq!(run("/api/v1/profiles/daily/run", "Authorization: Bearer s3cret-t0ken\r\n"), 202);
    daemon.wait_for_metric(
        "supabase_backup_runs_total{profile=\"daily\",result=\"complete\"}",
        1.0,
        20 * SECOND,
    );
    let manifest = keeper.manifest(&keeper.ids()[0]);
    assert_eq!(serde_json::to_value(manifest.head.trigger).expect("a word"), "api");
    let (_, log) = daemon.stop();
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn two_daemons_on_one_repository_take_turns() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = every_three_seconds(&stack);
    let first = Daemon::start(&mut keeper);
    let second = Daemon::start(&mut keeper);
    let complete = "supabase_backup_runs_total{profile=\"often\",result=\"complete\"}";
    wait_for("both make backups", 60 * SECOND, || {
        [&first, &second].iter().all(|daemon| daemon.metric(complete).is_some_and(|runs| runs >= 2.0))
    });
    for daemon in [first, second] {
        assert!(
            daemon.metric("supabase_backup_runs_total{profile=\"often\",result=\"failed\"}") == Some(0.0)
        );
        let (status, log) = daemon.stop();
        assert!(status.success() && !log.contains("ERROR"), "{log}");
    }
    keeper.run(&["verify", "--all"]).ok();
    assert_eq!(keeper.incoming(), Vec::<String>::new());
}

#[test]
fn commands_beside_the_daemon_are_safe_and_seen() {
    let stack = Stack::shared(Pg::V15);
    let mut keeper = Keeper::new(&stack);
    let daemon = Daemon::start(&mut keeper);
    assert_eq!(daemon.metric("supabase_backup_backups{profile=\"daily\"}"), Some(0.0));
    let id = keeper.backup(&["--profile", "daily"]);
    assert_eq!(daemon.metric("supabase_backup_backups{profile=\"daily\"}"), Some(1.0));
    keeper.run(&["delete", &id, "--yes"]).ok();
    assert_eq!(daemon.metric("supabase_backup_backups{profile=\"daily\"}"), Some(0.0));
    let (status, _) = daemon.stop();
    assert!(status.success());
}

#[test]
fn a_signal_during_a_run_waits_for_the_grace_and_then_cancels() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let mut keeper = every_three_seconds(&stack).with("SUPAKEEP_DAEMON__GRACE", "1s");
    let lock = "BEGIN; LOCK TABLE public.wide IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60);";
    let db = stack.db();
    let psql = ["exec", &db, "psql", "-h", "127.0.0.1", "-U", "supabase_admin", "-c", lock];
    let mut holder = std::process::Command::new("docker").args(psql).spawn().expect("docker runs");
    let daemon = Daemon::start(&mut keeper);
    wait_for("a run hangs", 30 * SECOND, || stack.supakeep_sessions() >= 2);
    let began = std::time::Instant::now();
    let (status, log) = daemon.stop();
    assert!(status.success() && log.contains("cancelled"), "{log}");
    assert!(began.elapsed() < 15 * SECOND, "{:?}", began.elapsed());
    wait_for("its sessions have ended", 5 * SECOND, || stack.supakeep_sessions() == 0);
    assert_eq!(keeper.incoming(), Vec::<String>::new());
    let _ = holder.kill();
    let _ = holder.wait();
}

#[test]
fn a_repository_that_comes_later_is_taken_when_it_comes() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = every_three_seconds(&stack);
    let later = keeper.repository().join("later");
    keeper.set("SUPAKEEP_REPOSITORY__PATH", &later.display().to_string());
    let daemon = Daemon::start(&mut keeper);
    daemon.wait_for_metric("supabase_backup_errors_total{code=\"repository-missing\"}", 1.0, 20 * SECOND);
    assert_eq!(daemon.get("/health").expect("it answers").0, 503);
    std::fs::create_dir(&later).expect("room for a folder");
    daemon.wait_for_metric(
        "supabase_backup_runs_total{profile=\"often\",result=\"complete\"}",
        1.0,
        30 * SECOND,
    );
    wait_for("it is well", 10 * SECOND, || daemon.get("/health").is_some_and(|(status, _)| status == 200));
    drop(daemon);
}
