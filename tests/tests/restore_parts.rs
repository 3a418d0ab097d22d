//! Restoring parts: tables, rows, a database beside the live one, while everything runs.

use std::time::Duration;

use supakeep_tests::{Ended, Keeper, Pg, Stack, wait_for};

const FORMATS: [&[(&str, &str)]; 4] = [
    &[],
    &[("SUPAKEEP_DUMP__COMPRESSION", "zstd:3")],
    &[("SUPAKEEP_DUMP__FORMAT", "custom")],
    &[("SUPAKEEP_DUMP__FORMAT", "directory")],
];

/// A repository with a backup in each format, and their ids.
fn backups(keeper: &Keeper) -> Vec<String> {
    FORMATS
        .iter()
        .map(|settings| {
            let mut command = keeper.command(&["--json", "backup"]);
            command.envs(settings.iter().copied());
            let ended = supakeep_tests::run(&mut command, b"").ok();
            ended.json()["id"].as_str().expect("an id").to_owned()
        })
        .collect()
}

/// Restores without a safety backup; the table's rows compared.
#[track_caller]
fn restore(keeper: &Keeper, id: &str, arguments: &[&str]) -> Ended {
    keeper.run(&[&["--json", "restore", id, "--yes", "--no-safety-backup"], arguments].concat())
}

#[track_caller]
fn assert_equal(report: &serde_json::Value) {
    let tables = report["tables"].as_array().expect("a list");
    assert!(!tables.is_empty());
    for table in tables {
        assert_eq!(table["difference"], serde_json::Value::Null, "{table}");
    }
    assert_eq!(report["violations"], serde_json::json!([]));
}

/// Everything that a table has besides its rows.
fn describe(stack: &Stack, schema: &str, table: &str) -> String {
    let name = format!("quote_ident('{schema}') || '.' || quote_ident('{table}')");
    let query = format!(
        "SET session_replication_role = replica; CREATE TEMPORARY TABLE t AS SELECT ({name})::regclass::oid AS oid; \
         SELECT relkind, relowner::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(relacl) a), \
           relrowsecurity, relforcerowsecurity, relreplident, reloptions, relispartition FROM pg_class JOIN t USING (oid); \
         SELECT attname, atttypid::regtype, attnotnull, attidentity, attgenerated, attstattarget, attacl, \
           (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum) \
           FROM pg_attribute, t WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum; \
         SELECT pg_get_indexdef(indexrelid), indisclustered, indisvalid FROM pg_index, t WHERE indrelid = t.oid ORDER BY 1; \
         SELECT conrelid::regclass, conname, pg_get_constraintdef(c.oid), convalidated, obj_description(c.oid, 'pg_constraint') \
           FROM pg_constraint c, t WHERE t.oid IN (conrelid, confrelid) ORDER BY conrelid::regclass::text, 2; \
         SELECT polname, polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) \
           FROM pg_policy, t WHERE polrelid = t.oid ORDER BY 1; \
         SELECT pg_get_triggerdef(g.oid), tgenabled FROM pg_trigger g, t WHERE tgrelid = t.oid AND NOT tgisinternal ORDER BY 1; \
         SELECT pg_get_ruledef(r.oid) FROM pg_rewrite r, t WHERE ev_class = t.oid ORDER BY 1; \
         SELECT pg_get_statisticsobjdef(s.oid), stxowner::regrole FROM pg_statistic_ext s, t WHERE stxrelid = t.oid ORDER BY 1; \
         SELECT prpubid, pg_get_expr(prqual, prrelid), prattrs FROM pg_publication_rel, t WHERE prrelid = t.oid ORDER BY 1; \
         SELECT description, objsubid FROM pg_description d, t WHERE objoid = t.oid AND classoid = 'pg_class'::regclass ORDER BY 2; \
         SELECT relid::regclass, parentrelid::regclass FROM t, LATERAL pg_partition_tree(t.oid) ORDER BY relid::regclass::text; \
         SELECT c.oid::regclass, relowner::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(relacl) a), seqstart, seqincrement, \
           pg_sequence_last_value(c.oid), deptype FROM pg_depend JOIN pg_class c ON c.oid = objid AND relkind = 'S' \
           JOIN pg_sequence ON seqrelid = c.oid, t WHERE refobjid = t.oid AND classid = 'pg_class'::regclass ORDER BY c.oid::regclass::text;"
    );
    stack.sql(&query)
}

