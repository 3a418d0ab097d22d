//! What the hashes of redacted values are made with.
//!
//! It lies beside the backups and in none of them: a copy of a backup does not have it.

use std::fs;
use std::path::Path;

use supakeep_flow::ports::StoreError;
use supakeep_flow::redact::RedactionKey;
use supakeep_model::code::Code;
use supakeep_model::secret::Secret;

use crate::folder::create_whole;
use crate::path::failed;

/// Its file's name.
const FILE: &str = ".redaction.key";

/// Reads the key, or makes one.
pub(crate) fn ensure(folder: &Path) -> Result<RedactionKey, StoreError> {
    let path = folder.join(FILE);
    match read(&path)? {
        Some(key) => Ok(key),
        None => create(&path),
    }
}

/// Of several processes that do this at once, one makes the key and all of them read it.
fn create(path: &Path) -> Result<RedactionKey, StoreError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::new(Code::Internal, format!("no random numbers: {error}")))?;
    let created = create_whole(path, hex::encode(random).as_bytes());
    match read(path)? {
        Some(key) => Ok(key),
        None => created.map(|()| Secret::new(random)),
    }
}

fn read(path: &Path) -> Result<Option<RedactionKey>, StoreError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mut key = [0; 32];
    match hex::decode_to_slice(text.trim_ascii(), &mut key) {
        Ok(()) => Ok(Some(Secret::new(key))),
        // One that is empty or cut short would be one that can be guessed.
        Err(_) => {
            let message =
                format!("{} is not 64 hexadecimal digits; remove it, and a new one is made", path.display());
            Err(StoreError::new(Code::RepositoryIo, message))
        }
    }
}
