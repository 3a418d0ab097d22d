//! The index that a new one may refer to: that of the newest good backup with files.

use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::catalog::Catalog;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::ManifestHead;
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::inspect::file_index::FileIndex;
use crate::ports::{Repository, Stored};
use crate::read_back::{decoded, read_back};

/// An index that can be referred to.
pub(super) struct KnownIndex {
    /// Its lines.
    pub(super) stored: Stored,
    /// Their length.
    pub(super) bytes: u64,
    /// How many backups lie between it and one that holds all files.
    pub(super) increments: u32,
}

/// What there is to refer to.
#[derive(Default)]
pub(super) struct Known {
    /// The index; none where all files are to be stored.
    pub(super) index: Option<KnownIndex>,
    /// Why there is none although there should be one.
    pub(super) note: Option<String>,
}

/// Looks for it. It is read to its end first: what refers to a damaged index would be damaged too. After
/// `full_every` backups all files are stored again, so that no backup hangs on ever more others.
pub(super) async fn find(
    repository: &dyn Repository,
    prefix: &str,
    full_every: u32,
    now: OffsetDateTime,
) -> Result<Known, Failure> {
    let catalog = repository.catalog()?;
    let Some(head) = newest(&catalog, prefix, now) else { return Ok(Known::default()) };
    let increments = head.storage.as_ref().map_or(0, |storage| storage.increments);
    if increments.saturating_add(1) >= full_every {
        return Ok(Known::default());
    }
    let without = |why: String| Known {
        index: None,
        note: Some(format!("all files of storage are stored again: {why}")),
    };
    if let Some(gone) = head.parents.iter().find(|parent| !is_whole(&catalog, parent)) {
        return Ok(without(format!("{} refers to {gone}, which is damaged or gone", head.id)));
    }
    let id = head.id.clone();
    match open(repository, &id).await {
        Ok(index) => Ok(Known { index: Some(KnownIndex { increments, ..index }), note: None }),
        Err(why) => Ok(without(format!("the index of {id} cannot be used: {why}"))),
    }
}

fn newest<'a>(catalog: &'a Catalog, prefix: &str, now: OffsetDateTime) -> Option<&'a ManifestHead> {
    let fits = |head: &&ManifestHead| {
        head.is_good()
            && head.started <= now
            && head.storage.as_ref().is_some_and(|storage| storage.prefix == prefix)
    };
    catalog.entries().filter(fits).max_by_key(|head| head.started)
}

fn is_whole(catalog: &Catalog, id: &supakeep_model::id::BackupId) -> bool {
    let entry = catalog.entries().find(|head| head.id == *id);
    entry.is_some_and(|head| head.verified.as_ref().is_some_and(|proof| proof.ok))
}

/// The index of a backup, where it is what was recorded.
async fn open(repository: &dyn Repository, id: &supakeep_model::id::BackupId) -> Result<KnownIndex, String> {
    let manifest = repository.manifest(id).map_err(|error| error.to_string())?;
    let artifact = index_of(&manifest).ok_or("its manifest names none")?;
    let opened = || repository.open(id, &artifact.path).map_err(|error| error.to_string());
    let found = read_back(opened()?, artifact.encoding, Box::new(FileIndex::default())).await;
    let found = found.map_err(|error| error.to_string())?;
    let (source, _) = found.content.map_err(|error| error.to_string())?;
    if source.sha256 != artifact.source_sha256 {
        return Err("it is not what was written".to_owned());
    }
    let stored = decoded(opened()?, artifact.encoding);
    Ok(KnownIndex { stored, bytes: artifact.source_bytes, increments: 0 })
}

fn index_of(manifest: &Manifest) -> Option<&Artifact> {
    manifest.artifacts.iter().find(|artifact| artifact.part == Part::StorageIndex)
}
