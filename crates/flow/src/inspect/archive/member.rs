//! The files of a directory archive, each by itself.

use supakeep_model::fingerprint::{Dialect, Fingerprint, TablePrint};
use xxhash_rust::xxh3::Xxh3;

use crate::inspect::sql::CopyRows;
use crate::inspect::{Inspect, InspectError, Inspection};

/// The rows of one table, as `COPY` writes them.
pub struct Rows {
    schema: String,
    name: String,
    rows: Box<CopyRows>,
    ended: bool,
}

impl Rows {
    /// Of this table.
    pub fn new(schema: &str, name: &str) -> Rows {
        Rows { schema: schema.to_owned(), name: name.to_owned(), rows: Box::default(), ended: false }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // What follows the end marker are empty lines.
        if !self.ended {
            self.ended = self.rows.feed(bytes).is_some();
        }
    }

    pub(super) fn print(self) -> Result<TablePrint, InspectError> {
        if !self.ended {
            let what = format!("the rows of {}.{} have no end", self.schema, self.name);
            return Err(InspectError::Incomplete(what));
        }
        let (rows, bytes, hash) = (self.rows.rows, self.rows.bytes, self.rows.hash);
        Ok(TablePrint { schema: self.schema, name: self.name, rows, bytes, hash, partition_of: None })
    }
}

impl Inspect for Rows {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.feed(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        let mut fingerprint = Fingerprint::empty(Dialect::Archive);
        fingerprint.tables.push(self.print()?);
        Ok(Inspection::of(fingerprint))
    }
}

/// The bytes of one large object.
pub struct LargeObject {
    hasher: Box<Xxh3>,
    bytes: u64,
}

impl LargeObject {
    /// With this number.
    pub fn new(oid: i64) -> LargeObject {
        let mut hasher = Box::new(Xxh3::new());
        hasher.update(&oid.to_le_bytes());
        LargeObject { hasher, bytes: 0 }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Its length, and the hash of its number and bytes.
    pub(super) fn sum(&self) -> (u64, u128) {
        (self.bytes, self.hasher.digest128())
    }
}

impl Inspect for LargeObject {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.feed(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        let mut fingerprint = Fingerprint::empty(Dialect::Archive);
        let (bytes, hash) = self.sum();
        fingerprint.large_objects.add(bytes, hash);
        Ok(Inspection::of(fingerprint))
    }
}
