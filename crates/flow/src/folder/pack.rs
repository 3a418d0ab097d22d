//! Entries of a folder as a tar archive, in the format of POSIX (pax), which GNU tar and bsdtar read alike.
//!
//! The library writes headers, checksums and padding. Which extended header an entry needs is decided here:
//! what does not fit into a plain header, names that are not ASCII, and times with fractions. The archive
//! never breaks: an entry has exactly the bytes that its header says, whatever became of the file since.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::ports::{Content, Entry};
use crate::stage::digest::Digest;

/// What fits into a header's fields.
const MAX_NAME: usize = 100;
/// Seven octal digits.
const MAX_OWNER: u32 = 0o7_777_777;
/// Eleven.
const MAX_OCTAL: u64 = 0o77_777_777_777;

/// What is in front of the name of an extended attribute in an extended header.
pub(super) const ATTRIBUTE: &str = "SCHILY.xattr.";

/// Packs entries into `out`, one after the other.
pub(super) struct Pack<W: Write> {
    tar: Builder<W>,
}

/// What became of a file while it was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing.
    No,
    /// It ended early; the rest is zeros.
    Shorter,
    /// It went on; the rest is left out.
    Longer,
    /// It could not be read to its end; the rest is zeros.
    Unreadable,
}

/// An entry that was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Added {
    /// What became of the file meanwhile.
    pub(super) changed: Changed,
    /// SHA-256 of a file's content as it is in the archive.
    pub(super) sha256: String,
}

impl<W: Write> Pack<W> {
    pub(super) fn into(out: W) -> Pack<W> {
        Pack { tar: Builder::new(out) }
    }

    /// Packs one entry. An error is one of writing.
    pub(super) fn add(&mut self, entry: Entry<'_>) -> io::Result<Added> {
        let Entry { path, owner, modified, attributes, content, changed: _ } = entry;
        let (kind, bytes) = match &content {
            Content::Folder => (EntryType::Directory, 0),
            Content::Link(_) => (EntryType::Symlink, 0),
            Content::Same(_) => (EntryType::Link, 0),
            Content::File { bytes, .. } => (EntryType::Regular, *bytes),
        };
        let path = if kind == EntryType::Directory { [path, b"/"].concat() } else { path.to_owned() };
        let target = if let Content::Link(target) | Content::Same(target) = content { target } else { &[] };
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(owner.mode);
        header.set_uid(u64::from(owner.user.min(MAX_OWNER)));
        header.set_gid(u64::from(owner.group.min(MAX_OWNER)));
        header.set_mtime(modified.0.clamp(0, MAX_OCTAL.cast_signed()).cast_unsigned());
        // Too large a number is written as GNU tar does, and in the extended header as POSIX wants it.
        header.set_size(bytes);
        let fields = header.as_ustar_mut().expect("it was made as one");
        fill(&mut fields.name, &path);
        fill(&mut fields.linkname, target);
        header.set_cksum();
        let mut extended = extensions(&path, target, (owner.user, owner.group), modified, bytes);
        // Each name of a file has the same ones.
        if kind != EntryType::Link {
            extended.extend(attributes.iter().filter_map(attribute));
        }
        let extended: Vec<_> = extended.iter().map(|(key, value)| (&**key, value.as_slice())).collect();
        if !extended.is_empty() {
            self.tar.append_pax_extensions(extended)?;
        }
        let Content::File { read, .. } = content else {
            self.tar.append(&header, io::empty())?;
            return Ok(Added { changed: Changed::No, sha256: String::new() });
        };
        let mut exact = Exact { read, left: bytes, changed: Changed::No, digest: Digest::default() };
        self.tar.append(&header, &mut exact)?;
        Ok(exact.verdict())
    }

    /// The archive's own end.
    pub(super) fn finish(self) -> io::Result<W> {
        self.tar.into_inner()
    }
}

fn fill(field: &mut [u8; MAX_NAME], text: &[u8]) {
    // A name that is too long is in the extended header; this is for programs that know none.
    let length = text.len().min(MAX_NAME);
    field[..length].copy_from_slice(&text[..length]);
}

fn extensions(
    path: &[u8],
    target: &[u8],
    owner: (u32, u32),
    (seconds, nanoseconds): (i64, u32),
    bytes: u64,
) -> Vec<(Cow<'static, str>, Vec<u8>)> {
    let mut out: Vec<(Cow<'static, str>, Vec<u8>)> = Vec::new();
    let is_text = |text: &[u8]| std::str::from_utf8(text).is_ok();
    // Bytes that are no text are best left in the plain header, which says nothing of what they are.
    let needs = |text: &[u8]| text.len() > MAX_NAME || (!text.is_ascii() && is_text(text));
    if (needs(path) && !is_text(path)) || (needs(target) && !is_text(target)) {
        // Extended headers are UTF-8 unless they say this. bsdtar wants to know it; GNU tar takes any bytes,
        // and remarks that it does not know the word.
        out.push(("hdrcharset".into(), b"BINARY".to_vec()));
    }
    if needs(path) {
        out.push(("path".into(), path.to_owned()));
    }
    if needs(target) {
        out.push(("linkpath".into(), target.to_owned()));
    }
    if nanoseconds != 0 || !(0..=MAX_OCTAL.cast_signed()).contains(&seconds) {
        out.push(("mtime".into(), decimal(seconds, nanoseconds).into_bytes()));
    }
    for (key, number) in [("uid", owner.0), ("gid", owner.1)] {
        if number > MAX_OWNER {
            out.push((key.into(), number.to_string().into_bytes()));
        }
    }
    if bytes > MAX_OCTAL {
        out.push(("size".into(), bytes.to_string().into_bytes()));
    }
    out
}

/// An extended attribute as GNU tar, bsdtar and star write it. One whose name is no text, or would end the key, is
/// none that they could read.
fn attribute((name, value): (&Vec<u8>, &Vec<u8>)) -> Option<(Cow<'static, str>, Vec<u8>)> {
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains(['=', '\n', '\0']))?;
    Some((format!("{ATTRIBUTE}{name}").into(), value.clone()))
}

/// Seconds with a fraction. The nanoseconds count up from the seconds, also before 1970.
fn decimal(seconds: i64, nanoseconds: u32) -> String {
    if seconds < 0 && nanoseconds > 0 {
        let (whole, rest) = (-(seconds + 1), 1_000_000_000 - nanoseconds);
        return format!("-{whole}.{rest:09}");
    }
    format!("{seconds}.{nanoseconds:09}")
}

/// Reads exactly as many bytes as were announced.
struct Exact<'a> {
    read: &'a mut dyn Read,
    left: u64,
    changed: Changed,
    digest: Digest,
}

impl Exact<'_> {
    /// After the last byte: has the file more by now?
    fn verdict(mut self) -> Added {
        if self.changed == Changed::No && matches!(self.try_read(&mut [0]), Ok(1)) {
            self.changed = Changed::Longer;
        }
        Added { changed: self.changed, sha256: self.digest.finish().sha256 }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..wanted];
        if wanted == 0 {
            return Ok(0);
        }
        let mut length = 0;
        if self.changed == Changed::No {
            match self.try_read(buffer) {
                Ok(0) => self.changed = Changed::Shorter,
                Ok(read) => length = read,
                Err(_) => self.changed = Changed::Unreadable,
            }
        }
        if length == 0 {
            buffer.fill(0);
            length = wanted;
        }
        self.left -= length as u64;
        self.digest.push(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
