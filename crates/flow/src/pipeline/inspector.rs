//! The middle of the pipeline: looks at every byte before it is compressed.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::Bytes;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use tokio::sync::mpsc;

use super::blocks::Blocks;
use super::encoders::{Closed, Encoders};
use super::{PipeSpec, Store, writer};
use crate::failure::{Failure, io_code};
use crate::inspect::{Inspect, InspectError, Inspection};
use crate::ports::StagedFile;
use crate::stage::decode::PushDecoder;
use crate::stage::digest::{Digest, Digested};

/// Why the threads ended early.
pub(super) enum Error {
    /// The bytes are not a whole dump.
    Content(Failure),
    /// The file cannot be written.
    File(Failure),
}

/// What stopped the inspector itself.
enum Stopped {
    Content(Failure),
    /// The writer, or an encoder, takes no more.
    Closed,
}

impl From<Closed> for Stopped {
    fn from(_: Closed) -> Stopped {
        Stopped::Closed
    }
}

impl From<InspectError> for Stopped {
    fn from(error: InspectError) -> Stopped {
        Stopped::Content(error.into())
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Content(Failure::new(
            Code::StreamCorrupt,
            format!("what the server sent cannot be decompressed: {error}"),
        ))
    }
}

/// Reads chunks until there are no more, and ends when the file is on the disk.
pub(super) fn run(
    incoming: mpsc::Receiver<Bytes>,
    file: Box<dyn StagedFile>,
    spec: PipeSpec,
    progress: &dyn Fn(u64),
) -> Result<(Digested, Digested, Inspection), Error> {
    let internal =
        |error: io::Error| Error::File(Failure::new(Code::Internal, format!("cannot start: {error}")));
    let compression = match spec.store {
        Store::Encode(compression) => compression,
        Store::PassThrough => Compression::None,
    };
    thread::scope(|scope| {
        let (encoders, ordered) = Encoders::start(scope, compression, spec.encoders).map_err(internal)?;
        let (written, result) = sync_channel(1);
        thread::Builder::new()
            .name("writer".to_owned())
            .spawn_scoped(scope, move || {
                // The receiver waits for this in every case.
                let _ = written.send(writer::run(&ordered, file));
            })
            .map_err(internal)?;
        let inspected = inspect(incoming, spec, encoders, progress);
        let written = result.recv().unwrap_or_else(|_| Err(io::Error::other("the writer has died")));
        let stored = written.map_err(|error| {
            Error::File(Failure::new(io_code(&error), format!("cannot write the backup: {error}")))
        });
        match inspected {
            Err(Stopped::Content(failure)) => Err(Error::Content(failure)),
            Err(Stopped::Closed) => Err(stored.err().unwrap_or_else(|| {
                Error::File(Failure::new(Code::Internal, "the writer ended before its input did"))
            })),
            Ok((source, inspection)) => Ok((source, stored?, inspection)),
        }
    })
}

/// Takes the encoders: dropping them at the end is what ends the writer.
fn inspect(
    mut incoming: mpsc::Receiver<Bytes>,
    spec: PipeSpec,
    encoders: Encoders,
    progress: &dyn Fn(u64),
) -> Result<(Digested, Inspection), Stopped> {
    let mut decoder = PushDecoder::new(spec.codec)?;
    let mut look = Look { inspect: spec.inspect, digest: Digest::default() };
    let mut blocks = Blocks::default();
    let mut any = false;
    while let Some(chunk) = incoming.blocking_recv() {
        any |= !chunk.is_empty();
        if spec.store == Store::PassThrough {
            encoders.encode(chunk.to_vec())?;
            decoder.push(&chunk, |bytes| look.at(bytes))?;
        } else {
            decoder.push(&chunk, |bytes| {
                look.at(bytes)?;
                blocks.push(bytes, |block| encoders.encode(block).map_err(Stopped::from))
            })?;
        }
        progress(look.digest.bytes());
    }
    // An empty stream is no compressed stream cut short: the program failed before its first byte.
    if any {
        decoder.finish()?;
    }
    let last = blocks.finish();
    // A compressed file of nothing is still a compressed file.
    if !last.is_empty() || (look.digest.bytes() == 0 && spec.store != Store::PassThrough) {
        encoders.encode(last)?;
    }
    let inspection = look.inspect.finish()?;
    Ok((look.digest.finish(), inspection))
}

struct Look {
    inspect: Box<dyn Inspect>,
    digest: Digest,
}

impl Look {
    fn at(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.digest.push(bytes);
        Ok(self.inspect.push(bytes)?)
    }
}
