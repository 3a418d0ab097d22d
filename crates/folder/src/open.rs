//! An open folder, and the walk through it.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat, statat};
use rustix::io::Errno;
use supakeep_flow::ports::{Attributes, Content, Entry, EntryKind, Folder, Found, Names, Owner, Seen};
use supakeep_model::file_index::path_order;

use crate::attributes;

/// No link, and no waiting for whoever writes into a pipe that has taken a file's place.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);
pub(crate) const READ_FOLDER: OFlags = READ.union(OFlags::DIRECTORY);
/// A folder is open for each level.
const DEEPEST: usize = 100;

/// A folder that is open.
pub(crate) struct OpenFolder {
    path: PathBuf,
    folder: OwnedFd,
}

impl OpenFolder {
    pub(crate) fn open(path: &Path) -> io::Result<OpenFolder> {
        // A person named it: it may be a link.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(OpenFolder { path: path.to_owned(), folder: open(path, flags, Mode::empty())? })
    }
}

impl Folder for OpenFolder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn has(&self, path: &[u8]) -> bool {
        let mut names: Vec<_> = path.split(|byte| *byte == b'/').collect();
        let Some(last) = names.pop() else { return false };
        let mut folder: Option<OwnedFd> = None;
        for name in names {
            let at = folder.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            match openat(at, name, READ_FOLDER, Mode::empty()) {
                Ok(opened) => folder = Some(opened),
                Err(_) => return false,
            }
        }
        let at = folder.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
        statat(at, last, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    fn walk(
        &self,
        names: Names,
        wants: &dyn Fn(&Seen<'_>) -> bool,
        visit: &mut dyn FnMut(Found<'_>) -> bool,
    ) {
        let met = (names == Names::Once).then(HashMap::new);
        let mut walk = Walk { wants, visit, met };
        // Whoever does not want more has said so; nobody else wants to know.
        let _ = walk.folder(self.folder.as_fd(), &[], 0);
    }
}

/// Nobody wants more.
struct Enough;

struct Walk<'a> {
    wants: &'a dyn Fn(&Seen<'_>) -> bool,
    visit: &'a mut dyn FnMut(Found<'_>) -> bool,
    /// The first names of files that have several, by device and number.
    met: Option<HashMap<(u64, u64), Vec<u8>>>,
}

