//! Exports in a folder beside the backups.
//!
//! ```text
//! <path>/<stack>/exports/<id>/manifest.json …   an export
//! <path>/<stack>/.incoming/<id>/                being made, or being removed: swept with what backups leave there
//! ```
//!
//! The folder `exports` has no manifest, so it is no backup to whoever looks for those; and here nothing else is looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use supakeep_flow::kill_point::kill_point;
use supakeep_flow::ports::{ExportStaging, Exports, StagedFiles, Staging as _, StoreError, Stored};
use supakeep_model::code::Code;
use supakeep_model::export::{ExportCatalog, ExportManifest, FILE, UnreadableExport};
use supakeep_model::id::BackupId;
use supakeep_model::manifest::ManifestError;
use supakeep_model::naming::stack_folder;

use crate::folder::{ensure, rename_new, sync};
use crate::path::{below, failed};
use crate::staging::{self, LocalStaging};

/// The folder of all exports.
const FOLDER: &str = "exports";

/// The exports of one stack below a folder.
pub struct LocalExports {
    folder: PathBuf,
    incoming: PathBuf,
}

impl LocalExports {
    /// The exports of `stack` below `path`, where its backups are.
    pub fn new(path: &Path, stack: &str) -> LocalExports {
        let stack = path.join(stack_folder(stack));
        LocalExports { folder: stack.join(FOLDER), incoming: stack.join(".incoming") }
    }

    /// The folder that they are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn place(&self, id: &BackupId) -> Result<PathBuf, StoreError> {
        let folder = self.folder.join(id.as_str());
        if fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(folder);
        }
        Err(StoreError::new(Code::ExportNotFound, format!("there is no export {id}")))
    }
}

/// What a folder of ours holds; nothing where it is none.
fn read(folder: &Path, id: &BackupId) -> Option<Result<ExportManifest, ManifestError>> {
    let path = folder.join(FILE);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Ok(metadata) if !metadata.is_file() => return None,
        _ => {}
    }
    let parsed = fs::read(&path)
        .map_err(|error| ManifestError::Damaged(error.to_string()))
        .and_then(|json| ExportManifest::parse(&json));
    Some(parsed.and_then(|manifest| {
        if manifest.id == *id {
            return Ok(manifest);
        }
        let message = format!("it is the manifest of {}: the folder was copied or renamed", manifest.id);
        Err(ManifestError::Damaged(message))
    }))
}

impl Exports for LocalExports {
    fn catalog(&self) -> Result<ExportCatalog, StoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ExportCatalog::default()),
            other => other.map_err(failed("read", &self.folder))?,
        };
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.folder))?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<BackupId>().ok()) else {
                continue;
            };
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match read(&entry.path(), &id) {
                None => {}
                Some(Ok(manifest)) => found.push(Arc::new(manifest)),
                Some(Err(error)) => unreadable.push(UnreadableExport { folder: id.into(), error }),
            }
        }
        Ok(ExportCatalog::new(found, unreadable))
    }

    fn stage(&self, id: &BackupId) -> Result<Box<dyn ExportStaging>, StoreError> {
        ensure(&self.folder)?;
        let staging = LocalStaging::begin(&self.incoming, &self.folder, &self.incoming, id.as_str())?;
        Ok(Box::new(LocalExportStaging(staging)))
    }

    fn open(&self, id: &BackupId, path: &str) -> Result<Stored, StoreError> {
        staging::open(&below(&self.place(id)?, path)?)
    }

    fn remove(&self, id: &BackupId) -> Result<(), StoreError> {
        let place = self.place(id)?;
        let going = self.incoming.join(format!("{id}.removed"));
        rename_new(&place, &going)?;
        sync(&self.folder)?;
        fs::remove_dir_all(&going).map_err(failed("remove", &going))
    }
}

struct LocalExportStaging(LocalStaging);

impl ExportStaging for LocalExportStaging {
    fn files(&self) -> Arc<dyn StagedFiles> {
        self.0.files()
    }

    fn open(&self, path: &str) -> Result<Stored, StoreError> {
        self.0.open(path)
    }

    fn commit(self: Box<Self>, manifest: &ExportManifest) -> Result<(), StoreError> {
        let written = || kill_point("export-manifest-written");
        self.0.commit_json(&manifest.to_json(), written)
    }
}
