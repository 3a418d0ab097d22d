//! An entry of a dump.

use std::ops::Range;

use super::subject::{Subject, subject};

/// What a dump has of one object: its definition, its rows, its grants, … each by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its number: an archive's own, or its place in a plain dump.
    pub id: i64,
    /// What it is called by, with its kind.
    pub header: Header,
    /// What it belongs to, as far as it is a table's.
    pub subject: Option<Subject>,
    /// Its statements, where it is a table's; rows are not among them.
    pub statements: String,
    /// How many statements define something in it.
    pub definitions: u64,
    /// Length of its rows or large objects.
    pub data_bytes: u64,
    /// In a plain dump, where its rows or large objects are, `BEGIN` and `COMMIT` left out.
    pub data: Vec<Range<u64>>,
    /// In a plain dump, where all of it is.
    pub extents: Vec<Range<u64>>,
    /// In an archive, whether the owner has to be set by whoever restores it.
    pub owner_is_apart: bool,
}

/// What a dump calls an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// `TABLE DATA`, `FK CONSTRAINT`, …
    pub kind: String,
    /// For people: line ends are blanks in it, and more than one name may be in it.
    pub name: String,
    /// The schema; empty where there is none.
    pub schema: String,
    /// The owner; empty where there is none.
    pub owner: String,
}

/// Kinds that a table consists of, beside others that they are also used for.
const OF_TABLES: [&str; 25] = [
    "ACL",
    "CHECK CONSTRAINT",
    "COMMENT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "FOREIGN TABLE",
    "INDEX",
    "INDEX ATTACH",
    "INHERITS",
    "PARTITION ATTACH",
    "POLICY",
    "PUBLICATION TABLE",
    "PUBLICATION TABLE IN SCHEMA",
    "ROW SECURITY",
    "RULE",
    "SECURITY LABEL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS",
    "TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TRIGGER",
];

impl Header {
    /// Reads ` Name: messages; Type: TABLE DATA; Schema: public; Owner: postgres`, a comment without its
    /// dashes. A name may look like the rest of it, so that is read from the end.
    pub(crate) fn parse(comment: &str) -> Option<Header> {
        let text = comment.strip_prefix(" Data for Name: ").or_else(|| comment.strip_prefix(" Name: "))?;
        let (text, owner) = text.rsplit_once("; Owner: ").or_else(|| text.rsplit_once("; Owner:"))?;
        let (text, schema) = text.rsplit_once("; Schema: ")?;
        let (name, kind) = text.rsplit_once("; Type: ")?;
        let is_kind = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_uppercase() || c == ' ');
        let owner = owner.split("; Tablespace: ").next().unwrap_or_default();
        let known = |part: &str| if part == "-" { String::new() } else { part.to_owned() };
        is_kind.then(|| Header {
            kind: kind.to_owned(),
            name: name.to_owned(),
            schema: known(schema),
            owner: known(owner.trim_end_matches('\r')),
        })
    }

    /// Whether an entry of this kind may be a table's.
    pub(crate) fn may_be_of_a_table(&self) -> bool {
        OF_TABLES.contains(&self.kind.as_str())
    }

    /// Whether the statements of such an entry may be wanted by themselves.
    pub(crate) fn has_wanted_statements(&self) -> bool {
        self.may_be_of_a_table() || matches!(self.kind.as_str(), "EVENT TRIGGER" | "FOREIGN DATA WRAPPER")
    }
}

impl Entry {
    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.header.kind
    }

    /// Notes which table it belongs to; what nobody will ask for is forgotten.
    pub(crate) fn find_subject(&mut self) {
        if self.header.may_be_of_a_table() {
            self.subject = subject(self.kind(), &self.statements);
        }
        if self.subject.is_none() && !self.is_about_event_triggers() && !self.makes_a_wrapper() {
            self.statements = String::new();
        }
    }

    /// Whether it makes a table whose rows are all in partitions, as pg_dump writes it.
    pub fn makes_a_partitioned_table(&self) -> bool {
        self.kind() == "TABLE" && self.statements.contains("\nPARTITION BY ")
    }

    /// Whether it makes an event trigger, or says something of one.
    pub fn is_about_event_triggers(&self) -> bool {
        let Header { kind, name, .. } = &self.header;
        kind == "EVENT TRIGGER"
            || matches!(kind.as_str(), "COMMENT" | "SECURITY LABEL") && name.starts_with("EVENT TRIGGER ")
    }

    /// Whether it makes a foreign-data wrapper.
    pub fn makes_a_wrapper(&self) -> bool {
        self.kind() == "FOREIGN DATA WRAPPER"
    }

    /// For people.
    pub fn title(&self) -> String {
        let Header { kind, name, schema, .. } = &self.header;
        if schema.is_empty() { format!("{kind} {name}") } else { format!("{kind} {schema}.{name}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: &str, name: &str, schema: &str, owner: &str) -> Header {
        Header { kind: kind.into(), name: name.into(), schema: schema.into(), owner: owner.into() }
    }

    #[test]
    fn reads_what_pg_dump_writes() {
        let parse = Header::parse;
        assert_eq!(
            parse(" Data for Name: messages; Type: TABLE DATA; Schema: public; Owner: postgres"),
            Some(header("TABLE DATA", "messages", "public", "postgres"))
        );
        assert_eq!(
            parse(" Name: pg_cron; Type: EXTENSION; Schema: -; Owner: -"),
            Some(header("EXTENSION", "pg_cron", "", ""))
        );
        assert_eq!(
            parse(" Name: EXTENSION pg_cron; Type: COMMENT; Schema: -; Owner: "),
            Some(header("COMMENT", "EXTENSION pg_cron", "", ""))
        );
        assert_eq!(
            parse(" Name: t; Type: TABLE; Schema: s; Owner: o; Tablespace: fast"),
            Some(header("TABLE", "t", "s", "o"))
        );
        for other in
            [" PostgreSQL database dump", " Name: x", " Name: a; Type: table; Schema: b; Owner: c", ""]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_that_looks_like_a_header_stays_a_name() {
        let name = "x; Type: TABLE DATA; Schema: auth; Owner: me";
        let comment = format!(" Name: {name}; Type: FUNCTION; Schema: public; Owner: postgres");
        assert_eq!(Header::parse(&comment), Some(header("FUNCTION", name, "public", "postgres")));
    }
}
