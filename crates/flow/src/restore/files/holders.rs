//! The backups that hold the files of one.

use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::Manifest;
use supakeep_model::parts::PartName;
use tokio_util::io::SyncIoBridge;

use super::{PlannedFiles, artifact};
use crate::failure::Failure;
use crate::folder::IndexLines;
use crate::ports::Repository;
use crate::read_back::{decoded, read_back};
use crate::verify::inspector;

/// A backup that holds entries of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which.
    pub(crate) id: BackupId,
    /// Its number in the index.
    pub(crate) number: u32,
}

/// The backups that hold entries of `index`, the newest first: the index's own, and its parents.
pub(crate) async fn holders(
    manifest: &Manifest,
    index: &Artifact,
    repository: &dyn Repository,
) -> Result<Vec<Holder>, Failure> {
    let stored = decoded(repository.open(&manifest.head.id, &index.path)?, index.encoding);
    let bridge = SyncIoBridge::new(stored);
    let head = tokio::task::spawn_blocking(move || IndexLines::open(bridge).map(|lines| lines.head)).await;
    let damaged = |error: String| Failure::new(Code::VerifyFailed, format!("{}: {error}", index.path));
    let head =
        head.map_err(|error| damaged(error.to_string()))?.map_err(|error| damaged(error.to_string()))?;
    let needed = |id: &BackupId| *id == manifest.head.id || manifest.head.parents.contains(id);
    let numbered = (0..).zip(head.holders).filter(|(_, id)| needed(id));
    Ok(numbered.map(|(number, id)| Holder { id, number }).collect())
}

/// Reads what holds the files, but for the backup itself, which was verified: an error before anything is touched.
pub(crate) async fn check_holders(
    manifest: &Manifest,
    planned: &[PlannedFiles],
    repository: &dyn Repository,
) -> Result<(), Failure> {
    if planned.iter().all(|planned| planned.part != PartName::Storage) {
        return Ok(());
    }
    check_parents(manifest, repository).await
}

/// Reads the archives of the backups that hold files of this one.
pub async fn check_parents(manifest: &Manifest, repository: &dyn Repository) -> Result<(), Failure> {
    for id in &manifest.head.parents {
        check(id, repository).await.map_err(|failure| {
            failure.while_doing(format!("{} needs files that {id} holds", manifest.head.id))
        })?;
    }
    Ok(())
}

async fn check(id: &BackupId, repository: &dyn Repository) -> Result<(), Failure> {
    let manifest = repository.manifest(id)?;
    let artifact = artifact(&manifest, Part::Storage)?;
    let stored = repository.open(id, &artifact.path)?;
    let inspect = inspector(Part::Storage, manifest.head.dump.format, None);
    let damaged = |what: String| Failure::new(Code::VerifyFailed, format!("{}: {what}", artifact.path));
    let found = read_back(stored, artifact.encoding, inspect).await;
    let found = found.map_err(|error| damaged(format!("it cannot be read: {error}")))?;
    let (source, _) = found.content.map_err(|error| damaged(error.to_string()))?;
    if source.sha256 != artifact.source_sha256 {
        return Err(damaged("it is not what was written (SHA-256 differs)".to_owned()));
    }
    Ok(())
}