impl Walk<'_> {
    fn visit(&mut self, found: Found<'_>) -> Result<(), Enough> {
        if (self.visit)(found) { Ok(()) } else { Err(Enough) }
    }

    fn missed(&mut self, path: &[u8], reason: impl ToString) -> Result<(), Enough> {
        self.visit(Found::Missed { path, reason: reason.to_string() })
    }

    fn folder(&mut self, folder: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<(), Enough> {
        let names = match names(folder) {
            Ok(names) => names,
            Err(error) => return self.missed(path, because(error)),
        };
        if depth == DEEPEST && !names.is_empty() {
            return self.missed(path, "what is in it lies too deep");
        }
        for Name { name, is_folder } in names {
            let inside = if path.is_empty() {
                name.to_bytes().to_owned()
            } else {
                [path, b"/", name.to_bytes()].concat()
            };
            self.entry(folder, &name, is_folder, &inside, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        at: BorrowedFd<'_>,
        name: &CStr,
        was_folder: bool,
        path: &[u8],
        depth: usize,
    ) -> Result<(), Enough> {
        let stat = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Nobody knows what it was: perhaps nothing that is wanted.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return self.missed(path, because(error)),
        };
        if !(self.wants)(&Seen { path, kind: kind(&stat), bytes: length(&stat) }) {
            return Ok(());
        }
        if was_folder != (kind(&stat) == EntryKind::Folder) {
            // It would be out of order.
            return self.missed(path, because(Errno::NOTDIR));
        }
        let done = match kind(&stat) {
            EntryKind::Folder => self.sub_folder(at, name, path, depth)?,
            EntryKind::File => self.file(at, name, path)?,
            EntryKind::Link => self.link(at, name, path, &stat)?,
            EntryKind::Other => {
                self.missed(path, "it is neither a file nor a folder nor a link")?;
                Ok(())
            }
        };
        done.or_else(|error| self.missed(path, because(error)))
    }

    fn sub_folder(&mut self, at: BorrowedFd<'_>, name: &CStr, path: &[u8], depth: usize) -> Tried {
        let opened = openat(at, name, READ_FOLDER, Mode::empty())
            .and_then(|folder| fstat(&folder).map(|stat| (folder, stat)));
        let (folder, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let attributes = match attributes::of(folder.as_fd()) {
            Ok(attributes) => attributes,
            Err(error) => return Ok(Err(error)),
        };
        self.visit(Found::Entry(entry(path, &stat, &attributes, Content::Folder)))?;
        self.folder(folder.as_fd(), path, depth + 1)?;
        Ok(Ok(()))
    }

    fn file(&mut self, at: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Tried {
        let opened =
            openat(at, name, READ, Mode::empty()).and_then(|file| fstat(&file).map(|stat| (file, stat)));
        let (file, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        if kind(&stat) != EntryKind::File {
            self.missed(path, "something else has taken its place")?;
            return Ok(Ok(()));
        }
        let attributes = match attributes::of(file.as_fd()) {
            Ok(attributes) => attributes,
            Err(error) => return Ok(Err(error)),
        };
        if stat.st_nlink > 1
            && let Some(met) = &mut self.met
        {
            let number = (stat.st_dev, stat.st_ino);
            if let Some(first) = met.get(&number).cloned() {
                self.visit(Found::Entry(entry(path, &stat, &attributes, Content::Same(&first))))?;
                return Ok(Ok(()));
            }
            met.insert(number, path.to_owned());
        }
        let mut file = File::from(file);
        let content = Content::File { bytes: length(&stat), read: &mut file };
        self.visit(Found::Entry(entry(path, &stat, &attributes, content)))?;
        Ok(Ok(()))
    }

    fn link(&mut self, at: BorrowedFd<'_>, name: &CStr, path: &[u8], stat: &Stat) -> Tried {
        let target = match readlinkat(at, name, Vec::new()) {
            Ok(target) => target,
            Err(error) => return Ok(Err(error)),
        };
        // Users' attributes are those of files and folders alone.
        let none = Attributes::new();
        self.visit(Found::Entry(entry(path, stat, &none, Content::Link(target.to_bytes()))))?;
        Ok(Ok(()))
    }
}

/// Whether the walk goes on, and within whether the entry could be read.
type Tried = Result<Result<(), Errno>, Enough>;

struct Name {
    name: CString,
    is_folder: bool,
}

/// The names in a folder, in the order of a walk.
fn names(folder: BorrowedFd<'_>) -> Result<Vec<Name>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let name = entry.file_name().to_owned();
        let is_folder = match entry.file_type() {
            // Not every file system tells.
            FileType::Unknown => statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| kind(&stat) == EntryKind::Folder),
            known => known == FileType::Directory,
        };
        names.push(Name { name, is_folder });
    }
    names.sort_unstable_by(|a, b| {
        path_order((a.name.to_bytes(), a.is_folder), (b.name.to_bytes(), b.is_folder))
    });
    Ok(names)
}

fn because(error: Errno) -> String {
    match error {
        Errno::NOENT => "it vanished while the folder was read".to_owned(),
        Errno::ACCESS | Errno::PERM => "supakeep's user may not read it".to_owned(),
        Errno::LOOP | Errno::NOTDIR => "something else has taken its place".to_owned(),
        other => io::Error::from(other).to_string(),
    }
}

fn kind(stat: &Stat) -> EntryKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => EntryKind::Folder,
        FileType::RegularFile => EntryKind::File,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

fn entry<'a>(path: &'a [u8], stat: &Stat, attributes: &'a Attributes, content: Content<'a>) -> Entry<'a> {
    let owner = Owner { mode: stat.st_mode & 0o7777, user: stat.st_uid, group: stat.st_gid };
    let modified = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default());
    let changed = (stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or_default());
    Entry { path, owner, modified, changed, attributes, content }
}

#[cfg(test)]
mod tests;
