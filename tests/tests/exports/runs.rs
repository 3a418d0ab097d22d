//! Runs: one moment, no secret in a file, nothing half, little memory, on schedule.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use supakeep_model::code::Code;
use supakeep_model::export::Treatment;
use supakeep_tests::{Daemon, Keeper, Pg, Stack, docker, eventually, run};

use super::{content, export, folder, ids, manifest};

/// Runs SQL in the background, until it is dropped.
struct Background(Child);

impl Background {
    fn sql(stack: &Stack, sql: &str) -> Background {
        let db = stack.db();
        let psql = [
            "exec",
            &db,
            "psql",
            "-XAtq",
            "-h",
            "127.0.0.1",
            "-U",
            "supabase_admin",
            "-d",
            "postgres",
            "-c",
            sql,
        ];
        let mut command = Command::new("docker");
        command.args(psql).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Background(supakeep_tests::spawn(&mut command))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn all_tables_are_of_one_moment_while_somebody_writes() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        stack.sql(
            "CREATE TABLE public.left_side AS SELECT n AS id, 100 AS amount, repeat('x', 200) AS filler FROM generate_series(1, 60000) n;
             CREATE TABLE public.right_side AS SELECT * FROM public.left_side;
             CREATE PROCEDURE public.move_about() LANGUAGE plpgsql AS $$
             BEGIN
                 LOOP
                     UPDATE public.left_side SET amount = amount - 7 WHERE id = 1;
                     UPDATE public.right_side SET amount = amount + 7 WHERE id = 60000;
                     COMMIT;
                 END LOOP;
             END $$;",
        );
        let writer = Background::sql(&stack, "CALL public.move_about()");
        let moved = || stack.sql("SELECT 100 - amount FROM public.left_side WHERE id = 1") != "0";
        assert!(eventually(Duration::from_secs(20), || moved().then_some(())).is_some());
        let keeper = Keeper::new(&stack);
        let at = || stack.sql("SELECT amount FROM public.right_side WHERE id = 60000");
        let before = at();
        let id = export(&keeper, &["--table", "public.left_side", "--table", "public.right_side"]);
        assert_ne!(at(), before, "nobody wrote meanwhile");
        drop(writer);
        let sum = |file: &str| {
            let text = String::from_utf8(content(&keeper, &id, file)).expect("UTF-8");
            let amount = |line: &str| {
                serde_json::from_str::<serde_json::Value>(line).expect("JSON")["amount"]
                    .as_i64()
                    .expect("a number")
            };
            text.lines().map(amount).sum::<i64>()
        };
        let total = sum("public.left_side.jsonl.zst") + sum("public.right_side.jsonl.zst");
        assert_eq!(total, 2 * 60_000 * 100, "on {}", pg.major());
    }
}

const CONFIGURED: &str = r#"
[[exports]]
name = "people"
tables = ["public.people", "public.peo*"]
exclude = ["public.people.password", "*.*.api_*"]
hash = ["public.people.email", "public.people_too.mail"]
where = { "public.people" = "id < 4" }
keep = { last = 2 }
"#;

fn people(stack: &Stack) {
    stack.sql(
        "CREATE TABLE public.people (id integer PRIMARY KEY, email text, password text, api_key text, note text);
         INSERT INTO public.people SELECT n, 'secret-' || n || '@example.org', 'pass-word-' || n, 'key-of-' || n, 'note ' || n FROM generate_series(1, 5) n;
         CREATE TABLE public.people_too (id integer PRIMARY KEY, mail varchar(60));
         INSERT INTO public.people_too SELECT n, 'secret-' || n || '@example.org' FROM generate_series(1, 5) n;",
    );
}

fn configured(keeper: &mut Keeper, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("supakeep.toml");
    fs::write(&file, text).expect("room for a file");
    keeper.set("SUPAKEEP_CONFIG", &file.display().to_string());
    folder
}

