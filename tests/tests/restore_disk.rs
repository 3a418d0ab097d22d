//! The database's disk is too small for a restore, or runs full in the middle of one.

use std::time::Duration;

use supakeep_tests::{Ended, Keeper, Pg, Stack, docker, wait_for};

/// What is written beside the look-alike's few rows, so that filling the database takes its time and its room.
const BULK: &str = "CREATE TABLE public.bulk AS SELECT n, repeat(md5(n::text), 20) AS text \
                    FROM generate_series(1, 80000) AS n";
const WHOLE: &str = "SELECT (SELECT count(*) FROM public.bulk) || ' ' || (SELECT count(*) FROM auth.users)";
const DATA: &str = "/var/lib/postgresql/data";
/// Room in which a database can be made, and not filled.
const TOO_LITTLE_KIB: &str = "24576";

/// Takes all of the disk but so many KiB, as soon as the folder `$2` is gone.
const FILL: &str = "while [ -n \"$2\" ] && [ -e \"$2\" ]; do sleep 0.01; done; \
                    free=$(df -P -k . | awk 'NR == 2 { print $4 }'); fallocate -l \"$((free - $1))K\" filler";

/// A stack whose database has a small disk, and its backup.
struct Trial {
    stack: Stack,
    keeper: Keeper,
    id: String,
}

impl Trial {
    fn new(pg: Pg, format: &str) -> Trial {
        let stack = Stack::private_on_a_small_disk(pg, &["db", "auth", "holder"]);
        let keeper = Keeper::new(&stack).with("SUPAKEEP_DUMP__FORMAT", format);
        stack.sql(BULK);
        let id = keeper.backup(&[]);
        // Room for the write-ahead log is kept from here on: what is full first is the database itself.
        stack.sql("CHECKPOINT");
        Trial { stack, keeper, id }
    }

    /// `docker exec` with these options, in the container that shares the database's disk.
    fn in_holder(&self, options: &[&str], arguments: &[&str]) -> Ended {
        let holder = format!("{}-holder-1", self.stack.project);
        docker(&[&["exec", "-w", DATA], options, &[&holder], arguments].concat()).ok()
    }

    fn fill(&self) {
        self.in_holder(&[], &["sh", "-c", FILL, "fill", TOO_LITTLE_KIB, ""]);
    }

    /// Lets somebody wait for the database to be dropped.
    fn fill_when_dropped(&self) {
        let oid = self.stack.sql("SELECT oid FROM pg_database WHERE datname = 'postgres'");
        let folder = format!("base/{oid}");
        self.in_holder(&[], &["test", "-d", &folder]);
        self.in_holder(&["-d"], &["sh", "-c", FILL, "fill", TOO_LITTLE_KIB, &folder]);
    }

    fn make_room(&self) {
        self.in_holder(&[], &["rm", "-f", "filler"]);
        let ready = ["pg_isready", "-q", "-h", "127.0.0.1"];
        wait_for("the database answers", Duration::from_secs(60), || {
            self.stack.exec(&ready).status.success()
        });
    }

    fn running(&self) -> Vec<String> {
        let listed = self.stack.compose(&["ps", "--services", "--status", "running"]).ok().text();
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Refused, and nobody has touched anything.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], reason: &str) {
        let started = || {
            let containers = ["db", "auth"].map(|name| format!("{}-{name}-1", self.stack.project));
            docker(&["inspect", "-f", "{{.State.StartedAt}}", &containers[0], &containers[1]]).ok().text()
        };
        let (before, backups) = (started(), self.keeper.ids());
        let ended = self.keeper.run(&[&["--json", "restore", &self.id, "--yes"], arguments].concat());
        assert_eq!(ended.code(), 1, "{arguments:?}: {}", ended.stderr);
        let error = &ended.json()["error"];
        assert_eq!(error["code"], "target-unfit", "{error}");
        assert!(error["message"].to_string().contains(reason), "{error}");
        assert_eq!((started(), self.keeper.ids()), (before, backups), "{arguments:?}");
        assert_eq!(self.running(), ["auth", "db", "holder"]);
        assert_eq!(self.stack.sql(WHOLE), "80000 500");
    }
}

#[test]
fn too_small_a_disk_is_known_before_anything_is_touched() {
    for pg in Pg::ALL {
        let trial = Trial::new(pg, "custom");
        // The archive is placed beside the server as a whole, in a /tmp of half a MiB. Several sessions need none of that.
        trial.refuses(
            &["--jobs", "1"],
            "the archive is placed in /tmp/supakeep-restore of the database's container, where",
        );
        trial.fill();
        for arguments in [&[][..], &["--only-database", "postgres"], &["--into", "beside"]] {
            trial.refuses(arguments, "the database's disk has 2");
        }
    }
}

#[test]
fn a_disk_that_runs_full_in_the_middle_leaves_a_clear_word_and_a_restore_to_finish() {
    for pg in Pg::ALL {
        let trial = Trial::new(pg, "plain");
        trial.fill_when_dropped();
        let ended = trial.keeper.run(&["restore", &trial.id, "--yes"]);
        let said = &ended.stderr;
        assert_eq!(ended.code(), 1, "{said}");
        for part in [
            "error[database-disk-full]",
            "could not extend file",
            "Check free disk space",
            "databases are missing or half filled",
            "these services stay stopped: auth",
            "to finish: supakeep restore --resume --yes",
            "to go back: supakeep restore pre-restore_",
        ] {
            assert!(said.contains(part), "{part} is not said: {said}");
        }
        assert_eq!(trial.running(), ["db", "holder"]);
        // As long as there is no room, it is refused and stays what it is.
        let again = trial.keeper.run(&["restore", "--resume", "--yes"]);
        assert_eq!(again.code(), 1, "{}", again.stderr);
        assert!(again.stderr.contains("error[target-unfit]"), "{}", again.stderr);
        assert_eq!(trial.keeper.refused(&["backup"]), (1, "restore-unfinished".into()));
        assert_eq!(trial.running(), ["db", "holder"]);
        trial.make_room();
        let report = trial.keeper.run(&["--json", "restore", "--resume", "--yes"]).ok().json();
        for database in report["databases"].as_array().expect("a list") {
            assert_eq!(database["differences"], serde_json::json!([]), "{database}");
        }
        assert_eq!(trial.stack.sql(WHOLE), "80000 500");
        assert_eq!(trial.running(), ["auth", "db", "holder"]);
        let superusers = "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper";
        assert_eq!(trial.stack.sql(superusers), "supabase_admin");
        assert_eq!(trial.keeper.refused(&["restore", "--resume", "--yes"]), (3, "backup-not-found".into()));
    }
}
