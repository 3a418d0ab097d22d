//! Looking at a dump's bytes as they pass: what does it hold, and is it whole?
//!
//! An inspector sees every byte once, keeps none of them, and says at the end what it saw. It is the
//! same for a dump that is being made and for one that is read back, which is what makes the two
//! comparable.

use supakeep_model::fingerprint::Fingerprint;
use supakeep_model::id::BackupId;

pub mod archive;
pub mod file_index;
pub mod opaque;
pub mod rdb;
pub mod select;
pub mod split;
pub mod sql;
pub mod tarball;

/// What an inspector found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inspection {
    /// What the dump holds; `None` for files that are no dump of a database.
    pub fingerprint: Option<Fingerprint>,
    /// What an index of files tells of; `None` for all else.
    pub files: Option<FilesTally>,
    /// What an archive of a volume holds; `None` for all else.
    pub entries: Option<EntriesTally>,
}

impl Inspection {
    /// Of a dump.
    pub fn of(fingerprint: Fingerprint) -> Inspection {
        Inspection { fingerprint: Some(fingerprint), ..Inspection::default() }
    }
}

/// The sums of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntriesTally {
    /// Files, and other names of them.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
}

/// The sums of an index of files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilesTally {
    /// Files.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// Files that the index's own backup holds.
    pub new_files: u64,
    /// Their length.
    pub new_bytes: u64,
    /// The other backups that hold entries of it.
    pub parents: Vec<BackupId>,
}

/// Why a dump is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// It is cut short: its own end was not seen.
    #[error("the dump is incomplete: {0}")]
    Incomplete(String),
    /// It is not a dump, or damaged.
    #[error("the dump is damaged: {0}")]
    Damaged(String),
}

/// Looks at the bytes of one file.
pub trait Inspect: Send {
    /// Takes the next bytes, in chunks of any size: the boundaries never change the result.
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError>;

    /// Says what it saw. Called once, after the last byte; an error if the end was not the dump's own.
    fn finish(self: Box<Self>) -> Result<Inspection, InspectError>;
}
