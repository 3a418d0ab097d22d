//! Files as one stream, in the format that every `tar` unpacks, BusyBox's too.
//!
//! The stream is made while it is read, and its length is known before. A file is opened when its turn has
//! come: an archive with large objects has more files than a process may have open. Only what a header needs
//! for a plain file is written here, which is less than a library would bring.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use supakeep_flow::ports::{Placed, StackError, Stored};
use supakeep_model::code::Code;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf, Take};

/// Headers, and the content of each file, are padded to a multiple of this.
const BLOCK: u64 = 512;
/// What ends an archive.
const END: usize = 2 * BLOCK as usize;
/// The longest name that fits into a header.
const MAX_NAME: usize = 100;
/// The largest length that eleven octal digits hold; longer ones are written as GNU tar does.
const MAX_OCTAL: u64 = 0o777_7777_7777;

/// Files, packed one after the other.
pub(crate) struct Tar<'a> {
    files: std::vec::IntoIter<Placed<'a>>,
    bytes: u64,
    /// A header, padding, or the end.
    words: Cursor<Vec<u8>>,
    content: Option<Take<Stored>>,
    /// How much padding follows the content.
    padding: usize,
    is_ended: bool,
    mode: &'static [u8; 8],
}

impl<'a> Tar<'a> {
    /// Packs programs: they can be executed.
    pub(crate) fn of_programs(files: Vec<Placed<'a>>) -> Result<Tar<'a>, StackError> {
        Ok(Tar { mode: b"0000700\0", ..Tar::of(files)? })
    }

    /// Packs these files. An error is a name that does not fit.
    pub(crate) fn of(files: Vec<Placed<'a>>) -> Result<Tar<'a>, StackError> {
        if let Some(file) = files.iter().find(|file| file.name.len() > MAX_NAME) {
            let message = format!("the name {} is too long to be packed", file.name);
            return Err(StackError::new(Code::Internal, message));
        }
        let bytes = files.iter().map(|file| BLOCK + file.bytes.next_multiple_of(BLOCK)).sum::<u64>();
        Ok(Tar {
            files: files.into_iter(),
            bytes: bytes + END as u64,
            words: Cursor::default(),
            content: None,
            padding: 0,
            is_ended: false,
            mode: b"0000600\0",
        })
    }

    /// How long all of it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Begins the next file, or the end; `false` after that.
    fn go_on(&mut self) -> io::Result<bool> {
        if let Some(Placed { name, bytes, open }) = self.files.next() {
            self.words = Cursor::new(header(&name, bytes, self.mode));
            self.content = Some(open().map_err(io::Error::other)?.take(bytes));
            self.padding = (bytes.next_multiple_of(BLOCK) - bytes) as usize;
            return Ok(true);
        }
        self.words = Cursor::new(vec![0; END]);
        Ok(!std::mem::replace(&mut self.is_ended, true))
    }
}

impl AsyncRead for Tar<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            ready!(Pin::new(&mut this.words).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(content) = &mut this.content {
                ready!(Pin::new(&mut *content).poll_read(cx, buf))?;
                if buf.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
                if content.limit() > 0 {
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "a file has become shorter");
                    return Poll::Ready(Err(error));
                }
                this.content = None;
                this.words = Cursor::new(vec![0; this.padding]);
            } else if !this.go_on()? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The header of a plain file that only its owner may read, as POSIX describes it (`ustar`).
fn header(name: &str, bytes: u64, mode: &[u8; 8]) -> Vec<u8> {
    let mut out = vec![0_u8; BLOCK as usize];
    let mut put = |at: usize, text: &[u8]| out[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, mode);
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if bytes <= MAX_OCTAL {
        put(124, format!("{bytes:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &bytes.to_be_bytes());
    }
    put(136, b"00000000000\0");
    // The sum is made with blanks in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = out.iter().copied().map(u32::from).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn placed<'a>(name: &str, content: &'a [u8], opened: &'a AtomicUsize) -> Placed<'a> {
        let content = content.to_vec();
        let bytes = content.len() as u64;
        let open = Box::new(move || {
            opened.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Cursor::new(content)) as Stored)
        });
        Placed { name: name.to_owned(), bytes, open }
    }

    #[tokio::test]
    async fn what_is_packed_is_what_tar_unpacks() {
        let opened = AtomicUsize::new(0);
        let long = vec![b'x'; 1_300];
        let files = vec![
            placed("archive/toc.dat", b"12 not a header\n", &opened),
            placed("archive/1.dat", b"", &opened),
            placed("archive/2.dat", &[7; 512], &opened),
            placed("archive/3.dat", &long, &opened),
        ];
        let mut tar = Tar::of(files).expect("the names are short");
        assert_eq!(opened.load(Ordering::SeqCst), 0, "nothing is opened before its turn");
        let mut packed = Vec::new();
        tar.read_to_end(&mut packed).await.expect("memory can be read");
        assert_eq!(packed.len() as u64, tar.bytes(), "its length is known before");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new("tar")
            .args(["-x", "-f", "-", "-C"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("tar can be started");
        io::Write::write_all(&mut child.stdin.take().expect("its input"), &packed).expect("it reads");
        assert!(child.wait().expect("it ends").success());
        let read = |name: &str| std::fs::read(folder.path().join("archive").join(name)).expect("a file");
        assert_eq!(read("toc.dat"), b"12 not a header\n");
        assert_eq!(read("1.dat"), b"");
        assert_eq!(read("2.dat"), [7; 512]);
        assert_eq!(read("3.dat"), long);
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_an_error() {
        let opened = AtomicUsize::new(0);
        let file = Placed { bytes: 9, ..placed("a", b"12345678", &opened) };
        let mut tar = Tar::of(vec![file]).expect("the name is short");
        assert!(tar.read_to_end(&mut Vec::new()).await.is_err());
    }

    #[test]
    fn a_file_longer_than_octal_digits_can_tell_has_its_length() {
        let header = header("a", MAX_OCTAL + 1, b"0000600\0");
        assert_eq!(header[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let opened = AtomicUsize::new(0);
        assert!(Tar::of(vec![placed(&"a".repeat(101), b"", &opened)]).is_err());
    }
}
