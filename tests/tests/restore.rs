//! A restore in place: what it brings back, what it refuses, and what it leaves when it is interrupted.

use std::fs;
use std::time::Duration;

use supakeep_flow::kill_point::RESTORE_POINTS;
use supakeep_tests::{Keeper, Pg, Stack, docker, wait_for};

const SECRET: &str = "SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = 'test_secret'";
const SUPERUSERS: &str = "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper";
const JWT_SECRET: &str = "SELECT current_setting('app.settings.jwt_secret')";
const LAUNCHER: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_cron launcher'";

/// What a disaster leaves: tables gone, rows gone, rows changed, a role gone, another root key.
fn ruin(stack: &Stack) {
    stack.sql(
        "TRUNCATE auth.users CASCADE; DROP TABLE public.orders CASCADE; \
         UPDATE public.notes SET note = 'overwritten'; DROP ROLE IF EXISTS goner;",
    );
    let key = "printf %064d 7 > /etc/postgresql-custom/pgsodium_root.key";
    stack.exec(&["sh", "-c", key]).ok();
    stack.compose(&["restart", "-t", "5", "db"]).ok();
    stack.compose(&["up", "-d", "--wait", "db"]).ok();
}

/// The same without waiting for the server: it goes on with the key that it has read.
fn damage(stack: &Stack) {
    stack.sql("TRUNCATE auth.users CASCADE; DROP TABLE public.orders CASCADE;");
    let key = "printf %064d 7 > /etc/postgresql-custom/pgsodium_root.key";
    stack.exec(&["sh", "-c", key]).ok();
}

