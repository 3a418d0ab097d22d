//! Reads a plain dump: its beginning, its statements, its rows, its end.

use supakeep_model::fingerprint::{Dialect, Fingerprint, MultisetHash, SequencePrint, TablePrint, Tally};
use xxhash_rust::xxh3::Xxh3;

use super::copy_rows::CopyRows;
use super::head::{self, MAX_HEAD, Statement};
use super::insert_rows::InsertRows;
use super::lexer::{Lexer, Next, Sink};
use crate::inspect::InspectError;

/// Which comments stand at the beginning and at the end of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    begin: &'static [u8],
    end: &'static [u8],
}

impl Header {
    /// What `pg_dump` writes.
    pub(super) const DATABASE: Header =
        Header { begin: b" PostgreSQL database dump", end: b" PostgreSQL database dump complete" };
    /// What `pg_dumpall` writes.
    pub(super) const CLUSTER: Header = Header {
        begin: b" PostgreSQL database cluster dump",
        end: b" PostgreSQL database cluster dump complete",
    };
}

/// Reads a plain dump as it passes.
pub(super) struct PlainReader {
    lexer: Lexer,
    collector: Collector,
    rows: Option<(String, String, CopyRows)>,
}

impl PlainReader {
    /// A reader of a dump that begins and ends with `header`'s comments.
    pub(super) fn new(header: Header) -> PlainReader {
        PlainReader { lexer: Lexer::default(), collector: Collector::new(header), rows: None }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if let Some((_, _, rows)) = &mut self.rows {
                let Some(taken) = rows.feed(bytes) else { return };
                bytes = &bytes[taken..];
                if let Some((schema, table, rows)) = self.rows.take() {
                    self.collector.add_rows(schema, table, rows.rows, rows.bytes, rows.hash);
                }
            }
            let fed = self.lexer.feed(bytes, &mut self.collector);
            bytes = &bytes[fed.taken..];
            if fed.rows_begin {
                let table = self.collector.rows_follow.take();
                self.rows = table.map(|(schema, table)| (schema, table, CopyRows::default()));
            }
        }
    }

    /// Says what the dump holds, if it ended where a dump ends.
    pub(super) fn finish(self) -> Result<Fingerprint, InspectError> {
        let incomplete = |what: &str| Err(InspectError::Incomplete(what.to_owned()));
        if let Some((schema, table, _)) = &self.rows {
            return incomplete(&format!("it stops among the rows of {schema}.{table}"));
        }
        let collector = self.collector;
        if !collector.begun {
            return Err(InspectError::Damaged("it does not begin as a dump does".to_owned()));
        }
        if !self.lexer.is_between_statements() {
            return incomplete("it stops inside a statement");
        }
        if !collector.ended {
            return incomplete("the line `PostgreSQL … dump complete` is missing at its end");
        }
        Ok(collector.into_fingerprint())
    }
}

/// Turns statements into sums.
struct Collector {
    header: Header,
    begun: bool,
    ended: bool,
    rows_follow: Option<(String, String)>,
    statement: Box<Xxh3>,
    statement_bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    insert: Option<InsertRows>,
    large_object: Vec<u8>,
    large_object_parts: u64,
    dialect: Dialect,
    schema: Tally,
    large_objects: Tally,
    sequences: Vec<SequencePrint>,
    tables: Vec<TablePrint>,
}

/// Enough of a statement's end to know `FROM stdin;`.
const TAIL: usize = 16;

