//! Which containers were stopped for a while, on the disk: whoever comes after a crash starts them.

use std::fs;
use std::path::Path;

use supakeep_flow::ports::StoreError;
use supakeep_model::code::Code;
use supakeep_model::volume::StoppedContainers;

use crate::folder::{replace_file, sync};
use crate::path::failed;

/// Its file's name.
const FILE: &str = ".stopped.json";

pub(crate) fn read(folder: &Path) -> Result<Option<StoppedContainers>, StoreError> {
    let path = folder.join(FILE);
    match fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|error| {
            let message = format!("{} cannot be read: {error}", path.display());
            StoreError::new(Code::ManifestDamaged, message)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

pub(crate) fn write(folder: &Path, stopped: Option<&StoppedContainers>) -> Result<(), StoreError> {
    let path = folder.join(FILE);
    match stopped {
        Some(stopped) => {
            let json = serde_json::to_vec_pretty(stopped)
                .map_err(|error| StoreError::new(Code::Internal, error.to_string()))?;
            replace_file(&path, &json)
        }
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => sync(folder),
        },
    }
}