/// Names that break what does not quote.
const ODD: [&str; 7] = [
    "public.Größe",
    "public.we\"ird.na me",
    "public.new\nline",
    "public.back\\slash",
    "public.it's -- a /* comment",
    "public.COPY public.x (a) FROM stdin;",
    "\"Odd schema.\"\"q\"\"\".Table; DROP",
];

#[test]
fn a_dropped_table_comes_back_with_everything_it_had() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        stack.sql(
            "COMMENT ON CONSTRAINT messages_channel_id_fkey ON public.messages IS 'which channel'; \
             COMMENT ON INDEX public.messages_recent_idx IS 'recent'; \
             COMMENT ON TABLE public.orders IS 'COMMENT ON TABLE public.notes IS ''x'';'",
        );
        let keeper = Keeper::new(&stack);
        let names =
            ["messages", "notes", "counted", "identities", "orders", "look_alikes", "bookings", "audit_log"];
        let before: Vec<_> = names.iter().map(|name| describe(&stack, "public", name)).collect();
        for id in backups(&keeper) {
            for (name, before) in names.iter().zip(&before) {
                stack.sql(&format!("DROP TABLE public.{name} CASCADE"));
                let report = restore(&keeper, &id, &["--table", &format!("public.{name}")]).ok().json();
                assert_equal(&report);
                assert!(report["tables"][0]["made"].as_bool().expect("a flag"));
                assert_eq!(*before, describe(&stack, "public", name), "{name} of {id} on {}", pg.major());
            }
            assert_eq!(stack.sql("SELECT times FROM public.trigger_log WHERE fired_for = 'counted'"), "25");
        }
        assert_eq!(stack.supakeep_sessions(), 0);
    }
}

#[test]
fn damaged_rows_are_replaced_and_nothing_else() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        let keeper = Keeper::new(&stack);
        let ids = backups(&keeper);
        let triggers =
            "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'public.counted'::regclass ORDER BY 1";
        let (definition, modes) = (describe(&stack, "public", "bookings"), stack.sql(triggers));
        for id in ids {
            stack.sql(
                "SET session_replication_role = replica; DELETE FROM public.\"Größe\"; UPDATE public.\"we\"\"ird.na me\" SET \"from\" = 'x'; \
                 INSERT INTO public.U&\"new\\000Aline\" SELECT 9; DELETE FROM public.\"back\\slash\"; \
                 TRUNCATE public.\"it's -- a /* comment\", public.\"COPY public.x (a) FROM stdin;\", \"Odd schema.\"\"q\"\"\".\"Table; DROP\"; \
                 DELETE FROM storage.objects; UPDATE public.counted SET label = 'x'; DELETE FROM public.bookings; \
                 DELETE FROM public.orders WHERE id % 2 = 0; UPDATE public.messages SET body = 'gone'; \
                 SELECT setval('public.messages_id_seq', 5); UPDATE public.notes SET note = 'stays'; \
                 UPDATE public.copy_traps SET value = ''; UPDATE public.every_type SET c_text = '' WHERE c_text IS NOT NULL;",
            );
            let tables: Vec<&str> = ODD
                .into_iter()
                .chain([
                    "storage.objects",
                    "public.counted",
                    "public.bookings",
                    "public.orders",
                    "public.messages",
                    "public.copy_traps",
                ])
                .flat_map(|name| ["--table", name])
                .collect();
            let report = restore(&keeper, &id, &tables).ok().json();
            assert_equal(&report);
            assert_eq!(report["tables"].as_array().map(Vec::len), Some(ODD.len() + 5 + 5));
            assert_eq!(stack.sql("SELECT last_value FROM public.messages_id_seq"), "6000");
            assert_eq!(stack.sql("SELECT DISTINCT note FROM public.notes"), "stays");
            assert_eq!(stack.sql("SELECT times FROM public.trigger_log WHERE fired_for = 'counted'"), "25");
            assert_eq!(describe(&stack, "public", "bookings"), definition);
            assert_eq!(stack.sql(triggers), modes);
        }
    }
}

