//! The record of a backup: what it holds, how it was made and what is known of it since.
//!
//! The manifest is the commit. A folder without one is no backup, and there is no other database: a
//! list, the metrics and every retention decision are computed from manifests.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::artifact::Artifact;
use crate::fingerprint::Fingerprint;
use crate::manifest_head::ManifestHead;

/// The newest format this version writes; it reads this and every older one.
pub const FORMAT: u32 = 1;

/// The file's name in a backup's folder.
pub const FILE: &str = "manifest.json";

/// Everything that is recorded of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What lists and decisions need; it comes first in the file so that a list reads no further.
    #[serde(flatten)]
    pub head: ManifestHead,
    /// The databases.
    pub databases: Vec<DatabaseRecord>,
    /// The files.
    pub artifacts: Vec<Artifact>,
    /// The server's settings that a restore has to match, by name.
    #[serde(default)]
    pub server_settings: Vec<Setting>,
    /// What PostgreSQL's tools said on standard error, the last 64 KiB of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<ToolMessage>,
}

/// A setting of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a tool wrote to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolMessage {
    /// The file it was making.
    pub path: String,
    /// Its words.
    pub stderr: String,
}

/// An extension as it was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The schema its objects are in.
    pub schema: String,
}

/// A database, read in the snapshot that its dump used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseRecord {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its encoding.
    pub encoding: String,
    /// Its collation (LC_COLLATE).
    pub collate: String,
    /// Its character classification (LC_CTYPE).
    pub ctype: String,
    /// Its size on the server's disk, in bytes.
    pub size_bytes: u64,
    /// When its snapshot was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub snapshot_at: OffsetDateTime,
    /// Its extensions.
    pub extensions: Vec<Extension>,
    /// What its dump holds; every database of this version has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// Why a manifest could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It was written by a newer version.
    #[error("the manifest has format {found}; this supakeep reads up to format {FORMAT}")]
    Newer {
        /// The format number it has.
        found: u64,
    },
    /// It is not a manifest.
    #[error("the manifest cannot be read: {0}")]
    Damaged(String),
}

impl ManifestError {
    /// The stable code.
    pub fn code(&self) -> crate::code::Code {
        match self {
            ManifestError::Newer { .. } => crate::code::Code::ManifestNewer,
            ManifestError::Damaged(_) => crate::code::Code::ManifestDamaged,
        }
    }
}

impl Manifest {
    /// Reads a manifest, newer formats refused by their number before anything else is looked at.
    pub fn parse(json: &[u8]) -> Result<Manifest, ManifestError> {
        refuse_newer(json)?;
        serde_json::from_slice(json).map_err(|error| ManifestError::Damaged(error.to_string()))
    }

    /// The file's bytes: indented JSON with a final line end. Indented, because people read it, and
    /// because [`ManifestHead::parse`] finds the end of the head by the indentation.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json =
            serde_json::to_vec_pretty(self).expect("a manifest has string keys and finite numbers");
        json.push(b'\n');
        json
    }

    /// The record of a database, by name.
    pub fn database(&self, name: &str) -> Option<&DatabaseRecord> {
        self.databases.iter().find(|database| database.name == name)
    }
}

pub(crate) fn refuse_newer(json: &[u8]) -> Result<(), ManifestError> {
    #[derive(Deserialize)]
    struct Probe {
        format: u64,
    }
    let probe: Probe =
        serde_json::from_slice(json).map_err(|error| ManifestError::Damaged(error.to_string()))?;
    if probe.format > u64::from(FORMAT) { Err(ManifestError::Newer { found: probe.format }) } else { Ok(()) }
}
