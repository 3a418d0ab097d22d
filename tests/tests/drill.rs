//! Drills: what comes back is proven, what does not is found, and the live stack notices nothing.

#[path = "drill/left.rs"]
mod left;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use left::left;
use serde_json::Value;
use supakeep_tests::{Daemon, Ended, Keeper, Pg, Stack, docker, tamper, tamper_text, wait_for};

const A_MINUTE: Duration = Duration::from_secs(60);

fn drill(keeper: &Keeper, id: &str) -> Ended {
    let ended = keeper.run(&["--json", "drill", id]);
    assert_eq!(left(keeper), Vec::<String>::new(), "{}", ended.stderr);
    ended
}

#[track_caller]
fn passes(keeper: &Keeper, id: &str) -> Value {
    let report = drill(keeper, id).ok().json();
    assert_eq!(report["ok"], true, "{report}");
    let proof = keeper.manifest(id).head.drilled.expect("the result is in the manifest");
    assert!(proof.ok && proof.duration_seconds > 0.0, "{proof:?}");
    report
}

/// It ends with 5, and tells this.
#[track_caller]
fn finds(keeper: &Keeper, id: &str, what: &str) {
    let ended = drill(keeper, id);
    assert_eq!(ended.code(), 5, "{}", ended.stderr);
    assert!(ended.stderr.contains("error[drill-failed]") && ended.stderr.contains(what), "{}", ended.stderr);
    assert_eq!(ended.json()["ok"], false);
    let proof = keeper.manifest(id).head.drilled.expect("the result is in the manifest");
    assert!(!proof.ok && proof.differences.iter().any(|text| text.contains(what)), "{proof:?}");
    assert!(keeper.run(&["list"]).ok().text().contains("FAILED"));
}

/// Everything of the live database that a drill could have changed.
fn state_of(stack: &Stack, keeper: &Keeper) -> (Value, Vec<String>) {
    let id = keeper.backup(&[]);
    let prints = keeper.manifest(&id).databases.into_iter().map(|database| {
        serde_json::to_value(database.fingerprint.expect("a fingerprint")).expect("it serialises")
    });
    let seen = [
        "{{.State.StartedAt}} {{.RestartCount}} {{json .NetworkSettings.Networks}}",
        "{{json .HostConfig}} {{json .Config}}",
    ];
    let seen = seen.iter().map(|format| docker(&["inspect", "-f", format, &stack.db()]).ok().text());
    let own = stack.sql("SELECT string_agg(rolname || coalesce(rolpassword, '') || rolsuper, ',' ORDER BY rolname) FROM pg_authid");
    (prints.collect(), seen.chain([own]).collect())
}

#[test]
fn a_good_backup_comes_back_and_the_live_stack_notices_nothing() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        // Nothing of this comes with the image.
        stack.sql("CREATE ROLE auditor LOGIN PASSWORD 'x'; CREATE TABLE public.audits AS SELECT 1 AS a; ALTER TABLE public.audits OWNER TO auditor; ALTER DATABASE postgres SET work_mem TO '5MB'; SELECT vault.create_secret('mine', 'added');");
        let keeper = Keeper::new(&stack);
        let before = state_of(&stack, &keeper);
        for format in ["plain", "custom", "directory"] {
            let id = keeper.backup(&[format, "--format", format]);
            let report = passes(&keeper, &id);
            assert_eq!(report["databases"].as_array().map(Vec::len), Some(2), "{report}");
            assert_eq!(report["vaults"][0]["secrets"], 4, "{report}");
            assert!(report["roles"]["statements"].as_u64() > Some(20), "{report}");
            assert_eq!(keeper.run(&["--json", "info", &id, "--drill"]).ok().json()["drill"], report);
            let shown = keeper.run(&["--json", "list"]).ok().json();
            assert!(shown[0]["drilled_at"].is_string(), "{shown}");
        }
        let after = state_of(&stack, &keeper);
        assert_eq!(after.1, before.1);
        assert!(after.0 == before.0, "the live database holds something else than before");
    }
}

#[test]
fn damage_and_changes_are_found_before_anything_is_made() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&["flipped"]);
    let path = keeper.folder().join(&id).join("postgres.sql.gz");
    let mut bytes = fs::read(&path).expect("the dump is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("room for a file");
    finds(&keeper, &id, "postgres.sql.gz");
    assert!(keeper.manifest(&id).head.verified.is_some_and(|proof| !proof.ok), "it is not good any more");

    let id = keeper.backup(&["altered"]);
    tamper(&keeper, &id, "postgres.sql.gz", |content| {
        let rows = b"COPY auth.users (";
        let begin = content.windows(rows.len()).position(|window| window == rows).expect("it has users");
        let at = content[begin..].iter().position(|byte| *byte == b'@').expect("they have addresses");
        content[begin + at + 1] ^= 1;
    });
    finds(&keeper, &id, "table auth.users");

    let id = keeper.backup(&["missing"]);
    tamper(&keeper, &id, "postgres.sql.gz", |content| {
        let (begin, end) = (b"COPY public.duplicates (".as_slice(), b"\n\\.\n".as_slice());
        let find = |content: &[u8], what: &[u8]| content.windows(what.len()).position(|w| w == what);
        let from = find(content, begin).expect("it has the table");
        let to = from + find(&content[from..], end).expect("its rows end") + end.len();
        content.drain(from..to);
    });
    finds(&keeper, &id, "public.duplicates");
}