#[test]
fn foreign_keys_that_do_not_hold_are_told() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    stack.sql(
        "SET session_replication_role = replica; DELETE FROM public.channels WHERE id = 1; \
         INSERT INTO public.messages (id, channel_id, body) VALUES (7000, 2, 'new'); UPDATE public.channels SET last_message = 7000 WHERE id = 2",
    );
    let ended = restore(&keeper, &id, &["--table", "public.messages"]);
    assert_eq!(ended.code(), 5, "{}", ended.stderr);
    let violations = ended.json()["violations"].to_string();
    assert!(violations.contains("messages_channel_id_fkey") && violations.contains("500"), "{violations}");
    assert!(violations.contains("channels_last_message_fkey"), "{violations}");
    assert_eq!(stack.sql("SELECT count(*) FROM public.messages"), "6000");
    // A table that is gone comes back although rows beside it are of another time.
    stack.sql("DROP TABLE public.messages CASCADE");
    let ended = restore(&keeper, &id, &["--table", "public.messages"]);
    assert_eq!(ended.code(), 5, "{}", ended.stderr);
    assert!(ended.json()["violations"].to_string().contains("was not made"), "{}", ended.text());
    assert_eq!(stack.sql("SELECT count(*) FROM public.messages"), "6000");
}

#[test]
fn a_part_that_fails_leaves_everything_as_it_was() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        let keeper = Keeper::new(&stack);
        let ids = backups(&keeper);
        stack.sql(
            "ALTER TABLE public.messages DROP COLUMN tags; UPDATE public.messages SET body = 'kept'; \
             DROP TABLE public.typed; DROP TYPE public.address CASCADE; UPDATE public.notes SET note = 'kept'; \
             CREATE VIEW public.typed AS SELECT 1 AS one; \
             CREATE TABLE public.late (id integer)",
        );
        for id in ids {
            let fails = |arguments: &[&str], code: &str| {
                let ended = restore(&keeper, &id, arguments);
                assert_eq!(ended.code(), 1, "{arguments:?} of {id}: {}", ended.stderr);
                assert_eq!(ended.json()["error"]["code"], code, "{arguments:?} of {id}");
                let message = ended.json()["error"]["message"].to_string();
                assert!(
                    ["nothing was changed", "nothing was touched", "has no table"]
                        .iter()
                        .any(|state| message.contains(state)),
                    "{message}"
                );
            };
            // The notes come first, and go back with the rest.
            fails(&["--table", "public.notes", "--table", "public.messages"], "restore-failed");
            fails(&["--table", "public.typed"], "target-unfit");
            fails(&["--table", "public.nowhere"], "target-unfit");
            fails(&["--table", "public.late"], "target-unfit");
            fails(&["--table", "public.every_type", "--into-schema", "rescue"], "restore-failed");
            fails(&["--data-only"], "target-unfit");
            assert_eq!(stack.sql("SELECT DISTINCT body FROM public.messages"), "kept");
            assert_eq!(stack.sql("SELECT DISTINCT note FROM public.notes"), "kept");
            assert_eq!(stack.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'rescue'"), "0");
        }
        assert_eq!(stack.sql("SELECT count(*) FROM pg_locks WHERE NOT granted"), "0");
        assert_eq!(stack.supakeep_sessions(), 0);
    }
}

