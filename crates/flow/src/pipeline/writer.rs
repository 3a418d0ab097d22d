//! The last step: encoded blocks, in order, into files.

use std::io;
use std::sync::mpsc::Receiver;

use super::encoders::{Encoded, Ordered};
use crate::failure::{Failure, io_code};
use crate::ports::{StagedFile, StagedFiles};
use crate::stage::digest::{Digest, Digested};

/// A file that is being written.
struct Open {
    path: String,
    file: Box<dyn StagedFile>,
    digest: Digest,
}

impl Open {
    fn write(&mut self, promise: &Encoded) -> Result<(), Failure> {
        let encoded = promise.recv().unwrap_or_else(|_| Err(io::Error::other("an encoder has died")));
        let written = encoded.and_then(|bytes| {
            self.digest.push(&bytes);
            self.file.write_all(&bytes)
        });
        written.map_err(|error| failure(&self.path, &error))
    }

    fn finish(self) -> Result<Digested, Failure> {
        self.file.sync().map_err(|error| failure(&self.path, &error))?;
        Ok(self.digest.finish())
    }
}

fn failure(path: &str, error: &io::Error) -> Failure {
    Failure::new(io_code(error), format!("cannot write the backup: {path}: {error}"))
}

/// Writes until the queue is closed; then every byte is put on the disk. The sums are in the order in
/// which the files were begun.
pub(super) fn run(ordered: &Receiver<Ordered>, files: &dyn StagedFiles) -> Result<Vec<Digested>, Failure> {
    let mut sums = Vec::new();
    let mut open: Option<Open> = None;
    while let Ok(next) = ordered.recv() {
        match (next, &mut open) {
            (Ordered::File(path), before) => {
                if let Some(whole) = before.take() {
                    sums.push(whole.finish()?);
                }
                let file = files.create(&path)?;
                *before = Some(Open { path, file, digest: Digest::default() });
            }
            (Ordered::Block(promise), Some(open)) => open.write(&promise)?,
            (Ordered::Block(_), None) => {
                return Err(Failure::new(supakeep_model::code::Code::Internal, "a block belongs to no file"));
            }
        }
    }
    if let Some(whole) = open {
        sums.push(whole.finish()?);
    }
    Ok(sums)
}
