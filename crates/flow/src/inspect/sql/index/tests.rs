use proptest::prelude::*;

use super::*;
use crate::inspect::select::Name;

const DUMP: &str = "--
-- PostgreSQL database dump
--

\\restrict abc

SET client_encoding = 'UTF8';

--
-- Name: looks_like(); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.looks_like() RETURNS text LANGUAGE sql AS $$ SELECT '
--
-- Name: messages; Type: TABLE; Schema: public; Owner: postgres
--
' $$;

SET default_tablespace = fast;

--
-- Name: messages; Type: TABLE; Schema: public; Owner: postgres; Tablespace: fast
--

CREATE TABLE public.messages (
    id bigint NOT NULL,
    body text DEFAULT '
-- Name: other; Type: TABLE; Schema: public; Owner: postgres
'
);


ALTER TABLE public.messages OWNER TO postgres;

--
-- Name: messages_id_seq; Type: SEQUENCE; Schema: public; Owner: postgres
--

CREATE SEQUENCE public.messages_id_seq;

--
-- Name: messages_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: postgres
--

ALTER SEQUENCE public.messages_id_seq OWNED BY public.messages.id;


--
-- Name: new line; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.\"new
line\" (id integer);

--
-- Data for Name: messages; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.messages (id, body) FROM stdin;
1\t-- Name: x; Type: TABLE; Schema: public; Owner: me
-- Name: x; Type: TABLE; Schema: public; Owner: me
\\.


--
-- Data for Name: new line; Type: TABLE DATA; Schema: public; Owner: postgres
--

INSERT INTO public.\"new
line\" VALUES (1);
INSERT INTO public.\"new
line\" VALUES (2);


--
-- Data for Name: 16408; Type: BLOBS; Schema: -; Owner: postgres
--

BEGIN;

SELECT pg_catalog.lo_open('16408', 131072);
SELECT pg_catalog.lowrite(0, '\\x00');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Name: messages_id_seq; Type: SEQUENCE SET; Schema: public; Owner: postgres
--

SELECT pg_catalog.setval('public.messages_id_seq', 5, true);


--
-- Name: job; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION job;

--
-- PostgreSQL database dump complete
--

\\unrestrict abc

";

fn index(dump: &str, chunk: usize) -> Result<Contents, InspectError> {
    let mut index = Box::<PlainIndex>::default();
    for part in dump.as_bytes().chunks(chunk) {
        index.push(part)?;
    }
    index.finish()
}

fn contents() -> Contents {
    index(DUMP, 1_000_000).expect("the dump is whole")
}

fn text(dump: &str, ranges: &[Range<u64>]) -> String {
    let at = |offset: u64| usize::try_from(offset).expect("a short text");
    ranges.iter().map(|range| &dump[at(range.start)..at(range.end)]).collect()
}

#[test]
fn finds_entries_between_statements_and_nowhere_else() {
    let kinds: Vec<_> = contents()
        .entries
        .iter()
        .map(|entry| (entry.header.kind.clone(), entry.header.name.clone()))
        .collect();
    let kind = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
    assert_eq!(
        kinds,
        [
            kind("FUNCTION", "looks_like()"),
            kind("TABLE", "messages"),
            kind("SEQUENCE", "messages_id_seq"),
            kind("SEQUENCE OWNED BY", "messages_id_seq"),
            kind("TABLE", "new line"),
            kind("TABLE DATA", "messages"),
            kind("TABLE DATA", "new line"),
            kind("BLOBS", "16408"),
            kind("SEQUENCE SET", "messages_id_seq"),
            kind("EXTENSION", "job"),
        ]
    );
}

#[test]
fn names_are_those_of_the_statements() {
    let contents = contents();
    let tables: Vec<_> = contents.tables().into_iter().cloned().collect();
    assert_eq!(tables, [Name::new("public", "messages"), Name::new("public", "new\nline")]);
}

