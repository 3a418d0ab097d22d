//! One run at a time: an advisory lock that the kernel releases when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use supakeep_flow::ports::{RunLock, StoreError};
use supakeep_model::code::Code;

use crate::path::failed;

/// Its file's name.
pub(crate) const FILE: &str = ".lock";

/// Holds the lock for as long as it lives.
pub(crate) struct FileLock {
    _file: File,
}

impl RunLock for FileLock {}

/// Takes the lock of a stack's folder. `holder` is what others are told who find it taken.
pub(crate) fn take(folder: &Path, holder: &str) -> Result<FileLock, StoreError> {
    let path = folder.join(FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy(&mut file)),
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
    }
    // Only a courtesy to whoever finds it taken; the lock itself is the kernel's.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    Ok(FileLock { _file: file })
}

fn busy(file: &mut File) -> StoreError {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    let holder = if holder.is_empty() { "another run".to_owned() } else { holder };
    StoreError::new(Code::Busy, format!("the stack's repository is locked by {holder}"))
}