#[test]
fn a_database_beside_the_live_one_equals_it() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db", "rest"]);
        // As Supabase's own wrappers are: PostgreSQL gives none to a role that is no superuser.
        stack.sql(
            "ALTER ROLE postgres SUPERUSER; SET ROLE postgres; CREATE FOREIGN DATA WRAPPER \"a wrapper\" HANDLER extensions.postgres_fdw_handler; \
             COMMENT ON FOREIGN DATA WRAPPER \"a wrapper\" IS 'mine'; RESET ROLE; ALTER ROLE postgres NOSUPERUSER; \
             CREATE SERVER wrapped FOREIGN DATA WRAPPER \"a wrapper\";",
        );
        let keeper = Keeper::new(&stack);
        for id in backups(&keeper) {
            let ended = restore(&keeper, &id, &["--into", "it's \"beside\""]).ok();
            let report = ended.json();
            assert_eq!(report["differences"], serde_json::json!([]), "{id}");
            assert!(report["rows"].as_u64().expect("a number") > 10_000);
            assert!(report["notes"].to_string().contains("pg_cron"), "{report}");
            let beside = "it's \"beside\"";
            assert_eq!(stack.sql_in(beside, "SELECT count(*) FROM auth.users"), "500");
            let triggers = "SELECT string_agg(concat(evtname, evtowner::regrole, evtenabled), ',' ORDER BY evtname) FROM pg_event_trigger";
            assert_eq!(stack.sql_in(beside, triggers), stack.sql(triggers));
            let owner = "SELECT fdwowner::regrole FROM pg_foreign_data_wrapper WHERE fdwname = 'a wrapper'";
            assert_eq!(stack.sql_in(beside, owner), "postgres");
            assert_eq!(
                stack.sql("SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper"),
                "supabase_admin"
            );
            // Once more is refused, and leaves it alone.
            let again = restore(&keeper, &id, &["--into", beside]);
            assert_eq!((again.code(), again.json()["error"]["code"].as_str()), (1, Some("target-unfit")));
            assert_eq!(stack.sql_in(beside, "SELECT count(*) FROM auth.users"), "500");
            stack.sql("DROP DATABASE \"it's \"\"beside\"\"\"");
            let only = restore(&keeper, &id, &["--into", "shape", "--schema-only"]).ok().json();
            assert_eq!(
                (only["differences"].clone(), only["rows"].as_u64()),
                (serde_json::json!([]), Some(0))
            );
            assert_eq!(
                stack.sql_in("shape", "SELECT count(*) FROM pg_policies WHERE tablename = 'notes'"),
                "2"
            );
            stack.sql("DROP DATABASE shape");
        }
        let running = stack.compose(&["ps", "--services", "--status", "running"]).ok().text();
        assert_eq!(running.lines().count(), 2, "{running}");
    }
}

#[test]
fn a_database_that_cannot_be_filled_is_gone_again() {
    let stack = Stack::private(Pg::V15, &["db"]);
    let keeper = Keeper::new(&stack);
    let ids = backups(&keeper);
    stack.sql("DROP SERVER elsewhere CASCADE; DROP OWNED BY \"App Rôle\"; DROP ROLE \"App Rôle\"");
    for id in ids {
        let ended = restore(&keeper, &id, &["--into", "half"]);
        assert_eq!((ended.code(), ended.json()["error"]["code"].as_str()), (1, Some("restore-failed")));
        assert_eq!(stack.sql("SELECT count(*) FROM pg_database WHERE datname = 'half'"), "0");
    }
    assert_eq!(stack.exec(&["sh", "-c", "ls -d /tmp/supakeep* 2>/dev/null || true"]).ok().text(), "");
    assert_eq!(stack.supakeep_sessions(), 0);
}

