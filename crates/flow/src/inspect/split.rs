//! Making one file, or many, of one dump.

use supakeep_model::artifact::Member;

use super::{Inspect, InspectError, Inspection};

/// A file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// Path below the backup's folder.
    pub path: String,
    /// Which part of a folder of files it is.
    pub member: Option<Member>,
    /// Whether it is compressed. `pg_restore` wants some files as they are.
    pub compressed: bool,
}

/// Nobody takes any more; whoever did not says himself why.
#[derive(Debug)]
pub struct Closed;

/// Takes the files of a dump, one after the other.
pub trait Output {
    /// Begins the next file; the one before it is whole.
    fn begin(&mut self, file: FileSpec) -> Result<(), Closed>;

    /// The next bytes of the file that was begun last.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Closed>;
}

/// Why a dump was not read on.
#[derive(Debug)]
pub enum SplitError {
    /// It is not what it should be.
    Inspect(InspectError),
    /// Nobody takes any more.
    Closed,
}

impl From<InspectError> for SplitError {
    fn from(error: InspectError) -> SplitError {
        SplitError::Inspect(error)
    }
}

impl From<Closed> for SplitError {
    fn from(_: Closed) -> SplitError {
        SplitError::Closed
    }
}

/// Looks at a dump as it passes, and tells which of its bytes belong to which file.
pub trait Split: Send {
    /// Called once, before the first byte.
    fn start(&mut self, output: &mut dyn Output) -> Result<(), Closed>;

    /// Takes the next bytes, in chunks of any size.
    fn push(&mut self, bytes: &[u8], output: &mut dyn Output) -> Result<(), SplitError>;

    /// Says what it saw, after the last byte.
    fn finish(self: Box<Self>) -> Result<Inspection, InspectError>;
}

/// The whole dump in one file.
pub struct Whole {
    /// Where it goes.
    pub path: String,
    /// Who looks at it.
    pub inspect: Box<dyn Inspect>,
}

impl Split for Whole {
    fn start(&mut self, output: &mut dyn Output) -> Result<(), Closed> {
        output.begin(FileSpec { path: self.path.clone(), member: None, compressed: true })
    }

    fn push(&mut self, bytes: &[u8], output: &mut dyn Output) -> Result<(), SplitError> {
        output.write(bytes)?;
        Ok(self.inspect.push(bytes)?)
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        self.inspect.finish()
    }
}
