//! The stack's folder: what lies beside its compose file.

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

/// What compose tells about the files that a stack was made from; paths are those of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposeFiles {
    /// The stack's folder.
    pub working_dir: Option<String>,
    /// The compose files, in their order.
    pub config_files: Vec<String>,
    /// The files with variables, where they were named.
    pub environment_files: Vec<String>,
}

/// Finds the stack's folder. All calls are synchronous and may block on the file system.
pub trait StackFolder: Send + Sync {
    /// The folder; `None` where there is none to be seen. An error where one is configured and cannot be
    /// opened.
    fn find(&self, compose: &ComposeFiles) -> Result<Option<Box<dyn Folder>>, FolderError>;
}

/// A folder that is open: whatever is renamed meanwhile, it stays the same one.
pub trait Folder: Send + Sync {
    /// Where it is, for people.
    fn path(&self) -> &Path;

    /// Whether there is something at this path below it. No link is followed on the way.
    fn has(&self, path: &[u8]) -> bool;

    /// Walks through what `wants` takes: a folder before what is in it, names in the order of their bytes. A
    /// link is never followed. Whatever cannot be read is told and passed over; `visit` ends the walk by
    /// returning `false`.
    fn walk(&self, wants: &dyn Fn(&Seen<'_>) -> bool, visit: &mut dyn FnMut(Found<'_>) -> bool);
}

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
    /// When it was last changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
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
    /// Bytes; how many they are may have changed when they are read.
    File {
        /// How many there were when it was opened.
        bytes: u64,
        /// Reads them.
        read: &'a mut dyn Read,
    },
}