#[test]
fn rows_are_where_they_are() {
    let contents = contents();
    let data: Vec<_> = contents
        .entries
        .iter()
        .filter(|entry| !entry.data.is_empty())
        .map(|entry| (entry.statements.as_str(), text(DUMP, &entry.data), entry.data_bytes))
        .collect();
    let row = "-- Name: x; Type: TABLE; Schema: public; Owner: me\n";
    let copied = format!("1\t{row}{row}\\.\n");
    let insert = "INSERT INTO public.\"new\nline\" VALUES (1);";
    let inserted = format!("{insert}\n{}", insert.replace('1', "2"));
    let object = "SELECT pg_catalog.lo_open('16408', 131072);\nSELECT pg_catalog.lowrite(0, '\\x00');\nSELECT pg_catalog.lo_close(0);";
    let length = |text: &str| text.len() as u64;
    assert_eq!(
        data,
        [
            ("COPY public.messages (id, body) FROM stdin;\n", copied.clone(), length(&copied)),
            (format!("{insert}\n").as_str(), inserted.clone(), length(&inserted)),
            ("", object.to_owned(), length(object)),
        ]
    );
}

#[test]
fn every_byte_belongs_to_one_and_settings_stay() {
    let contents = contents();
    assert_eq!(contents.extents_without(&[].into()), vec![0..DUMP.len() as u64]);
    let all = contents.entries.iter().map(|entry| entry.id).collect();
    let settings = text(DUMP, &contents.extents_without(&all));
    let settings = settings.replace(";--", ";\n--");
    let lines: Vec<_> = settings.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    assert_eq!(
        lines,
        [
            "\\restrict abc",
            "SET client_encoding = 'UTF8';",
            "SET default_tablespace = fast;",
            "\\unrestrict abc"
        ]
    );
    assert_eq!(contents.preamble, "SET client_encoding = 'UTF8';\n");
    let extension = contents.entries.iter().find(|entry| entry.kind() == "EXTENSION").expect("it is there");
    let without = text(DUMP, &contents.extents_without(&[extension.id].into()));
    assert!(!without.contains("CREATE EXTENSION job") && without.len() > DUMP.len() - 120, "{without}");
}

#[test]
fn says_which_pg_dump_has_made_it() {
    let end = "--\n-- PostgreSQL database dump complete\n--\n";
    let by = "-- Dumped from database version 16.4\n-- Dumped by pg_dump version 17.2 (Debian)\n";
    let entry = "--\n-- Name: a; Type: SCHEMA; Schema: -; Owner: b\n--\n\nCREATE SCHEMA a;\n\n";
    let top = format!("--\n-- PostgreSQL database dump\n--\n\n{by}\n");
    let later = "-- Dumped by pg_dump version 99\n";
    let found = index(&format!("{top}{entry}{later}{entry}{end}"), 7).expect("it is whole");
    assert_eq!(found.dumped_by, "17.2 (Debian)");
    let silent = format!("--\n-- PostgreSQL database dump\n--\n\n{entry}{end}");
    assert_eq!(index(&silent, 7).expect("it is whole").dumped_by, "");
}

#[test]
fn a_dump_that_is_cut_anywhere_is_none() {
    let end = DUMP.find("dump complete").expect("it is there") + "dump complete".len();
    for at in 0..end {
        if DUMP.is_char_boundary(at) {
            assert!(index(&DUMP[..at], 1_000).is_err(), "cut at {at}");
        }
    }
    assert!(index(DUMP.strip_prefix("--\n-- Postgre").expect("its beginning"), 1_000).is_err());
}

#[test]
fn a_dump_that_leaves_its_database_is_refused() {
    for line in ["\\connect template1", "\\! id", "SELECT 1 \\g /tmp/x", "\\restrict a \\! id", "\\c"] {
        let dump = DUMP.replacen("\n--\n-- Name: job", &format!("\n{line}\n;\n--\n-- Name: job"), 1);
        for chunk in [1, 1_000_000] {
            let error = index(&dump, chunk).expect_err(line);
            assert!(error.to_string().contains("beyond the database"), "{line}: {error}");
        }
    }
}

proptest! {
    #[test]
    fn chunk_boundaries_never_change_what_is_found(chunk in 1_usize..200) {
        prop_assert_eq!(index(DUMP, chunk), Ok(contents()));
    }
}
