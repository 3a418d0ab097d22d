//! From a stream on the server to a file in the repository.
//!
//! Three kinds of threads with bounded queues between them, so that every core works and memory stays
//! the same however large the database is:
//!
//! ```text
//! stream ─► reader ─► inspector ──► encoders ─► writer ─► file
//!           (task)    decode what     compress    digest
//!                     was packed at   blocks      of the bytes
//!                     the source,                 as stored
//!                     digest, inspect
//! ```
//!
//! The writer takes blocks in the order in which the inspector made them, whichever encoder ends
//! first. A failure anywhere closes the queues, and every thread ends.

mod blocks;
mod encoders;
mod inspector;
mod writer;

use std::thread;

use bytes::Bytes;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;
use crate::inspect::{Inspect, Inspection};
use crate::ports::{SourceStream, StagedFile};
use crate::stage::decode::Codec;
use crate::stage::digest::Digested;

/// Bytes that the reader gathers before it hands them on: fewer, larger hand-overs.
const GATHER: usize = 256 * 1024;
/// Gathered chunks that may wait for the inspector.
const WAITING_CHUNKS: usize = 4;

/// How one file is made.
pub struct PipeSpec {
    /// How the stream as a whole is compressed on its way.
    pub codec: Codec,
    /// How the file is compressed.
    pub store: Store,
    /// How many encoders work side by side.
    pub encoders: usize,
    /// Who looks at the bytes.
    pub inspect: Box<dyn Inspect>,
}

/// How a file's bytes come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Compressed here.
    Encode(Compression),
    /// Stored as they came: the source has compressed them as wanted.
    PassThrough,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct PipeReport {
    /// The bytes before compression.
    pub source: Digested,
    /// The bytes as stored.
    pub stored: Digested,
    /// What was found in them.
    pub inspection: Inspection,
    /// What the program on the server wrote to standard error.
    pub stderr: String,
}

/// Runs `stream` into `file`, and returns only when every byte is on the disk and the stream's verdict
/// is success. `progress` is told the bytes before compression, now and then.
///
/// Dropping the future ends the threads; the caller throws the file away.
pub async fn run(
    mut stream: Box<dyn SourceStream>,
    file: Box<dyn StagedFile>,
    spec: PipeSpec,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<PipeReport, Failure> {
    let (chunks, incoming) = mpsc::channel::<Bytes>(WAITING_CHUNKS);
    let (reply, outcome) = oneshot::channel();
    thread::Builder::new()
        .name("inspector".to_owned())
        .spawn(move || {
            // The receiver is gone when the run was cancelled; then nobody wants to know.
            let _ = reply.send(inspector::run(incoming, file, spec, &progress));
        })
        .map_err(|error| Failure::new(Code::Internal, format!("cannot start a thread: {error}")))?;
    let read = read(&mut *stream, chunks).await;
    let threads = outcome
        .await
        .map_err(|_| Failure::new(Code::Internal, "the thread that writes the file has died"))?;
    // One failure leads to others: a cut stream to an incomplete dump, a full disk to a stream that
    // nobody reads. The cause is what is reported.
    let (source, stored, inspection) = match (read, threads) {
        (Ok(()), Ok(done)) => done,
        (Err(Reading::Stream(failure)), _) | (_, Err(inspector::Error::File(failure))) => {
            return Err(failure);
        }
        // The program's own words, where it has any, say more than that its output is incomplete.
        (Ok(()), Err(inspector::Error::Content(failure))) => {
            return Err(stream.finish().await.err().map_or(failure, Failure::from));
        }
        (Err(Reading::Refused), Err(inspector::Error::Content(failure))) => return Err(failure),
        (Err(Reading::Refused), Ok(_)) => {
            return Err(Failure::new(Code::Internal, "the pipeline ended before its stream did"));
        }
    };
    let stderr = stream.finish().await?;
    Ok(PipeReport { source, stored, inspection, stderr })
}

enum Reading {
    Stream(Failure),
    /// The inspector takes no more.
    Refused,
}

async fn read(stream: &mut dyn SourceStream, chunks: mpsc::Sender<Bytes>) -> Result<(), Reading> {
    let mut gathered = Vec::new();
    while let Some(bytes) = stream.next().await.map_err(|error| Reading::Stream(error.into()))? {
        if gathered.is_empty() {
            gathered.reserve_exact(GATHER + bytes.len());
        }
        gathered.extend_from_slice(&bytes);
        if gathered.len() >= GATHER {
            let full = std::mem::take(&mut gathered);
            chunks.send(full.into()).await.map_err(|_| Reading::Refused)?;
        }
    }
    if !gathered.is_empty() {
        chunks.send(gathered.into()).await.map_err(|_| Reading::Refused)?;
    }
    Ok(())
}
