//! How far a stack is that is made from a backup, written down in its own folder: it survives the death of whoever
//! makes it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::id::BackupId;

/// The newest format this version writes.
pub const FORMAT: u32 = 1;

/// The file's name in the stack's folder.
pub const FILE: &str = ".supakeep-recover.json";

/// How far it is. Each step begins when it is written down, and can be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryStep {
    /// Compose files, functions and `.env` are being put into the folder.
    Folder,
    /// Containers, volumes and networks are being made.
    Containers,
    /// The storage service's files are being put into their place.
    Files,
    /// The database is being started for the first time.
    Database,
    /// Root key, roles and databases are being restored.
    Restore,
    /// The other services are being started.
    Services,
}

/// A stack that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// What it is made from.
    pub backup: BackupId,
    /// When that began.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// How far it is.
    pub step: RecoveryStep,
}

impl Recovery {
    /// As it is written to the disk.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("it has string keys and no numbers but one");
        json.push(b'\n');
        json
    }

    /// The same, read again.
    pub fn parse(json: &[u8]) -> Result<Recovery, String> {
        let found: Recovery = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if found.format > FORMAT {
            return Err(format!("it has format {}, this supakeep reads up to {FORMAT}", found.format));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_a_newer_one_is_refused() {
        let recovery = Recovery {
            format: FORMAT,
            backup: "b_1".parse().expect("a valid id"),
            started: OffsetDateTime::UNIX_EPOCH,
            step: RecoveryStep::Files,
        };
        assert_eq!(Recovery::parse(&recovery.to_json()), Ok(recovery.clone()));
        let newer = Recovery { format: FORMAT + 1, ..recovery };
        assert!(Recovery::parse(&newer.to_json()).is_err());
        assert!(RecoveryStep::Folder < RecoveryStep::Services);
    }
}
