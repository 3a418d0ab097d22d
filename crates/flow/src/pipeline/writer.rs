//! The last step: encoded blocks, in order, into the file.

use std::io::{self, Write as _};
use std::sync::mpsc::Receiver;

use super::encoders::Encoded;
use crate::ports::StagedFile;
use crate::stage::digest::{Digest, Digested};

/// Writes until the queue is closed; then every byte is put on the disk.
pub(super) fn run(blocks: &Receiver<Encoded>, mut file: Box<dyn StagedFile>) -> io::Result<Digested> {
    let mut digest = Digest::default();
    while let Ok(promise) = blocks.recv() {
        let bytes = promise.recv().map_err(|_| io::Error::other("an encoder has died"))??;
        digest.push(&bytes);
        file.write_all(&bytes)?;
    }
    file.sync()?;
    Ok(digest.finish())
}
