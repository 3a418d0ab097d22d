//! What a porter answers: one stream for archive, index and words.
//!
//! Each frame is one byte for its kind, its length in four bytes (the highest first), and its content. The last
//! one is a result or an error: a stream without is cut short.

use std::cell::RefCell;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use supakeep_model::code::Code;

use crate::ports::{FolderError, StackError};

/// The longest content of a frame.
const MAX_CONTENT: usize = 1 << 20;
/// Bytes that are gathered for a frame.
const GATHERED: usize = 64 * 1024;
const HEAD: usize = 5;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of an archive.
    Archive,
    /// Bytes of an index.
    Index,
    /// What a person should know.
    Note,
    /// The end: the result, as JSON.
    Result,
    /// The end: why there is none, as JSON.
    Error,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Archive, Kind::Index, Kind::Note, Kind::Result, Kind::Error];

    fn byte(self) -> u8 {
        match self {
            Kind::Archive => b'A',
            Kind::Index => b'I',
            Kind::Note => b'N',
            Kind::Result => b'R',
            Kind::Error => b'E',
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WrittenError {
    code: Code,
    message: String,
}

/// Writes a frame.
pub(super) fn frame(out: &mut dyn Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).expect("frames are short").to_be_bytes();
    out.write_all(&[kind.byte(), length[0], length[1], length[2], length[3]])?;
    out.write_all(content)
}

/// Writes the end of a stream.
pub fn end<T: Serialize>(out: &mut dyn Write, ended: &Result<T, FolderError>) -> io::Result<()> {
    match ended {
        Ok(result) => frame(out, Kind::Result, &serde_json::to_vec(result).map_err(io::Error::other)?),
        Err(error) => {
            let written = WrittenError { code: error.code, message: error.message.clone() };
            frame(out, Kind::Error, &serde_json::to_vec(&written).map_err(io::Error::other)?)
        }
    }
}

/// Where frames of several kinds go.
pub(super) type Out<'w> = RefCell<&'w mut (dyn Write + 'w)>;

/// Gathers what is written into frames of one kind.
pub(super) struct Framed<'a, 'w> {
    out: &'a Out<'w>,
    kind: Kind,
    gathered: Vec<u8>,
}

impl<'a, 'w> Framed<'a, 'w> {
    pub(super) fn new(out: &'a Out<'w>, kind: Kind) -> Framed<'a, 'w> {
        Framed { out, kind, gathered: Vec::with_capacity(GATHERED) }
    }
}

impl Write for Framed<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(GATHERED - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..length]);
        if self.gathered.len() == GATHERED {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            frame(&mut **self.out.borrow_mut(), self.kind, &self.gathered)?;
            self.gathered.clear();
        }
        Ok(())
    }
}

/// Is given what frames hold, as it comes.
pub type OnContent<'a> = &'a mut (dyn FnMut(Kind, &[u8]) -> Result<(), StackError> + Send);

/// Takes frames apart, whatever the pieces that they come in.
#[derive(Default)]
pub struct Frames {
    head: Vec<u8>,
    kind: Option<Kind>,
    left: usize,
    /// Content that is wanted as a whole.
    whole: Vec<u8>,
    result: Option<Result<Vec<u8>, StackError>>,
}

