//! A backup that is being made, out of sight under `.incoming`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Advice;
use supakeep_flow::kill_point::kill_point;
use supakeep_flow::ports::{FailedFiles, StagedFile, StagedFiles, Staging, StoreError, Stored};
use supakeep_model::manifest::{self, Manifest};

use crate::folder::{create_file, ensure, move_new, sync};
use crate::path::{below, failed};

/// Where below the backups is what a restore alone needs.
pub(crate) const LENT: &str = ".restoring";

/// A folder under `.incoming`.
pub(crate) struct LocalStaging {
    incoming: PathBuf,
    /// The folder of backups.
    backups: PathBuf,
    /// The folder of failed runs.
    failed: PathBuf,
    name: String,
    /// Set when the folder has its final name.
    done: bool,
}

impl LocalStaging {
    pub(crate) fn begin(
        incoming: &Path,
        backups: &Path,
        failed: &Path,
        name: &str,
    ) -> Result<Self, StoreError> {
        let folder = incoming.join(name);
        ensure(&folder)?;
        Ok(LocalStaging {
            incoming: folder,
            backups: backups.to_owned(),
            failed: failed.to_owned(),
            name: name.to_owned(),
            done: false,
        })
    }

    /// Writes the manifest last: when it is on the disk, everything it names is.
    fn write_manifest(&self, json: &[u8]) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.incoming).map_err(failed("read", &self.incoming))?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                sync(&entry.path())?;
            }
        }
        let path = self.incoming.join(manifest::FILE);
        let mut file = create_file(&path)?;
        file.write_all(json).and_then(|()| file.sync_all()).map_err(failed("write", &path))?;
        sync(&self.incoming)
    }

    /// Gives what was staged its final name, with this as its manifest. `written` is called between the two.
    pub(crate) fn commit_json(mut self, json: &[u8], written: impl FnOnce()) -> Result<(), StoreError> {
        self.write_manifest(json)?;
        written();
        let place = self.backups.clone();
        self.publish(&place)
    }

    fn publish(&mut self, into: &Path) -> Result<(), StoreError> {
        move_new(&self.incoming, &into.join(&self.name))?;
        self.done = true;
        // It has its name, and whoever looks finds it: an error now would make a failed run of the same
        // name beside it.
        if let Err(error) = sync(into) {
            tracing::error!(code = %error.code, "{} may not survive a power failure: {error}", self.name);
        }
        Ok(())
    }
}

impl Staging for LocalStaging {
    fn files(&self) -> Arc<dyn StagedFiles> {
        Arc::new(LocalFiles(self.incoming.clone()))
    }

    fn open(&self, path: &str) -> Result<Stored, StoreError> {
        open(&below(&self.incoming, path)?)
    }

    fn commit(self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError> {
        (*self).commit_json(&manifest.to_json(), || kill_point("backup-manifest-written"))
    }

    fn lend(mut self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError> {
        let lent = self.backups.join(LENT);
        ensure(&lent)?;
        self.write_manifest(&manifest.to_json())?;
        self.publish(&lent)
    }

    fn fail(mut self: Box<Self>, manifest: &Manifest, files: FailedFiles) -> Result<(), StoreError> {
        let failed_runs = self.failed.clone();
        ensure(&failed_runs)?;
        match files {
            FailedFiles::Remove => remove_files(&self.incoming)?,
            // The files of one failed run are enough to look at, and disks are small.
            FailedFiles::Keep => remove_files_of_records(&failed_runs)?,
        }
        self.write_manifest(&manifest.to_json())?;
        self.publish(&failed_runs)
    }
}

impl Drop for LocalStaging {
    fn drop(&mut self) {
        if !self.done {
            // Whatever cannot be removed now is swept when the next run takes the lock.
            let _ = fs::remove_dir_all(&self.incoming);
        }
    }
}

/// A record of ours: a folder, and no link to one, with a manifest in it.
fn is_record(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join(manifest::FILE).is_file()
}

/// Removes the files beside every record of a failed run in `folder`, which need not exist.
pub(crate) fn remove_files_of_records(folder: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("read", folder))?,
    };
    for entry in entries.flatten().filter(is_record) {
        remove_files(&entry.path())?;
    }
    Ok(())
}

/// Removes everything in a folder but its manifest.
fn remove_files(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))?.flatten() {
        if entry.file_name() == manifest::FILE {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        removed.map_err(failed("remove", &path))?;
    }
    Ok(())
}

/// Opens a regular file; a link is refused, it may lead anywhere.
pub(crate) fn open(path: &Path) -> Result<Stored, StoreError> {
    let file = rustix::fs::open(
        path,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(crate::path::refused("open", path))?;
    Ok(Box::new(tokio::fs::File::from_std(File::from(file))))
}

struct LocalFiles(PathBuf);

impl StagedFiles for LocalFiles {
    fn create(&self, path: &str) -> Result<Box<dyn StagedFile>, StoreError> {
        let path = below(&self.0, path)?;
        if let Some(folder) = path.parent().filter(|folder| *folder != self.0) {
            ensure(folder)?;
        }
        Ok(Box::new(LocalFile(create_file(&path)?)))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let path = below(&self.0, path)?;
        fs::remove_file(&path).map_err(failed("remove", &path))
    }
}

struct LocalFile(File);

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl StagedFile for LocalFile {
    fn sync(self: Box<Self>) -> std::io::Result<()> {
        self.0.sync_all()?;
        // Dropped from the page cache, so that the verification reads what is on the disk. Advice only:
        // a file system that knows none of it is as good.
        let _ = rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed);
        Ok(())
    }
}
