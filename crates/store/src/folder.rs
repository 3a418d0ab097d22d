//! Folders and files with tight permissions, put on the disk for certain.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use supakeep_flow::ports::StoreError;
use supakeep_model::code::Code;

use crate::path::{failed, refused};

/// Makes a folder, mode 0700, if it is not there. A link or file of that name is refused.
pub(crate) fn ensure(path: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let is_folder = fs::symlink_metadata(path).map_err(failed("look at", path))?.is_dir();
            if is_folder {
                Ok(())
            } else {
                Err(failed("use", path)(std::io::ErrorKind::NotADirectory.into()))
            }
        }
        other => other.map_err(failed("create", path)),
    }
}

/// Makes a new file, mode 0600.
pub(crate) fn create_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed("create", path))
}

/// Makes or replaces a file in one step: written beside it, put on the disk, renamed.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = write_beside(path, bytes)?;
    fs::rename(&beside, path).map_err(failed("replace", path)).inspect_err(|_| forget(&beside))?;
    sync_parent(path)
}

/// Makes a file in one step, unless there is one of that name.
pub(crate) fn create_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = write_beside(path, bytes)?;
    rename_new(&beside, path).inspect_err(|_| forget(&beside))
}

/// Finds out whether files can be made in a folder, written and put on the disk. Permissions can be
/// there and the file system be read-only or full all the same: only writing tells.
pub(crate) fn probe(folder: &Path) -> Result<(), StoreError> {
    let probe = write_beside(&folder.join(".writable"), b"writable")?;
    match fs::remove_file(&probe) {
        // Somebody has swept the folder.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", &probe)),
    }
}

/// Writes a file whose name begins like `path` and is nobody else's: commands and the daemon do the
/// same things at the same time, from containers whose process numbers may be the same.
fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf, StoreError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::new(Code::Internal, format!("no random numbers: {error}")))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", hex::encode(random)));
    let beside = PathBuf::from(beside);
    let mut file = create_file(&beside)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("write", &beside))
        .inspect_err(|_| forget(&beside))?;
    Ok(beside)
}

/// Removes what an error has left; the error is what counts.
fn forget(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Gives a folder its final name, unless that is taken, and puts that on the disk.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), StoreError> {
    move_new(from, to)?;
    sync_parent(to)
}

/// Gives a folder its final name, unless that is taken.
pub(crate) fn move_new(from: &Path, to: &Path) -> Result<(), StoreError> {
    let cwd = rustix::fs::CWD;
    match rustix::fs::renameat_with(cwd, from, cwd, to, RenameFlags::NOREPLACE) {
        // Some file systems (NFS among them) do not know the flag. Renaming over a folder that holds
        // anything fails there too.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::rename(from, to).map_err(failed("rename to", to))?;
        }
        other => other.map_err(refused("rename to", to))?,
    }
    Ok(())
}

/// Puts the entries of a folder on the disk.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync)
}
