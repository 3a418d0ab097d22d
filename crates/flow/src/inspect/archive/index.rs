//! What is in an archive.

use std::collections::BTreeMap;

use super::reader::CustomArchive;
use super::sink::Sink;
use super::toc::{Entry as Read, Header as Top, Layout};
use crate::inspect::InspectError;
use crate::inspect::select::{Contents, Entry, Header, Index};
use crate::inspect::split::{Closed, SplitError};
use crate::inspect::sql::statements;

/// What `pg_restore` sets before it restores anything, but for the encoding, which the archive tells.
const PREAMBLE: &str = "SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
";

/// Reads an archive, or the table of contents of one that is a folder, as it passes.
pub struct ArchiveIndex {
    reader: CustomArchive,
    found: Found,
    bytes: u64,
    is_folder: bool,
}

#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    preamble: String,
    dumped_by: String,
    data_bytes: BTreeMap<i64, u64>,
    /// The entry that the data belongs to which is being read.
    current: i64,
}

impl ArchiveIndex {
    /// Of a custom archive.
    pub fn of_file() -> ArchiveIndex {
        ArchiveIndex::new(Layout::Custom)
    }

    /// Of `toc.dat`. What the other files hold is not known from it.
    pub fn of_folder() -> ArchiveIndex {
        ArchiveIndex::new(Layout::Directory)
    }

    fn new(layout: Layout) -> ArchiveIndex {
        let is_folder = layout == Layout::Directory;
        ArchiveIndex { reader: CustomArchive::new(layout), found: Found::default(), bytes: 0, is_folder }
    }
}

impl Index for ArchiveIndex {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.bytes += bytes.len() as u64;
        self.reader.read(bytes, &mut self.found).or_else(|error| match error {
            SplitError::Inspect(error) => Err(error),
            SplitError::Closed => Ok(()),
        })
    }

    fn finish(self: Box<Self>) -> Result<Contents, InspectError> {
        let ArchiveIndex { reader, found, bytes, is_folder } = *self;
        if is_folder {
            reader.contents_inspection()?
        } else {
            reader.inspection()?
        };
        let Found { mut entries, preamble, dumped_by, data_bytes, .. } = found;
        for entry in &mut entries {
            entry.data_bytes = data_bytes.get(&entry.id).copied().unwrap_or_default();
        }
        Ok(Contents { entries, preamble: preamble + PREAMBLE, settings: Vec::new(), bytes, dumped_by })
    }
}

impl Sink for Found {
    fn header(&mut self, _raw: &[u8], top: &Top) -> Result<(), Closed> {
        top.dumped_by.clone_into(&mut self.dumped_by);
        Ok(())
    }

    fn entry(&mut self, _raw: &[u8], read: &Read) -> Result<(), Closed> {
        if matches!(read.description.as_str(), "ENCODING" | "STDSTRINGS") {
            self.preamble.push_str(&read.definition);
            return Ok(());
        }
        // They are for whoever restores all of it; how the database itself is made is recorded beside.
        if matches!(read.description.as_str(), "SEARCHPATH" | "DATABASE" | "DATABASE PROPERTIES") {
            return Ok(());
        }
        let header = Header {
            kind: read.description.clone(),
            name: read.tag.clone(),
            schema: read.namespace.clone(),
            owner: read.owner.clone(),
        };
        let is_definition = !read.has_data && read.description != "SEQUENCE SET";
        let definitions = if is_definition { statements(&read.definition).len() as u64 } else { 0 };
        let text = if read.has_data { &read.copy } else { &read.definition };
        let statements = if header.has_wanted_statements() { text.clone() } else { String::new() };
        let mut entry = Entry {
            id: read.dump_id,
            header,
            statements,
            definitions,
            owner_is_apart: true,
            ..Entry::default()
        };
        entry.find_subject();
        self.entries.push(entry);
        Ok(())
    }

    fn rows(&mut self, dump_id: i64, _schema: &str, _name: &str) -> Result<(), Closed> {
        self.current = dump_id;
        Ok(())
    }

    fn large_object(&mut self, _oid: i64) -> Result<(), Closed> {
        self.current = 0;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        *self.data_bytes.entry(self.current).or_default() += bytes.len() as u64;
        Ok(())
    }
}
