//! The entries of a tar archive as those of a folder.

use std::io::{self, Read};

use tar::{Archive, EntryType};

use super::pack::ATTRIBUTE;
use crate::pax;
use crate::ports::{Attributes, Content, Entry, Owner};

/// The longest path that the kernel takes.
const LONGEST_PATH: usize = 4096;

/// The longest extended header: a name or two, and attributes.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// Hands every entry of an archive of ours to `each`, in their order.
pub(super) fn each(archive: impl Read, each: &mut dyn FnMut(Entry<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut archive = Archive::new(archive);
    let mut extension = None;
    // The library tells the records of an extended header apart by line ends, which names and attributes can hold.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if entry.header().entry_type() == EntryType::XHeader {
            let mut records = Vec::new();
            (&mut entry).take(LONGEST_EXTENSION).read_to_end(&mut records)?;
            extension = Some(records);
            continue;
        }
        let about = About::of(&entry, extension.take().as_deref().unwrap_or_default())?;
        let target = about.target.as_slice();
        let content = match entry.header().entry_type() {
            EntryType::Directory => Content::Folder,
            EntryType::Symlink => Content::Link(target),
            EntryType::Link => Content::Same(target),
            EntryType::Regular => Content::File { bytes: entry.size(), read: &mut entry },
            other => return Err(refused(&about.path, &format!("it is of kind {other:?}"))),
        };
        each(Entry {
            path: &about.path,
            owner: about.owner,
            modified: about.modified,
            changed: (0, 0),
            attributes: &about.attributes,
            content,
        })?;
    }
    Ok(())
}

struct About {
    path: Vec<u8>,
    target: Vec<u8>,
    owner: Owner,
    modified: (i64, u32),
    attributes: Attributes,
}

impl About {
    fn of<R: Read>(entry: &tar::Entry<'_, R>, extension: &[u8]) -> io::Result<About> {
        let header = entry.header();
        let number = |number: io::Result<u64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let mut about = About {
            path: header.path_bytes().into_owned(),
            target: header.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default(),
            owner: Owner {
                mode: header.mode()? & 0o7777,
                user: number(header.uid())?,
                group: number(header.gid())?,
            },
            modified: (i64::try_from(header.mtime()?).unwrap_or(i64::MAX), 0),
            attributes: Attributes::new(),
        };
        for record in pax::records(extension) {
            let Some((key, value)) = record else {
                return Err(refused(&about.path, "its extended header makes no sense"));
            };
            about.extension(key, value)?;
        }
        if about.path.ends_with(b"/") {
            about.path.pop();
        }
        if about.path.len().max(about.target.len()) > LONGEST_PATH {
            return Err(refused(&about.path[..LONGEST_PATH.min(about.path.len())], "its path is too long"));
        }
        Ok(about)
    }

    fn extension(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let text = || std::str::from_utf8(value).unwrap_or_default();
        let wrong =
            |path: &[u8]| refused(path, &format!("its extended header says {}", text().escape_debug()));
        match key {
            b"path" => value.clone_into(&mut self.path),
            b"linkpath" => value.clone_into(&mut self.target),
            b"mtime" => self.modified = time(text()).ok_or_else(|| wrong(&self.path))?,
            b"uid" => self.owner.user = text().parse().map_err(|_| wrong(&self.path))?,
            b"gid" => self.owner.group = text().parse().map_err(|_| wrong(&self.path))?,
            _ => {
                // Those of users alone, as they are packed: others could give rights.
                let name = key.strip_prefix(ATTRIBUTE.as_bytes());
                if let Some(name) = name.filter(|name| name.starts_with(b"user.")) {
                    self.attributes.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Seconds with a fraction, whose nanoseconds count up from the seconds.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

fn refused(path: &[u8], why: &str) -> io::Error {
    let path = String::from_utf8_lossy(path);
    io::Error::new(io::ErrorKind::InvalidData, format!("{} in the archive: {why}", path.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back_whatever_bytes_it_has() {
        let attributes = Attributes::from([
            (b"user.line".to_vec(), b"one\n12 size=99\n".to_vec()),
            (b"user.bytes".to_vec(), vec![0, 255, b'=', b'\n']),
            (b"user.empty".to_vec(), Vec::new()),
        ]);
        let long = ["ü\n".repeat(90).into_bytes(), b"/x\xff\n".to_vec()].concat();
        let owner = Owner { mode: 0o4755, user: u32::MAX - 1, group: 7 };
        let mut pack = super::super::pack::Pack::into(Vec::new());
        for (path, content) in [
            (&long[..], Content::File { bytes: 3, read: &mut &b"abc"[..] }),
            (b"folder", Content::Folder),
            (b"link", Content::Link(&long)),
            (b"same", Content::Same(&long)),
        ] {
            let entry =
                Entry { path, owner, modified: (-5, 1), changed: (0, 0), attributes: &attributes, content };
            pack.add(entry).expect("memory");
        }
        let bytes = pack.finish().expect("memory");
        let mut met = Vec::new();
        each(&*bytes, &mut |entry| {
            assert_eq!((entry.owner, entry.modified), (owner, (-5, 1)));
            let (what, has_attributes) = match entry.content {
                Content::Folder => ("folder", true),
                Content::Link(target) => (if target == long { "link" } else { "another link" }, true),
                Content::Same(first) => (if first == long { "same" } else { "another" }, false),
                Content::File { bytes, read } => {
                    let mut content = String::new();
                    read.read_to_string(&mut content)?;
                    assert_eq!((bytes, content.as_str()), (3, "abc"));
                    ("file", true)
                }
            };
            assert_eq!(
                *entry.attributes,
                if has_attributes { attributes.clone() } else { Attributes::new() }
            );
            met.push((entry.path.to_owned(), what));
            Ok(())
        })
        .expect("it is whole");
        let wanted: [(&[u8], &str); 4] =
            [(&long, "file"), (b"folder", "folder"), (b"link", "link"), (b"same", "same")];
        assert_eq!(met, wanted.map(|(path, what)| (path.to_owned(), what)));
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, wanted) in [
            ("1.5", Some((1, 500_000_000))),
            ("1", Some((1, 0))),
            ("-1.500000000", Some((-2, 500_000_000))),
            ("-1.000000000", Some((-1, 0))),
            ("-0.999999999", Some((-1, 1))),
            ("1700000000.1234567899", Some((1_700_000_000, 123_456_789))),
            ("x", None),
        ] {
            assert_eq!(time(text), wanted, "{text}");
        }
    }
}
