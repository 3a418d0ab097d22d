//! What happens to exports, for log, metrics and health.

use time::OffsetDateTime;

use super::manifest::ExportTotals;
use crate::id::BackupId;
use crate::manifest_head::RunError;

/// A run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportRun {
    /// Its id.
    pub id: BackupId,
    /// The configured export; none for one by hand.
    pub export: Option<String>,
    /// When it started.
    pub started: OffsetDateTime,
    /// How long it took.
    pub duration_seconds: f64,
    /// Sums; nothing where it failed.
    pub totals: ExportTotals,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Why it failed, if it did.
    pub error: Option<RunError>,
}

/// Something that happened to an export.
#[derive(Debug, Clone, PartialEq)]
pub enum ExportEvent {
    /// A run began.
    Started {
        /// Which.
        id: BackupId,
        /// The configured export.
        export: Option<String>,
    },
    /// A run ended.
    Ended(Box<ExportRun>),
    /// A slot passed without a run.
    Skipped {
        /// The configured export.
        export: String,
        /// The slot.
        slot: OffsetDateTime,
        /// Why.
        reason: &'static str,
    },
    /// An export was removed by retention.
    Pruned {
        /// Which.
        id: BackupId,
        /// What it freed.
        stored_bytes: u64,
    },
}