#[test]
fn a_table_can_be_looked_at_in_another_schema() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        let keeper = Keeper::new(&stack);
        let ids = backups(&keeper);
        stack.sql("UPDATE public.messages SET body = 'live'");
        let live = ["messages", "orders", "notes"].map(|name| describe(&stack, "public", name));
        for id in ids {
            let tables =
                ["--table", "public.messages", "--table", "public.orders", "--table", "public.notes"];
            let report =
                restore(&keeper, &id, &[tables.as_slice(), &["--into-schema", "a \"rescue\""]].concat())
                    .ok()
                    .json();
            assert_equal(&report);
            let found = "SELECT count(*), min(left(body, 7)) FROM \"a \"\"rescue\"\"\".messages";
            assert_eq!(stack.sql(found), "6000|Message");
            // Its sequence is its own.
            stack.sql("INSERT INTO \"a \"\"rescue\"\"\".messages (channel_id, body) VALUES (1, 'new')");
            assert_eq!(stack.sql("SELECT last_value FROM public.messages_id_seq"), "6000");
            assert_eq!(stack.sql("SELECT DISTINCT body FROM public.messages"), "live");
            assert_eq!(["messages", "orders", "notes"].map(|name| describe(&stack, "public", name)), live);
            let again = restore(&keeper, &id, &["--table", "public.notes", "--into-schema", "a \"rescue\""]);
            assert_eq!(again.code(), 1, "{}", again.stderr);
            stack.sql("SET client_min_messages = error; DROP SCHEMA \"a \"\"rescue\"\"\" CASCADE");
        }
    }
}

