//! Reading the heads of many manifests, and only of those that have changed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use supakeep_flow::ports::StoreError;
use supakeep_model::catalog::Unreadable;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{FILE, Manifest, ManifestError};
use supakeep_model::manifest_head::ManifestHead;

use crate::path::failed;

/// Enough for nearly every head; more is read where it is not.
const FIRST_READ: usize = 8 * 1024;
/// What [`Manifest::to_json`] ends with; inside of it every brace is indented, so nothing else does.
const FILE_END: &[u8] = b"\n}\n";
/// Fewer folders than this are not worth a second thread.
const WORTH_A_THREAD: usize = 256;

/// Which version of a file was read: any change makes a new one, since files are replaced by rename.
type Version = (u64, i64, i64, u64);

/// Of a file that cannot be looked at; no file has it.
const UNKNOWN: Version = (0, 0, 0, 0);

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
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => Some(metadata).filter(fs::Metadata::is_file)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        // What may not be looked at is not nothing.
        Err(error) => {
            let damaged = ManifestError::Damaged(format!("it cannot be looked at: {error}"));
            return Some((folder.to_owned(), UNKNOWN, Err(damaged)));
        }
    };
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
    if let Some(head) = ManifestHead::parse(&beginning)
        && (head.is_err() || is_whole(&mut file).map_err(unreadable)?)
    {
        return head;
    }
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    beginning.clear();
    file.read_to_end(&mut beginning).map_err(unreadable)?;
    Manifest::parse(&beginning).map(|manifest| manifest.head)
}

/// A manifest that is cut after its head describes a backup that nobody can restore. Whatever ends in
/// another way, such as one that a person has edited, is read from end to end.
fn is_whole(file: &mut File) -> std::io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = [0; FILE_END.len()];
    file.seek(SeekFrom::Start(length.saturating_sub(FILE_END.len() as u64)))?;
    file.read_exact(&mut end)?;
    Ok(end == FILE_END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use supakeep_testkit::{START, head, manifest};

    fn found(json: &[u8]) -> Result<ManifestHead, ManifestError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        fs::write(&path, json).expect("it can be written");
        read(&path)
    }

    #[test]
    fn a_manifest_that_is_cut_anywhere_is_damaged() {
        let whole = manifest(head("b_1", Some("daily"), START));
        let json = whole.to_json();
        assert_eq!(found(&json), Ok(whole.head.clone()));
        for cut in (0..json.len() - 1).step_by(9).chain([json.len() - 2]) {
            assert!(
                matches!(found(&json[..cut]), Err(ManifestError::Damaged(_))),
                "cut at {cut} of {}",
                json.len()
            );
        }
    }

    #[test]
    fn a_manifest_that_a_person_has_reformatted_is_read() {
        let whole = manifest(head("b_1", Some("daily"), START));
        let compact = serde_json::to_vec(&whole).expect("it serialises");
        assert_eq!(found(&compact), Ok(whole.head.clone()));
        assert_eq!(found(whole.to_json().trim_ascii_end()), Ok(whole.head));
    }
}