#[test]
fn a_wrong_root_key_is_found() {
    for pg in Pg::ALL {
        let keeper = Keeper::new(&Stack::shared(pg));
        let id = keeper.backup(&[]);
        tamper(&keeper, &id, "pgsodium_root.key", |key| {
            key[..64].copy_from_slice("ab".repeat(32).as_bytes())
        });
        keeper.run(&["verify", &id]).ok();
        finds(&keeper, &id, "vault of postgres: secret test_secret does not open");
    }
}

#[test]
fn a_missing_role_is_found() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        stack.sql("CREATE ROLE auditor; CREATE TABLE public.audits (a int); ALTER TABLE public.audits OWNER TO auditor;");
        let keeper = Keeper::new(&stack);
        let id = keeper.backup(&[]);
        tamper(&keeper, &id, "globals.sql.gz", |content| {
            let text = String::from_utf8(content.clone()).expect("globals are text");
            let lines = text.lines().filter(|line| !line.contains("auditor"));
            *content = lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        });
        keeper.run(&["verify", &id]).ok();
        finds(&keeper, &id, "role \"auditor\" does not exist");
    }
}

#[test]
fn a_role_that_does_not_come_back_as_it_was_is_found() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    // psql goes on after roles that are there already, and so would it after this.
    tamper_text(
        &keeper,
        &id,
        "globals.sql.gz",
        "\nALTER ROLE anon SET",
        "\nALTER ROLE anon SET work_mem TO '7MB';\nALTER ROLE anon RESET work_mem;\nALTER ROLE anon SET",
    );
    finds(&keeper, &id, "roles: not there: ALTER ROLE anon SET work_mem TO '7MB';");
}

#[test]
fn a_backup_that_is_whole_and_does_not_restore_is_found() {
    let stack = Stack::private(Pg::V15, &["db"]);
    // A constraint whose function finds its table by search_path, which a dump empties.
    stack.sql("CREATE TABLE public.limits AS SELECT 10 AS most; CREATE FUNCTION public.most() RETURNS int LANGUAGE sql AS 'SELECT most FROM limits'; CREATE TABLE public.bounded (n int CHECK (n <= public.most())); INSERT INTO public.bounded VALUES (1);");
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    keeper.run(&["verify", &id]).ok();
    finds(&keeper, &id, "relation \"limits\" does not exist");
}

#[test]
fn rows_that_come_back_as_others_are_found_although_the_files_are_right() {
    let stack = Stack::private(Pg::V17, &["db"]);
    // Every row that is loaded leaves one elsewhere.
    stack.sql(
        "CREATE TABLE public.counted_rows (n int); CREATE FUNCTION public.count_it(n int) RETURNS boolean LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO public.counted_rows VALUES (n); RETURN true; END $$; \
         CREATE TABLE public.watched (n int CHECK (public.count_it(n))); INSERT INTO public.watched VALUES (1), (2), (3);",
    );
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    keeper.run(&["verify", &id]).ok();
    finds(&keeper, &id, "table public.counted_rows: 3 rows recorded, 6 found");
    assert!(keeper.manifest(&id).head.verified.is_some_and(|proof| proof.ok), "the files are right");
    let ended = keeper.run(&["--json", "restore", &id, "--yes", "--no-safety-backup"]);
    assert_eq!(ended.code(), 5, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("restore-differs") && ended.stderr.contains("public.counted_rows"),
        "{}",
        ended.stderr
    );
}

#[test]
fn checks_of_ones_own_are_made() {
    let stack = Stack::shared(Pg::V15);
    let mut keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    let config = keeper.repository().join("supakeep.toml");
    let checks = "[[drill.checks]]\nname = 'no session without a user'\nsql = 'SELECT count(*) FROM auth.sessions s LEFT JOIN auth.users u ON u.id = s.user_id WHERE u.id IS NULL'\nexpect = '0'\n";
    fs::write(&config, checks).expect("room for a file");
    keeper.set("SUPAKEEP_CONFIG", &config.display().to_string());
    let report = passes(&keeper, &id);
    assert_eq!(report["checks"][0]["found"], "0", "{report}");
    let more = "[[drill.checks]]\nname = 'log'\ndatabase = '_supabase'\nsql = 'SELECT 1 / 0'\nexpect = '1'\n";
    fs::write(&config, format!("{checks}{more}")).expect("room for a file");
    finds(&keeper, &id, "check log: \"1\" expected, ");
}

