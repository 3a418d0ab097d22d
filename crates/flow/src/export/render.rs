//! Rows as they pass: read as PostgreSQL copies them, written as the format wants.

mod csv;
mod jsonl;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use supakeep_model::export::{RowFormat, Treatment};

use super::choose::Chosen;
use super::copy_text::{CopyText, Fields};
use super::describe::Shape;
use super::key::HashKey;
use crate::inspect::split::{Closed, FileSpec, Output, Split, SplitError};
use crate::inspect::{InspectError, Inspection};
use csv::Csv;
use jsonl::Jsonl;

/// Bytes that are handed on at a time.
const HAND_ON: usize = 64 * 1024;

/// What is written of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) is_hashed: bool,
}

/// The columns that are written of a table.
pub(super) fn columns(table: &Chosen) -> Vec<Column> {
    let column = |(facts, treatment): (&super::describe::ColumnFacts, Treatment)| Column {
        name: facts.name.clone(),
        shape: facts.shape,
        is_hashed: treatment == Treatment::Hashed,
    };
    table.written().map(column).collect()
}

/// Writes the values of rows in some format. NULL is told before the end of its field, and no bytes then.
trait Writer: Send {
    /// What comes before the first row.
    fn header(&mut self, columns: &[Column], out: &mut Vec<u8>);

    /// The next bytes of a value of `column`, the `index`-th.
    fn bytes(&mut self, index: usize, column: &Column, value: &[u8], out: &mut Vec<u8>);

    /// The value has ended.
    fn end_field(&mut self, index: usize, column: &Column, is_null: bool, out: &mut Vec<u8>);

    /// The row has ended.
    fn end_row(&mut self, out: &mut Vec<u8>);
}

/// Writes the rows of one table to one file.
pub(super) struct Rows {
    path: String,
    reader: CopyText,
    sink: Sink,
}

/// Takes fields, hashes some, and has them written.
struct Sink {
    columns: Vec<Column>,
    writer: Box<dyn Writer>,
    key: HashKey,
    hash: Option<Hmac<Sha256>>,
    /// The column that the next byte belongs to.
    index: usize,
    is_null: bool,
    out: Vec<u8>,
    rows: Arc<AtomicU64>,
}

impl Rows {
    /// `rows` is where the number of rows is found at the end.
    pub(super) fn new(
        path: String,
        columns: Vec<Column>,
        format: RowFormat,
        key: HashKey,
        rows: Arc<AtomicU64>,
    ) -> Rows {
        let writer: Box<dyn Writer> = match format {
            RowFormat::Jsonl => Box::new(Jsonl::new(&columns)),
            RowFormat::Csv => Box::new(Csv::default()),
        };
        let reader = CopyText::new(columns.len());
        let sink = Sink { columns, writer, key, hash: None, index: 0, is_null: false, out: Vec::new(), rows };
        Rows { path, reader, sink }
    }
}

impl Split for Rows {
    fn start(&mut self, output: &mut dyn Output) -> Result<(), Closed> {
        output.begin(FileSpec { path: self.path.clone(), member: None, compressed: true })?;
        self.sink.writer.header(&self.sink.columns, &mut self.sink.out);
        output.write(&std::mem::take(&mut self.sink.out))
    }

    fn push(&mut self, bytes: &[u8], output: &mut dyn Output) -> Result<(), SplitError> {
        for piece in bytes.chunks(HAND_ON) {
            self.reader.push(piece, &mut self.sink)?;
            output.write(&self.sink.out)?;
            self.sink.out.clear();
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        self.reader.finish()?;
        Ok(Inspection::default())
    }
}

impl Fields for Sink {
    fn bytes(&mut self, value: &[u8]) {
        let Some(column) = self.columns.get(self.index) else { return };
        if column.is_hashed {
            self.hash.get_or_insert_with(|| self.key.begin()).update(value);
        } else {
            self.writer.bytes(self.index, column, value, &mut self.out);
        }
    }

    fn null(&mut self) {
        self.is_null = true;
    }

    fn end_field(&mut self) -> Result<(), InspectError> {
        let is_null = std::mem::take(&mut self.is_null);
        let Some(column) = self.columns.get(self.index) else {
            return Err(InspectError::Damaged(format!("a row has more than {} fields", self.columns.len())));
        };
        let hash = self.hash.take();
        if column.is_hashed && !is_null {
            let digest = hash.unwrap_or_else(|| self.key.begin()).finalize().into_bytes();
            self.writer.bytes(self.index, column, hex::encode(digest).as_bytes(), &mut self.out);
        }
        self.writer.end_field(self.index, column, is_null, &mut self.out);
        self.index += 1;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), InspectError> {
        if std::mem::take(&mut self.index) != self.columns.len() {
            return Err(InspectError::Damaged(format!("a row has less than {} fields", self.columns.len())));
        }
        self.writer.end_row(&mut self.out);
        self.rows.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