#[test]
fn what_is_hashed_or_left_out_is_in_no_file() {
    let stack = Stack::private(Pg::V17, &["db"]);
    people(&stack);
    let mut keeper = Keeper::new(&stack);
    let _file = configured(&mut keeper, CONFIGURED);
    let checked = keeper.run(&["check"]).text();
    assert!(checked.contains("people (2 tables)"), "{checked}");
    let plan = keeper.run(&["export", "people", "--dry-run"]).ok().text();
    assert!(plan.contains("hashed: email") && plan.contains("left out: password, api_key"), "{plan}");
    assert!(ids(&keeper).is_empty(), "a dry run writes nothing");
    for format in ["jsonl", "csv"] {
        let id = export(&keeper, &["people", "--format", format]);
        let mut all = fs::read(folder(&keeper, &id).join("manifest.json")).expect("a manifest");
        let manifest = manifest(&keeper, &id);
        for table in &manifest.tables {
            all.extend(content(&keeper, &id, &table.path));
        }
        let all = String::from_utf8(all).expect("UTF-8");
        for secret in ["example.org", "pass-word", "key-of"] {
            assert!(!all.contains(secret), "{secret} is in a file of {id}");
        }
        let people = manifest.table("public", "people").expect("a table");
        assert_eq!((people.rows, people.filter.as_deref()), (3, Some("id < 4")));
        assert_eq!(people.treated(Treatment::LeftOut).collect::<Vec<_>>(), ["password", "api_key"]);
        assert!(all.contains("note 3") && !all.contains("note 4"));
        assert_eq!(manifest.hash.as_ref().map(|hash| hash.algorithm.as_str()), Some("hmac-sha256"));
    }
    same_values_have_same_hashes(&keeper);
    // The key is beside the exports and in none of them.
    assert!(keeper.folder().join(".redaction.key").is_file());
    refuses_what_would_leak(&mut keeper);
}

fn same_values_have_same_hashes(keeper: &Keeper) {
    let hashes = |id: &str, file: &str, key: &str| {
        let text = String::from_utf8(content(keeper, id, file)).expect("UTF-8");
        let hash = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")[key].clone();
        text.lines().map(hash).collect::<Vec<_>>()
    };
    let (one, other) = (export(keeper, &["people"]), export(keeper, &["people"]));
    let of_one = hashes(&one, "public.people.jsonl.zst", "email");
    assert_eq!(of_one, hashes(&other, "public.people.jsonl.zst", "email"));
    assert_eq!(of_one[..], hashes(&one, "public.people_too.jsonl.zst", "mail")[..3]);
    assert!(of_one.iter().all(|hash| hash.as_str().is_some_and(|hash| hash.len() == 64)));
    assert_eq!(ids(keeper).len(), 2, "keep = {{ last = 2 }}");
}

fn refuses_what_would_leak(keeper: &mut Keeper) {
    let before = ids(keeper);
    for (wrong, right) in [("people.password", "people.pasword"), ("people_too.mail", "people_too.email")] {
        let _file = configured(keeper, &CONFIGURED.replace(wrong, right));
        assert_eq!(keeper.refused(&["export", "people"]), (1, Code::ExportUnfit.to_string()));
    }
    let _file = configured(keeper, CONFIGURED);
    let by_hand = keeper.run(&["export", "--table", "public.people", "--dry-run"]).ok();
    assert!(by_hand.stderr.contains("public.people.email is written as it is"), "{}", by_hand.stderr);
    assert_eq!(keeper.refused(&["export", "nobody"]), (3, Code::ExportNotFound.to_string()));
    assert_eq!(keeper.refused(&["export", "people", "--table", "public.orders"]).1, "export-unfit");
    assert_eq!(ids(keeper), before);
}

