//! A repository in a folder.
//!
//! ```text
//! <path>/<stack>/<id>/manifest.json …   a backup
//! <path>/<stack>/latest -> <id>         and latest-<profile>
//! <path>/<stack>/.incoming/<id>/        being made, or being removed
//! <path>/<stack>/.failed/<id>/          the record of a failed run
//! <path>/<stack>/.restoring/<id>/       what a restore needs that is no backup
//! <path>/<stack>/.lock  .drill.lock  .supakeep.json  .redaction.key  .restore.json
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use supakeep_flow::ports::{Clock, Repository, RunLock, Space, Staging, StoreError, Stored};
use supakeep_flow::redact::RedactionKey;
use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal::Journal;
use supakeep_model::manifest::{self, Manifest};
use supakeep_model::naming::stack_folder;
use supakeep_model::volume::StoppedContainers;
use time::OffsetDateTime;

use crate::folder::{ensure, probe, rename_new, replace_file, sync};
use crate::heads::Heads;
use crate::key;
use crate::lock;
use crate::marker::Marker;
use crate::path::{below, failed, refused};
use crate::staging::{self, LocalStaging};
use crate::stopped;

/// The record of a restore that has begun and not ended.
const JOURNAL: &str = ".restore.json";

/// The backups of one stack below a folder.
pub struct LocalRepository {
    /// What the configuration names; it must exist, since it is a mount.
    path: PathBuf,
    folder: PathBuf,
    holder: String,
    clock: Arc<dyn Clock>,
    heads: Mutex<Heads>,
}

impl LocalRepository {
    /// The backups of `stack` below `path`. `holder` is what others are told who find the lock taken.
    pub fn new(path: &Path, stack: &str, holder: &str, clock: Arc<dyn Clock>) -> LocalRepository {
        LocalRepository {
            path: path.to_owned(),
            folder: path.join(stack_folder(stack)),
            holder: holder.to_owned(),
            clock,
            heads: Mutex::default(),
        }
    }

    /// The folders of stacks below `path`, by name.
    pub fn stacks(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.path().join(crate::marker::FILE).is_file());
        let mut names: Vec<_> = ours.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// The stack's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn incoming(&self) -> PathBuf {
        self.folder.join(".incoming")
    }

    fn failed(&self) -> PathBuf {
        self.folder.join(".failed")
    }

    fn marker(&self) -> Result<Marker, StoreError> {
        let unused = || format!("{} has never been used", self.folder.display());
        Marker::find(&self.folder)?.ok_or_else(|| StoreError::new(Code::RepositoryMissing, unused()))
    }

    fn lent(&self) -> PathBuf {
        self.folder.join(staging::LENT)
    }

    /// The folder of a backup, of the record of a failed run, or of what was lent to a restore.
    fn place(&self, id: &BackupId) -> Result<PathBuf, StoreError> {
        [self.folder.join(id.as_str()), self.failed().join(id.as_str()), self.lent().join(id.as_str())]
            .into_iter()
            .find(|folder| fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir()))
            .ok_or_else(|| StoreError::new(Code::BackupNotFound, format!("there is no backup {id}")))
    }

    /// It is a mount, and never made here.
    fn must_exist(&self) -> Result<(), StoreError> {
        if self.path.is_dir() {
            return Ok(());
        }
        let message = format!("the repository {} does not exist", self.path.display());
        Err(StoreError::new(Code::RepositoryMissing, message))
    }

    /// Whoever made what is in `.incoming` does not run any more: the caller holds the lock.
    /// What cannot be removed is no reason not to back up: it is in nobody's way.
    fn sweep(&self) -> Result<(), StoreError> {
        let incoming = self.incoming();
        for entry in fs::read_dir(&incoming).map_err(failed("read", &incoming))? {
            discard(&entry.map_err(failed("read", &incoming))?.path());
        }
        // A journal that cannot be read may name any of it.
        if let Ok(journal) = self.journal() {
            self.take_back(journal.as_ref());
        }
        Ok(())
    }

    /// Removes what was lent to restores other than this one.
    fn take_back(&self, journal: Option<&Journal>) {
        for entry in fs::read_dir(self.lent()).into_iter().flatten().flatten() {
            let is_needed = |id: &BackupId| entry.file_name() == id.as_str();
            if !journal.iter().flat_map(|journal| journal.backups()).any(is_needed) {
                discard(&entry.path());
            }
        }
    }
}

/// Removes what nobody needs any more. If it cannot be, the next one tries who takes the lock.
fn discard(path: &Path) {
    tracing::info!(path = %path.display(), "removing what an unfinished run left");
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        // A probe of somebody who looks whether the repository can be written.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), "cannot remove what an unfinished run left: {error}");
        }
        Ok(()) => {}
    }
}

impl Repository for LocalRepository {
    fn prepare(&self) -> Result<(), StoreError> {
        self.must_exist()?;
        ensure(&self.folder)?;
        ensure(&self.incoming())?;
        probe(&self.incoming())?;
        Marker::ensure(&self.folder, self.clock.now()).map(|_| ())
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.must_exist()?;
        let incoming = self.incoming();
        let folders = [&incoming, &self.folder, &self.path];
        probe(folders.into_iter().find(|folder| folder.is_dir()).unwrap_or(&self.path))
    }

    fn first_start(&self) -> Result<OffsetDateTime, StoreError> {
        Ok(self.marker()?.first_start)
    }