#[test]
fn a_drill_that_was_killed_is_cleaned_up_by_the_next_one_and_by_the_daemon() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = Keeper::new(&stack);
    let id = keeper.backup(&["--profile", "daily"]);
    let kill = |keeper: &mut Keeper, point: &str| {
        keeper.set("SUPAKEEP_KILL_AT", point);
        let ended = keeper.run(&["drill"]);
        assert_eq!(ended.status.signal(), Some(9), "{point}: {}", ended.stderr);
        keeper.set("SUPAKEEP_KILL_AT", "");
        assert_eq!(left(keeper).len(), 3, "a container and its two volumes");
        assert_eq!(keeper.manifest(&id).head.drilled, None);
    };
    kill(&mut keeper, "drill-made");
    let daemon = Daemon::start(&mut keeper);
    wait_for("the daemon has swept", A_MINUTE, || left(&keeper).is_empty());
    drop(daemon);
    kill(&mut keeper, "drill-restored");
    passes(&keeper, &id);
}

#[test]
fn a_cancelled_drill_leaves_nothing_and_says_nothing_of_the_backup() {
    let stack = Stack::shared(Pg::V15);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    for pause in [Duration::ZERO, Duration::from_secs(8)] {
        let mut child = keeper.spawn(&["drill"]);
        wait_for("the scratch server is there", A_MINUTE, || left(&keeper).len() == 3);
        // Backups do not wait for a drill, another drill does.
        assert_eq!(keeper.refused(&["drill"]), (4, "busy".to_owned()));
        assert_eq!(keeper.refused(&["delete", "--yes", &id]), (4, "busy".to_owned()));
        std::thread::sleep(pause);
        let _ = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert_eq!(child.wait().expect("a child can be waited for").code(), Some(130));
        assert_eq!(left(&keeper), Vec::<String>::new());
        assert_eq!(keeper.manifest(&id).head.drilled, None);
    }
}

#[test]
fn backups_go_on_while_a_drill_does() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "1");
    let id = keeper.backup(&["--profile", "daily"]);
    let mut child = keeper.spawn(&["drill"]);
    wait_for("the scratch server is there", A_MINUTE, || left(&keeper).len() == 3);
    std::thread::sleep(Duration::from_millis(1_100));
    let next = keeper.backup(&["--profile", "daily"]);
    assert_eq!(keeper.ids(), [next.clone(), id.clone()], "what is being drilled was pruned");
    assert!(child.wait().expect("a child can be waited for").success());
    assert!(keeper.manifest(&id).head.drilled.is_some_and(|proof| proof.ok));
    keeper.run(&["cleanup"]).ok();
    assert_eq!(keeper.ids(), [next]);
}

#[test]
fn what_cannot_be_tried_is_no_result() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let mut keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    keeper.set("SUPAKEEP_DRILL__DEADLINE", "1s");
    assert_eq!(keeper.refused(&["drill"]), (1, "deadline-exceeded".to_owned()));
    assert_eq!((left(&keeper), keeper.manifest(&id).head.drilled), (vec![], None));
    keeper.set("SUPAKEEP_DRILL__DEADLINE", "1h");
    // The live database does not have to run.
    stack.compose(&["stop", "db"]).ok();
    passes(&keeper, &id);
}

#[test]
fn the_daemon_makes_drills_on_schedule_and_leaves_none_behind() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = Keeper::new(&stack).with("SUPAKEEP_DRILL__SCHEDULE", "*/15 * * * * *");
    let daemon = Daemon::start(&mut keeper);
    let (status, health) = daemon.get("/health").expect("it answers");
    assert_eq!(status, 200, "{health}");
    // It is due soon, and waits for the first backup.
    std::thread::sleep(Duration::from_secs(16));
    let id = keeper.backup(&["--profile", "daily"]);
    daemon.wait_for_metric("supabase_backup_last_drill_success{profile=\"daily\"}", 1.0, 2 * A_MINUTE);
    let took = daemon.metric("supabase_backup_drill_duration_seconds{profile=\"daily\"}");
    let proof = keeper.manifest(&id).head.drilled.expect("it was drilled");
    assert_eq!(took, Some(proof.duration_seconds));
    wait_for("the next one is going on", A_MINUTE, || left(&keeper).len() == 3);
    let (_, health) = daemon.get("/health").expect("it answers");
    let health: Value = serde_json::from_str(&health).expect("it is JSON");
    assert_eq!((&health["drill"]["running"], &health["status"]), (&true.into(), &"ok".into()), "{health}");
    let (status, log) = daemon.stop();
    assert!(status.success() && log.contains("it restores to what was recorded"), "{log}");
    let page = keeper.run(&["info", &id, "--drill"]).ok().text();
    assert!(page.contains("restores to what was recorded\n") && page.contains("verifying"), "{page}");
    assert_eq!(left(&keeper), Vec::<String>::new(), "{log}");
}
