//! Restoring what is large: rows for several sessions, and indexes that take memory.

use std::time::Duration;

use supakeep_flow::kill_point::SECTION_POINTS;
use supakeep_tests::{Keeper, Pg, Stack, wait_for};

/// More rows than one session is given.
const LARGE: &str = "CREATE TABLE public.large (id int PRIMARY KEY, body text);
INSERT INTO public.large SELECT n, repeat(md5(n::text), 3) || E'\\n\\t\\\\.' FROM generate_series(1, 400000) AS n;
CREATE INDEX ON public.large (body);";

const RESTORE: [&str; 5] = ["restore", "--yes", "--no-safety-backup", "--jobs", "3"];
const COUNTS: &str = "SELECT count(*), count(DISTINCT id) FROM public.large";

#[test]
fn a_large_table_is_fed_by_several_sessions_on_15() {
    fed_by_several_sessions(Pg::V15);
}

#[test]
fn a_large_table_is_fed_by_several_sessions_on_17() {
    fed_by_several_sessions(Pg::V17);
}

/// The look-alike has large objects too, which go another way in an archive.
fn fed_by_several_sessions(pg: Pg) {
    let stack = Stack::private(pg, &["db"]);
    stack.sql(LARGE);
    let mut keeper = Keeper::new(&stack).with("SUPAKEEP_STACK__DATABASES", "postgres");
    let large_objects =
        "SELECT string_agg(oid || md5(lo_get(oid)), ' ' ORDER BY oid) FROM pg_largeobject_metadata";
    let objects = stack.sql(large_objects);
    for format in ["plain", "custom"] {
        keeper.set("SUPAKEEP_DUMP__FORMAT", format);
        let id = keeper.backup(&[]);
        let damage = || {
            stack.sql("DELETE FROM public.large WHERE id % 2 = 0; SELECT lo_unlink(oid) FROM pg_largeobject_metadata;")
        };
        damage();
        keeper.run(&[&RESTORE[..], &[&id]].concat()).ok();
        let is_whole = || {
            assert_eq!(stack.sql(COUNTS), "400000|400000");
            assert_eq!(stack.sql(large_objects), objects);
            let sessions = stack.sql("SELECT count(DISTINCT xmin::text) FROM public.large");
            assert_eq!(sessions, "3", "a transaction each, {format} of {}", pg.major());
            let placed = stack.exec(&["test", "-e", "/tmp/supakeep-restore"]);
            assert!(!placed.status.success(), "nothing stays placed");
        };
        is_whole();
        if format == "plain" {
            continue;
        }
        for point in SECTION_POINTS {
            damage();
            keeper.set("SUPAKEEP_KILL_AT", point);
            let ended = keeper.run(&[&RESTORE[..], &[&id]].concat());
            assert_eq!(ended.code(), -1, "{point}: {}", ended.stderr);
            keeper.set("SUPAKEEP_KILL_AT", "");
            assert_eq!(keeper.refused(&["backup"]), (1, "restore-unfinished".into()), "{point}");
            keeper.run(&[&RESTORE[..], &["--resume"]].concat()).ok();
            is_whole();
        }
    }
}

/// Ends the youngest of the sessions that store rows.
const END_ONE: &str = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
WHERE state = 'active' AND query LIKE 'COPY public.large %' ORDER BY backend_start DESC LIMIT 1) AS one;";

/// The others wait for it, or for more rows, at that moment.
#[test]
fn a_session_that_is_lost_ends_all_of_them_and_the_restore_can_be_finished() {
    for (pg, format) in [(Pg::V15, "custom"), (Pg::V17, "plain")] {
        let stack = Stack::private(pg, &["db"]);
        stack.sql(LARGE);
        let keeper = Keeper::new(&stack)
            .with("SUPAKEEP_STACK__DATABASES", "postgres")
            .with("SUPAKEEP_DUMP__FORMAT", format);
        let id = keeper.backup(&[]);
        let child = keeper.spawn(&["restore", &id, "--yes", "--no-safety-backup", "--jobs", "3"]);
        wait_for("a session stores rows and is ended", Duration::from_secs(120), || {
            stack.sql_in("template1", END_ONE) == "1"
        });
        let ended = child.wait_with_output().expect("a child can be waited for");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("terminating connection due to administrator command"), "{said}");
        assert!(said.contains("to finish: supakeep restore --resume"), "{said}");
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'supakeep-%'";
        wait_for("no session is left", Duration::from_secs(30), || {
            stack.sql_in("template1", sessions) == "0"
        });
        keeper.run(&["restore", "--resume", "--yes"]).ok();
        assert_eq!(stack.sql(COUNTS), "400000|400000");
    }
}

/// Enough of them for PostgreSQL to build the index with several processes.
const VECTORS: &str = "CREATE TABLE public.vectors (id int PRIMARY KEY, v extensions.vector(384));
INSERT INTO public.vectors SELECT n, (SELECT array_agg(sin(n * k)) FROM generate_series(1, 384) AS k)::extensions.vector
FROM generate_series(1, 6000) AS n;
SET max_parallel_maintenance_workers = 0;
CREATE INDEX ON public.vectors USING hnsw (v extensions.vector_l2_ops) WITH (m = 4, ef_construction = 8);";

/// A container has 64 MiB of shared memory, less than the builders of such an index ask for.
#[test]
fn a_vector_index_is_built_where_shared_memory_is_scarce() {
    let stack = Stack::private(Pg::V17, &["db"]);
    stack.sql(VECTORS);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_STACK__DATABASES", "postgres");
    let id = keeper.backup(&[]);
    keeper.run(&["restore", &id, "--yes", "--no-safety-backup"]).ok();
    assert_eq!(stack.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'vectors'"), "2");
}
