//! One export from end to end: the rows of some tables, of one moment, as text.

mod choose;
mod copy_text;
mod cycle;
pub(crate) mod describe;
mod key;
mod render;
mod run;
mod statement;

pub use cycle::{export_and_prune, prune_exports};
pub use run::{ExportPorts, ExportSpec, PlannedTable, export, failed_before, plan_export};
pub(crate) use statement::SETTINGS;

use supakeep_model::export::TableRecord;

use crate::inspect::opaque::Opaque;
use crate::ports::Stored;
use crate::read_back::read_back;

/// What differs between a stored file and its record, if anything does.
///
/// # Errors
///
/// When the file cannot be read.
pub async fn differs(table: &TableRecord, stored: Stored) -> std::io::Result<Option<String>> {
    let found = read_back(stored, table.encoding, Box::new(Opaque)).await?;
    Ok(difference(table, &found))
}

/// What differs between a file that was read and its record.
pub(crate) fn difference(table: &TableRecord, found: &crate::read_back::ReadBack) -> Option<String> {
    let path = &table.path;
    if (found.stored.bytes, &found.stored.sha256) != (table.bytes, &table.sha256) {
        let (bytes, recorded) = (found.stored.bytes, table.bytes);
        return Some(match bytes == recorded {
            true => format!("{path}: its SHA-256 is not the one that was recorded"),
            false => format!("{path}: {bytes} bytes, {recorded} were recorded"),
        });
    }
    match &found.content {
        Err(error) => Some(format!("{path}: {error}")),
        Ok((source, _)) if (source.bytes, &source.sha256) != (table.source_bytes, &table.source_sha256) => {
            Some(format!("{path}: it does not decompress to what was recorded"))
        }
        Ok(_) => None,
    }
}
