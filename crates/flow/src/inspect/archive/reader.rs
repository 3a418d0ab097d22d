//! Reads a custom archive as it passes: the table of contents, then each table's rows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use supakeep_model::fingerprint::{Dialect, Fingerprint, SequencePrint, TablePrint, Tally};
use xxhash_rust::xxh3::xxh3_128;

use super::member::{LargeObject, Rows};
use super::sink::Sink;
use super::toc::{Cursor, Entry, Header, Layout, Sizes, Stop, damaged};
use crate::inspect::split::{Closed, SplitError};
use crate::inspect::sql::{sequence, statements};
use crate::inspect::{Inspect, InspectError, Inspection};
use crate::stage::decode::PushDecoder;

/// Kinds of data blocks (`pg_backup_custom.c`).
const BLOCK_DATA: u8 = 1;
pub(super) const BLOCK_LARGE_OBJECTS: u8 = 3;

/// Inspects an archive as `pg_dump -Fc` writes it.
pub struct CustomArchive {
    layout: Layout,
    /// Whether rows are counted and hashed.
    reads_rows: bool,
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
    /// Before the number of a large object, or the 0 that ends those of this entry.
    LargeObject {
        dump_id: i64,
    },
}

/// What a chunk belongs to.
struct Data {
    decoder: PushDecoder,
    target: Target,
}

enum Target {
    Table(Rows),
    /// Rows that only somebody else looks at.
    Unread,
    LargeObject {
        dump_id: i64,
        object: LargeObject,
    },
}

impl Target {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Target::Table(rows) => rows.feed(bytes),
            Target::Unread => {}
            Target::LargeObject { object, .. } => object.feed(bytes),
        }
    }
}

impl Default for CustomArchive {
    fn default() -> Self {
        CustomArchive::new(Layout::Custom)
    }
}

