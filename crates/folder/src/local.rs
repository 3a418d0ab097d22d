//! Folders of this machine.

use std::io;
use std::path::Path;

use supakeep_flow::ports::{Folder, FolderError, Folders, NewFolder};
use supakeep_model::code::Code;

use crate::fill::FillFolder;
use crate::open::OpenFolder;

/// Opens folders of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFolders;

impl Folders for LocalFolders {
    fn open(&self, path: &Path) -> Result<Box<dyn Folder>, FolderError> {
        match OpenFolder::open(path) {
            Ok(folder) => Ok(Box::new(folder)),
            Err(error) => Err(cannot_open(path, &error)),
        }
    }

    fn open_to_fill(&self, path: &Path) -> Result<Box<dyn NewFolder>, FolderError> {
        match FillFolder::open(path) {
            Ok(folder) => Ok(Box::new(folder)),
            Err(error) => Err(cannot_open(path, &error)),
        }
    }
}

fn cannot_open(path: &Path, error: &io::Error) -> FolderError {
    FolderError::new(Code::FilesMissing, format!("{} cannot be opened: {error}", path.display()))
}
