//! A dump that supakeep did not make, in place of a database: with the care that a backup is restored with.

use std::fs;
use std::path::Path;

use supakeep_tests::{Ended, Keeper, Pg, Stack, run};
use tempfile::TempDir;

const SUPERUSERS: &str = "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper";
const USERS: &str = "SELECT count(*) FROM auth.users";
const JWT_SECRET: &str = "SELECT current_setting('app.settings.jwt_secret')";
const IN_PLACE: [&str; 2] = ["--only-database", "postgres"];

struct Trial {
    stack: Stack,
    keeper: Keeper,
    folder: TempDir,
}

impl Trial {
    fn new(pg: Pg) -> Trial {
        let stack = Stack::private(pg, &["db", "auth"]);
        let keeper = Keeper::new(&stack);
        // The repository's folder is there from the first command on.
        keeper.run(&["check"]);
        Trial { stack, keeper, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// As somebody makes it who knows nothing of supakeep.
    fn dump(&self, arguments: &[&str]) -> Vec<u8> {
        let fixed = ["pg_dump", "-h", "127.0.0.1", "-U", "supabase_admin"];
        self.stack.exec(&[fixed.as_slice(), arguments, &["postgres"]].concat()).ok().stdout
    }

    fn restore(&self, bytes: &[u8], arguments: &[&str]) -> Ended {
        let all = [&["--json", "restore", "--yes", "--file", "-"], &IN_PLACE[..], arguments].concat();
        run(&mut self.keeper.command(&all), bytes)
    }

    fn file(&self, bytes: &[u8]) -> String {
        let path = self.folder.path().join("dump");
        fs::write(&path, bytes).expect("room for a file");
        path.display().to_string()
    }

    fn running(&self) -> Vec<String> {
        let listed = self.stack.compose(&["ps", "--services", "--status", "running"]).ok().text();
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    fn kept(&self) -> usize {
        let count = |folder: &Path| fs::read_dir(folder).map_or(0, |entries| entries.count());
        count(&self.keeper.folder().join(".restoring")) + count(&self.keeper.folder().join(".incoming"))
    }

    #[track_caller]
    fn assert_whole(&self) {
        assert_eq!(self.stack.sql(USERS), "500");
        assert_eq!(self.stack.sql(SUPERUSERS), "supabase_admin");
        assert_eq!(self.running(), ["auth", "db"]);
        assert_eq!(self.kept(), 0, "the file is kept no longer than it is needed");
        assert_eq!(self.stack.supakeep_sessions(), 0);
        assert_eq!(self.keeper.refused(&["restore", "--resume", "--yes"]), (3, "backup-not-found".into()));
    }
}

fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    run(std::process::Command::new(program).arg("-c"), bytes).ok().stdout
}

#[test]
fn a_file_replaces_a_database_as_a_backup_does() {
    for pg in Pg::ALL {
        let trial = Trial::new(pg);
        let stack = &trial.stack;
        stack.sql("ALTER DATABASE postgres SET app.settings.jwt_secret TO 'of this stack'");
        stack.sql("ALTER DATABASE postgres CONNECTION LIMIT 90");
        let plain = trial.dump(&[]);
        let files = [packed("gzip", &plain), trial.dump(&["-Fc"])];
        for (number, bytes) in files.iter().enumerate() {
            stack.sql("TRUNCATE auth.users CASCADE; CREATE TABLE public.newer AS SELECT 1 AS a");
            let ended = match number {
                0 => trial.restore(bytes, &[]),
                _ => {
                    let file = trial.file(bytes);
                    let place = [&["--json", "restore", "--yes", "--file", &file], &IN_PLACE[..]].concat();
                    trial.keeper.run(&place)
                }
            };
            let ended = ended.ok();
            let report = ended.json();
            let database = &report["databases"][0];
            assert_eq!(database["differences"], serde_json::json!([]), "{report}");
            assert!(database["rows"].as_u64().is_some_and(|rows| rows > 9000), "{report}");
            trial.assert_whole();
            assert_eq!(stack.sql("SELECT to_regclass('public.newer') IS NULL"), "t");
            assert_eq!(stack.sql(JWT_SECRET), "of this stack");
            let limit = "SELECT datconnlimit FROM pg_database WHERE datname = 'postgres'";
            assert_eq!(stack.sql(limit), "90");
            let safety = report["safety_backup"].as_str().expect("what was there").to_owned();
            assert_eq!(trial.keeper.ids()[0], safety, "the file is no backup");
            assert_eq!(trial.keeper.manifest(&safety).databases.len(), 1);
        }
    }
}

#[test]
fn what_is_known_of_a_file_is_said_and_what_is_wrong_with_it_before_anything_is_touched() {
    let trial = Trial::new(Pg::V17);
    let plain = trial.dump(&[]);
    let started = || {
        let containers = ["db", "auth"].map(|name| format!("{}-{name}-1", trial.stack.project));
        supakeep_tests::docker(&["inspect", "-f", "{{.State.StartedAt}}", &containers[0], &containers[1]])
            .ok()
            .text()
    };
    let before = started();
    let text = String::from_utf8_lossy(&plain).into_owned();
    let stranger = text.replace("OWNER TO postgres;", "OWNER TO \"no such role\";");
    let stranger = stranger.replace("Owner: postgres\n", "Owner: no such role\n");
    let newer = text.replacen("Dumped by pg_dump version 17", "Dumped by pg_dump version 99", 1);
    for (bytes, code, reason) in [
        (plain[..plain.len() / 2].to_vec(), "dump-incomplete", "standard input"),
        (packed("gzip", &plain)[..5000].to_vec(), "dump-incomplete", "standard input"),
        (trial.dump(&["--create"]), "dump-incomplete", "\\\\connect"),
        (trial.dump(&["-Ft"]), "usage-invalid", "tar archive"),
        (trial.dump(&["-s"]), "target-unfit", "definitions without rows"),
        (trial.dump(&["-a"]), "target-unfit", "rows without definitions"),
        (stranger.into_bytes(), "target-unfit", "no such role"),
        (newer.into_bytes(), "target-unfit", "pg_dump 99"),
        (b"SELECT 1;\n".to_vec(), "dump-incomplete", "does not begin as a dump does"),
        (Vec::new(), "dump-incomplete", "does not begin as a dump does"),
    ] {
        let ended = trial.restore(&bytes, &[]);
        let error = &ended.json()["error"];
        assert_eq!(error["code"], code, "{reason}: {error}");
        assert!(error["message"].to_string().contains(reason), "{reason}: {error}");
    }
    // One table is not the database.
    let plan = trial.restore(&trial.dump(&["-t", "public.notes"]), &["--dry-run"]).ok();
    let notes = plan.json()["notes"].to_string();
    assert!(notes.contains("WILL BE LOST") && notes.contains("auth."), "{notes}");
    assert!(notes.contains("executed as a superuser"), "{notes}");
    // Which database it replaces is never guessed, and nobody is asked without a terminal.
    let refused = |arguments: &[&str]| {
        let ended =
            run(&mut trial.keeper.command(&[&["restore", "--file", "-"], arguments].concat()), &plain);
        assert_eq!(ended.code(), 2, "{}", ended.stderr);
        ended.stderr
    };
    assert!(refused(&["--yes"]).contains("--only-database"));
    let asked = refused(&IN_PLACE);
    assert!(asked.contains("--yes") && asked.contains("warning: nothing is known of this file"), "{asked}");
    let shape = [&["--yes", "--schema-only"], &IN_PLACE[..]].concat();
    assert!(refused(&shape).contains("--into"));
    assert_eq!((started(), trial.kept()), (before, 0));
    assert_eq!(trial.keeper.ids(), Vec::<String>::new(), "nothing was saved for it");
    trial.assert_whole();
}

#[test]
fn one_that_was_interrupted_can_be_finished_although_standard_input_is_gone() {
    for (pg, point) in [(Pg::V15, "restore-created"), (Pg::V17, "restore-dropped")] {
        let mut trial = Trial::new(pg);
        let plain = trial.dump(&[]);
        trial.keeper.set("SUPAKEEP_KILL_AT", point);
        assert_eq!(trial.restore(&plain, &[]).code(), -1);
        trial.keeper.set("SUPAKEEP_KILL_AT", "");
        assert_eq!(trial.keeper.run(&["status"]).code(), 1);
        assert_eq!(trial.keeper.refused(&["backup"]), (1, "restore-unfinished".into()));
        let report = trial.keeper.run(&["--json", "restore", "--resume", "--yes"]).ok().json();
        assert_eq!(report["databases"][0]["differences"], serde_json::json!([]), "{report}");
        trial.assert_whole();
    }
}

#[test]
fn a_file_that_fails_in_the_middle_can_be_replaced_or_gone_back_from() {
    let trial = Trial::new(Pg::V17);
    let plain = trial.dump(&[]);
    trial.stack.sql("CREATE TABLE public.mine AS SELECT 1 AS a");
    let text = String::from_utf8_lossy(&plain).into_owned();
    let broken = text.replacen("\nALTER TABLE ONLY ", "\nSELECT 1 / 0;\nALTER TABLE ONLY ", 1);
    assert_ne!(text, broken);
    let broken = broken.into_bytes();
    let fails = |arguments: &[&str]| {
        let ended = trial.restore(&broken, arguments);
        let error = ended.json()["error"].clone();
        assert_eq!(error["code"], "restore-failed", "{error}");
        let said = error["message"].as_str().expect("text").to_owned();
        assert!(said.contains("division by zero") && said.contains("stay stopped: auth"), "{said}");
        assert!(said.contains("kept the file"), "{said}");
        assert_eq!(trial.running(), ["db"]);
        assert_eq!(trial.stack.sql_in("template1", SUPERUSERS), "supabase_admin");
        said
    };
    let said = fails(&[]);
    let back =
        said.lines().find_map(|line| line.trim().strip_prefix("to go back: supakeep ")).expect("a way");
    trial.keeper.run(&back.split(' ').collect::<Vec<_>>()).ok();
    trial.assert_whole();
    assert_eq!(trial.stack.sql("SELECT a FROM public.mine"), "1");
    // Without a way back another file is one.
    fails(&["--no-safety-backup"]);
    trial.restore(&plain, &["--no-safety-backup"]).ok();
    trial.assert_whole();
    assert_eq!(trial.stack.sql("SELECT to_regclass('public.mine') IS NULL"), "t");
}
