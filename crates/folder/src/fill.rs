//! A folder that is being filled.
//!
//! What is put there comes out of an archive, which anybody may have made: no path leads out of the folder, and
//! nothing is written through a link. A file is written beside its place and renamed into it, so that its place
//! holds the old one or the new one, whenever we are killed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens, linkat,
    mkdirat, open, openat, renameat, symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;
use supakeep_flow::failure::io_code;
use supakeep_flow::folder::BEING_WRITTEN;
use supakeep_flow::ports::{Content, Entry, FolderError, NewFolder, Owner};
use supakeep_model::code::Code;

use crate::attributes;
use crate::open::READ_FOLDER;

const WRITE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// The mode of a folder of which nothing is known yet.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);
/// Bytes copied at a time.
const CHUNK: usize = 128 * 1024;

/// A folder that is open to be filled.
pub(crate) struct FillFolder {
    path: PathBuf,
    root: OwnedFd,
    /// The folder that the last entry went into: the next one mostly goes there too.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Folders, and the times that they get in the end.
    times: Vec<(Vec<u8>, (i64, u32))>,
    buffer: Vec<u8>,
}

/// Why an entry could not be put in its place.
enum Refused {
    /// The path is none that we write to.
    Path(&'static str),
    Io(io::Error),
}

impl From<Errno> for Refused {
    fn from(error: Errno) -> Refused {
        Refused::Io(error.into())
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Io(error)
    }
}

impl FillFolder {
    pub(crate) fn open(path: &Path) -> io::Result<FillFolder> {
        // A person named it: it may be a link.
        let root = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(FillFolder { path: path.to_owned(), root, last: None, times: Vec::new(), buffer: vec![0; CHUNK] })
    }

    fn put(&mut self, entry: Entry<'_>) -> Result<Vec<String>, Refused> {
        let (parent, name) = split(entry.path)?;
        let at = self.enter(parent)?;
        let at = at.as_fd();
        let name = OsStr::from_bytes(name);
        let done = match entry.content {
            Content::Folder => {
                let folder = folder(at, name)?;
                self.times.push((entry.path.to_owned(), entry.modified));
                dress(folder.as_fd(), &entry)?
            }
            Content::File { .. } => {
                let beside = Beside::of(at)?;
                let told = self.write(&beside, entry)?;
                beside.take_place(name)?;
                told
            }
            Content::Link(target) => {
                let beside = Beside::of(at)?;
                symlinkat(OsStr::from_bytes(target), at, beside.name())?;
                let told = own_link(at, beside.name(), entry.owner)?;
                utimensat(at, beside.name(), &times(entry.modified), AtFlags::SYMLINK_NOFOLLOW)?;
                beside.take_place(name)?;
                told
            }
            Content::Same(first) => {
                let (parent, first) = split(first)?;
                let from = self.reach(parent, false)?;
                let beside = Beside::of(at)?;
                linkat(&from, OsStr::from_bytes(first), at, beside.name(), AtFlags::empty())?;
                beside.take_place(name)?;
                Vec::new()
            }
        };
        Ok(done)
    }

    /// The folder at `path`, which is remembered for the next entry.
    fn enter(&mut self, path: &[u8]) -> Result<OwnedFd, Refused> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let folder = self.reach(path, true)?;
            self.last = Some((path.to_owned(), folder));
        }
        let (_, folder) = self.last.as_ref().expect("it was set above");
        Ok(folder.try_clone()?)
    }

    /// The folder at `path`, made where it is missing and may be made.
    fn reach(&self, path: &[u8], may_make: bool) -> Result<OwnedFd, Refused> {
        let mut at = self.root.try_clone()?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let name = OsStr::from_bytes(name);
            let mut opened = openat(&at, name, READ_FOLDER, Mode::empty());
            if may_make && matches!(opened, Err(Errno::NOENT)) {
                mkdirat(&at, name, FOLDER_MODE)?;
                opened = openat(&at, name, READ_FOLDER, Mode::empty());
            }
            at = match opened {
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(Refused::Path(
                        "it leads through a link, or through something that is no folder",
                    ));
                }
                opened => opened?,
            };
        }
        Ok(at)
    }

    /// Writes a file beside its place.
    fn write(&mut self, beside: &Beside<'_>, mut entry: Entry<'_>) -> Result<Vec<String>, Refused> {
        let mut file = File::from(openat(beside.at, beside.name(), WRITE, Mode::RUSR | Mode::WUSR)?);
        let Content::File { bytes, read } = &mut entry.content else { return Ok(Vec::new()) };
        let mut left = *bytes;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let length = read.read(&mut self.buffer[..wanted])?;
            if length == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            file.write_all(&self.buffer[..length])?;
            left -= length as u64;
        }
        let told = dress(file.as_fd(), &entry)?;
        futimens(&file, &times(entry.modified))?;
        Ok(told)
    }
}

