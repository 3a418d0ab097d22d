//! Where exports are: beside the backups, and out of the way of whoever looks for those.

use std::sync::Arc;

use supakeep_model::export::{ExportCatalog, ExportManifest};
use supakeep_model::id::BackupId;

use super::repository::{StagedFiles, StoreError, Stored};

/// The exports of one stack. All calls are synchronous and may block on the file system. Whoever changes anything
/// holds the lock of the stack's [`super::Repository`], which also sweeps what an unfinished export left.
pub trait Exports: Send + Sync {
    /// Reads all manifests. One that cannot be read never hides the others.
    fn catalog(&self) -> Result<ExportCatalog, StoreError>;

    /// Begins an export. The caller holds the lock.
    fn stage(&self, id: &BackupId) -> Result<Box<dyn ExportStaging>, StoreError>;

    /// Opens a file of an export. `path` comes from its manifest, and is refused if it leaves the folder.
    fn open(&self, id: &BackupId, path: &str) -> Result<Stored, StoreError>;

    /// Removes an export: it is gone with one rename, and its files after that. The caller holds the lock.
    fn remove(&self, id: &BackupId) -> Result<(), StoreError>;
}

/// An export that is being made. Dropping it throws it away.
pub trait ExportStaging: Send + Sync {
    /// Its files, for whoever writes them on a thread of their own.
    fn files(&self) -> Arc<dyn StagedFiles>;

    /// Opens a file that was written.
    fn open(&self, path: &str) -> Result<Stored, StoreError>;

    /// Makes it an export: the manifest is written and synced last, then the folder gets its name with one rename.
    fn commit(self: Box<Self>, manifest: &ExportManifest) -> Result<(), StoreError>;
}
