//! The repository: where backups are.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal::Journal;
use supakeep_model::manifest::Manifest;
use supakeep_model::volume::StoppedContainers;
use time::OffsetDateTime;
use tokio::io::AsyncRead;

use crate::redact::RedactionKey;

/// The bytes of a stored file.
pub type Stored = Box<dyn AsyncRead + Send + Unpin>;

/// Why the repository did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// The stable code.
    pub code: Code,
    /// What happened, and to which path.
    pub message: String,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> StoreError {
        StoreError { code, message: message.into() }
    }
}

/// Room on the repository's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes this process may still write.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
}

/// Held while a run changes the repository. Dropping it, or the death of the process, releases it.
pub trait RunLock: Send + Sync {}

/// What happens to the files of a run that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedFiles {
    /// They are removed; only the record stays.
    Remove,
    /// They stay beside the record for a person to look at, until the next run that is complete or that
    /// keeps its own, or until the room is needed.
    Keep,
}

/// The backups of one stack. All calls are synchronous and may block on the file system.
pub trait Repository: Send + Sync {
    /// Makes the stack's folder if it is missing, and checks that it can be written.
    fn prepare(&self) -> Result<(), StoreError>;

    /// Finds out whether it can be written, and makes nothing that stays: for whoever only looks.
    fn writable(&self) -> Result<(), StoreError>;

    /// When this repository was first used; an error where it never was.
    fn first_start(&self) -> Result<OffsetDateTime, StoreError>;

    /// A name of this repository that stays the same and is not shared by another.
    fn identity(&self) -> Result<String, StoreError>;

    /// What the hashes of redacted values are made with. It stays the same for this repository, and is part of no
    /// backup: whoever has a copy of one does not have it.
    fn redaction_key(&self) -> Result<RedactionKey, StoreError>;

    /// Takes the lock, or fails at once with [`Code::Busy`]. What an earlier run left half-made is
    /// removed: whoever made it does not run any more. So is what was lent, unless a restore needs it that
    /// has not ended.
    fn lock(&self) -> Result<Box<dyn RunLock>, StoreError>;

    /// Takes the lock of drills, of which there is one at a time, or fails at once with [`Code::Busy`]. It
    /// excludes no run: until it is dropped, `drilled` is in use and nothing more.
    fn lock_drill(&self, drilled: Option<&BackupId>) -> Result<Box<dyn RunLock>, StoreError>;

    /// The backups that must not be removed: the one that is being drilled, and those that a restore needs
    /// which has not ended, what was saved before it among them.
    fn in_use(&self) -> Result<BTreeSet<BackupId>, StoreError>;

    /// Room on the file system.
    fn space(&self) -> Result<Space, StoreError>;

    /// Reads the heads of all manifests. One that cannot be read never hides the others.
    fn catalog(&self) -> Result<Catalog, StoreError>;

    /// Begins a backup. The caller holds the lock.
    fn stage(&self, id: &BackupId) -> Result<Box<dyn Staging>, StoreError>;

    /// Reads a manifest.
    fn manifest(&self, id: &BackupId) -> Result<Manifest, StoreError>;

    /// Opens a file of a backup. `path` comes from its manifest, and is refused if it leaves the folder.
    fn open(&self, id: &BackupId, path: &str) -> Result<Stored, StoreError>;

    /// Reads the manifest of a backup, has it changed, and replaces it, in one step that nobody else's
    /// comes between: what was found out at the same time by two is noted by both. Needs no lock of a run,
    /// and waits for none. Returns the new manifest.
    fn update(&self, id: &BackupId, change: &mut dyn FnMut(&mut Manifest)) -> Result<Manifest, StoreError>;

    /// Puts a file of supakeep's own beside the manifest of a backup, or replaces it, in one step.
    fn attach(&self, id: &BackupId, name: &str, content: &[u8]) -> Result<(), StoreError>;

    /// Removes a backup: it is gone with one rename, and its files after that.
    fn remove(&self, id: &BackupId) -> Result<(), StoreError>;

    /// Removes the files that were kept of failed runs; the records stay. The caller holds the lock.
    /// Idempotent.
    fn remove_failed_files(&self) -> Result<(), StoreError>;

    /// The restore that has begun and not ended, if there is one.
    fn journal(&self) -> Result<Option<Journal>, StoreError>;

    /// Writes down how far a restore is, or that there is none: then what was lent for it is removed. On the
    /// disk when it returns.
    fn set_journal(&self, journal: Option<&Journal>) -> Result<(), StoreError>;

    /// The containers that were stopped for a while and are not known to have been started again.
    fn stopped(&self) -> Result<Option<StoppedContainers>, StoreError>;

    /// Writes down which containers are stopped for a while, or that none are. On the disk when it returns.
    fn set_stopped(&self, stopped: Option<&StoppedContainers>) -> Result<(), StoreError>;

    /// Points the link `name` at a backup, or removes it. A name taken by something else is left alone.
    fn link(&self, name: &str, target: Option<&BackupId>) -> Result<(), StoreError>;
}

/// A backup that is being made. Dropping it throws it away.
pub trait Staging: Send + Sync {
    /// Its files, for whoever writes them on a thread of their own.
    fn files(&self) -> Arc<dyn StagedFiles>;

    /// Opens a file that was written.
    fn open(&self, path: &str) -> Result<Stored, StoreError>;

    /// Makes it a backup: the manifest is written and synced last, then the folder gets its name with
    /// one rename.
    fn commit(self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError>;

    /// Keeps it for a restore alone: its manifest and its files can be read by its id, and no catalog has
    /// it.
    fn lend(self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError>;

    /// Keeps the record of a run that failed, aside from the backups.
    fn fail(self: Box<Self>, manifest: &Manifest, files: FailedFiles) -> Result<(), StoreError>;
}

/// The files of a backup that is being made.
pub trait StagedFiles: Send + Sync {
    /// Creates a file at `path` below the backup's folder, and the folders above it.
    fn create(&self, path: &str) -> Result<Box<dyn StagedFile>, StoreError>;

    /// Removes a file that was needed for a while.
    fn remove(&self, path: &str) -> Result<(), StoreError>;
}

/// A file that is being written.
pub trait StagedFile: Write + Send {
    /// Ends the file: after this its bytes are on the disk.
    fn sync(self: Box<Self>) -> std::io::Result<()>;
}
