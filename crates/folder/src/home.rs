//! The folder of a stack that is being made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use supakeep_flow::failure::io_code;
use supakeep_flow::ports::{FolderError, Home};
use supakeep_model::code::Code;
use supakeep_model::recovery::{FILE, Recovery};

/// A folder of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalHome;

impl Home for LocalHome {
    fn prepare(&self, folder: &Path) -> Result<Vec<String>, FolderError> {
        fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))?;
        let entries = fs::read_dir(folder).map_err(|error| cannot("read", folder, &error))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with(FILE)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn recovery(&self, folder: &Path) -> Result<Option<Recovery>, FolderError> {
        let file = folder.join(FILE);
        let json = match fs::read(&file) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", &file, &error)),
        };
        let read = Recovery::parse(&json);
        read.map(Some).map_err(|error| {
            FolderError::new(Code::RecoverUnfit, format!("{} makes no sense: {error}", file.display()))
        })
    }

    fn set_recovery(&self, folder: &Path, recovery: Option<&Recovery>) -> Result<(), FolderError> {
        let file = folder.join(FILE);
        match recovery {
            Some(recovery) => self.write(&file, &recovery.to_json()),
            None => match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", &file, &error)),
                _ => Ok(()),
            },
        }
    }

    fn write(&self, file: &Path, content: &[u8]) -> Result<(), FolderError> {
        let mut beside = file.as_os_str().to_owned();
        beside.push(".new");
        let beside = Path::new(&beside);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(beside)
            .and_then(|mut opened| opened.write_all(content).and_then(|()| opened.sync_all()))
            .and_then(|()| fs::rename(beside, file))
            .and_then(|()| file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()));
        written.map_err(|error| cannot("write", file, &error))
    }

    fn has(&self, file: &Path) -> bool {
        file.is_file()
    }
}

fn cannot(doing: &str, path: &Path, error: &io::Error) -> FolderError {
    FolderError::new(io_code(error), format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use supakeep_model::OffsetDateTime;
    use supakeep_model::recovery::{FORMAT, RecoveryStep};

    #[test]
    fn what_is_written_down_is_there_until_it_is_removed() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().join("a/stack");
        assert_eq!(LocalHome.prepare(&folder).expect("it can be made"), Vec::<String>::new());
        assert_eq!(LocalHome.recovery(&folder).expect("it can be read"), None);
        let recovery = Recovery {
            format: FORMAT,
            backup: "b_1".parse().expect("a valid id"),
            started: OffsetDateTime::UNIX_EPOCH,
            step: RecoveryStep::Folder,
        };
        LocalHome.set_recovery(&folder, Some(&recovery)).expect("room for a file");
        assert_eq!(LocalHome.recovery(&folder).expect("it can be read"), Some(recovery));
        assert_eq!(LocalHome.prepare(&folder).expect("it is there"), Vec::<String>::new(), "it is our own");
        LocalHome.write(&folder.join(".env"), b"A=b\n").expect("room for a file");
        assert_eq!(LocalHome.prepare(&folder).expect("it is there"), [".env"]);
        assert!(LocalHome.has(&folder.join(".env")) && !LocalHome.has(&folder));
        LocalHome.set_recovery(&folder, None).expect("it is ours");
        LocalHome.set_recovery(&folder, None).expect("it is gone already");
        assert_eq!(LocalHome.recovery(&folder).expect("it can be read"), None);
    }
}
