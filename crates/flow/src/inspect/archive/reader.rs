//! Reads a custom archive as it passes: the table of contents, then each table's rows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use supakeep_model::fingerprint::{Dialect, Fingerprint, SequencePrint, TablePrint, Tally};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::toc::{Cursor, Entry, Header, Sizes, Stop, damaged};
use crate::inspect::sql::{CopyRows, sequence, statements};
use crate::inspect::{Inspect, InspectError, Inspection};
use crate::stage::decode::PushDecoder;

/// Kinds of data blocks (`pg_backup_custom.c`).
const BLOCK_DATA: u8 = 1;
const BLOCK_LARGE_OBJECTS: u8 = 3;

/// Inspects an archive as `pg_dump -Fc` writes it.
pub struct CustomArchive {
    state: State,
    /// Bytes that have come and are not enough for the next number, string or entry.
    pending: Vec<u8>,
    header: Option<Header>,
    /// Entries with data that has not come yet, by dump id.
    expected: BTreeMap<i64, (String, String)>,
    seen: BTreeSet<i64>,
    schema: Tally,
    large_objects: Tally,
    sequences: Vec<SequencePrint>,
    tables: Vec<TablePrint>,
}

enum State {
    Header,
    Entries {
        left: i64,
    },
    Block,
    /// Before a chunk's length.
    Chunk(Data),
    /// In a chunk.
    Bytes {
        left: usize,
        data: Data,
    },
    /// Before the number of a large object, or the 0 that ends them.
    LargeObject,
}

/// What a chunk belongs to.
struct Data {
    decoder: PushDecoder,
    target: Target,
}

enum Target {
    Table { schema: String, name: String, rows: Box<CopyRows>, ended: bool },
    LargeObject { hasher: Box<Xxh3>, bytes: u64 },
}

impl Target {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            // What follows the end marker are empty lines.
            Target::Table { ended: true, .. } => {}
            Target::Table { rows, ended, .. } => *ended = rows.feed(bytes).is_some(),
            Target::LargeObject { hasher, bytes: length } => {
                hasher.update(bytes);
                *length += bytes.len() as u64;
            }
        }
    }
}

impl Default for CustomArchive {
    fn default() -> Self {
        CustomArchive {
            state: State::Header,
            pending: Vec::new(),
            header: None,
            expected: BTreeMap::new(),
            seen: BTreeSet::new(),
            schema: Tally::default(),
            large_objects: Tally::default(),
            sequences: Vec::new(),
            tables: Vec::new(),
        }
    }
}

impl Inspect for CustomArchive {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let State::Bytes { left, data } = &mut self.state {
                let (now, later) = rest.split_at(rest.len().min(*left));
                decode(data, now)?;
                *left -= now.len();
                rest = later;
                if *left == 0 {
                    self.end_of_chunk();
                }
                continue;
            }
            self.pending.extend_from_slice(rest);
            rest = self.consume_pending(rest)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        let incomplete = |what: String| Err(InspectError::Incomplete(what));
        if !matches!(self.state, State::Block) || !self.pending.is_empty() {
            return incomplete("the archive stops before its end".to_owned());
        }
        if let Some((schema, name)) = self.expected.values().next() {
            return incomplete(format!("the data of {schema}.{name} is missing"));
        }
        Ok(Inspection { fingerprint: Some(self.into_fingerprint()) })
    }
}