impl NewFolder for FillFolder {
    fn add(&mut self, entry: Entry<'_>) -> Result<Vec<String>, FolderError> {
        let path = entry.path.to_owned();
        self.put(entry).map_err(|refused| {
            let shown = String::from_utf8_lossy(&path);
            let (shown, folder) = (shown.escape_debug(), self.path.display());
            match refused {
                Refused::Path(why) => {
                    FolderError::new(Code::VerifyFailed, format!("{shown} is not put into {folder}: {why}"))
                }
                Refused::Io(error) => {
                    FolderError::new(io_code(&error), format!("cannot put {shown} into {folder}: {error}"))
                }
            }
        })
    }

    fn finish(self: Box<Self>) -> Result<(), FolderError> {
        // What is deepest first: nothing that comes later changes it.
        let finished =
            self.times.iter().rev().try_for_each(|(path, modified)| match self.reach(path, false) {
                Ok(folder) => futimens(&folder, &times(*modified)).map_err(Refused::from),
                Err(refused) => Err(refused),
            });
        let finished = finished.and_then(|()| syncfs(&self.root).map_err(Refused::from));
        finished.map_err(|refused| {
            let folder = self.path.display();
            match refused {
                Refused::Path(why) => {
                    FolderError::new(Code::VerifyFailed, format!("{folder} has changed: {why}"))
                }
                Refused::Io(error) => {
                    FolderError::new(io_code(&error), format!("cannot finish {folder}: {error}"))
                }
            }
        })
    }
}

/// A name beside the place of an entry, which is free again when this is dropped.
struct Beside<'a> {
    at: BorrowedFd<'a>,
    name: Vec<u8>,
}

impl<'a> Beside<'a> {
    fn of(at: BorrowedFd<'a>) -> Result<Beside<'a>, Refused> {
        // One at a time is written into a folder; what is there is of somebody who was killed.
        let beside = Beside { at, name: [BEING_WRITTEN, b"0"].concat() };
        match unlinkat(at, beside.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(beside),
            Err(error) => Err(error.into()),
        }
    }

    fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }

    fn take_place(&self, name: &OsStr) -> Result<(), Refused> {
        match renameat(self.at, self.name(), self.at, name) {
            Err(Errno::ISDIR) => Err(Refused::Path("there is a folder in its place")),
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        // It is not there when it has taken its place; two names of one file are left by a rename as they are.
        let _ = unlinkat(self.at, self.name(), AtFlags::empty());
    }
}

/// Folder and name; an error for a path that leads elsewhere.
fn split(path: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    if path.contains(&0) {
        return Err(Refused::Path("there is a zero byte in it"));
    }
    if path.split(|byte| *byte == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
        return Err(Refused::Path("it leads out of the folder, or is no plain path"));
    }
    Ok(match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    })
}

/// The folder `name`, made where there is none.
fn folder(at: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Refused> {
    match mkdirat(at, name, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    match openat(at, name, READ_FOLDER, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) => {
            // A link or a file has its place.
            unlinkat(at, name, AtFlags::empty())?;
            mkdirat(at, name, FOLDER_MODE)?;
            Ok(openat(at, name, READ_FOLDER, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

/// Attributes, owner and mode of a file or folder. The owner comes before the mode, of which it takes bits.
fn dress(file: BorrowedFd<'_>, entry: &Entry<'_>) -> Result<Vec<String>, Refused> {
    let mut told = Vec::new();
    match attributes::set(file, entry.attributes) {
        Err(Errno::NOTSUP) => {
            told.push("its extended attributes are lost: the file system has none".to_owned())
        }
        set => set?,
    }
    let Owner { mode, user, group } = entry.owner;
    told.extend(owned(fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))))?);
    fchmod(file, Mode::from_raw_mode(mode))?;
    Ok(told)
}

fn own_link(
    at: BorrowedFd<'_>,
    name: &OsStr,
    Owner { user, group, .. }: Owner,
) -> Result<Vec<String>, Refused> {
    let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    Ok(owned(chownat(at, name, user, group, AtFlags::SYMLINK_NOFOLLOW))?.into_iter().collect())
}

fn owned(done: Result<(), Errno>) -> Result<Option<String>, Errno> {
    match done {
        Ok(()) => Ok(None),
        Err(Errno::PERM) => {
            Ok(Some("it belongs to supakeep's user now: only root may give files away".to_owned()))
        }
        Err(error) => Err(error),
    }
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests;