    fn identity(&self) -> Result<String, StoreError> {
        Ok(self.marker()?.identity)
    }

    fn redaction_key(&self) -> Result<RedactionKey, StoreError> {
        self.prepare()?;
        key::ensure(&self.folder)
    }

    fn lock(&self) -> Result<Box<dyn RunLock>, StoreError> {
        self.must_exist()?;
        ensure(&self.folder)?;
        let lock = lock::take(&self.folder, &self.holder)?;
        // Only whoever gets it writes: others may ask every second.
        self.prepare()?;
        self.sweep()?;
        Ok(Box::new(lock))
    }

    fn lock_drill(&self, drilled: Option<&BackupId>) -> Result<Box<dyn RunLock>, StoreError> {
        self.prepare()?;
        Ok(Box::new(lock::take_drill(&self.folder, drilled.map_or("", BackupId::as_str))?))
    }

    fn in_use(&self) -> Result<BTreeSet<BackupId>, StoreError> {
        let mut ids: BTreeSet<BackupId> =
            lock::drilled(&self.folder)?.into_iter().filter_map(|id| id.parse().ok()).collect();
        ids.extend(self.journal()?.iter().flat_map(Journal::backups).cloned());
        Ok(ids)
    }

    fn space(&self) -> Result<Space, StoreError> {
        let found =
            rustix::fs::statvfs(&self.path).map_err(refused("ask for the free space of", &self.path))?;
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    fn catalog(&self) -> Result<Catalog, StoreError> {
        // A disk that is not mounted is not a repository without backups.
        self.must_exist()?;
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, unreadable) = heads.refresh(&[&self.folder, &self.failed()])?;
        Ok(Catalog::new(entries, unreadable))
    }

    fn stage(&self, id: &BackupId) -> Result<Box<dyn Staging>, StoreError> {
        Ok(Box::new(LocalStaging::begin(&self.incoming(), &self.folder, &self.failed(), id.as_str())?))
    }

    fn manifest(&self, id: &BackupId) -> Result<Manifest, StoreError> {
        let path = self.place(id)?.join(manifest::FILE);
        let json = fs::read(&path).map_err(failed("read", &path))?;
        Manifest::parse(&json)
            .map_err(|error| StoreError::new(error.code(), format!("{}: {error}", path.display())))
    }

    fn open(&self, id: &BackupId, path: &str) -> Result<Stored, StoreError> {
        staging::open(&below(&self.place(id)?, path)?)
    }

    fn update(&self, id: &BackupId, change: &mut dyn FnMut(&mut Manifest)) -> Result<Manifest, StoreError> {
        let _held = lock::hold(&self.folder)?;
        let mut manifest = self.manifest(id)?;
        change(&mut manifest);
        replace_file(&self.place(id)?.join(manifest::FILE), &manifest.to_json())?;
        Ok(manifest)
    }

    fn attach(&self, id: &BackupId, name: &str, content: &[u8]) -> Result<(), StoreError> {
        replace_file(&below(&self.place(id)?, name)?, content)
    }

    fn remove(&self, id: &BackupId) -> Result<(), StoreError> {
        let place = self.place(id)?;
        let going = self.incoming().join(format!("{id}.removed"));
        rename_new(&place, &going)?;
        place.parent().map_or(Ok(()), sync)?;
        fs::remove_dir_all(&going).map_err(failed("remove", &going))
    }

    fn remove_failed_files(&self) -> Result<(), StoreError> {
        staging::remove_files_of_records(&self.failed())
    }

    fn journal(&self) -> Result<Option<Journal>, StoreError> {
        let path = self.folder.join(JOURNAL);
        match fs::read(&path) {
            Ok(json) => Journal::parse(&json).map(Some).map_err(|error| {
                let message = format!("{} cannot be read: {error}", path.display());
                StoreError::new(Code::ManifestDamaged, message)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn set_journal(&self, journal: Option<&Journal>) -> Result<(), StoreError> {
        let path = self.folder.join(JOURNAL);
        let Some(journal) = journal else {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &path)(error));
                }
                _ => sync(&self.folder)?,
            }
            self.take_back(None);
            return Ok(());
        };
        let json = journal.to_json().map_err(|error| StoreError::new(Code::Internal, error.to_string()))?;
        replace_file(&path, &json)
    }

    fn stopped(&self) -> Result<Option<StoppedContainers>, StoreError> {
        stopped::read(&self.folder)
    }

    fn set_stopped(&self, stopped: Option<&StoppedContainers>) -> Result<(), StoreError> {
        stopped::write(&self.folder, stopped)
    }

    fn link(&self, name: &str, target: Option<&BackupId>) -> Result<(), StoreError> {
        let path = below(&self.folder, name)?;
        match fs::read_link(&path) {
            Ok(current) if target.is_some_and(|id| current == Path::new(id.as_str())) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => {
                let message = format!("{} is not a link, so it is left alone", path.display());
                return Err(StoreError::new(Code::RepositoryIo, message));
            }
        }
        let Some(id) = target else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(failed("remove", &path)(error))
                }
                _ => Ok(()),
            };
        };
        let beside = self.incoming().join(format!("{name}.link"));
        let _ = fs::remove_file(&beside);
        symlink(id.as_str(), &beside).map_err(failed("create", &beside))?;
        fs::rename(&beside, &path).map_err(failed("replace", &path))
    }
}
