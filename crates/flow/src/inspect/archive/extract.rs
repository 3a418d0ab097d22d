//! The data of some entries of an archive.

use super::reader::CustomArchive;
use super::sink::Sink;
use super::toc::Layout;
use crate::inspect::InspectError;
use crate::inspect::split::{Closed, SplitError};

/// Takes the rows of the entries that it wants, decompressed.
pub trait Taker: Send {
    /// The rows of this entry come next. Whether they are wanted.
    fn begin(&mut self, dump_id: i64) -> bool;

    /// The next bytes of a wanted entry. `false` if nobody takes any more.
    fn take(&mut self, bytes: &[u8]) -> bool;
}

/// Reads a custom archive as it passes and hands on the rows that are wanted.
pub struct Extract<T> {
    reader: CustomArchive,
    taking: Taking<T>,
}

struct Taking<T> {
    taker: T,
    is_wanted: bool,
}

impl<T: Taker> Extract<T> {
    /// For this taker.
    pub fn new(taker: T) -> Extract<T> {
        Extract { reader: CustomArchive::new(Layout::Custom), taking: Taking { taker, is_wanted: false } }
    }

    /// Takes the next bytes, in chunks of any size. `false` if nobody takes any more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, InspectError> {
        match self.reader.read(bytes, &mut self.taking) {
            Ok(()) => Ok(true),
            Err(SplitError::Closed) => Ok(false),
            Err(SplitError::Inspect(error)) => Err(error),
        }
    }

    /// The taker, if the archive was whole.
    pub fn finish(self) -> Result<T, InspectError> {
        self.reader.inspection()?;
        Ok(self.taking.taker)
    }
}

impl<T: Taker> Sink for Taking<T> {
    fn rows(&mut self, dump_id: i64, _schema: &str, _name: &str) -> Result<(), Closed> {
        self.is_wanted = self.taker.begin(dump_id);
        Ok(())
    }

    fn large_object(&mut self, _oid: i64) -> Result<(), Closed> {
        self.is_wanted = false;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        if !self.is_wanted || self.taker.take(bytes) { Ok(()) } else { Err(Closed) }
    }
}
