//! Where the folder is.

use std::path::{Path, PathBuf};

use supakeep_flow::ports::{ComposeFiles, Folder, FolderError, StackFolder};
use supakeep_model::code::Code;

use crate::open::OpenFolder;

/// Where the deploy file mounts it.
const MOUNT: &str = "/stack";

/// Finds the folder: where the configuration says; else where it is mounted; else, for a supakeep that runs on
/// the host itself, where compose says.
pub struct LocalStackFolder {
    configured: Option<PathBuf>,
    mount: PathBuf,
}

impl LocalStackFolder {
    /// With what the configuration says, if it says anything.
    pub fn new(configured: Option<PathBuf>) -> LocalStackFolder {
        LocalStackFolder { configured, mount: PathBuf::from(MOUNT) }
    }

    /// With another path for the mount.
    #[must_use]
    pub fn mounted_at(self, mount: PathBuf) -> LocalStackFolder {
        LocalStackFolder { mount, ..self }
    }
}

impl StackFolder for LocalStackFolder {
    fn find(&self, compose: &ComposeFiles) -> Result<Option<Box<dyn Folder>>, FolderError> {
        let path = match &self.configured {
            Some(path) => path.clone(),
            None if self.mount.is_dir() => self.mount.clone(),
            None => match of_host(compose) {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        match OpenFolder::open(&path) {
            Ok(folder) => Ok(Some(Box::new(folder))),
            Err(error) => {
                let message = format!("the stack's folder {} cannot be opened: {error}", path.display());
                Err(FolderError::new(Code::StackFolderMissing, message))
            }
        }
    }
}

/// The folder that compose was started in. Seen from inside a container that path may be anything: it counts
/// only if a compose file of the stack is there.
fn of_host(compose: &ComposeFiles) -> Option<PathBuf> {
    let folder = Path::new(compose.working_dir.as_ref()?);
    let is_there = |file: &String| {
        let file = Path::new(file);
        file.starts_with(folder) && file.is_file()
    };
    compose.config_files.iter().any(is_there).then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn compose(folder: &Path) -> ComposeFiles {
        let text = |path: PathBuf| path.display().to_string();
        ComposeFiles {
            working_dir: Some(text(folder.to_owned())),
            config_files: vec![text(folder.join("docker-compose.yml"))],
            environment_files: vec![],
        }
    }

    fn found(finder: &LocalStackFolder, compose: &ComposeFiles) -> Result<Option<PathBuf>, Code> {
        let folder = finder.find(compose).map_err(|error| error.code)?;
        Ok(folder.map(|folder| folder.path().to_owned()))
    }

    #[test]
    fn the_configuration_wins_then_the_mount_then_what_compose_says() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| root.path().join(name);
        for name in ["configured", "host"] {
            fs::create_dir(at(name)).expect("room for a folder");
        }
        let finder =
            |configured: Option<&str>| LocalStackFolder::new(configured.map(at)).mounted_at(at("mount"));
        let compose = compose(&at("host"));
        assert_eq!(found(&finder(None), &compose), Ok(None), "a folder without a compose file is another's");
        fs::write(at("host").join("docker-compose.yml"), "").expect("room for a file");
        assert_eq!(found(&finder(None), &compose), Ok(Some(at("host"))));
        fs::create_dir(at("mount")).expect("room for a folder");
        assert_eq!(found(&finder(None), &compose), Ok(Some(at("mount"))));
        assert_eq!(found(&finder(Some("configured")), &compose), Ok(Some(at("configured"))));
        assert_eq!(found(&finder(Some("gone")), &compose), Err(Code::StackFolderMissing));
    }
}
