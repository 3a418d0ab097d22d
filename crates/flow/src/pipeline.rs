//! From a stream on the server to a file in the repository.
//!
//! Three kinds of threads with bounded queues between them, so that every core works and memory stays
//! the same however large the database is:
//!
//! ```text
//! stream ─► reader ─► inspector ──► encoders ─► writer ─► files
//!           (task)    decode what     compress    digest
//!                     was packed at   blocks      of the bytes
//!                     the source,                 as stored
//!                     digest, inspect,
//!                     split into files
//! ```
//!
//! The writer takes blocks in the order in which the inspector made them, whichever encoder ends
//! first. A failure anywhere closes the queues, and every thread ends. The reader, which may wait for
//! a slow server, does not find that out by its queue: a thread that ends tells it.

mod blocks;
mod encoders;
mod inspector;
mod writer;

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use supakeep_model::artifact::{Encoding, Member};
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::inspect::Inspection;
use crate::inspect::split::Split;
use crate::ports::{SourceStream, StagedFiles};
use crate::stage::decode::Codec;
use crate::stage::digest::Digested;

/// Bytes that the reader gathers before it hands them on: fewer, larger hand-overs.
const GATHER: usize = 256 * 1024;
/// Gathered chunks that may wait for the inspector.
const WAITING_CHUNKS: usize = 4;

/// How the files of one stream are made.
pub struct PipeSpec {
    /// How the stream as a whole is compressed on its way.
    pub codec: Codec,
    /// How the files are compressed.
    pub store: Store,
    /// How many encoders work side by side.
    pub encoders: usize,
    /// Who looks at the bytes, and tells which file they belong to.
    pub split: Box<dyn Split>,
}

/// How a file's bytes come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Compressed here.
    Encode(Compression),
    /// Stored as they came, in one file: the source has compressed them as wanted.
    PassThrough,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct PipeReport {
    /// The files, in the order in which they were written.
    pub files: Vec<FileReport>,
    /// What was found in them.
    pub inspection: Inspection,
    /// What the program on the server wrote to standard error.
    pub stderr: String,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct FileReport {
    /// Path below the backup's folder.
    pub path: String,
    /// Which part of a folder of files it is.
    pub member: Option<Member>,
    /// How it is compressed, where that was done here.
    pub encoding: Encoding,
    /// The bytes before compression.
    pub source: Digested,
    /// The bytes as stored.
    pub stored: Digested,
}

/// Runs `stream` into `files`, and returns only when every byte is on the disk and the stream's verdict
/// is success. `progress` is told the bytes before compression, now and then.
///
/// Dropping the future ends the threads; the caller throws the files away.
pub async fn run(
    mut stream: Box<dyn SourceStream>,
    files: Arc<dyn StagedFiles>,
    spec: PipeSpec,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<PipeReport, Failure> {
    let (chunks, incoming) = mpsc::channel::<Bytes>(WAITING_CHUNKS);
    let (reply, outcome) = oneshot::channel();
    let over = CancellationToken::new();
    let threads_over = over.clone();
    thread::Builder::new()
        .name("inspector".to_owned())
        .spawn(move || {
            let _tell = threads_over.clone().drop_guard();
            // The receiver is gone when the run was cancelled; then nobody wants to know.
            let _ = reply.send(inspector::run(incoming, files, spec, &progress, &threads_over));
        })
        .map_err(|error| Failure::new(Code::Internal, format!("cannot start a thread: {error}")))?;
    let read = over.run_until_cancelled(read(&mut *stream, chunks)).await.unwrap_or(Err(Reading::Refused));
    let threads = outcome
        .await
        .map_err(|_| Failure::new(Code::Internal, "the thread that writes the files has died"))?;
    // One failure leads to others: a cut stream to an incomplete dump, a full disk to a stream that
    // nobody reads. The cause is what is reported.
    let (files, inspection) = match (read, threads) {
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
    Ok(PipeReport { files, inspection, stderr })
}

enum Reading {
    Stream(Failure),
    /// Nobody takes any more.
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
