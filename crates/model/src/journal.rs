//! What a restore has done so far, on the disk: it survives the death of whoever does it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::id::BackupId;

/// The newest format this version writes.
pub const FORMAT: u32 = 1;

/// How far a restore is. Each step begins when it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// What is there is being saved. Nothing is touched.
    SafetyBackup,
    /// Services are being stopped.
    StopServices,
    /// Roles are being restored.
    Globals,
    /// The vault's root key is being put in place.
    RootKey,
    /// Databases are being dropped, made and filled: from here on the stack must not be served.
    Databases,
    /// Everything is there and is being looked at.
    Compare,
    /// Services are being started again.
    StartServices,
}

impl Step {
    /// Whether the stack is whole: as it was, or restored.
    pub fn leaves_a_whole_stack(self) -> bool {
        !matches!(self, Step::Databases)
    }
}

/// A service that ran and was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedService {
    /// Its container.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A restore that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// What is being restored.
    pub backup: BackupId,
    /// The databases, where not all of the backup's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_database: Option<String>,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// How far it is.
    pub step: Step,
    /// What there was before, if it was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<BackupId>,
    /// The services that ran and do not now.
    #[serde(default)]
    pub stopped: Vec<StoppedService>,
}
