//! What a restore must not lose, whatever the backup holds and whoever has made what is in the database.

use std::fs;

use supakeep_model::dump::Scope;
use supakeep_tests::{Ended, Keeper, Pg, Stack, tamper_text};

const ROWS: &str = "SELECT count(*) FROM public.messages";

/// Refused with this in its message, and nothing was saved for it.
#[track_caller]
fn refused(keeper: &Keeper, arguments: &[&str], what: &str) {
    let before = keeper.ids();
    let ended = keeper.run(&[&["--json", "restore"], arguments].concat());
    assert_eq!(ended.code(), 1, "{arguments:?}: {}", ended.stderr);
    let error = &ended.json()["error"];
    assert_eq!(error["code"], "target-unfit", "{arguments:?}");
    assert!(error["message"].to_string().contains(what), "{error}");
    assert_eq!(keeper.ids(), before, "{arguments:?}");
}

fn backup(keeper: &Keeper, settings: &[(&str, &str)]) -> String {
    let mut command = keeper.command(&["--json", "backup"]);
    command.envs(settings.iter().copied());
    let ended = supakeep_tests::run(&mut command, b"").ok();
    ended.json()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_backup_without_rows_empties_nothing() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    for format in ["plain", "custom"] {
        let of_format = ("SUPAKEEP_DUMP__FORMAT", format);
        let shape = backup(&keeper, &[of_format, ("SUPAKEEP_DUMP__SCOPE", "schema")]);
        for table in ["public.messages", "public.orders"] {
            refused(&keeper, &[&shape, "--yes", "--table", table], "the backup has no rows of");
        }
        refused(&keeper, &[&shape, "--yes", "--data-only"], "the backup has no rows");
        refused(&keeper, &[&shape, "--yes"], "definitions without rows");
        let excluded = ("SUPAKEEP_DUMP__EXCLUDE_TABLE_DATA", "public.messages,storage.*");
        let partial = backup(&keeper, &[of_format, excluded]);
        refused(&keeper, &[&partial, "--yes", "--table", "public.messages"], "no rows of public.messages");
        let both = ["--table", "public.notes", "--table", "public.messages"];
        refused(&keeper, &[&[partial.as_str(), "--yes"], both.as_slice()].concat(), "public.messages");
        let all = ["--json", "restore", &partial, "--yes", "--no-safety-backup", "--data-only"];
        let report = keeper.run(&all).ok().json();
        assert!(report["notes"].to_string().contains("public.messages"), "{report}");
        assert_eq!(stack.sql(ROWS), "6000");
        let planned = keeper.run(&["restore", &partial, "--dry-run"]).ok().stderr;
        assert!(planned.contains("ROWS WILL BE LOST") && planned.contains("storage.*"), "{planned}");
        // What is gone can be made without losing anything.
        stack.sql("DROP TABLE public.notes CASCADE");
        let report = keeper.run(&["--json", "restore", &shape, "--table", "public.notes"]).ok().json();
        assert!(report["notes"].to_string().contains("they are made empty: public.notes"), "{report}");
        keeper.run(&["restore", &partial, "--yes", "--no-safety-backup", "--table", "public.notes"]).ok();
    }
}

