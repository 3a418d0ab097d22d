//! Exports: the rows of some tables as text that any program reads, beside the backups and never one of them.

mod catalog;
mod event;
mod health;
mod manifest;
mod pattern;
mod profile;
mod retention;

pub use catalog::{ExportCatalog, ExportQuery, ExportQueryError, UnreadableExport};
pub use event::{ExportEvent, ExportRun};
pub use health::{ExportHealth, ExportLive, of_export};
pub use manifest::{
    ColumnRecord, ExportManifest, ExportTotals, FILE, FORMAT, HashRecord, Holds, Identity, TableRecord,
    Treatment,
};
pub use pattern::{ColumnPattern, TablePattern};
pub use profile::{ExportProfile, RowFormat, RowsSpec};
pub use retention::plan_exports;

#[cfg(test)]
mod tests;
