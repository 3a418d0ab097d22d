//! What a thread writes, as a stream like that of a program on the server.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use supakeep_model::code::Code;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use crate::ports::{SourceStream, StackError, Stored};

/// Bytes handed on at a time.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for the reader.
const WAITING_CHUNKS: usize = 4;

/// The other end of a thread that writes. Dropping it ends the thread at its next hand-over.
pub(super) struct ThreadStream {
    chunks: mpsc::Receiver<Bytes>,
    thread: JoinHandle<io::Result<()>>,
}

/// Where the thread writes.
pub(super) struct Chunks {
    sender: mpsc::Sender<Bytes>,
    gathered: Vec<u8>,
}

impl ThreadStream {
    /// Starts a thread of this name that runs `write`.
    pub(super) fn start(
        name: &str,
        write: impl FnOnce(&mut Chunks) -> io::Result<()> + Send + 'static,
    ) -> io::Result<ThreadStream> {
        let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut out = Chunks { sender, gathered: Vec::with_capacity(CHUNK) };
            write(&mut out)?;
            out.flush()
        })?;
        Ok(ThreadStream { chunks, thread })
    }
}

impl ThreadStream {
    /// As a file that is read, whose end is an error where the thread ended with one.
    pub(super) fn into_stored(self) -> Stored {
        let pull = |stream: Option<ThreadStream>| async move {
            let mut stream = stream?;
            match stream.chunks.recv().await {
                Some(chunk) => Some((Ok(chunk), Some(stream))),
                None => match Box::new(stream).finish().await {
                    Ok(_) => None,
                    Err(error) => Some((Err(io::Error::other(error.message)), None)),
                },
            }
        };
        Box::new(StreamReader::new(Box::pin(stream::unfold(Some(self), pull))))
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(CHUNK - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..length]);
        if self.gathered.len() == CHUNK {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.gathered, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(chunk.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[async_trait]
impl SourceStream for ThreadStream {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        Ok(self.chunks.recv().await)
    }

    async fn finish(self: Box<Self>) -> Result<String, StackError> {
        // It has handed over its last byte: there is nothing left for it to wait for.
        let failed = |what: String| StackError::new(Code::Internal, format!("cannot carry files: {what}"));
        match self.thread.join() {
            Ok(Ok(())) => Ok(String::new()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the thread that does it has died".to_owned())),
        }
    }
}
