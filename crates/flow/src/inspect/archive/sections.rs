//! A custom archive apart: its table of contents, its rows as a script for psql, and what else it holds.
//!
//! `pg_restore` needs only the table of contents for definitions, indexes and constraints, and an archive without
//! its rows is an archive. The rows can then come as they are read, from several sessions at once.

use std::collections::BTreeMap;

use supakeep_model::dump::Compression;

use super::reader::{BLOCK_LARGE_OBJECTS, CustomArchive};
use super::sink::Sink;
use super::toc::{Entry, Header, Layout, SECTION_DATA, SECTION_NONE, changed_header, write_int};
use crate::inspect::InspectError;
use crate::inspect::split::{Closed, SplitError};

/// What `pg_restore` says before it sends rows, beside what the archive says itself.
const SETTINGS: &str =
    "SET xmloption = content;\nSET client_min_messages = warning;\nSET row_security = off;\n";
/// Large objects are kept up to so many bytes.
pub const MAX_KEPT_BYTES: u64 = 8 << 20;
/// A longer table of contents is not kept at all.
const MAX_CONTENTS: usize = 8 << 20;

/// Where an entry's data is: known, as in an archive that was written to a file, and not, as in one that was written
/// to a pipe (`K_OFFSET_…` of `pg_backup_custom.c`).
const OFFSET_NOT_SET: u8 = 1;
const OFFSET_SET: u8 = 2;

/// Takes a custom archive apart as it passes.
pub struct Sections {
    reader: CustomArchive,
    parts: Parts,
}

#[derive(Default)]
struct Parts {
    contents: Vec<u8>,
    int_bytes: usize,
    /// Entries whose end has not come.
    left: i64,
    /// The section that has been reached.
    section: i64,
    /// Whether the header has come.
    begun: bool,
    settings: String,
    /// `COPY … FROM stdin;` by dump id.
    copies: BTreeMap<i64, String>,
    /// Entries of the data section and behind it that are not rows, in their order.
    others: Vec<i64>,
    offset_bytes: usize,
    /// Whether `pg_restore` alone can restore it.
    is_special: bool,
    script: Vec<u8>,
    takes_rows: bool,
    large_objects: LargeObjects,
}

/// Blocks of large objects, as the archive has them.
#[derive(Default)]
struct LargeObjects {
    blocks: Vec<u8>,
    /// The block that is read, from behind its dump id.
    current: Vec<u8>,
    in_object: bool,
    are_too_large: bool,
}

/// What an archive holds beside rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// The archive without its rows; none where that is too long to be kept.
    pub archive: Option<Vec<u8>>,
    /// Its entries of the data section and behind it that are not rows, by dump id, in their order.
    pub others: Vec<i64>,
}

impl Default for Sections {
    fn default() -> Sections {
        Sections { reader: CustomArchive::without_rows(), parts: Parts::default() }
    }
}

impl Sections {
    /// Takes the next bytes, and adds to `script` what psql is to read of them.
    pub fn push(&mut self, bytes: &[u8], script: &mut Vec<u8>) -> Result<(), InspectError> {
        match self.reader.read(bytes, &mut self.parts) {
            Ok(()) | Err(SplitError::Closed) => {}
            Err(SplitError::Inspect(error)) => return Err(error),
        }
        script.append(&mut self.parts.script);
        Ok(())
    }

    /// The table of contents, an archive by itself, when all of it has come.
    pub fn contents(&self) -> Option<&[u8]> {
        (self.parts.begun && self.parts.left == 0).then_some(&self.parts.contents)
    }

    /// Whether all rows can be told to psql as rows: they have not been dumped as `INSERT`s, their tables have names in
    /// UTF-8, and there are not too many entries to be kept. Known with the table of contents.
    pub fn are_possible(&self) -> bool {
        !self.parts.is_special
    }

    /// What is left, if the archive was whole.
    pub fn finish(self) -> Result<Rest, InspectError> {
        self.reader.inspection()?;
        let Parts { mut contents, others, large_objects, .. } = self.parts;
        contents.extend_from_slice(&large_objects.blocks);
        let archive = (!large_objects.are_too_large).then_some(contents);
        Ok(Rest { archive, others })
    }
}

