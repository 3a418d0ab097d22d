//! Reading a file to its end: what is in it, how much, and whether it is whole.

use std::sync::{Arc, Mutex, PoisonError};

use supakeep_model::artifact::{Encoding, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::Format;
use supakeep_model::fingerprint::{Dialect, Fingerprint};

use super::{DUMP, ForeignSpec};
use crate::failure::{Failure, io_code};
use crate::inspect::archive::ArchiveIndex;
use crate::inspect::select::{Contents, Index};
use crate::inspect::sql::PlainIndex;
use crate::inspect::{Inspect, InspectError, Inspection};
use crate::ports::Staging;
use crate::read_back::{ReadBack, read_back};
use crate::stage::digest::Digested;
use crate::verify::inspector;

/// What the file turned out to be.
pub(super) struct Read {
    /// What is in it.
    pub(super) contents: Contents,
    /// Its bytes.
    pub(super) stored: Digested,
    /// The same, decompressed.
    pub(super) source: Digested,
    /// Tables that have rows.
    pub(super) tables: u64,
    /// Rows of all tables.
    pub(super) rows: u64,
}

/// Says what is where, and counts, in one reading.
struct Both {
    index: Box<dyn Index>,
    look: Box<dyn Inspect>,
    contents: Arc<Mutex<Contents>>,
}

impl Inspect for Both {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.index.push(bytes)?;
        self.look.push(bytes)
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        *self.contents.lock().unwrap_or_else(PoisonError::into_inner) = self.index.finish()?;
        self.look.finish()
    }
}

pub(super) async fn read(
    spec: &ForeignSpec<'_>,
    staging: &dyn Staging,
    format: Format,
    encoding: Encoding,
) -> Result<Read, Failure> {
    let contents = Arc::<Mutex<Contents>>::default();
    let index: Box<dyn Index> = match format {
        Format::Plain => Box::<PlainIndex>::default(),
        _ => Box::new(ArchiveIndex::of_file()),
    };
    let look = inspector(Part::Database, format, None);
    let both = Both { index, look, contents: Arc::clone(&contents) };
    let found = read_back(staging.open(DUMP)?, encoding, Box::new(both)).await;
    let ReadBack { stored, content } = found
        .map_err(|error| Failure::new(io_code(&error), format!("reading {} again: {error}", spec.name)))?;
    let (source, inspection) = content.map_err(|error| {
        let message = format!("nothing was touched: {}: {error}", spec.name);
        Failure::new(Code::DumpIncomplete, message)
    })?;
    let contents = std::mem::take(&mut *contents.lock().unwrap_or_else(PoisonError::into_inner));
    let print = inspection.fingerprint.unwrap_or_else(|| Fingerprint::empty(Dialect::Copy));
    Ok(Read { contents, stored, source, tables: print.tables.len() as u64, rows: print.rows() })
}