impl CustomArchive {
    /// Reads what is pending as far as it goes; `input` is the end of it. Returns the part of `input`
    /// that is to be read as the bytes of a chunk.
    fn consume_pending<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], InspectError> {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        loop {
            if matches!(self.state, State::Bytes { .. }) {
                let left = pending.len() - at;
                // Less is left than came last: all before it was consumed with an earlier push.
                return Ok(&input[input.len() - left..]);
            }
            match self.step(&pending[at..]) {
                Ok(taken) => at += taken,
                Err(Stop::Damaged(error)) => return Err(error),
                Err(Stop::More) => {
                    self.pending = pending[at..].to_vec();
                    return Ok(&[]);
                }
            }
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let sizes = self.header.as_ref().map_or(Sizes::UNKNOWN, |header| header.sizes);
        let version = self.header.as_ref().map_or((1, 16), |header| header.version);
        let mut cursor = Cursor::new(bytes, sizes);
        match self.state {
            State::Header => {
                let header = Header::read(&mut cursor)?;
                self.state = State::Entries { left: header.entries };
                self.header = Some(header);
            }
            State::Entries { left: ..=0 } => self.state = State::Block,
            State::Entries { left } => {
                let entry = Entry::read(&mut cursor, version)?;
                self.add_entry(entry);
                self.state = State::Entries { left: left - 1 };
            }
            State::Block => self.begin_block(&mut cursor)?,
            State::Chunk(_) => self.begin_chunk(&mut cursor)?,
            State::LargeObject => self.begin_large_object(&mut cursor)?,
            State::Bytes { .. } => {}
        }
        Ok(cursor.taken())
    }

    fn add_entry(&mut self, entry: Entry) {
        if entry.has_data {
            self.expected.insert(entry.dump_id, (entry.namespace, entry.tag));
            return;
        }
        match entry.description.as_str() {
            "SEQUENCE SET" => self.sequences.extend(
                entry.definition.trim_end().strip_prefix("SELECT pg_catalog.setval(").and_then(sequence),
            ),
            // How the database itself is made is recorded beside its dump.
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE" | "DATABASE PROPERTIES" => {}
            _ => self.add_definition(&entry),
        }
    }

    /// Each statement by itself: an entry with several grants has them in an order of no meaning.
    fn add_definition(&mut self, entry: &Entry) {
        let names =
            [&entry.description, &entry.namespace, &entry.tag, &entry.owner].map(String::as_str).join("\0");
        for statement in statements(&entry.definition) {
            let member = [names.as_bytes(), &statement].join(&0);
            self.schema.add(statement.len() as u64, xxh3_128(&member));
        }
    }

    fn begin_block(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let kind = cursor.byte()?;
        let dump_id = cursor.int()?;
        let (schema, name) = self
            .expected
            .remove(&dump_id)
            .filter(|_| self.seen.insert(dump_id))
            .ok_or_else(|| damaged(format!("data for entry {dump_id}, which expects none")))?;
        self.state = match kind {
            BLOCK_DATA => {
                let rows = Box::default();
                State::Chunk(self.data(Target::Table { schema, name, rows, ended: false })?)
            }
            BLOCK_LARGE_OBJECTS => State::LargeObject,
            other => return Err(damaged(format!("a data block of unknown kind {other}"))),
        };
        Ok(())
    }

    fn begin_large_object(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let oid = cursor.int()?;
        if oid == 0 {
            self.state = State::Block;
            return Ok(());
        }
        let mut hasher = Box::new(Xxh3::new());
        hasher.update(&oid.to_le_bytes());
        self.state = State::Chunk(self.data(Target::LargeObject { hasher, bytes: 0 })?);
        Ok(())
    }

    fn data(&self, target: Target) -> Result<Data, Stop> {
        let codec = self.header.as_ref().map(|header| header.codec).ok_or(Stop::More)?;
        let decoder = PushDecoder::new(codec).map_err(|error| damaged(error.to_string()))?;
        Ok(Data { decoder, target })
    }

    fn begin_chunk(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let length = cursor.int()?;
        let length = usize::try_from(length).map_err(|_| damaged("a chunk has a negative length"))?;
        match std::mem::replace(&mut self.state, State::Block) {
            State::Chunk(data) if length == 0 => self.end_of_data(data),
            State::Chunk(data) => {
                self.state = State::Bytes { left: length, data };
                Ok(())
            }
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    fn end_of_chunk(&mut self) {
        if let State::Bytes { data, .. } = std::mem::replace(&mut self.state, State::Block) {
            self.state = State::Chunk(data);
        }
    }

    fn end_of_data(&mut self, data: Data) -> Result<(), Stop> {
        data.decoder.finish().map_err(|error| damaged(error.to_string()))?;
        match data.target {
            Target::Table { schema, name, ended: false, .. } => {
                return Err(damaged(format!("the rows of {schema}.{name} have no end")));
            }
            Target::Table { schema, name, rows, .. } => {
                let (rows, bytes, hash) = (rows.rows, rows.bytes, rows.hash);
                self.tables.push(TablePrint { schema, name, rows, bytes, hash, partition_of: None });
            }
            Target::LargeObject { hasher, bytes } => {
                self.large_objects.add(bytes, hasher.digest128());
                self.state = State::LargeObject;
            }
        }
        Ok(())
    }

    fn into_fingerprint(mut self) -> Fingerprint {
        self.tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        self.sequences.sort_by(|a, b| a.name.cmp(&b.name));
        Fingerprint {
            dialect: Dialect::Archive,
            schema: self.schema,
            large_objects: self.large_objects,
            sequences: self.sequences,
            tables: self.tables,
        }
    }
}

fn decode(data: &mut Data, bytes: &[u8]) -> Result<(), InspectError> {
    let target = &mut data.target;
    data.decoder
        .push(bytes, |piece| {
            target.push(piece);
            io::Result::Ok(())
        })
        .map_err(|error| InspectError::Damaged(error.to_string()))
}
