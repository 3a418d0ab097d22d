//! A plain dump of a database or of a cluster's globals.

use super::reader::{Header, PlainReader};
use crate::inspect::{Inspect, InspectError, Inspection};

/// Inspects SQL text as `pg_dump` and `pg_dumpall` write it.
pub struct PlainDump {
    reader: PlainReader,
    with_fingerprint: bool,
}

impl PlainDump {
    /// A dump of a database.
    pub fn of_database() -> PlainDump {
        PlainDump { reader: PlainReader::new(Header::DATABASE), with_fingerprint: true }
    }

    /// The statements that create a database: a dump of a database without its objects.
    pub fn of_create_statements() -> PlainDump {
        PlainDump { reader: PlainReader::new(Header::DATABASE), with_fingerprint: false }
    }

    /// Roles and role settings.
    pub fn of_globals() -> PlainDump {
        PlainDump { reader: PlainReader::new(Header::CLUSTER), with_fingerprint: false }
    }
}

impl Inspect for PlainDump {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.reader.push(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        let fingerprint = self.reader.finish()?;
        Ok(Inspection { fingerprint: self.with_fingerprint.then_some(fingerprint), ..Inspection::default() })
    }
}

#[cfg(test)]
mod tests;