fn running(stack: &Stack) -> Vec<String> {
    let listed = stack.compose(&["ps", "--services", "--status", "running"]).ok().text();
    let mut names: Vec<_> = listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

fn assert_whole(stack: &Stack) {
    assert_eq!(stack.sql(SECRET), "open sesame äöü 🔑");
    assert_eq!(stack.sql(SUPERUSERS), "supabase_admin");
    assert_eq!(stack.sql("SELECT count(*) FROM auth.users"), "500");
    assert_eq!(stack.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'App Rôle'"), "1");
    let limits = "SELECT count(*) FROM pg_database WHERE datconnlimit = 0";
    assert_eq!(stack.sql(limits), "0", "a database is still closed to others");
    wait_for("pg_cron works again", Duration::from_secs(20), || stack.sql(LAUNCHER) == "1");
    assert_eq!(stack.supakeep_sessions(), 0);
}

fn in_place(pg: Pg, settings: &[(&str, &str)]) {
    let stack = Stack::private(pg, &["db", "auth", "rest", "storage", "analytics", "studio"]);
    let mut keeper = Keeper::new(&stack);
    settings.iter().for_each(|(name, value)| keeper.set(name, value));
    stack.sql("CREATE ROLE goner LOGIN PASSWORD 'gone'");
    let id = keeper.backup(&[]);
    ruin(&stack);
    let before = running(&stack);
    let report = keeper.run(&["--json", "restore", "latest", "--yes"]).ok().json();
    assert_eq!(report["restored"], id.as_str());
    for database in report["databases"].as_array().expect("a list") {
        assert_eq!(database["differences"], serde_json::json!([]), "{database}");
        assert!(database["rows"].as_u64().is_some_and(|rows| rows > 0), "{database}");
    }
    assert_whole(&stack);
    assert_eq!(stack.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'goner'"), "t");
    assert_eq!(running(&stack), before, "the services that ran run again");
    let safety = report["safety_backup"].as_str().expect("a backup of what was there");
    assert!(safety.starts_with("pre-restore_") && keeper.ids().contains(&safety.to_owned()), "{safety}");
    // And back again: what was ruined is ruined.
    keeper.run(&["restore", safety, "--yes", "--no-safety-backup"]).ok();
    assert_eq!(stack.sql("SELECT count(*) FROM auth.users"), "0");
    assert_eq!(stack.sql(SUPERUSERS), "supabase_admin");
}

#[test]
fn a_ruined_stack_is_as_it_was_and_can_go_back() {
    for pg in Pg::ALL {
        in_place(pg, &[]);
    }
}

#[test]
fn archives_are_restored_too() {
    in_place(Pg::V17, &[("SUPAKEEP_DUMP__FORMAT", "custom"), ("SUPAKEEP_DUMP__COMPRESSION", "zstd:3")]);
    in_place(Pg::V15, &[("SUPAKEEP_DUMP__FORMAT", "directory")]);
}

/// Copies a backup into another repository.
fn copy(from: &Keeper, id: &str, to: &Keeper) {
    let (source, target) = (from.folder().join(id), to.folder().join(id));
    fs::create_dir_all(&target).expect("a new folder");
    for entry in fs::read_dir(source).expect("a folder").flatten() {
        fs::copy(entry.path(), target.join(entry.file_name())).expect("room for a copy");
    }
}

#[test]
fn a_bare_stack_with_other_passwords_works_with_its_own() {
    for pg in Pg::ALL {
        let old = Stack::shared(pg);
        let source = Keeper::new(&old);
        let id = source.backup(&[]);
        let settings =
            [("POSTGRES_PASSWORD", "quite-another-one"), ("JWT_SECRET", "another-jwt-secret-of-this-stack")];
        let new = Stack::private_with(pg, &["db", "auth", "rest", "storage", "analytics"], &settings);
        let keeper = Keeper::new(&new);
        keeper.run(&["list"]).ok();
        copy(&source, &id, &keeper);
        keeper.run(&["restore", &id, "--yes"]).ok();
        assert_whole(&new);
        assert_eq!(new.sql(JWT_SECRET), "another-jwt-secret-of-this-stack");
        // They log in with the passwords of this stack's `.env`, and write.
        new.compose(&["up", "-d", "--wait"]).ok();
        let count = || new.sql("SELECT count(*) FROM auth.sessions");
        let now = count();
        wait_for("auth writes", Duration::from_secs(20), || count() != now);
    }
}

#[test]
fn what_cannot_be_restored_is_refused_before_anything_is_touched() {
    refused(Pg::V15, Pg::V17);
    refused(Pg::V17, Pg::V15);
}

/// A backup of another major version, and what else is wrong.
fn refused(other: Pg, pg: Pg) {
    let (old, new) = (Stack::shared(other), Stack::shared(pg));
    let source = Keeper::new(&old);
    let id = source.backup(&[]);
    let keeper = Keeper::new(&new);
    let own = keeper.backup(&[]);
    copy(&source, &id, &keeper);
    let users = new.sql("SELECT count(*) FROM auth.users");
    let started = docker(&["inspect", "-f", "{{.State.StartedAt}}", &new.db()]).text();
    // Another major version.
    assert_eq!(keeper.refused(&["restore", &id, "--yes"]), (1, "target-unfit".into()));
    // An extension that the server does not have.
    let mut manifest = keeper.manifest(&own);
    manifest.databases[0].extensions[0].name = "no_such_extension".to_owned();
    let file = keeper.folder().join(&own).join("manifest.json");
    let good = fs::read(&file).expect("a manifest");
    fs::write(&file, manifest.to_json()).expect("room for a manifest");
    let ended = keeper.run(&["restore", &own, "--yes"]);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.contains("no_such_extension") && ended.stderr.contains("target-unfit"),
        "{}",
        ended.stderr
    );
    fs::write(&file, good).expect("room for a manifest");
    // No terminal to ask on.
    assert_eq!(keeper.refused(&["restore", &own]), (2, "usage-invalid".into()));
    assert_eq!(keeper.refused(&["restore", "nothing"]), (3, "backup-not-found".into()));
    assert_eq!(keeper.refused(&["restore", "--resume", "--yes"]), (3, "backup-not-found".into()));
    assert_eq!(
        keeper.refused(&["restore", &own, "--only-database", "nowhere", "--yes"]),
        (1, "target-unfit".into())
    );
    // A damaged file.
    let dump = keeper.folder().join(&own).join("postgres.sql.gz");
    let mut bytes = fs::read(&dump).expect("a dump");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&dump, bytes).expect("room for a dump");
    assert_eq!(keeper.refused(&["restore", &own, "--yes"]), (5, "verify-failed".into()));
    assert_eq!(new.sql("SELECT count(*) FROM auth.users"), users);
    assert_eq!(docker(&["inspect", "-f", "{{.State.StartedAt}}", &new.db()]).text(), started);
    assert_eq!(keeper.ids().len(), 2, "nothing was saved first");
}

#[test]
fn only_one_database_leaves_the_other_alone() {
    let stack = Stack::private(Pg::V17, &["db", "analytics"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    stack.sql("DELETE FROM auth.sessions; CREATE ROLE newcomer;");
    stack.sql_in("_supabase", "CREATE TABLE public.later (a int)");
    // Whoever is in as `postgres`, wherever, would become a superuser with it.
    let sleep = "psql -h 127.0.0.1 -U postgres -d _supabase -c 'SELECT pg_sleep(900)'";
    docker(&["exec", "-d", &stack.db(), "sh", "-c", sleep]).ok();
    let asleep =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'postgres' AND query LIKE '%pg_sleep(900)%'";
    wait_for("somebody sleeps", Duration::from_secs(20), || stack.sql_in("template1", asleep) == "1");
    keeper.run(&["restore", &id, "--only-database", "postgres", "--yes"]).ok();
    assert_eq!(stack.sql("SELECT count(*) FROM auth.sessions"), "1000");
    assert_eq!(stack.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'newcomer'"), "1");
    assert_eq!(stack.sql_in("_supabase", "SELECT to_regclass('public.later') IS NOT NULL"), "t");
    assert_eq!(stack.sql_in("template1", asleep), "0");
}

/// Somebody who may write, reaches the server from elsewhere, stays for as long as they are let, and comes
/// again at once.
struct Outsider {
    container: String,
}

impl Outsider {
    fn start(stack: &Stack) -> Outsider {
        stack.sql(
            "CREATE ROLE outsider LOGIN PASSWORD 'outside'; \
             CREATE TABLE public.marks (at timestamptz DEFAULT clock_timestamp()); \
             ALTER TABLE public.marks OWNER TO outsider;",
        );
        let container = format!("{}-outsider", stack.project);
        let write = "while :; do yes 'INSERT INTO public.marks DEFAULT VALUES; SELECT pg_sleep(0.02);' | \
                     psql -h db -U outsider -d postgres -qAt -f - >/dev/null; done";
        let network = format!("{}_default", stack.project);
        let (name, image) = (container.clone(), stack.pg.image());
        let options = ["run", "-d", "--init", "--label", "supakeep.test=outsider", "--name", &name];
        let place = ["--network", &network, "-e", "PGPASSWORD=outside", "--entrypoint", "sh"];
        docker(&[options.as_slice(), &place, &[&image, "-c", write]].concat()).ok();
        let outsider = Outsider { container };
        outsider.must_write(stack);
        outsider
    }

    fn must_write(&self, stack: &Stack) {
        let count = || stack.sql("SELECT count(*) FROM public.marks");
        let now = count();
        wait_for("the outsider writes", Duration::from_secs(30), || count() != now);
    }

    /// Whether it was told that it may not come in.
    fn was_refused(&self) -> bool {
        let said = docker(&["logs", &self.container]);
        said.stderr.contains("too many connections for database")
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", &self.container]);
    }
}

/// Nobody writes between the drop of the old database and the comparison of the new one.
#[test]
fn a_writer_from_elsewhere_never_gets_into_a_half_restored_database() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let outsider = Outsider::start(&stack);
    let id = keeper.backup(&[]);
    let report = keeper.run(&["--json", "restore", &id, "--yes"]).ok().json();
    assert!(outsider.was_refused(), "it never tried to come in");
    for database in report["databases"].as_array().expect("a list") {
        assert_eq!(database["differences"], serde_json::json!([]), "{database}");
    }
    outsider.must_write(&stack);
}

const END_SUBSCRIPTION: &str = "ALTER SUBSCRIPTION from_elsewhere DISABLE;
ALTER SUBSCRIPTION from_elsewhere SET (slot_name = NONE);
DROP SUBSCRIPTION from_elsewhere;";

/// What a broken database is: nobody can connect to it, its drop was interrupted, or somebody reads a slot
/// of it who does not go away.
#[test]
fn a_database_that_is_broken_is_replaced() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        let keeper = Keeper::new(&stack);
        let id = keeper.backup(&[]);
        let ways = [
            // PostgreSQL begins no drop of a database that has one.
            (END_SUBSCRIPTION, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'postgres'"),
            ("", "ALTER DATABASE postgres ALLOW_CONNECTIONS false"),
        ];
        for (inside, outside) in ways {
            stack.sql(inside);
            stack.sql_in("template1", outside);
            keeper.run(&["restore", &id, "--yes", "--no-safety-backup"]).ok();
            assert_whole(&stack);
        }
        let reader =
            "pg_recvlogical -h 127.0.0.1 -U supabase_admin -d postgres --slot outside -P test_decoding";
        let (make, read) = (format!("{reader} --create-slot"), format!("{reader} --start -f /dev/null"));
        stack.exec(&["sh", "-c", &make]).ok();
        docker(&["exec", "-d", &stack.db(), "sh", "-c", &read]).ok();
        let active = "SELECT count(*) FROM pg_replication_slots WHERE active";
        wait_for("somebody reads the slot", Duration::from_secs(20), || stack.sql(active) == "1");
        keeper.run(&["restore", &id, "--yes", "--no-safety-backup"]).ok();
        assert_whole(&stack);
    }
}

/// Where roles and data are made: that is where versions differ.
const IN_THE_MIDDLE: [&str; 5] =
    ["restore-globals", "restore-dropped", "restore-created", "restore-database", "restore-compared"];

/// Both versions are killed in the middle. What comes before and after it is the same for both, takes as
/// long, and is shared between them.
fn points(pg: Pg) -> Vec<&'static str> {
    let rest = RESTORE_POINTS.into_iter().filter(|point| !IN_THE_MIDDLE.contains(point));
    let turn = usize::from(pg == Pg::V17);
    let share = rest.enumerate().filter(|(number, _)| number % 2 == turn).map(|(_, point)| point);
    IN_THE_MIDDLE.into_iter().chain(share).collect()
}

#[test]
fn killed_at_any_point_it_is_known_and_can_be_finished_on_15() {
    killed_and_finished(Pg::V15);
}

#[test]
fn killed_at_any_point_it_is_known_and_can_be_finished_on_17() {
    killed_and_finished(Pg::V17);
}

fn killed_and_finished(pg: Pg) {
    let stack = Stack::private(pg, &["db", "auth"]);
    let mut keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    let before = running(&stack);
    // The stack's own setting is another one than the backup's, as after a change of its `.env`.
    stack.sql("ALTER DATABASE postgres SET app.settings.jwt_secret TO 'changed since'");
    for point in points(pg) {
        damage(&stack);
        keeper.set("SUPAKEEP_KILL_AT", point);
        // Saving first takes its time; once is enough.
        let saving: &[&str] = if point == "restore-saved" { &[] } else { &["--no-safety-backup"] };
        let ended = keeper.run(&[&["restore", &id, "--yes"], saving].concat());
        assert_eq!(ended.code(), -1, "{point}: {}", ended.stderr);
        keeper.set("SUPAKEEP_KILL_AT", "");
        wait_for("postgres is no superuser", Duration::from_secs(30), || {
            stack.sql_in("template1", SUPERUSERS) == "supabase_admin"
        });
        if point == "restore-saved" {
            // Nothing was touched: nothing to finish.
            keeper.run(&["restore", &id, "--yes", "--no-safety-backup"]).ok();
        } else {
            let status = keeper.run(&["status"]);
            assert_eq!(status.code(), 1, "{point}");
            assert!(
                status.text().contains(&id) && status.text().contains("--resume"),
                "{point}: {}",
                status.text()
            );
            assert_eq!(keeper.refused(&["backup"]), (1, "restore-unfinished".into()), "{point}");
            keeper.run(&["restore", "--resume", "--yes", "--no-safety-backup"]).ok();
        }
        assert_whole(&stack);
        assert_eq!(stack.sql(JWT_SECRET), "changed since", "{point}");
        assert_eq!(running(&stack), before, "{point}");
        assert_eq!(
            keeper.refused(&["restore", "--resume", "--yes"]),
            (3, "backup-not-found".into()),
            "{point}"
        );
    }
}

#[test]
fn a_server_that_dies_leaves_a_clear_word_and_a_way_back() {
    let stack = Stack::private(Pg::V17, &["db", "auth"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    let child = keeper.spawn(&["restore", &id, "--yes"]);
    wait_for("the database is dropped and made again", Duration::from_secs(120), || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND application_name LIKE 'supakeep-%'";
        let asked = docker(&[
            "exec",
            &stack.db(),
            "psql",
            "-XAtq",
            "-h",
            "127.0.0.1",
            "-U",
            "supabase_admin",
            "-d",
            "template1",
            "-c",
            query,
        ]);
        asked.text().trim() == "1" && !keeper.ids().iter().all(|other| *other == id)
    });
    docker(&["kill", "-s", "KILL", &stack.db()]).ok();
    let ended = child.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success(), "{said}");
    assert!(said.contains("restore --resume") && said.contains("stay stopped: auth"), "{said}");
    assert_eq!(running(&stack), Vec::<String>::new());
    stack.compose(&["up", "-d", "--wait", "db"]).ok();
    keeper.run(&["restore", "--resume", "--yes"]).ok();
    assert_whole(&stack);
    assert_eq!(running(&stack), ["auth", "db"]);
}

/// Whoever watches over the superuser lives in the server's container, and dies with it.
#[test]
fn a_server_that_dies_leaves_no_superuser_behind() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    let is_super = "SELECT rolsuper FROM pg_roles WHERE rolname = 'postgres'";
    for again in [&["restore", "--resume"][..], &["restore", &id, "--only-database", "postgres"]] {
        let only = ["restore", &id, "--only-database", "postgres", "--yes", "--no-safety-backup"];
        let child = keeper.spawn(&only);
        wait_for("postgres is a superuser", Duration::from_secs(60), || {
            let asked = ["exec", &stack.db(), "psql", "-XAtq", "-h", "127.0.0.1", "-U", "supabase_admin"];
            docker(&[&asked[..], &["-d", "template1", "-c", is_super]].concat()).text().trim() == "t"
        });
        docker(&["kill", "-s", "KILL", &stack.db()]).ok();
        let ended = child.wait_with_output().expect("a child can be waited for");
        assert!(!ended.status.success());
        stack.compose(&["up", "-d", "--wait", "db"]).ok();
        assert_eq!(stack.sql_in("template1", is_super), "t", "nobody is left to take it back");
        keeper.run(&[again, &["--yes"]].concat()).ok();
        assert_whole(&stack);
        assert_eq!(stack.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'postgres'"), "t");
    }
}