impl Frames {
    /// Takes the next bytes. Those of archive and index are handed to `each` as they come, notes as a whole.
    pub fn push(&mut self, mut bytes: &[u8], each: OnContent<'_>) -> Result<(), StackError> {
        while !bytes.is_empty() {
            let Some(kind) = self.kind else {
                let (now, later) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(now);
                bytes = later;
                if self.head.len() == HEAD {
                    self.begin()?;
                    self.end_of_content(each)?;
                }
                continue;
            };
            let (now, later) = bytes.split_at(bytes.len().min(self.left));
            bytes = later;
            self.left -= now.len();
            match kind {
                Kind::Archive | Kind::Index => each(kind, now)?,
                Kind::Note | Kind::Result | Kind::Error => self.whole.extend_from_slice(now),
            }
            self.end_of_content(each)?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StackError> {
        let head = std::mem::take(&mut self.head);
        let kind = Kind::ALL.into_iter().find(|kind| kind.byte() == head[0]);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        match kind {
            Some(kind) if self.result.is_none() && length <= MAX_CONTENT => {
                (self.kind, self.left) = (Some(kind), length);
                Ok(())
            }
            _ => Err(StackError::new(Code::StreamCorrupt, "what the porter sends makes no sense")),
        }
    }

    fn end_of_content(&mut self, each: OnContent<'_>) -> Result<(), StackError> {
        let Some(kind) = self.kind.filter(|_| self.left == 0) else { return Ok(()) };
        self.kind = None;
        let whole = std::mem::take(&mut self.whole);
        match kind {
            Kind::Archive | Kind::Index => {}
            Kind::Note => each(kind, &whole)?,
            Kind::Result => self.result = Some(Ok(whole)),
            Kind::Error => {
                let error: WrittenError = serde_json::from_slice(&whole)
                    .map_err(|_| StackError::new(Code::StreamCorrupt, "the porter's error makes no sense"))?;
                self.result = Some(Err(StackError::new(error.code, error.message)));
            }
        }
        Ok(())
    }

    /// The result, after the last byte.
    pub fn finish<T: for<'de> Deserialize<'de>>(self) -> Result<T, StackError> {
        let cut =
            || StackError::new(Code::StreamTruncated, "the porter ended before it had said how it ended");
        let result = self.result.ok_or_else(cut)??;
        serde_json::from_slice(&result).map_err(|error| {
            StackError::new(Code::StreamCorrupt, format!("the porter's answer makes no sense: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        {
            let out: Out<'_> = RefCell::new(&mut bytes);
            let mut archive = Framed::new(&out, Kind::Archive);
            let mut index = Framed::new(&out, Kind::Index);
            archive.write_all(&[1; 100_000]).expect("memory");
            index.write_all(b"line\n").expect("memory");
            archive.flush().expect("memory");
            index.flush().expect("memory");
            frame(&mut **out.borrow_mut(), Kind::Note, b"a word").expect("memory");
        }
        end(&mut bytes, &Ok::<_, FolderError>(5_u32)).expect("memory");
        bytes
    }

    fn read(bytes: &[u8], piece: usize) -> (usize, Vec<u8>, Vec<String>, Result<u32, Code>) {
        let (mut archive, mut index, mut notes, mut frames) = (0, Vec::new(), Vec::new(), Frames::default());
        let mut each = |kind, bytes: &[u8]| {
            match kind {
                Kind::Archive => archive += bytes.len(),
                Kind::Index => index.extend_from_slice(bytes),
                _ => notes.push(String::from_utf8_lossy(bytes).into_owned()),
            }
            Ok(())
        };
        for piece in bytes.chunks(piece) {
            if let Err(error) = frames.push(piece, &mut each) {
                return (archive, index, notes, Err(error.code));
            }
        }
        (archive, index, notes, frames.finish().map_err(|error| error.code))
    }

    #[test]
    fn what_was_written_is_read_in_pieces_of_any_size() {
        let bytes = written();
        for piece in [1, 4, 5, 6, 1_000, bytes.len()] {
            assert_eq!(read(&bytes, piece), (100_000, b"line\n".to_vec(), vec!["a word".to_owned()], Ok(5)));
        }
    }

    #[test]
    fn a_stream_that_was_cut_has_no_result() {
        let bytes = written();
        for cut in [0, 3, 5, 70_000, bytes.len() - 1] {
            assert_eq!(read(&bytes[..cut], 999).3, Err(Code::StreamTruncated), "{cut}");
        }
        assert_eq!(read(b"hello, world", 3).3, Err(Code::StreamCorrupt));
        assert_eq!(
            read(&[&bytes[..], b"A\0\0\0\0"].concat(), 3).3,
            Err(Code::StreamCorrupt),
            "after its end"
        );
    }

    #[test]
    fn an_error_keeps_its_code() {
        let mut bytes = Vec::new();
        let error = FolderError::new(Code::FilesMissing, "gone");
        end(&mut bytes, &Err::<u32, _>(error)).expect("memory");
        assert_eq!(read(&bytes, 7).3, Err(Code::FilesMissing));
    }
}