#[test]
fn an_export_that_is_killed_anywhere_leaves_nothing_and_the_next_one_is_whole() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let tables = ["--table", "public.messages", "--table", "public.orders"];
    let arguments = [&["export"], tables.as_slice()].concat();
    for point in ["export-started", "export-file-written", "export-copied", "export-manifest-written"] {
        let mut command = keeper.command(&arguments);
        command.env("SUPAKEEP_KILL_AT", point);
        let ended = run(&mut command, b"");
        assert_eq!(ended.code(), -1, "{point} is never passed: {}", ended.stderr);
        assert!(ids(&keeper).is_empty(), "{point}: {:?}", ids(&keeper));
        assert!(keeper.run(&["--json", "exports"]).ok().json().as_array().is_some_and(Vec::is_empty));
    }
    let mut command = keeper.command(&arguments);
    command.env("SUPAKEEP_KILL_AT", "export-committed");
    assert_eq!(run(&mut command, b"").code(), -1);
    assert_eq!(ids(&keeper).len(), 1, "what is committed is there");
    keeper.run(&["exports", "latest", "--verify"]).ok();
    export(&keeper, &tables);
    assert_eq!((keeper.incoming(), stack.supakeep_sessions()), (vec![], 0));
}

#[test]
fn a_signal_in_the_middle_leaves_nothing() {
    let stack = Stack::private(Pg::V15, &["db"]);
    stack.sql(
        "CREATE TABLE public.big AS SELECT n, repeat('x', 300) AS filler FROM generate_series(1, 400000) n",
    );
    let keeper = Keeper::new(&stack);
    let mut child = keeper.spawn(&["export", "--table", "public.big"]);
    let half = || {
        let staged = fs::read_dir(keeper.folder().join(".incoming")).into_iter().flatten().flatten();
        staged.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten()).next()
    };
    assert!(eventually(Duration::from_secs(30), half).is_some(), "nothing was begun");
    run(Command::new("kill").args(["-TERM", &child.id().to_string()]), b"").ok();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!((ids(&keeper), keeper.incoming()), (vec![], vec![]));
    let gone = eventually(Duration::from_secs(10), || (stack.supakeep_sessions() == 0).then_some(()));
    assert!(gone.is_some(), "its sessions are still there");
}

#[test]
fn exports_and_backups_never_pass_for_one_another() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack);
    let backup = keeper.backup(&["kept"]);
    let export_id = export(&keeper, &["--table", "public.messages"]);
    assert_eq!(keeper.ids(), [backup.as_str()]);
    keeper.run(&["verify", "--all"]).ok();
    keeper.run(&["cleanup"]).ok();
    keeper.run(&["cleanup", "--older-than", "0s"]).ok();
    assert_eq!(ids(&keeper), [export_id.as_str()], "the retention of backups touches no export");
    assert_eq!(keeper.refused(&["verify", &export_id]).1, "backup-not-found");
    assert_eq!(keeper.refused(&["import", &backup, "--table", "public.messages"]).1, "export-not-found");
    // Moved by hand to where the other is: listed as what cannot be read, and touched by nobody.
    let (here, there) = (folder(&keeper, &export_id), keeper.folder().join(&export_id));
    fs::rename(&here, &there).expect("our own folder");
    let listed = keeper.run(&["list"]).ok();
    assert!(listed.stderr.contains(&export_id) && !listed.text().contains(&export_id), "{}", listed.stderr);
    keeper.run(&["cleanup"]).ok();
    fs::rename(&there, &here).expect("it is still there");
    let moved = folder(&keeper, &backup);
    fs::rename(keeper.folder().join(&backup), &moved).expect("our own folder");
    let listed = keeper.run(&["exports"]).ok();
    assert!(listed.stderr.contains(&backup) && !listed.text().contains(&backup), "{}", listed.stderr);
    keeper.run(&["exports", &export_id, "--delete", "--yes"]).ok();
    assert_eq!(ids(&keeper), [backup.as_str()], "what cannot be named is left alone");
}

/// Runs it and watches how much memory it had at most, in KiB.
fn peak(keeper: &Keeper, arguments: &[&str]) -> u64 {
    let mut child = keeper.spawn(arguments);
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child can be asked").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0);
        peak = peak.max(now);
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    peak
}