#[test]
fn rows_of_all_tables_and_roles_by_themselves() {
    for pg in Pg::ALL {
        let stack = Stack::private(pg, &["db"]);
        let keeper = Keeper::new(&stack);
        let versions = "SELECT string_agg(s::text, ',' ORDER BY s::text) FROM auth.schema_migrations s";
        for id in backups(&keeper) {
            stack.sql(
                "SET session_replication_role = replica; TRUNCATE auth.users CASCADE; UPDATE public.notes SET note = 'x'; \
                 INSERT INTO auth.schema_migrations VALUES ('29991231235959') ON CONFLICT DO NOTHING; SELECT setval('public.messages_id_seq', 5)",
            );
            let now = stack.sql(versions);
            let report = restore(&keeper, &id, &["--data-only"]).ok().json();
            assert_equal(&report);
            assert_eq!(stack.sql("SELECT count(*) FROM auth.users"), "500");
            assert_eq!(stack.sql("SELECT last_value FROM public.messages_id_seq"), "6000");
            assert_eq!(stack.sql("SELECT times FROM public.trigger_log WHERE fired_for = 'counted'"), "25");
            assert_eq!(stack.sql(versions), now, "the version of a service's own schema stays");
        }
        let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'authenticator'";
        let (own, id) = (stack.sql(password), keeper.backup(&[]));
        stack.sql("ALTER ROLE \"App Rôle\" RENAME TO gone");
        restore(&keeper, &id, &["--roles-only"]).ok();
        assert_eq!(stack.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'App Rôle'"), "1");
        assert_eq!(stack.sql(password), own);
    }
}

#[test]
fn what_is_replaced_is_saved_first_and_asked_about() {
    let stack = Stack::private(Pg::V15, &["db"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    stack.sql("UPDATE public.notes SET note = 'mine'");
    // Without a terminal nobody can be asked.
    assert_eq!(keeper.refused(&["restore", &id, "--table", "public.notes"]), (2, "usage-invalid".into()));
    assert_eq!(stack.sql("SELECT DISTINCT note FROM public.notes"), "mine");
    let report = keeper.run(&["--json", "restore", &id, "--table", "public.notes", "--yes"]).ok().json();
    let safety = report["safety_backup"].as_str().expect("what was there before").to_owned();
    assert_ne!(stack.sql("SELECT min(note) FROM public.notes"), "mine");
    restore(&keeper, &safety, &["--table", "public.notes"]).ok();
    assert_eq!(stack.sql("SELECT DISTINCT note FROM public.notes"), "mine");
    // What is made replaces nothing: nobody is asked, and nothing is saved.
    let report =
        keeper.run(&["--json", "restore", &id, "--table", "public.notes", "--into-schema", "copy"]).ok();
    assert_eq!(report.json()["safety_backup"], serde_json::Value::Null);
    for wrong in [
        &["--table", "notes"][..],
        &["--table", "public.notes", "--into", "x"],
        &["--schema-only"],
        &["--data-only", "--into", "x"],
        &["--into-schema", "x"],
        &["--table", "public.notes", "--only-database", "nowhere"],
    ] {
        let ended = keeper.run(&[&["restore", &id], wrong].concat());
        assert_eq!(ended.code(), 2, "{wrong:?}: {}", ended.stderr);
    }
}

#[test]
fn a_dump_that_supakeep_did_not_make_gets_a_database_of_its_own() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dump = |arguments: &[&str]| {
        let fixed = ["pg_dump", "-h", "127.0.0.1", "-U", "supabase_admin"];
        stack.exec(&[fixed.as_slice(), arguments, &["_supabase"]].concat()).ok().stdout
    };
    let rows = "SELECT count(*) FROM _analytics.log_events";
    let expected = stack.sql_in("_supabase", rows);
    let plain = dump(&[]);
    let gzip = supakeep_tests::run(std::process::Command::new("gzip").arg("-c"), &plain).ok().stdout;
    let zstd = supakeep_tests::run(std::process::Command::new("zstd").arg("-qc"), &plain).ok().stdout;
    for (name, bytes) in
        [("plain.sql", &plain), ("a.sql.gz", &gzip), ("a.sql.zst", &zstd), ("a.dump", &dump(&["-Fc"]))]
    {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).expect("room for a file");
        let file = file.to_str().expect("a path in UTF-8");
        let ended = keeper.run(&["restore", "--file", file, "--into", "other"]).ok();
        assert!(ended.stderr.contains("warning: nothing is known of this file"), "{}", ended.stderr);
        assert_eq!(stack.sql_in("other", rows), expected, "{name}");
        stack.sql("DROP DATABASE other");
        let mut command = keeper.command(&["restore", "--file", "-", "--into", "other"]);
        supakeep_tests::run(&mut command, bytes).ok();
        assert_eq!(stack.sql_in("other", rows), expected, "{name} on standard input");
        stack.sql("DROP DATABASE other");
        // Cut short it is refused before anything is made.
        let mut command = keeper.command(&["--json", "restore", "--file", "-", "--into", "other"]);
        let ended = supakeep_tests::run(&mut command, &bytes[..bytes.len() / 2]);
        assert_eq!(ended.code(), 1, "{}", ended.stderr);
        assert_eq!(stack.sql("SELECT count(*) FROM pg_database WHERE datname = 'other'"), "0");
    }
    assert_eq!(keeper.incoming(), Vec::<String>::new());
    // One that goes elsewhere does not reach the live database.
    for wrong in [dump(&["--create"]), dump(&["-Ft"]), b"SELECT 1;\n".to_vec(), Vec::new()] {
        let mut command = keeper.command(&["--json", "restore", "--file", "-", "--into", "other"]);
        let ended = supakeep_tests::run(&mut command, &wrong);
        assert!(!ended.status.success(), "{}", ended.text());
        assert_eq!(stack.sql("SELECT count(*) FROM pg_database WHERE datname = 'other'"), "0");
    }
    let missing = folder.path().join("nowhere");
    let missing = missing.to_str().expect("a path in UTF-8");
    assert_eq!(
        keeper.refused(&["restore", "--file", missing, "--into", "other"]),
        (2, "usage-invalid".into())
    );
}

#[test]
fn a_table_is_replaced_while_a_service_writes_into_it() {
    let stack = Stack::private(Pg::V15, &["db", "rest", "auth"]);
    let keeper = Keeper::new(&stack);
    let ids = backups(&keeper);
    for id in ids {
        stack.sql("UPDATE public.messages SET body = 'damaged' WHERE id < 3000");
        let report = restore(&keeper, &id, &["--table", "public.messages"]).ok().json();
        // Compared before the transaction ends: the writer's next row is no difference.
        assert_equal(&report);
        assert_eq!(stack.sql("SELECT count(*) FROM public.messages WHERE body = 'damaged'"), "0");
        let rows = || stack.sql("SELECT count(*) FROM public.messages").parse::<u64>().expect("a count");
        let before = rows();
        wait_for("the service writes on", Duration::from_secs(20), || rows() > before);
    }
}
