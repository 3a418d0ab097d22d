//! One run at a time: an advisory lock that the kernel releases when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use supakeep_flow::ports::{RunLock, StoreError};
use supakeep_model::code::Code;

use crate::path::failed;

/// The name of its file.
pub(crate) const FILE: &str = ".lock";
/// The name of the file by which there is one drill at a time; it holds the id of what is drilled.
pub(crate) const DRILL_FILE: &str = ".drill.lock";
/// How often a drill tries: whoever wants to know what is in use holds its lock for a moment.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Holds the lock for as long as it lives.
pub(crate) struct FileLock {
    _file: File,
}

impl RunLock for FileLock {}

/// Takes the lock of a stack's folder. `holder` is what others are told who find it taken.
pub(crate) fn take(folder: &Path, holder: &str) -> Result<FileLock, StoreError> {
    let path = folder.join(FILE);
    let mut file = open(&path)?;
    if !try_lock(&file, &path)? {
        let holder = said(&mut file);
        let holder = if holder.is_empty() { "another run".to_owned() } else { holder };
        return Err(StoreError::new(Code::Busy, format!("the stack's repository is locked by {holder}")));
    }
    // Only a courtesy to whoever finds it taken; the lock itself is the kernel's.
    let _ = write(&mut file, holder);
    Ok(FileLock { _file: file })
}

/// Takes the lock of drills. What it holds is no courtesy: it keeps `drilled` from being removed.
pub(crate) fn take_drill(folder: &Path, drilled: &str) -> Result<FileLock, StoreError> {
    let path = folder.join(DRILL_FILE);
    let mut file = open(&path)?;
    let mut tries = 1;
    while !try_lock(&file, &path)? {
        if tries == TRIES {
            return Err(StoreError::new(Code::Busy, format!("a drill of {} is going on", said(&mut file))));
        }
        tries += 1;
        std::thread::sleep(PAUSE);
    }
    write(&mut file, drilled).map_err(failed("write", &path))?;
    Ok(FileLock { _file: file })
}

/// What is being drilled.
pub(crate) fn drilled(folder: &Path) -> Result<Option<String>, StoreError> {
    let path = folder.join(DRILL_FILE);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("open", &path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(said(&mut file))),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Holds a folder for a change of a file in it; waits for its turn, which comes soon.
pub(crate) fn hold(folder: &Path) -> Result<FileLock, StoreError> {
    let file = File::open(folder).map_err(failed("open", folder))?;
    file.lock().map_err(failed("lock", folder))?;
    Ok(FileLock { _file: file })
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(failed("open", path))
}

fn try_lock(file: &File, path: &Path) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed("lock", path)(error)),
    }
}

fn write(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

fn said(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text
}