#[test]
fn what_is_dropped_is_saved_whole_in_the_disasters_that_it_is_for() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let mut keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    stack.sql_in("_supabase", "CREATE TABLE public.later AS SELECT 1 AS a");
    stack.exec(&["rm", "/etc/postgresql-custom/pgsodium_root.key"]).ok();
    for (name, value) in [
        ("SUPAKEEP_STACK__DATABASES", "postgres,nowhere"),
        ("SUPAKEEP_DUMP__SCOPE", "schema"),
        ("SUPAKEEP_DUMP__EXCLUDE_TABLE_DATA", "public.*"),
    ] {
        keeper.set(name, value);
    }
    let saved = |ended: Ended| {
        let report = ended.ok().json();
        let manifest = keeper.manifest(report["safety_backup"].as_str().expect("what was there before"));
        assert_eq!(manifest.head.dump.scope, Scope::Full);
        assert_eq!(manifest.head.dump.exclude_table_data, Vec::<String>::new());
        manifest
    };
    let table = keeper.run(&["--json", "restore", &id, "--yes", "--table", "public.notes"]);
    let names: Vec<_> = saved(table).databases.into_iter().map(|database| database.name).collect();
    assert_eq!(names, ["postgres"]);
    let whole = saved(keeper.run(&["--json", "restore", &id, "--yes"]));
    let prints = whole.databases.iter().find(|database| database.name == "_supabase");
    let prints = prints.and_then(|database| database.fingerprint.as_ref()).expect("it was dropped");
    let later = prints.tables.iter().find(|table| table.name == "later").expect("it was there");
    assert_eq!(later.rows, 1);
    assert_eq!(whole.databases.len(), 2);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_none_of_it() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    stack.sql(
        "SELECT pg_create_logical_replication_slot('reader', 'pgoutput'); DROP TABLE public.notes CASCADE; CREATE ROLE stays; UPDATE public.messages SET body = 'live'",
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("dump.sql");
    let dump = ["pg_dump", "-h", "127.0.0.1", "-U", "supabase_admin", "-s", "_supabase"];
    fs::write(&file, stack.exec(&dump).ok().stdout).expect("room for a file");
    let file = file.to_str().expect("a path in UTF-8");
    let plan = |arguments: &[&str]| {
        keeper.run(&[&["--json", "restore", "--dry-run"], arguments].concat()).ok().json()
    };
    let tables = plan(&[&id, "--table", "public.messages", "--table", "public.notes"]);
    assert_eq!(
        (&tables["part"], &tables["database"], &tables["replaces"], &tables["makes"]),
        (&"tables".into(), &"postgres".into(), &["public.messages"][..].into(), &["public.notes"][..].into())
    );
    let moved = plan(&[&id, "--table", "public.messages", "--into-schema", "rescue"]);
    assert_eq!(moved["makes"], serde_json::json!(["rescue.messages"]));
    assert_eq!(moved["replaces"], serde_json::json!([]));
    assert_eq!(plan(&[&id, "--into", "beside"])["makes"], serde_json::json!(["beside"]));
    assert_eq!(plan(&["--file", file, "--into", "beside"])["makes"], serde_json::json!(["beside"]));
    let roles = plan(&[&id, "--roles-only"]);
    assert!(roles["replaces"].to_string().contains("anon"), "{roles}");
    let whole = plan(&[&id]);
    assert_eq!(whole["databases"].as_array().map(Vec::len), Some(2), "{whole}");
    assert!(whole["notes"].to_string().contains("reader of postgres"), "{whole}");
    // Rows cannot go into a table that is not there.
    let ended = keeper.run(&["--json", "restore", &id, "--data-only", "--dry-run"]);
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.json()["problems"].to_string().contains("public.notes"), "{}", ended.text());
    assert_eq!(keeper.ids(), std::slice::from_ref(&id));
    assert_eq!(stack.sql("SELECT count(*) FROM pg_database WHERE datname = 'beside'"), "0");
    assert_eq!(stack.sql("SELECT to_regclass('public.notes') IS NULL"), "t");
    assert_eq!(stack.sql("SELECT DISTINCT body FROM public.messages"), "live");

    // What a server could not make is said before anything is dropped.
    let mut manifest = keeper.manifest(&id);
    let database = manifest.databases.iter_mut().find(|database| database.name == "postgres");
    let database = database.expect("it is in the backup");
    database.collate = "xx_XX.UTF-8".to_owned();
    database.extensions[0].version = "0.0.1".to_owned();
    let path = keeper.folder().join(&id).join("manifest.json");
    fs::write(path, manifest.to_json()).expect("room for a manifest");
    let ended = keeper.run(&["--json", "restore", &id, "--dry-run"]);
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.json()["problems"].to_string().contains("locale xx_XX.UTF-8"), "{}", ended.text());
    assert!(ended.json()["notes"].to_string().contains("instead of 0.0.1"), "{}", ended.text());
    refused(&keeper, &[&id, "--yes"], "locale xx_XX.UTF-8");
}

#[test]
fn roles_come_back_however_many_there_are_or_not_one_is_changed() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        let keeper = Keeper::new(&stack);
        stack.exec(&["sh", "-c", "mkdir /tmp/fast && chown postgres /tmp/fast"]).ok();
        stack.sql("DO $$ BEGIN FOR n IN 1..900 LOOP EXECUTE format('CREATE ROLE member_%s; GRANT anon TO member_%s', n, n); END LOOP; END $$;");
        stack.sql("CREATE TABLESPACE fast OWNER member_1 LOCATION '/tmp/fast'");
        let id = keeper.backup(&[]);
        let ruin = "DROP ROLE IF EXISTS member_2; ALTER ROLE member_3 LOGIN";
        let state = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'member\\_%'), \
                     (SELECT rolcanlogin FROM pg_roles WHERE rolname = 'member_3'), \
                     (SELECT count(*) FROM pg_auth_members WHERE roleid = 'anon'::regrole)";
        let good = stack.sql(state);
        stack.sql(ruin);
        keeper.run(&["restore", &id, "--roles-only", "--yes", "--no-safety-backup"]).ok();
        assert_eq!(stack.sql(state), good);
        stack.sql(ruin);
        let ruined = stack.sql(state);
        let (from, to) = ("\nALTER ROLE anon SET", "\nALTER ROLE \"not there\" LOGIN;\nALTER ROLE anon SET");
        tamper_text(&keeper, &id, "globals.sql.gz", from, to);
        let ended = keeper.run(&["--json", "restore", &id, "--roles-only", "--yes"]);
        assert_eq!(ended.code(), 1, "{}", ended.stderr);
        let message = ended.json()["error"]["message"].to_string();
        for part in ["not there", "no role was changed", "what was there before is in pre-restore_"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(stack.sql(state), ruined);
    }
}

#[test]
fn a_function_of_an_ordinary_user_is_never_taken_for_postgresqls_own() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    stack.sql(
        "CREATE ROLE mallory; GRANT CREATE ON SCHEMA public TO mallory; SET ROLE mallory; \
         CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE sql AS $$ SELECT 'ALTER ROLE mallory SUPERUSER' $$;",
    );
    let is_superuser = || stack.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'");
    let id = keeper.backup(&[]);
    keeper.run(&["restore", &id, "--into", "beside"]).ok();
    assert_eq!(is_superuser(), "f");
    keeper.run(&["restore", &id, "--only-database", "postgres", "--yes", "--no-safety-backup"]).ok();
    assert_eq!(is_superuser(), "f");
}
