//! The middle of the pipeline: looks at every byte before it is compressed.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::Bytes;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::blocks::Blocks;
use super::encoders::Encoders;
use super::{FileReport, PipeSpec, Store, writer};
use crate::failure::Failure;
use crate::inspect::split::{Closed, FileSpec, Output, SplitError};
use crate::inspect::{InspectError, Inspection};
use crate::ports::StagedFiles;
use crate::stage::decode::PushDecoder;
use crate::stage::digest::{Digest, Digested};
use crate::stage::encode::encoding;

/// The manifest tells of each file, and is held in memory: some hundred bytes for each.
const MOST_FILES: usize = 20_000;

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

impl From<SplitError> for Stopped {
    fn from(error: SplitError) -> Stopped {
        match error {
            SplitError::Inspect(error) => error.into(),
            SplitError::Closed => Stopped::Closed,
        }
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

/// Reads chunks until there are no more, and ends when the files are on the disk. `over` is cancelled
/// when the writer has ended, for whatever reason: there is no use in more chunks then.
pub(super) fn run(
    incoming: mpsc::Receiver<Bytes>,
    files: Arc<dyn StagedFiles>,
    spec: PipeSpec,
    progress: &dyn Fn(u64),
    over: &CancellationToken,
) -> Result<(Vec<FileReport>, Inspection), Error> {
    let internal =
        |error: io::Error| Error::File(Failure::new(Code::Internal, format!("cannot start: {error}")));
    let compression = match spec.store {
        Store::Encode(compression) => compression,
        Store::PassThrough => Compression::None,
    };
    thread::scope(|scope| {
        let (encoders, ordered) = Encoders::start(scope, compression, spec.encoders).map_err(internal)?;
        let (written, result) = sync_channel(1);
        let tell = over.clone().drop_guard();
        thread::Builder::new()
            .name("writer".to_owned())
            .spawn_scoped(scope, move || {
                let _tell = tell;
                // The receiver waits for this in every case.
                let _ = written.send(writer::run(&ordered, &*files));
            })
            .map_err(internal)?;
        let inspected = inspect(incoming, spec, encoders, progress);
        let died = || Failure::new(Code::Internal, "the thread that writes has died");
        let stored = result.recv().unwrap_or_else(|_| Err(died())).map_err(Error::File);
        match (inspected, stored) {
            // A dump looks cut short when its file could not be written and nobody read on.
            (_, Err(error)) => Err(error),
            (Err(Stopped::Content(failure)), Ok(_)) => Err(Error::Content(failure)),
            (Err(Stopped::Closed), Ok(_)) => {
                Err(Error::File(Failure::new(Code::Internal, "the writer ended before its input did")))
            }
            (Ok((sources, inspection)), Ok(stored)) => {
                Ok((reports(sources, stored, compression), inspection))
            }
        }
    })
}

fn reports(
    sources: Vec<(FileSpec, Digested)>,
    stored: Vec<Digested>,
    compression: Compression,
) -> Vec<FileReport> {
    let report = |((file, source), stored): ((FileSpec, Digested), Digested)| FileReport {
        path: file.path,
        member: file.member,
        encoding: encoding(if file.compressed { compression } else { Compression::None }),
        source,
        stored,
    };
    sources.into_iter().zip(stored).map(report).collect()
}

/// Takes the encoders: dropping them at the end is what ends the writer.
fn inspect(
    mut incoming: mpsc::Receiver<Bytes>,
    spec: PipeSpec,
    encoders: Encoders,
    progress: &dyn Fn(u64),
) -> Result<(Vec<(FileSpec, Digested)>, Inspection), Stopped> {
    let mut decoder = PushDecoder::new(spec.codec)?;
    let mut split = spec.split;
    let mut files = Files::new(&encoders, spec.store == Store::PassThrough);
    split.start(&mut files)?;
    let mut any = false;
    while let Some(chunk) = incoming.blocking_recv() {
        any |= !chunk.is_empty();
        let pushed = decoder.push(&chunk, |bytes| split.push(bytes, &mut files).map_err(Stopped::from));
        if files.too_many {
            return Err(Stopped::Content(too_many()));
        }
        pushed?;
        progress(files.bytes);
        if files.pass_through {
            encoders.encode(chunk.into(), true)?;
        }
    }
    // An empty stream is no compressed stream cut short: the program failed before its first byte.
    if any {
        decoder.finish()?;
    }
    let done = files.finish()?;
    Ok((done, split.finish()?))
}

fn too_many() -> Failure {
    let message = format!(
        "the directory format would be more than {MOST_FILES} files, one for each table and large object; custom is one"
    );
    Failure::new(Code::DumpUnsupported, message)
}

/// Turns the files that a dump is split into into blocks for the encoders.
struct Files<'a> {
    encoders: &'a Encoders,
    /// The bytes are stored as they came, not as they are looked at.
    pass_through: bool,
    blocks: Blocks,
    digest: Digest,
    current: Option<FileSpec>,
    done: Vec<(FileSpec, Digested)>,
    /// More were wanted than are made.
    too_many: bool,
    /// Bytes of all files.
    bytes: u64,
}

impl Files<'_> {
    fn new(encoders: &Encoders, pass_through: bool) -> Files<'_> {
        Files {
            encoders,
            pass_through,
            blocks: Blocks::default(),
            digest: Digest::default(),
            current: None,
            done: Vec::new(),
            too_many: false,
            bytes: 0,
        }
    }

    fn end(&mut self) -> Result<(), Closed> {
        let Some(file) = self.current.take() else { return Ok(()) };
        let last = self.blocks.take();
        // A compressed file of nothing is still a compressed file.
        if !last.is_empty() || (self.digest.bytes() == 0 && !self.pass_through) {
            self.encoders.encode(last, file.compressed)?;
        }
        self.done.push((file, std::mem::take(&mut self.digest).finish()));
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<(FileSpec, Digested)>, Closed> {
        self.end()?;
        Ok(self.done)
    }
}

impl Output for Files<'_> {
    fn begin(&mut self, file: FileSpec) -> Result<(), Closed> {
        self.end()?;
        if self.done.len() == MOST_FILES {
            self.too_many = true;
            return Err(Closed);
        }
        self.encoders.begin(file.path.clone())?;
        self.current = Some(file);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.digest.push(bytes);
        self.bytes += bytes.len() as u64;
        if self.pass_through {
            return Ok(());
        }
        let Files { blocks, encoders, current, .. } = self;
        let compressed = current.as_ref().is_some_and(|file| file.compressed);
        blocks.push(bytes, |block| encoders.encode(block, compressed))
    }
}
