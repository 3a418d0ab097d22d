//! How a restore ended, and what it left.

use supakeep_model::id::BackupId;
use supakeep_model::journal::Journal;

use super::compare::DatabaseReport;
use super::files::FilesReport;
use crate::failure::Failure;

/// What became of a restore.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreReport {
    /// What was restored.
    pub backup: BackupId,
    /// What was there before, if it was saved.
    pub safety: Option<BackupId>,
    /// Each database, compared with the backup's record; none where that had been done already, by the
    /// restore that is finished.
    pub databases: Vec<DatabaseReport>,
    /// Each part of the files that was put back, compared likewise.
    pub files: Vec<FilesReport>,
    /// How long it took, the safety backup included.
    pub duration_seconds: f64,
}

/// What the data is after a restore that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was even tried.
    Untouched,
    /// As before.
    AsItWas,
    /// The databases are as before, and the vault's root key beside them is the backup's.
    OtherRootKey,
    /// Databases are missing or half filled.
    HalfRestored,
    /// All there, and not compared to the end.
    RestoredNotCompared,
    /// All there, and compared.
    Restored,
}

/// What a failed restore has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What the data is.
    pub state: State,
    /// The databases that are half, or that take no connections yet.
    pub databases: Vec<String>,
    /// The services that ran before, and are not well now.
    pub not_up: Vec<String>,
    /// The way back.
    pub safety: Option<BackupId>,
    /// Whether `postgres` may still be a superuser.
    pub elevated: bool,
    /// Whether the restore is still known as one that has not ended: `--resume` goes on with it.
    pub unfinished: bool,
}

impl Left {
    /// Whoever did not even begin leaves what the restore before it has left.
    pub(super) fn untouched(journal: &Journal) -> Left {
        Left {
            state: State::Untouched,
            databases: journal.unsettled().map(str::to_owned).collect(),
            not_up: Vec::new(),
            safety: journal.safety.clone(),
            elevated: journal.elevated,
            unfinished: true,
        }
    }
}

/// A restore that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreFailure {
    /// Why.
    pub failure: Failure,
    /// What it left.
    pub left: Left,
}
