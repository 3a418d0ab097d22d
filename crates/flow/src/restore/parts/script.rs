//! A script for psql, made of our own words and of pieces of a dump.
//!
//! It is longer than memory, so it is made while psql reads it; its length is known before.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream;
use supakeep_model::dump::Format;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::source::{DumpSource, SourceFile};
use crate::failure::Failure;
use crate::inspect::archive::{Extract, Taker};
use crate::inspect::select::Entry;
use crate::ports::{Input, Stored};

/// Bytes read and handed on at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait for the server.
const WAITING_CHUNKS: usize = 4;

/// A piece of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Our own words.
    Text(String),
    /// From a plain dump, in its order.
    Ranges(Vec<Range<u64>>),
    /// The rows of an archive's entry, in its order.
    Rows { dump_id: i64, bytes: u64 },
}

/// What psql is to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Script {
    pieces: VecDeque<Piece>,
}

impl Script {
    /// Adds our own words.
    pub(super) fn say(&mut self, text: &str) {
        if let Some(Piece::Text(last)) = self.pieces.back_mut() {
            last.push_str(text);
            last.push('\n');
        } else {
            self.pieces.push_back(Piece::Text(format!("{text}\n")));
        }
    }

    /// Adds the rows or large objects of an entry.
    pub(super) fn data(&mut self, entry: &Entry) {
        if entry.data_bytes == 0 {
            return;
        }
        self.pieces.push_back(if entry.data.is_empty() {
            Piece::Rows { dump_id: entry.id, bytes: entry.data_bytes }
        } else {
            Piece::Ranges(entry.data.clone())
        });
        self.say("");
    }

    /// Adds pieces of a plain dump as they are.
    pub(super) fn ranges(&mut self, ranges: Vec<Range<u64>>) {
        self.pieces.push_back(Piece::Ranges(ranges));
    }

    fn bytes(&self) -> u64 {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Ranges(ranges) => ranges.iter().map(|range| range.end - range.start).sum(),
            Piece::Rows { bytes, .. } => *bytes,
        };
        self.pieces.iter().map(length).sum()
    }

    /// The text, as it is read from the dump.
    pub(super) fn into_input(self, source: &DumpSource) -> Result<Input, Failure> {
        let bytes = self.bytes();
        let (chunks, incoming) = mpsc::channel::<io::Result<Bytes>>(WAITING_CHUNKS);
        match source.format {
            Format::Plain => {
                let dump = source.decoded(source.main()?)?;
                tokio::spawn(tell(chunks.clone(), from_plain(self.pieces, dump, chunks)));
            }
            Format::Custom => {
                let dump = source.decoded(source.main()?)?;
                tokio::spawn(tell(chunks.clone(), from_archive(self.pieces, dump, chunks)));
            }
            Format::Directory => {
                tokio::spawn(tell(chunks.clone(), from_folder(self.pieces, source.clone(), chunks)));
            }
        }
        let pull =
            |mut incoming: mpsc::Receiver<_>| async { incoming.recv().await.map(|chunk| (chunk, incoming)) };
        let stored: Stored = Box::new(StreamReader::new(Box::pin(stream::unfold(incoming, pull))));
        Ok(Input { stored, bytes })
    }
}

type Chunks = mpsc::Sender<io::Result<Bytes>>;

/// What went wrong is told to whoever reads; one that is gone wants to know nothing.
async fn tell(chunks: Chunks, work: impl Future<Output = io::Result<()>>) {
    if let Err(error) = work.await {
        let _ = chunks.send(Err(error)).await;
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads any more")
}

async fn send(chunks: &Chunks, bytes: impl Into<Bytes>) -> io::Result<()> {
    chunks.send(Ok(bytes.into())).await.map_err(|_| gone())
}

async fn copy(from: &mut Stored, mut bytes: u64, chunks: &Chunks) -> io::Result<()> {
    while bytes > 0 {
        let wanted = usize::try_from(bytes).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = Vec::with_capacity(wanted);
        while chunk.len() < wanted {
            let left = (wanted - chunk.len()) as u64;
            if (&mut *from).take(left).read_buf(&mut chunk).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the dump has become shorter"));
            }
        }
        bytes -= chunk.len() as u64;
        send(chunks, chunk).await?;
    }
    Ok(())
}

async fn from_plain(pieces: VecDeque<Piece>, mut dump: Stored, chunks: Chunks) -> io::Result<()> {
    let mut at = 0;
    for piece in pieces {
        match piece {
            Piece::Text(text) => send(&chunks, text).await?,
            Piece::Rows { .. } => return Err(io::Error::other("a plain dump has no numbered rows")),
            Piece::Ranges(ranges) => {
                for range in ranges {
                    skip(&mut dump, range.start.checked_sub(at)).await?;
                    copy(&mut dump, range.end - range.start, &chunks).await?;
                    at = range.end;
                }
            }
        }
    }
    Ok(())
}

async fn skip(dump: &mut Stored, bytes: Option<u64>) -> io::Result<()> {
    let bytes = bytes.ok_or_else(|| io::Error::other("pieces of a dump out of its order"))?;
    let mut nowhere = tokio::io::sink();
    tokio::io::copy(&mut (&mut *dump).take(bytes), &mut nowhere).await?;
    nowhere.flush().await
}

