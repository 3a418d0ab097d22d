//! Reading a stored file again: is it what was written?

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use supakeep_model::artifact::Encoding;
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader, ReadBuf};
use tokio::sync::mpsc;

use crate::inspect::{Inspect, InspectError, Inspection};
use crate::ports::Stored;
use crate::stage::digest::{Digest, Digested};

/// Bytes read and handed on at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait for the inspector.
const WAITING_CHUNKS: usize = 4;

/// What a stored file turned out to hold.
#[derive(Debug)]
pub struct ReadBack {
    /// The bytes as stored.
    pub stored: Digested,
    /// The bytes after decompression, and what they hold: or why they could not be read to the end.
    pub content: Result<(Digested, Inspection), ContentError>,
}

/// Why a stored file's content could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It cannot be read or decompressed.
    #[error("it cannot be decompressed: {0}")]
    Decode(#[from] std::io::Error),
    /// It is no whole dump.
    #[error("{0}")]
    Inspect(#[from] InspectError),
}

/// Decompresses `stored` as a stream, of however many members, ready to be read.
pub fn decoded(stored: impl AsyncRead + Send + Unpin + 'static, encoding: Encoding) -> Stored {
    let buffered = BufReader::with_capacity(CHUNK, stored);
    match encoding {
        Encoding::Identity => Box::new(buffered),
        Encoding::Gzip => {
            let mut decoder = GzipDecoder::new(buffered);
            // Without this the decoder ends, without an error, after the first member.
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Encoding::Zstd => {
            let mut decoder = ZstdDecoder::new(buffered);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
    }
}

/// Reads `stored` to its end; memory does not grow with it. An error is one of reading the stored
/// bytes themselves.
pub async fn read_back(
    stored: Stored,
    encoding: Encoding,
    inspect: Box<dyn Inspect>,
) -> std::io::Result<ReadBack> {
    let (watched, sums) = Watched::new(stored);
    let mut reader = decoded(watched, encoding);
    let (chunks, incoming) = mpsc::channel(WAITING_CHUNKS);
    let look = tokio::task::spawn_blocking(move || look(incoming, inspect));
    let decoding = read_chunks(&mut reader, chunks).await;
    // What the decoder did not want is still part of the file.
    drop(reader);
    let (stored, read_error) = sums.finish().await;
    if let Some(error) = read_error {
        return Err(error);
    }
    let looked = look.await.map_err(std::io::Error::other)?;
    let content = match (decoding, looked) {
        (Err(error), _) => Err(ContentError::Decode(error)),
        (Ok(()), Err(error)) => Err(ContentError::Inspect(error)),
        (Ok(()), Ok(found)) => Ok(found),
    };
    Ok(ReadBack { stored, content })
}

async fn read_chunks(reader: &mut Stored, chunks: mpsc::Sender<Bytes>) -> std::io::Result<()> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK {
            if reader.read_buf(&mut chunk).await? == 0 {
                break;
            }
        }
        // A receiver that is gone has found a fault, and says so itself.
        if chunk.is_empty() || chunks.send(chunk.into()).await.is_err() {
            return Ok(());
        }
    }
}

fn look(
    mut incoming: mpsc::Receiver<Bytes>,
    mut inspect: Box<dyn Inspect>,
) -> Result<(Digested, Inspection), InspectError> {
    let mut digest = Digest::default();
    while let Some(chunk) = incoming.blocking_recv() {
        digest.push(&chunk);
        inspect.push(&chunk)?;
    }
    let inspection = inspect.finish()?;
    Ok((digest.finish(), inspection))
}

/// A reader that sums up what passes, and hands itself back when it is dropped, so that what nobody
/// wanted to read can be summed up too.
struct Watched {
    inner: Option<(Stored, Digest)>,
    error: Option<std::io::Error>,
    back: Option<tokio::sync::oneshot::Sender<(Stored, Digest, Option<std::io::Error>)>>,
}

/// The other end of a [`Watched`] reader.
struct Sums(tokio::sync::oneshot::Receiver<(Stored, Digest, Option<std::io::Error>)>);

impl Watched {
    fn new(stored: Stored) -> (Watched, Sums) {
        let (back, sums) = tokio::sync::oneshot::channel();
        (Watched { inner: Some((stored, Digest::default())), error: None, back: Some(back) }, Sums(sums))
    }
}

impl Sums {
    /// Reads what is left; the sum of all bytes, and the first error of reading them.
    async fn finish(self) -> (Digested, Option<std::io::Error>) {
        let Ok((mut stored, mut digest, mut error)) = self.0.await else {
            return (Digest::default().finish(), Some(std::io::Error::other("the reader has died")));
        };
        let mut chunk = vec![0; CHUNK];
        while error.is_none() {
            match stored.read(&mut chunk).await {
                Ok(0) => break,
                Ok(length) => digest.push(&chunk[..length]),
                Err(failed) => error = Some(failed),
            }
        }
        (digest.finish(), error)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        let Some((stored, digest)) = &mut this.inner else { return Poll::Ready(Ok(())) };
        let before = buf.filled().len();
        match ready!(Pin::new(stored).poll_read(cx, buf)) {
            Ok(()) => digest.push(&buf.filled()[before..]),
            Err(error) => {
                let shown = std::io::Error::new(error.kind(), error.to_string());
                this.error = Some(error);
                return Poll::Ready(Err(shown));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some((stored, digest)), Some(back)) = (self.inner.take(), self.back.take()) {
            // Nobody waits when the verification was cancelled.
            let _ = back.send((stored, digest, self.error.take()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::opaque::Opaque;
    use crate::stage::encode::BlockEncoder;
    use supakeep_model::dump::Compression;

    fn packed(compression: Compression, parts: &[&[u8]]) -> Vec<u8> {
        let mut encoder = BlockEncoder::new(compression).expect("a valid level");
        parts.iter().flat_map(|part| encoder.encode(part.to_vec()).expect("memory")).collect()
    }

    async fn read(bytes: Vec<u8>, encoding: Encoding) -> ReadBack {
        let stored: Stored = Box::new(std::io::Cursor::new(bytes));
        read_back(stored, encoding, Box::new(Opaque)).await.expect("memory can be read")
    }

    #[tokio::test]
    async fn reads_every_member_and_sums_up_both_sides() {
        for (compression, encoding) in [
            (Compression::Gzip(6), Encoding::Gzip),
            (Compression::Zstd(3), Encoding::Zstd),
            (Compression::None, Encoding::Identity),
        ] {
            let bytes = packed(compression, &[b"one ", b"two ", b"three"]);
            let length = bytes.len() as u64;
            let found = read(bytes, encoding).await;
            let (source, _) = found.content.expect("it is whole");
            assert_eq!((found.stored.bytes, source.bytes), (length, 13), "{compression}");
        }
    }

    #[tokio::test]
    async fn notices_every_cut_and_every_flipped_byte_in_a_compressed_file() {
        for (compression, encoding) in
            [(Compression::Gzip(6), Encoding::Gzip), (Compression::Zstd(3), Encoding::Zstd)]
        {
            let bytes = packed(compression, &[b"some text", b"and some more"]);
            let whole = read(bytes.clone(), encoding).await;
            for at in 0..bytes.len() {
                let cut = read(bytes[..at].to_vec(), encoding).await;
                assert!(cut.stored.bytes == at as u64, "{compression} cut at {at}");
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                let flipped = read(flipped, encoding).await;
                assert_ne!(flipped.stored.sha256, whole.stored.sha256, "{compression} flipped at {at}");
            }
        }
    }

    #[tokio::test]
    async fn sums_up_the_whole_file_even_when_its_content_is_refused_early() {
        let mut bytes = vec![b'x'; 3 * CHUNK];
        bytes[0] = b'y';
        let found = read(bytes, Encoding::Gzip).await;
        assert_eq!(found.stored.bytes, 3 * CHUNK as u64);
        assert!(matches!(found.content, Err(ContentError::Decode(_))));
    }
}
