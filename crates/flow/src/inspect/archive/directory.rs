//! A directory archive, made of a custom one as it passes.
//!
//! `pg_dump -Fd` writes files on the server, which nothing can stream. A custom archive holds the same
//! table of contents and the same rows in one stream, so the folder is made here: `toc.dat` with the
//! names of files in place of offsets (`_WriteExtraToc` of `pg_backup_directory.c`), a file for each
//! table's rows and for each large object. `pg_restore -j` reads it as if `pg_dump -Fd` had made it.

use std::fmt::Write as _;

use supakeep_model::artifact::Member;
use supakeep_model::dump::Compression;

use super::reader::CustomArchive;
use super::sink::Sink;
use super::toc::{Entry, Header, Layout, changed_header, write_string};
use crate::inspect::split::{Closed, FileSpec, Output, Split, SplitError};
use crate::inspect::{InspectError, Inspection};

/// From this version on each entry of large objects has a list of its own.
const LISTS_FROM: (u8, u8) = (1, 16);

/// Splits a custom archive into the files of a directory archive.
pub struct DirectoryArchive {
    reader: CustomArchive,
    folder: Folder,
}

/// What is written where.
struct Folder {
    path: String,
    compression: Compression,
    version: (u8, u8),
    int_bytes: usize,
    offset_bytes: usize,
    /// The list of large objects, which is written after the last of them.
    list: String,
}

impl DirectoryArchive {
    /// Writes into the folder `path`, every file but the lists compressed.
    pub fn new(path: String, compression: Compression) -> DirectoryArchive {
        let folder = Folder {
            path,
            compression,
            version: LISTS_FROM,
            int_bytes: 0,
            offset_bytes: 0,
            list: String::new(),
        };
        DirectoryArchive { reader: CustomArchive::default(), folder }
    }
}

impl Split for DirectoryArchive {
    fn start(&mut self, _output: &mut dyn Output) -> Result<(), Closed> {
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], output: &mut dyn Output) -> Result<(), SplitError> {
        self.reader.read(bytes, &mut Writer { folder: &mut self.folder, output })
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        self.reader.inspection()
    }
}

struct Writer<'a> {
    folder: &'a mut Folder,
    output: &'a mut dyn Output,
}

impl Writer<'_> {
    fn begin(&mut self, name: &str, member: Member, compressed: bool) -> Result<(), Closed> {
        let suffix = if compressed { self.folder.compression.suffix() } else { "" };
        let path = format!("{}/{name}{suffix}", self.folder.path);
        self.output.begin(FileSpec { path, member: Some(member), compressed })
    }
}

impl Folder {
    fn list_name(&self, dump_id: i64) -> String {
        if self.version < LISTS_FROM { "blobs.toc".to_owned() } else { format!("blobs_{dump_id}.toc") }
    }

    fn file_of(&self, entry: &Entry) -> String {
        match entry.description.as_str() {
            _ if !entry.has_data => String::new(),
            "BLOBS" => self.list_name(entry.dump_id),
            _ => rows_name(entry.dump_id),
        }
    }
}

fn rows_name(dump_id: i64) -> String {
    format!("{dump_id}.dat")
}

fn large_object_name(oid: i64) -> String {
    format!("blob_{oid}.dat")
}

impl Sink for Writer<'_> {
    fn header(&mut self, raw: &[u8], header: &Header) -> Result<(), Closed> {
        self.folder.version = header.version;
        (self.folder.int_bytes, self.folder.offset_bytes) = header.sizes.widths();
        self.begin("toc.dat", Member::Contents, false)?;
        self.output.write(&changed_header(raw, header, Layout::Directory, self.folder.compression))
    }

    fn entry(&mut self, raw: &[u8], entry: &Entry) -> Result<(), Closed> {
        // A custom archive ends each entry with the state and the offset of its data.
        let common = raw.len() - 1 - self.folder.offset_bytes;
        self.output.write(&raw[..common])?;
        self.output.write(&write_string(&self.folder.file_of(entry), self.folder.int_bytes))
    }

    fn rows(&mut self, dump_id: i64, schema: &str, name: &str) -> Result<(), Closed> {
        let member = Member::Rows { schema: schema.to_owned(), name: name.to_owned() };
        self.begin(&rows_name(dump_id), member, true)
    }

    fn large_object(&mut self, oid: i64) -> Result<(), Closed> {
        let name = large_object_name(oid);
        // Writing to a String cannot fail.
        let _ = writeln!(self.folder.list, "{oid} {name}");
        self.begin(&name, Member::LargeObject { oid }, true)
    }

    fn end_of_large_objects(&mut self, dump_id: i64) -> Result<(), Closed> {
        let list = std::mem::take(&mut self.folder.list);
        let name = self.folder.list_name(dump_id);
        self.begin(&name, Member::LargeObjects, false)?;
        self.output.write(list.as_bytes())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.output.write(bytes)
    }
}