async fn from_folder(pieces: VecDeque<Piece>, source: DumpSource, chunks: Chunks) -> io::Result<()> {
    for piece in pieces {
        match piece {
            Piece::Text(text) => send(&chunks, text).await?,
            Piece::Ranges(_) => return Err(io::Error::other("a folder has no ranges")),
            Piece::Rows { dump_id, bytes } => {
                let file: Option<&SourceFile> = source.rows(dump_id);
                let file = file.ok_or_else(|| io::Error::other("a file of the folder is missing"))?;
                let mut stored = source.decoded(file).map_err(io::Error::other)?;
                copy(&mut stored, bytes, &chunks).await?;
            }
        }
    }
    Ok(())
}

async fn from_archive(pieces: VecDeque<Piece>, mut dump: Stored, chunks: Chunks) -> io::Result<()> {
    let (raw, mut incoming) = mpsc::channel::<Bytes>(WAITING_CHUNKS);
    let extracting = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut extract = Extract::new(Weaver { pieces, chunks });
        while let Some(chunk) = incoming.blocking_recv() {
            if !extract.push(&chunk).map_err(io::Error::other)? {
                return Err(gone());
            }
        }
        extract.finish().map_err(io::Error::other)?.finish()
    });
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK {
            if dump.read_buf(&mut chunk).await? == 0 {
                break;
            }
        }
        if chunk.is_empty() || raw.send(chunk.into()).await.is_err() {
            break;
        }
    }
    drop(raw);
    extracting.await.map_err(io::Error::other)?
}

/// Puts our words between the rows as they come by.
struct Weaver {
    pieces: VecDeque<Piece>,
    chunks: Chunks,
}

impl Weaver {
    /// Sends our words up to the next rows.
    fn say(&mut self) -> bool {
        while let Some(Piece::Text(_)) = self.pieces.front() {
            if let Some(Piece::Text(text)) = self.pieces.pop_front()
                && !self.take(text.as_bytes())
            {
                return false;
            }
        }
        true
    }

    fn finish(mut self) -> io::Result<()> {
        if !self.say() {
            return Err(gone());
        }
        if self.pieces.is_empty() { Ok(()) } else { Err(io::Error::other("rows are missing in the archive")) }
    }
}

impl Taker for Weaver {
    fn begin(&mut self, dump_id: i64) -> bool {
        // What went wrong in sending shows again with the first bytes.
        self.say();
        let is_wanted =
            matches!(self.pieces.front(), Some(Piece::Rows { dump_id: next, .. }) if *next == dump_id);
        if is_wanted {
            self.pieces.pop_front();
        }
        is_wanted
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        self.chunks.blocking_send(Ok(Bytes::copy_from_slice(bytes))).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use supakeep_model::artifact::Encoding;

    use super::*;

    fn source(format: Format, bytes: &[u8]) -> DumpSource {
        let bytes = bytes.to_vec();
        let file = SourceFile { path: "dump".into(), encoding: Encoding::Identity, bytes: 0, recorded: None };
        let open = move |_: &str| Ok(Box::new(io::Cursor::new(bytes.clone())) as Stored);
        DumpSource::new(format, file, Arc::new(open))
    }

    async fn read(script: Script, source: &DumpSource) -> (io::Result<String>, u64) {
        let mut input = script.into_input(source).expect("the dump can be opened");
        let mut text = String::new();
        (input.stored.read_to_string(&mut text).await.map(|_| text), input.bytes)
    }

    fn entry(data: &[(u64, u64)]) -> Entry {
        let data: Vec<Range<u64>> = data.iter().map(|(start, end)| *start..*end).collect();
        let data_bytes = data.iter().map(|range| range.end - range.start).sum();
        Entry { data, data_bytes, ..Entry::default() }
    }

    #[tokio::test]
    async fn pieces_of_a_plain_dump_stand_between_our_words() {
        let mut script = Script::default();
        script.say("BEGIN;");
        script.data(&entry(&[(2, 4), (6, 9)]));
        script.data(&entry(&[]));
        script.data(&entry(&[(9, 10)]));
        script.say("COMMIT;");
        let (text, bytes) = read(script, &source(Format::Plain, b"0123456789")).await;
        let text = text.expect("memory can be read");
        assert_eq!(text, "BEGIN;\n23678\n9\nCOMMIT;\n");
        assert_eq!(bytes, text.len() as u64, "its length is known before");
    }

    #[tokio::test]
    async fn a_dump_that_has_become_shorter_is_an_error() {
        let mut script = Script::default();
        script.data(&entry(&[(2, 14)]));
        script.say("COMMIT;");
        assert!(read(script, &source(Format::Plain, b"0123456789")).await.0.is_err());
    }

    #[tokio::test]
    async fn an_archive_without_the_rows_is_an_error() {
        let mut script = Script::default();
        script.data(&Entry { id: 7, data_bytes: 3, ..Entry::default() });
        script.say("COMMIT;");
        let (text, _) = read(script, &source(Format::Custom, b"no archive")).await;
        assert!(text.is_err());
    }
}