impl CustomArchive {
    pub(super) fn new(layout: Layout) -> CustomArchive {
        CustomArchive {
            layout,
            reads_rows: true,
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

impl CustomArchive {
    /// One that leaves all rows to whoever it tells of them, and sums up none.
    pub(super) fn without_rows() -> CustomArchive {
        CustomArchive { reads_rows: false, ..CustomArchive::default() }
    }
}

impl Inspect for CustomArchive {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.read(bytes, &mut ()).or_else(nobody_closes)
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        self.inspection()
    }
}

/// Inspects `toc.dat` of a directory archive.
pub struct Contents(CustomArchive);

impl Default for Contents {
    fn default() -> Self {
        Contents(CustomArchive::new(Layout::Directory))
    }
}

impl Inspect for Contents {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.0.read(bytes, &mut ()).or_else(nobody_closes)
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        self.0.contents_inspection()
    }
}

/// The `()` takes everything.
fn nobody_closes(error: SplitError) -> Result<(), InspectError> {
    match error {
        SplitError::Inspect(error) => Err(error),
        SplitError::Closed => Ok(()),
    }
}

impl CustomArchive {
    /// Takes the next bytes, and tells `sink` what they hold.
    pub(super) fn read(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), SplitError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let State::Bytes { left, data } = &mut self.state {
                let (now, later) = rest.split_at(rest.len().min(*left));
                decode(data, now, sink)?;
                *left -= now.len();
                rest = later;
                if *left == 0 {
                    self.end_of_chunk();
                }
                continue;
            }
            self.pending.extend_from_slice(rest);
            rest = self.consume_pending(rest, sink)?;
        }
        Ok(())
    }

    /// What was seen, after the last byte.
    pub(super) fn inspection(self) -> Result<Inspection, InspectError> {
        let incomplete = |what: String| Err(InspectError::Incomplete(what));
        if !matches!(self.state, State::Block) || !self.pending.is_empty() {
            return incomplete("the archive stops before its end".to_owned());
        }
        if let Some((schema, name)) = self.expected.values().next() {
            return incomplete(format!("the data of {schema}.{name} is missing"));
        }
        Ok(Inspection::of(self.into_fingerprint()))
    }

    /// What was seen in a table of contents by itself; its last entry ends with the file.
    pub(super) fn contents_inspection(self) -> Result<Inspection, InspectError> {
        match self.state {
            State::Entries { left: 0 } => Ok(Inspection::of(self.into_fingerprint())),
            _ => Err(InspectError::Incomplete("the table of contents stops before its end".to_owned())),
        }
    }

    /// Reads what is pending as far as it goes; `input` is the end of it. Returns the part of `input`
    /// that is to be read as the bytes of a chunk.
    fn consume_pending<'a>(&mut self, input: &'a [u8], sink: &mut impl Sink) -> Result<&'a [u8], SplitError> {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        loop {
            if matches!(self.state, State::Bytes { .. }) {
                let left = pending.len() - at;
                // Less is left than came last: all before it was consumed with an earlier push.
                return Ok(&input[input.len() - left..]);
            }
            match self.step(&pending[at..], sink) {
                Ok(taken) => at += taken,
                Err(Stop::Damaged(error)) => return Err(error.into()),
                Err(Stop::Closed) => return Err(SplitError::Closed),
                Err(Stop::More) => {
                    self.pending = pending[at..].to_vec();
                    return Ok(&[]);
                }
            }
        }
    }

    /// Reads the next thing that is there as a whole. `sink` is told last: until then it may turn out
    /// that more bytes are needed.
    fn step(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, Stop> {
        let sizes = self.header.as_ref().map_or(Sizes::UNKNOWN, |header| header.sizes);
        let version = self.header.as_ref().map_or((1, 16), |header| header.version);
        let mut cursor = Cursor::new(bytes, sizes);
        match self.state {
            State::Header => {
                let header = Header::read(&mut cursor, self.layout)?;
                sink.header(&bytes[..cursor.taken()], &header)?;
                self.state = State::Entries { left: header.entries };
                self.header = Some(header);
            }
            State::Entries { left: ..=0 } if self.layout == Layout::Directory => {
                return Err(match bytes {
                    [] => Stop::More,
                    _ => damaged("bytes after the end of the table of contents"),
                });
            }
            State::Entries { left: ..=0 } => self.state = State::Block,
            State::Entries { left } => {
                let entry = Entry::read(&mut cursor, version, self.layout)?;
                sink.entry(&bytes[..cursor.taken()], &entry)?;
                self.add_entry(entry);
                self.state = State::Entries { left: left - 1 };
            }
            State::Block => self.begin_block(&mut cursor, sink)?,
            State::Chunk(_) => self.begin_chunk(&mut cursor)?,
            State::LargeObject { dump_id } => self.begin_large_object(dump_id, &mut cursor, sink)?,
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

    fn begin_block(&mut self, cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<(), Stop> {
        let kind = cursor.byte()?;
        let dump_id = cursor.int()?;
        let (schema, name) = self
            .expected
            .remove(&dump_id)
            .filter(|_| self.seen.insert(dump_id))
            .ok_or_else(|| damaged(format!("data for entry {dump_id}, which expects none")))?;
        self.state = match kind {
            BLOCK_DATA => {
                sink.rows(dump_id, &schema, &name)?;
                let read = || Target::Table(Rows::new(&schema, &name));
                State::Chunk(self.data(if self.reads_rows { read() } else { Target::Unread })?)
            }
            BLOCK_LARGE_OBJECTS => State::LargeObject { dump_id },
            other => return Err(damaged(format!("a data block of unknown kind {other}"))),
        };
        Ok(())
    }

    fn begin_large_object(
        &mut self,
        dump_id: i64,
        cursor: &mut Cursor<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Stop> {
        let oid = cursor.int()?;
        if oid == 0 {
            sink.end_of_large_objects(dump_id)?;
            self.state = State::Block;
            return Ok(());
        }
        sink.large_object(oid)?;
        self.state = State::Chunk(self.data(Target::LargeObject { dump_id, object: LargeObject::new(oid) })?);
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
            Target::Table(rows) => self.tables.push(rows.print().map_err(Stop::Damaged)?),
            Target::Unread => {}
            Target::LargeObject { dump_id, object } => {
                let (bytes, hash) = object.sum();
                self.large_objects.add(bytes, hash);
                self.state = State::LargeObject { dump_id };
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

/// What may go wrong while bytes are decompressed into a sink.
enum Decoding {
    Damaged(io::Error),
    Closed(Closed),
}

impl From<io::Error> for Decoding {
    fn from(error: io::Error) -> Decoding {
        Decoding::Damaged(error)
    }
}

fn decode(data: &mut Data, bytes: &[u8], sink: &mut impl Sink) -> Result<(), SplitError> {
    let target = &mut data.target;
    let decoded = data.decoder.push(bytes, |piece| {
        target.push(piece);
        sink.data(piece).map_err(Decoding::Closed)
    });
    decoded.map_err(|error| match error {
        Decoding::Damaged(error) => InspectError::Damaged(error.to_string()).into(),
        Decoding::Closed(closed) => closed.into(),
    })
}
