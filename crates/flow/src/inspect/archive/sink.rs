//! Who else is told what an archive holds while it is read.

use super::toc::{Entry, Header};
use crate::inspect::split::Closed;

/// Is told of everything in an archive, in its order. The `()` is not interested.
pub(super) trait Sink {
    /// The header, and its bytes.
    fn header(&mut self, _raw: &[u8], _header: &Header) -> Result<(), Closed> {
        Ok(())
    }

    /// An entry of the table of contents, and its bytes.
    fn entry(&mut self, _raw: &[u8], _entry: &Entry) -> Result<(), Closed> {
        Ok(())
    }

    /// The rows of a table begin.
    fn rows(&mut self, _dump_id: i64, _schema: &str, _name: &str) -> Result<(), Closed> {
        Ok(())
    }

    /// A large object begins.
    fn large_object(&mut self, _oid: i64) -> Result<(), Closed> {
        Ok(())
    }

    /// The large objects of this entry have ended.
    fn end_of_large_objects(&mut self, _dump_id: i64) -> Result<(), Closed> {
        Ok(())
    }

    /// Bytes of what began last, decompressed.
    fn data(&mut self, _bytes: &[u8]) -> Result<(), Closed> {
        Ok(())
    }
}

impl Sink for () {}
