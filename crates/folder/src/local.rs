//! Folders of this machine.

use std::fs;
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

    fn clear(&self, path: &Path) -> Result<u64, FolderError> {
        clear(path).map_err(|error| {
            FolderError::new(Code::FilesMissing, format!("{} cannot be emptied: {error}", path.display()))
        })
    }
}

/// Names are collected first: whether a name is seen that was removed meanwhile is up to the file system.
fn clear(path: &Path) -> io::Result<u64> {
    let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    for entry in &entries {
        // What a name is, is asked of itself, and not of what it may point at.
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(entries.len() as u64)
}

fn cannot_open(path: &Path, error: &io::Error) -> FolderError {
    FolderError::new(Code::FilesMissing, format!("{} cannot be opened: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_emptied_is_left_itself_and_what_links_point_at_stays() {
        let (root, outside) = (tempfile::tempdir().expect("room"), tempfile::tempdir().expect("room"));
        let stays = outside.path().join("stays");
        fs::write(&stays, "x").expect("room for a file");
        fs::create_dir_all(root.path().join("a/b")).expect("room for a folder");
        fs::write(root.path().join("a/b/c"), "x").expect("room for a file");
        fs::write(root.path().join("-rf"), "x").expect("room for a file");
        symlink(&stays, root.path().join("link")).expect("room for a link");
        symlink(outside.path(), root.path().join("a/folder")).expect("room for a link");
        let cleared = LocalFolders.clear(root.path()).map_err(|error| error.code);
        assert_eq!(cleared, Ok(3));
        assert_eq!(fs::read_dir(root.path()).expect("it is there").count(), 0);
        assert!(stays.exists());
        assert_eq!(
            LocalFolders.clear(&root.path().join("gone")).map_err(|error| error.code),
            Err(Code::FilesMissing)
        );
    }
}
