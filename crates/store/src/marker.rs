//! The repository's own record: who it is, and since when.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use supakeep_flow::ports::StoreError;
use supakeep_model::code::Code;
use time::OffsetDateTime;

use crate::folder::create_whole;
use crate::path::failed;

/// Its file's name.
pub(crate) const FILE: &str = ".supakeep.json";

/// Written when the repository is first used, and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    format: u32,
    /// A random name, so that two repositories of the same stack can be told apart.
    pub(crate) identity: String,
    /// When this repository was first used.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) first_start: OffsetDateTime,
}

impl Marker {
    /// Reads the marker, or writes a new one dated `now`.
    pub(crate) fn ensure(folder: &Path, now: OffsetDateTime) -> Result<Marker, StoreError> {
        match Self::find(folder)? {
            Some(marker) => Ok(marker),
            None => Self::create(&folder.join(FILE), now),
        }
    }

    /// Reads the marker, if there is one.
    pub(crate) fn find(folder: &Path) -> Result<Option<Marker>, StoreError> {
        Self::read(&folder.join(FILE))
    }

    fn read(path: &Path) -> Result<Option<Marker>, StoreError> {
        match fs::read(path) {
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|error| {
                StoreError::new(Code::ManifestDamaged, format!("{} cannot be read: {error}", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", path)(error)),
        }
    }

    /// Of several processes that do this at once, one makes the marker and all of them read it.
    fn create(path: &Path, now: OffsetDateTime) -> Result<Marker, StoreError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| StoreError::new(Code::Internal, format!("no random numbers: {error}")))?;
        let marker = Marker { format: 1, identity: hex::encode(random), first_start: now };
        let json = serde_json::to_vec_pretty(&marker)
            .map_err(|error| StoreError::new(Code::Internal, error.to_string()))?;
        let created = create_whole(path, &json);
        match Self::read(path)? {
            Some(marker) => Ok(marker),
            None => created.map(|()| marker),
        }
    }
}
