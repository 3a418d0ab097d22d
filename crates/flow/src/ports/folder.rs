//! Folders of files: reading one, and filling one.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use supakeep_model::code::Code;

/// Why the folder could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FolderError {
    /// The stable code.
    pub code: Code,
    /// What happened, and to which path.
    pub message: String,
}

impl FolderError {
    /// An error of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> FolderError {
        FolderError { code, message: message.into() }
    }
}

/// Opens folders of this machine. All calls are synchronous and may block on the file system.
pub trait Folders: Send + Sync {
    /// Opens a folder that is there, to be read.
    fn open(&self, path: &Path) -> Result<Box<dyn Folder>, FolderError>;

    /// Opens a folder that is there, to be filled.
    fn open_to_fill(&self, path: &Path) -> Result<Box<dyn NewFolder>, FolderError>;

    /// Removes all that is in the folder at `path`, following no link in it, and leaves the folder itself. Returns how
    /// many entries were at its top.
    fn clear(&self, path: &Path) -> Result<u64, FolderError>;
}

/// A folder that is being filled.
pub trait NewFolder: Send {
    /// Puts an entry in its place, whatever was there before; folders above it that are missing are made. A path
    /// that leads out of the folder, or through a link, is an error, and nothing is written. What cannot be had
    /// without rights that we lack is done without, and told.
    fn add(&mut self, entry: Entry<'_>) -> Result<Vec<String>, FolderError>;

    /// Gives folders their times, which change with everything that is put into them.
    fn finish(self: Box<Self>) -> Result<(), FolderError>;
}

/// A folder that is open: whatever is renamed meanwhile, it stays the same one.
pub trait Folder: Send + Sync {
    /// Where it is, for people.
    fn path(&self) -> &Path;

    /// Whether there is something at this path below it. No link is followed on the way.
    fn has(&self, path: &[u8]) -> bool;

    /// Walks through what `wants` takes: a folder before what is in it, in the order of
    /// [`supakeep_model::file_index::path_order`]. A link is never followed. Whatever cannot be read is told and
    /// passed over; `visit` ends the walk by returning `false`.
    fn walk(&self, names: Names, wants: &dyn Fn(&Seen<'_>) -> bool, visit: &mut dyn FnMut(Found<'_>) -> bool);
}

/// How the names of one file are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Each as a file of its own.
    Each,
    /// The first as a file, the others as [`Content::Same`].
    Once,
}

/// Extended attributes, those of users (`user.…`), by name.
pub type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A socket, a pipe, a device.
    Other,
}

/// An entry before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its path below the folder, with `/` between levels. Names are bytes, not always text.
    pub path: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// A file's length.
    pub bytes: u64,
}

/// What a walk meets.
pub enum Found<'a> {
    /// An entry.
    Entry(Entry<'a>),
    /// Something that was there, or should have been, and could not be read.
    Missed {
        /// Its path.
        path: &'a [u8],
        /// Why.
        reason: String,
    },
}

/// An entry that is open.
pub struct Entry<'a> {
    /// Its path below the folder.
    pub path: &'a [u8],
    /// Permissions and owner.
    pub owner: Owner,
    /// When its content was last changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// When it itself was last changed, attributes and owner included.
    pub changed: (i64, u32),
    /// Its extended attributes.
    pub attributes: &'a Attributes,
    /// What it holds.
    pub content: Content<'a>,
}

/// Whose an entry is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// Permissions, the lowest twelve bits.
    pub mode: u32,
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

/// What an entry holds.
pub enum Content<'a> {
    /// Other entries, which follow.
    Folder,
    /// Where a link points.
    Link(&'a [u8]),
    /// What another entry holds that came before it: it is another name of the same file.
    Same(&'a [u8]),
    /// Bytes; how many they are may have changed when they are read.
    File {
        /// How many there were when it was opened.
        bytes: u64,
        /// Reads them.
        read: &'a mut dyn Read,
    },
}