impl Parts {
    /// Without the place that its data has in the whole archive.
    fn add_entry(&mut self, raw: &[u8]) {
        let (entry, place) = raw.split_at(raw.len() - 1 - self.offset_bytes);
        let state = if place[0] == OFFSET_SET { OFFSET_NOT_SET } else { place[0] };
        self.is_special |= self.contents.len() + raw.len() > MAX_CONTENTS;
        if !self.is_special {
            self.contents.extend_from_slice(entry);
            self.contents.push(state);
            self.contents.resize(self.contents.len() + self.offset_bytes, 0);
        }
    }
}

/// A statement that is there, and in an encoding that is ours too.
fn can_be_told(copy: &str) -> bool {
    !copy.is_empty() && !copy.contains(char::REPLACEMENT_CHARACTER)
}

impl Sink for Parts {
    fn header(&mut self, raw: &[u8], header: &Header) -> Result<(), Closed> {
        // What is put into it comes decompressed.
        self.contents = changed_header(raw, header, Layout::Custom, Compression::None);
        (self.int_bytes, self.offset_bytes) = header.sizes.widths();
        (self.begun, self.left) = (true, header.entries);
        Ok(())
    }

    fn entry(&mut self, raw: &[u8], entry: &Entry) -> Result<(), Closed> {
        self.add_entry(raw);
        self.left -= 1;
        if entry.section != SECTION_NONE {
            self.section = entry.section;
        }
        match entry.description.as_str() {
            "TABLE DATA" => {
                self.is_special |= entry.has_data && !can_be_told(&entry.copy);
                self.copies.insert(entry.dump_id, entry.copy.clone());
            }
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" => {
                self.is_special |= entry.definition.contains(char::REPLACEMENT_CHARACTER);
                self.settings.push_str(&entry.definition);
            }
            _ if self.section >= SECTION_DATA => self.others.push(entry.dump_id),
            _ => {}
        }
        Ok(())
    }

    fn rows(&mut self, dump_id: i64, _schema: &str, _name: &str) -> Result<(), Closed> {
        if !self.settings.is_empty() {
            self.script.extend(std::mem::take(&mut self.settings).into_bytes());
            self.script.extend(SETTINGS.as_bytes());
        }
        self.takes_rows = true;
        let copy = self.copies.get(&dump_id).map_or("", |copy| copy.trim_end());
        self.script.extend([copy.as_bytes(), b"\n"].concat());
        Ok(())
    }

    fn large_object(&mut self, oid: i64) -> Result<(), Closed> {
        self.takes_rows = false;
        self.large_objects.begin(usize::try_from(oid).unwrap_or(0), self.int_bytes);
        Ok(())
    }

    fn end_of_large_objects(&mut self, dump_id: i64) -> Result<(), Closed> {
        self.large_objects.end(usize::try_from(dump_id).unwrap_or(0), self.int_bytes);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        if self.takes_rows {
            self.script.extend_from_slice(bytes);
        } else {
            self.large_objects.data(bytes, self.int_bytes);
        }
        Ok(())
    }
}

impl LargeObjects {
    fn begin(&mut self, oid: usize, int_bytes: usize) {
        self.end_object(int_bytes);
        self.current.extend(write_int(oid, int_bytes));
        self.in_object = true;
    }

    fn data(&mut self, bytes: &[u8], int_bytes: usize) {
        let kept = self.blocks.len() + self.current.len() + bytes.len();
        // The numbers between them are no objects.
        if kept as u64 > 2 * MAX_KEPT_BYTES {
            self.are_too_large = true;
            self.current.clear();
        }
        if !self.are_too_large && !bytes.is_empty() {
            self.current.extend(write_int(bytes.len(), int_bytes));
            self.current.extend_from_slice(bytes);
        }
    }

    fn end_object(&mut self, int_bytes: usize) {
        if std::mem::take(&mut self.in_object) {
            self.current.extend(write_int(0, int_bytes));
        }
    }

    fn end(&mut self, dump_id: usize, int_bytes: usize) {
        self.end_object(int_bytes);
        self.blocks.push(BLOCK_LARGE_OBJECTS);
        self.blocks.extend(write_int(dump_id, int_bytes));
        self.blocks.extend(std::mem::take(&mut self.current));
        self.blocks.extend(write_int(0, int_bytes));
    }
}