impl Collector {
    fn new(header: Header) -> Collector {
        Collector {
            header,
            begun: false,
            ended: false,
            rows_follow: None,
            statement: Box::new(Xxh3::new()),
            statement_bytes: 0,
            head: Vec::with_capacity(MAX_HEAD),
            tail: Vec::with_capacity(2 * TAIL),
            insert: None,
            large_object: Vec::new(),
            large_object_parts: 0,
            dialect: Dialect::Copy,
            schema: Tally::default(),
            large_objects: Tally::default(),
            sequences: Vec::new(),
            tables: Vec::new(),
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        self.ended = false;
        self.statement.update(bytes);
        self.statement_bytes += bytes.len() as u64;
        let room = MAX_HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let last = &bytes[bytes.len().saturating_sub(TAIL)..];
        self.tail.extend_from_slice(last);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
    }

    fn add_rows(&mut self, schema: String, name: String, rows: u64, bytes: u64, hash: MultisetHash) {
        self.tables.push(TablePrint { schema, name, rows, bytes, hash, partition_of: None });
    }

    /// Rows that come one statement at a time belong to the table before, as long as it is the same.
    fn add_inserted(&mut self, schema: String, name: String, insert: InsertRows) {
        self.dialect = Dialect::Inserts;
        if self.tables.last().is_none_or(|table| table.schema != schema || table.name != name) {
            self.add_rows(schema, name, 0, 0, MultisetHash::default());
        }
        if let Some(table) = self.tables.last_mut() {
            table.rows += insert.rows;
            table.bytes += insert.bytes;
            table.hash.merge(insert.hash);
        }
    }

    /// A piece of a large object: its place counts, since its data is not a multiset.
    fn add_large_object_data(&mut self, statement: u128) {
        let mut place = Xxh3::new();
        place.update(&self.large_object);
        place.update(&self.large_object_parts.to_le_bytes());
        place.update(&statement.to_le_bytes());
        self.large_object_parts += 1;
        // `lowrite(0, '\x…');` has two digits for each byte.
        let digits =
            self.statement_bytes.saturating_sub(b"SELECT pg_catalog.lowrite(0, '\\x');".len() as u64);
        self.large_objects.bytes += digits / 2;
        self.large_objects.hash.add(place.digest128());
    }

    fn into_fingerprint(mut self) -> Fingerprint {
        self.tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        self.sequences.sort_by(|a, b| a.name.cmp(&b.name));
        Fingerprint {
            dialect: self.dialect,
            schema: self.schema,
            large_objects: self.large_objects,
            sequences: self.sequences,
            tables: self.tables,
        }
    }
}

impl Sink for Collector {
    fn code(&mut self, bytes: &[u8]) {
        let before = self.head.len();
        self.text(bytes);
        if self.insert.is_none() && head::is_insert(&self.head) {
            // Recognised with this piece: what came before it was the beginning of `INSERT INTO `.
            let mut insert = InsertRows::new();
            insert.code(&self.head[..before]);
            self.insert = Some(insert);
        }
        if let Some(insert) = &mut self.insert {
            insert.code(bytes);
        }
    }

    fn quoted(&mut self, bytes: &[u8]) {
        self.text(bytes);
        if let Some(insert) = &mut self.insert {
            insert.quoted(bytes);
        }
    }

    fn end_of_statement(&mut self) -> Next {
        let hash = self.statement.digest128();
        let insert = self.insert.take();
        let mut next = Next::Statement;
        match (head::classify(&self.head, &self.tail), insert) {
            (Statement::Copy { schema, table }, _) => {
                self.rows_follow = Some((schema, table));
                next = Next::CopyRows;
            }
            (Statement::Insert { schema, table }, Some(mut insert)) => {
                insert.end();
                self.add_inserted(schema, table, insert);
            }
            (Statement::Sequence(sequence), _) => self.sequences.push(sequence),
            (Statement::LargeObject, _) => self.large_objects.add(0, hash),
            (Statement::LargeObjectOpen, _) => {
                self.large_object.clone_from(&self.head);
                self.large_object_parts = 0;
            }
            (Statement::LargeObjectData, _) => self.add_large_object_data(hash),
            (Statement::Bracket, _) => {}
            (Statement::Definition | Statement::Insert { .. }, _) => {
                self.schema.add(self.statement_bytes, hash)
            }
        }
        self.statement.reset();
        self.statement_bytes = 0;
        self.head.clear();
        self.tail.clear();
        next
    }

    fn comment(&mut self, text: &[u8]) {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.begun |= text == self.header.begin;
        self.ended |= text == self.header.end;
    }
}
