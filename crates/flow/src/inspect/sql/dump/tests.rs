use super::*;
use proptest::prelude::*;
use supakeep_model::fingerprint::{Dialect, Fingerprint};

/// A dump with every kind of statement, and with text that pretends to be one.
const DUMP: &str = "--
-- PostgreSQL database dump
--

\\restrict abc

-- Dumped from database version 15.8

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE FUNCTION public.liar() RETURNS text LANGUAGE sql AS $_$
COPY public.fake (a) FROM stdin;
--
-- PostgreSQL database dump complete
--
SELECT 'x;';
$_$;

SELECT pg_catalog.lo_create('100');
ALTER LARGE OBJECT 100 OWNER TO postgres;

COPY public.a (id, \"text\") FROM stdin;
1\tone
2\t-- PostgreSQL database dump complete
3\tCOPY public.x (a) FROM stdin;\\n\\\\.
\\.


COPY public.\"B b\"  FROM stdin;


\\.


COPY public.empty (id) FROM stdin;
\\.


SELECT pg_catalog.setval('public.a_id_seq', 3, true);

BEGIN;

SELECT pg_catalog.lo_open('100', 131072);
SELECT pg_catalog.lowrite(0, '\\x0a0b');
SELECT pg_catalog.lowrite(0, '\\x0c');
SELECT pg_catalog.lo_close(0);

COMMIT;

ALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (id);

--
-- PostgreSQL database dump complete
--

\\unrestrict abc

";

fn inspect(dump: &str, chunk: usize) -> Result<Fingerprint, InspectError> {
    let mut inspector = Box::new(PlainDump::of_database());
    for part in dump.as_bytes().chunks(chunk) {
        inspector.push(part)?;
    }
    inspector.finish().map(|inspection| inspection.fingerprint.expect("a database has one"))
}

fn whole(dump: &str) -> Fingerprint {
    inspect(dump, 1_000_000).expect("the dump is whole")
}

#[test]
fn sums_up_what_a_dump_holds() {
    let print = whole(DUMP);
    let tables: Vec<_> =
        print.tables.iter().map(|table| (table.name.as_str(), table.rows, table.bytes)).collect();
    assert_eq!(tables, [("B b", 2, 0), ("a", 3, 79), ("empty", 0, 0)]);
    assert_eq!((print.sequences.len(), print.sequences[0].value), (1, 3));
    assert_eq!((print.large_objects.count, print.large_objects.bytes), (1, 3));
    assert_eq!(print.schema.count, 5);
    assert_eq!(print.dialect, Dialect::Copy);
}

#[test]
fn every_truncation_is_noticed() {
    let end = DUMP.find("complete\n--\n\n\\unrestrict").expect("the end marker is there");
    for cut in 0..end + "complete".len() {
        assert!(inspect(&DUMP[..cut], 1_000).is_err(), "cut at {cut}: {:?}", &DUMP[..cut].lines().last());
    }
    assert!(inspect(DUMP, 1_000).is_ok());
}

#[test]
fn tells_a_cut_from_something_else() {
    let cut = &DUMP[..DUMP.find("3\tCOPY").expect("the row is there")];
    assert_eq!(
        inspect(cut, 100),
        Err(InspectError::Incomplete("it stops among the rows of public.a".into()))
    );
    assert!(matches!(inspect("hello", 100), Err(InspectError::Damaged(_))));
    assert!(matches!(inspect("", 100), Err(InspectError::Damaged(_))));
}

#[test]
fn a_statement_after_the_end_is_no_end() {
    assert!(inspect(&format!("{DUMP}DROP TABLE public.a;\n"), 100).is_err());
}

#[test]
fn the_order_of_rows_and_tables_does_not_count() {
    let other = DUMP.replace("1\tone\n", "").replace("\\\\.\n\\.", "\\\\.\n1\tone\n\\.");
    assert_ne!(other, DUMP);
    assert_eq!(whole(&other), whole(DUMP));
}

#[test]
fn the_restrict_token_does_not_count() {
    assert_eq!(whole(&DUMP.replace("abc", "xyz")), whole(DUMP));
}

#[test]
fn any_change_of_content_counts() {
    for (from, to) in [
        ("1\tone", "1\tonE"),
        ("lowrite(0, '\\x0c')", "lowrite(0, '\\x0d')"),
        ("a_id_seq', 3, true", "a_id_seq', 4, true"),
        ("a_pkey PRIMARY", "b_pkey PRIMARY"),
        ("SELECT 'x;'", "SELECT 'y;'"),
        ("OWNER TO postgres", "OWNER TO anon"),
    ] {
        let changed = DUMP.replace(from, to);
        assert_ne!(changed, DUMP);
        assert_ne!(whole(&changed), whole(DUMP), "{from} to {to}");
    }
}

#[test]
fn reads_insert_statements() {
    let dump =
        |rows: &str| format!("-- PostgreSQL database dump\n{rows}\n-- PostgreSQL database dump complete\n");
    let one_by_one = whole(&dump(
        "INSERT INTO public.a VALUES (1, 'a);(b', NULL);\nINSERT INTO public.a VALUES (2, 'it''s\nnew', f(3));\nINSERT INTO public.none DEFAULT VALUES;",
    ));
    let many = whole(&dump(
        "INSERT INTO public.a (id, \"VALUES\", n) VALUES\n\t(2, 'it''s\nnew', f(3)),\n\t(1, 'a);(b', NULL);\nINSERT INTO public.none DEFAULT VALUES;",
    ));
    let rows: Vec<_> = one_by_one.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    assert_eq!(rows, [("a", 2), ("none", 1)]);
    assert_eq!(one_by_one.tables, many.tables);
    assert_eq!(one_by_one.dialect, Dialect::Inserts);
}

#[test]
fn globals_have_an_end_of_their_own() {
    let globals = "--\n-- PostgreSQL database cluster dump\n--\nCREATE ROLE anon;\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
    let read = |mut inspector: Box<PlainDump>| {
        inspector.push(globals.as_bytes()).expect("SQL text is never refused");
        inspector.finish()
    };
    assert_eq!(read(Box::new(PlainDump::of_globals())), Ok(Inspection::default()));
    assert!(read(Box::new(PlainDump::of_database())).is_err());
}

proptest! {
    #[test]
    fn chunk_boundaries_never_change_the_result(chunk in 1_usize..300) {
        prop_assert_eq!(inspect(DUMP, chunk), inspect(DUMP, 1_000_000));
    }
}