#[test]
fn memory_does_not_grow_with_the_table() {
    let stack = Stack::private(Pg::V17, &["db"]);
    stack.sql(
        "CREATE TABLE public.small (id integer, filler text);
         INSERT INTO public.small SELECT n, repeat(md5(n::text), 6) FROM generate_series(1, 1000) n;
         CREATE TABLE public.large (id integer, filler text);
         INSERT INTO public.large SELECT n, repeat(md5(n::text), 6) FROM generate_series(1, 1500000) n;
         CREATE TABLE public.into_here (LIKE public.large);",
    );
    let keeper = Keeper::new(&stack);
    let of = |table: &str, format: &str| peak(&keeper, &["export", "--table", table, "--format", format]);
    let (small, large, csv) =
        (of("public.small", "jsonl"), of("public.large", "jsonl"), of("public.large", "csv"));
    let into = ["--into", "public.into_here", "--mode", "replace", "--no-safety-backup", "--yes"];
    let import =
        |id: &str, table| peak(&keeper, &[&["import", id, "--table", table], into.as_slice()].concat());
    let all = ids(&keeper);
    let (small_in, large_in) = (import(&all[0], "public.small"), import(&all[1], "public.large"));
    let stored = manifest(&keeper, &all[1]).totals;
    println!(
        "peak RSS, MiB: export of 1,000 rows {}, of {} rows ({} MiB of JSON lines) {}, as CSV {}; import {} and {}",
        small / 1024,
        stored.rows,
        stored.source_bytes >> 20,
        large / 1024,
        csv / 1024,
        small_in / 1024,
        large_in / 1024,
    );
    assert!(stored.source_bytes > 300 << 20, "{}", stored.source_bytes);
    for (less, more) in [(small, large), (small, csv), (small_in, large_in)] {
        assert!(more < less + 40 * 1024, "{more} KiB against {less} KiB");
    }
    assert_eq!(stack.sql("SELECT count(*) FROM public.into_here"), "1500000");
}

#[test]
fn the_daemon_makes_exports_on_schedule() {
    let stack = Stack::shared(Pg::V15);
    let mut keeper = Keeper::new(&stack);
    let text = "[profiles.yearly]\n[[exports]]\nname = 'configs'\ntables = ['public.messages']\nschedule = '*/2 * * * * *'\nkeep = { last = 1 }\n\
                [[exports]]\nname = 'broken'\ntables = ['public.nowhere']\nschedule = '*/2 * * * * *'\nretries = 0\n";
    let _file = configured(&mut keeper, text);
    let daemon = Daemon::start(&mut keeper);
    let complete = "supabase_backup_export_runs_total{export=\"configs\",result=\"complete\"}";
    daemon.wait_for_metric(complete, 2.0, Duration::from_secs(60));
    let failed = "supabase_backup_export_runs_total{export=\"broken\",result=\"failed\"}";
    daemon.wait_for_metric(failed, 1.0, Duration::from_secs(60));
    daemon.wait_for_metric(
        "supabase_backup_errors_total{code=\"export-unfit\"}",
        1.0,
        Duration::from_secs(5),
    );
    let of = |name: &str| daemon.metric(&format!("supabase_backup_{name}{{export=\"configs\"}}"));
    assert_eq!(
        (of("exports"), of("export_overdue"), of("export_last_run_success")),
        (Some(1.0), Some(0.0), Some(1.0))
    );
    assert_eq!(
        of("export_rows").map(|rows| rows.to_string()),
        Some(stack.sql("SELECT count(*) FROM public.messages"))
    );
    let (status, health) = daemon.get("/health").expect("it answers");
    let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!(status, 200, "an export that fails is no backup that fails: {health}");
    assert_eq!(
        (health["exports"][0]["status"].as_str(), health["exports"][1]["status"].as_str()),
        (Some("ok"), Some("degraded"))
    );
    let shown = keeper.run(&["status"]).text();
    assert!(shown.contains("export      configs: "), "{shown}");
    let (ended, log) = daemon.stop();
    assert!(ended.success(), "{log}");
    assert!(log.contains("export complete") && log.contains("export removed by retention"), "{log}");
    assert_eq!(ids(&keeper).len(), 1, "keep = {{ last = 1 }}");
    assert!(docker(&["ps"]).status.success());
}
