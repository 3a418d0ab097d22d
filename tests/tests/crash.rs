//! Whatever moment a run dies at: the last good backup is untouched, and the next run cleans up.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use supakeep_flow::kill_point::POINTS;
use supakeep_tests::{Keeper, Pg, Stack, wait_for};

/// A keeper whose profile keeps one backup, so that every run after the first also prunes.
fn keeper(stack: &Stack) -> Keeper {
    Keeper::new(stack).with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "1")
}

fn assert_all_good(keeper: &Keeper) {
    let verified = keeper.run(&["--json", "verify", "--all"]).ok().json();
    for backup in verified.as_array().expect("a list") {
        assert_eq!(backup["verified"]["ok"], true, "{backup}");
    }
}

#[test]
fn sigkill_at_every_named_point_loses_nothing() {
    let stack = Stack::private(Pg::V17, &["db"]);
    for point in POINTS {
        let mut keeper = keeper(&stack);
        let good = keeper.backup(&["--profile", "daily"]);
        keeper.set("SUPAKEEP_KILL_AT", point);
        let ended = keeper.run(&["backup", "--profile", "daily"]);
        assert_eq!(ended.status.signal(), Some(9), "{point}: {}", ended.stderr);
        keeper.set("SUPAKEEP_KILL_AT", "");
        let left = keeper.ids();
        assert!(left.contains(&good) || point == "backup-pruned", "{point}: {left:?}");
        assert_all_good(&keeper);
        std::thread::sleep(Duration::from_secs(1));
        let next = keeper.backup(&["--profile", "daily"]);
        assert_eq!(keeper.ids(), [next], "{point}");
        assert_eq!(keeper.incoming(), Vec::<String>::new(), "{point}");
        assert_eq!(stack.supakeep_sessions(), 0, "{point}");
        assert_all_good(&keeper);
    }
}

/// Runs a backup and sends it `signal` after each of many delays. Returns how the runs ended.
fn signalled(stack: &Stack, signal: &str) -> Vec<Option<i32>> {
    let keeper = keeper(stack);
    let good = keeper.backup(&[]);
    let mut ends = Vec::new();
    for step in 0..14 {
        let mut child = keeper.spawn(&["backup", "--profile", "daily"]);
        std::thread::sleep(Duration::from_millis(20 + 90 * step));
        let pid = child.id().to_string();
        let _ = std::process::Command::new("kill").args([signal, &pid]).status();
        let status = child.wait().expect("a child can be waited for");
        ends.push(status.code());
        assert!(keeper.ids().contains(&good), "after {step}");
        if signal == "-TERM" {
            assert_eq!(keeper.incoming(), Vec::<String>::new(), "after {step}");
            wait_for("its sessions have ended", Duration::from_secs(5), || stack.supakeep_sessions() == 0);
        }
    }
    let next = keeper.backup(&[]);
    assert_eq!((&keeper.ids()[0], keeper.incoming().len(), stack.supakeep_sessions()), (&next, 0, 0));
    assert_all_good(&keeper);
    ends
}

#[test]
fn sigterm_at_any_moment_ends_cleanly() {
    let stack = Stack::private(Pg::V15, &["db"]);
    let ends = signalled(&stack, "-TERM");
    // 130 where it came in time, 0 where the backup was made already, nothing before main was reached.
    assert!(ends.iter().all(|code| matches!(code, Some(0 | 130) | None)), "{ends:?}");
    assert!(ends.contains(&Some(130)), "{ends:?}");
}

#[test]
fn sigkill_at_any_moment_loses_nothing() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let ends = signalled(&stack, "-KILL");
    assert!(ends.contains(&None), "every run ended before it was killed: {ends:?}");
}

#[test]
fn cancelling_a_dump_ends_its_sessions_in_the_database() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    // pg_dump waits for a lock: it would go on waiting long after its reader has gone.
    let lock = "BEGIN; LOCK TABLE public.wide IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60);";
    let db = stack.db();
    let psql = ["exec", &db, "psql", "-h", "127.0.0.1", "-U", "supabase_admin", "-c", lock];
    let mut holder = std::process::Command::new("docker").args(psql).spawn().expect("docker runs");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'supakeep-%' AND wait_event_type = 'Lock'";
    let mut child = keeper.spawn(&["backup"]);
    wait_for("the dump waits for the lock", Duration::from_secs(20), || stack.sql(waits) == "1");
    let began = Instant::now();
    let _ = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert_eq!(child.wait().expect("a child can be waited for").code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    wait_for("its sessions have ended", Duration::from_secs(5), || stack.supakeep_sessions() == 0);
    let _ = holder.kill();
    let _ = holder.wait();
}
