//! Restoring what is large: rows for several sessions, and indexes that take memory.

use supakeep_tests::{Keeper, Pg, Stack};

/// More rows than one session is given.
const LARGE: &str = "CREATE TABLE public.large (id int PRIMARY KEY, body text);
INSERT INTO public.large SELECT n, repeat(md5(n::text), 3) || E'\\n\\t\\\\.' FROM generate_series(1, 400000) AS n;
CREATE INDEX ON public.large (body);";

/// The look-alike has large objects too, which go another way in an archive.
#[test]
fn a_large_table_is_fed_by_several_sessions() {
    for (pg, format) in [(Pg::V15, "plain"), (Pg::V17, "custom"), (Pg::V15, "custom"), (Pg::V17, "plain")] {
        let stack = Stack::private(pg, &["db"]);
        stack.sql(LARGE);
        let keeper = Keeper::new(&stack)
            .with("SUPAKEEP_STACK__DATABASES", "postgres")
            .with("SUPAKEEP_DUMP__FORMAT", format);
        let id = keeper.backup(&[]);
        stack.sql(
            "DELETE FROM public.large WHERE id % 2 = 0; SELECT lo_unlink(oid) FROM pg_largeobject_metadata;",
        );
        let restore = ["restore", &id, "--yes", "--no-safety-backup", "--jobs", "3"];
        keeper.run(&restore).ok();
        assert_eq!(stack.sql("SELECT count(*), count(DISTINCT id) FROM public.large"), "400000|400000");
        let sessions = stack.sql("SELECT count(DISTINCT xmin::text) FROM public.large");
        assert_eq!(sessions, "3", "a transaction each, {format} of {}", pg.major());
        assert!(
            !stack.exec(&["test", "-e", "/tmp/supakeep-restore"]).status.success(),
            "nothing stays placed"
        );
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
