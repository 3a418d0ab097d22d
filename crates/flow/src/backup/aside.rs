//! What a porter sends beside an archive: an index, and words.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use tokio::sync::oneshot;

use crate::failure::{Failure, io_code};
use crate::folder::frames::{Frames, Kind};
use crate::inspect::file_index::FileIndex;
use crate::inspect::{FilesTally, Inspect as _};
use crate::ports::{SourceStream, StackError, StagedFile, StagedFiles};
use crate::stage::digest::Digest;
use crate::stage::encode::{BlockEncoder, encoding};

/// An index is small beside what it tells of, and is read again for each backup.
const COMPRESSION: Compression = Compression::Zstd(3);
/// Bytes that are compressed at a time.
const BLOCK: usize = 1 << 20;

/// What came beside an archive.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// The index, where one was asked for, and its sums.
    pub(super) index: Option<(Artifact, FilesTally)>,
}

/// The archive out of a porter's stream. What comes beside it is sent on when the stream has ended.
pub(super) struct ArchiveStream {
    stream: Box<dyn SourceStream>,
    frames: Frames,
    ready: VecDeque<Bytes>,
    notes: Vec<String>,
    index: Option<IndexFile>,
    ended: oneshot::Sender<Aside>,
}

impl ArchiveStream {
    /// Of `stream`; with an index that goes into the file `index`.
    pub(super) fn new(
        stream: Box<dyn SourceStream>,
        files: Arc<dyn StagedFiles>,
        index: Option<String>,
    ) -> Result<(ArchiveStream, oneshot::Receiver<Aside>), Failure> {
        let index = index.map(|path| IndexFile::create(&*files, path)).transpose()?;
        let (ended, aside) = oneshot::channel();
        let frames = Frames::default();
        Ok((ArchiveStream { stream, frames, ready: VecDeque::new(), notes: Vec::new(), index, ended }, aside))
    }
}

#[async_trait]
impl SourceStream for ArchiveStream {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            let Some(bytes) = self.stream.next().await? else { return Ok(None) };
            let ArchiveStream { frames, ready, notes, index, .. } = self;
            frames.push(&bytes, &mut |kind, content| {
                match (kind, &mut *index) {
                    (Kind::Archive, _) => ready.push_back(Bytes::copy_from_slice(content)),
                    (Kind::Index, Some(index)) => index.push(content)?,
                    (Kind::Note, _) => notes.push(String::from_utf8_lossy(content).into_owned()),
                    _ => {
                        return Err(StackError::new(
                            Code::StreamCorrupt,
                            "the porter sends an index unasked",
                        ));
                    }
                }
                Ok(())
            })?;
        }
    }

    async fn finish(self: Box<Self>) -> Result<String, StackError> {
        let stderr = self.stream.finish().await?;
        self.frames.finish::<()>()?;
        let index = self.index.map(IndexFile::finish).transpose()?;
        // Nobody waits where the run was cancelled.
        let _ = self.ended.send(Aside { notes: self.notes, index });
        Ok(stderr)
    }
}

/// An index that is being written.
struct IndexFile {
    path: String,
    file: Box<dyn StagedFile>,
    encoder: BlockEncoder,
    block: Vec<u8>,
    inspect: Box<FileIndex>,
    source: Digest,
    stored: Digest,
}

impl IndexFile {
    fn create(files: &dyn StagedFiles, path: String) -> Result<IndexFile, Failure> {
        let file = files.create(&path)?;
        let encoder = BlockEncoder::new(COMPRESSION)
            .map_err(|error| Failure::new(Code::Internal, format!("cannot compress: {error}")))?;
        Ok(IndexFile {
            path,
            file,
            encoder,
            block: Vec::with_capacity(BLOCK),
            inspect: Box::default(),
            source: Digest::default(),
            stored: Digest::default(),
        })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), StackError> {
        let damaged =
            |error: crate::inspect::InspectError| StackError::new(Code::StreamCorrupt, error.to_string());
        self.inspect.push(bytes).map_err(damaged)?;
        self.source.push(bytes);
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StackError> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let encoded = self.encoder.encode(block);
        let written = encoded.and_then(|encoded| self.file.write_all(&encoded).map(|()| encoded));
        self.stored.push(&written.map_err(|error| cannot_write(&self.path, &error))?);
        Ok(())
    }

    fn finish(mut self) -> Result<(Artifact, FilesTally), StackError> {
        self.flush()?;
        self.file.sync().map_err(|error| cannot_write(&self.path, &error))?;
        let found = self.inspect.finish();
        let found = found.map_err(|error| StackError::new(Code::StreamCorrupt, error.to_string()))?;
        let (source, stored) = (self.source.finish(), self.stored.finish());
        let artifact = Artifact {
            path: self.path,
            part: Part::StorageIndex,
            database: None,
            of: None,
            member: None,
            bytes: stored.bytes,
            sha256: stored.sha256,
            source_bytes: source.bytes,
            source_sha256: source.sha256,
            encoding: encoding(COMPRESSION),
        };
        Ok((artifact, found.files.unwrap_or_default()))
    }
}

fn cannot_write(path: &str, error: &io::Error) -> StackError {
    StackError::new(io_code(error), format!("cannot write {path}: {error}"))
}
