//! Reading the heads of many manifests, and only of those that have changed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use supakeep_flow::ports::StoreError;
use supakeep_model::catalog::Unreadable;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{FILE, ManifestError};
use supakeep_model::manifest_head::ManifestHead;

use crate::path::failed;

/// Enough for nearly every head; more is read where it is not.
const FIRST_READ: usize = 8 * 1024;
/// Fewer folders than this are not worth a second thread.
const WORTH_A_THREAD: usize = 256;

/// Which version of a file was read: any change makes a new one, since files are replaced by rename.
type Version = (u64, i64, i64, u64);

/// A folder and what is known of its manifest.
type Found = (PathBuf, Version, Result<Arc<ManifestHead>, ManifestError>);

/// What has been read, by folder.
#[derive(Default)]
pub(crate) struct Heads {
    known: HashMap<PathBuf, (Version, Result<Arc<ManifestHead>, ManifestError>)>,
}

impl Heads {
    /// Reads the manifests of all backups in `folders`. Whatever is no backup of ours is passed over:
    /// files, links, folders with other names or without a manifest.
    pub(crate) fn refresh(
        &mut self,
        folders: &[&Path],
    ) -> Result<(Vec<Arc<ManifestHead>>, Vec<Unreadable>), StoreError> {
        let mut present = Vec::new();
        for folder in folders {
            present.extend(candidates(folder)?);
        }
        let share = present.len().div_ceil(threads(present.len()));
        let known = &self.known;
        let found: Vec<Found> = thread::scope(|scope| {
            let parts: Vec<_> = present
                .chunks(share.max(1))
                .map(|part| {
                    scope.spawn(move || part.iter().filter_map(|path| look(path, known)).collect::<Vec<_>>())
                })
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        });
        self.known =
            found.iter().map(|(path, version, head)| (path.clone(), (*version, head.clone()))).collect();
        Ok(sort(found))
    }
}

fn sort(found: Vec<Found>) -> (Vec<Arc<ManifestHead>>, Vec<Unreadable>) {
    let mut heads = Vec::with_capacity(found.len());
    let mut unreadable = Vec::new();
    for (path, _, head) in found {
        let folder = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match head {
            Ok(head) if head.id.as_str() == folder => heads.push(head),
            Ok(head) => {
                let error = ManifestError::Damaged(format!(
                    "it is the manifest of {}: the folder was copied or renamed",
                    head.id
                ));
                unreadable.push(Unreadable { folder, error });
            }
            Err(error) => unreadable.push(Unreadable { folder, error }),
        }
    }
    (heads, unreadable)
}

fn threads(count: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if count < WORTH_A_THREAD { 1 } else { cores.min(4) }
}

fn candidates(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut out = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(out),
        other => other.map_err(failed("read", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("read", folder))?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.parse::<BackupId>().is_ok());
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            out.push(entry.path());
        }
    }
    Ok(out)
}

fn look(
    folder: &Path,
    known: &HashMap<PathBuf, (Version, Result<Arc<ManifestHead>, ManifestError>)>,
) -> Option<Found> {
    let path = folder.join(FILE);
    let metadata = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let version = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
    let head = match known.get(folder) {
        Some((seen, head)) if *seen == version => head.clone(),
        _ => read(&path).map(Arc::new),
    };
    Some((folder.to_owned(), version, head))
}

fn read(path: &Path) -> Result<ManifestHead, ManifestError> {
    let unreadable = |error: std::io::Error| ManifestError::Damaged(error.to_string());
    let mut file = File::open(path).map_err(unreadable)?;
    let mut beginning = vec![0; FIRST_READ];
    let mut length = 0;
    while length < beginning.len() {
        match file.read(&mut beginning[length..]).map_err(unreadable)? {
            0 => break,
            count => length += count,
        }
    }
    beginning.truncate(length);
    if let Some(head) = ManifestHead::parse(&beginning) {
        return head;
    }
    file.read_to_end(&mut beginning).map_err(unreadable)?;
    ManifestHead::parse(&beginning).unwrap_or_else(|| ManifestHead::parse_whole(&beginning))
}
