//! Out of the archive of one backup, the entries that another one refers to.

use std::io::{self, BufReader, Read, Write};

use supakeep_model::file_index::{FileRecord, RecordKind, path_order};
use tokio_util::io::SyncIoBridge;

use super::entries;
use super::lines::IndexLines;
use super::pack::Pack;
use super::stream::ThreadStream;
use crate::failure::Failure;
use crate::ports::{Content, Entry, Stored};

/// Packs into `out` what `index` says that holder number `held_by` holds, out of that one's archive. Both are in the
/// same order, so that neither is ever held as a whole. An entry that is not there, or another than the index
/// says, is an error.
pub(super) fn select<R: Read, W: Write>(
    index: R,
    held_by: u32,
    archive: impl Read,
    out: &mut Pack<W>,
) -> io::Result<()> {
    let mut wanted = Wanted { lines: IndexLines::open(index)?, held_by, next: None };
    wanted.advance()?;
    entries::each(archive, &mut |entry| {
        let Some(record) = &wanted.next else { return Ok(()) };
        let is_folder = matches!(entry.content, Content::Folder);
        let place = (&*record.path.0, record.kind == RecordKind::Folder);
        match path_order((entry.path, is_folder), place) {
            std::cmp::Ordering::Less => Ok(()),
            std::cmp::Ordering::Equal => {
                check(record, add(entry, out)?)?;
                wanted.advance()
            }
            std::cmp::Ordering::Greater => Err(missing(record)),
        }
    })?;
    wanted.next.as_ref().map_or(Ok(()), |record| Err(missing(record)))
}

struct Wanted<R> {
    lines: IndexLines<R>,
    held_by: u32,
    next: Option<FileRecord>,
}

impl<R: Read> Wanted<R> {
    fn advance(&mut self) -> io::Result<()> {
        self.next = self.lines.next_record()?;
        while self.next.as_ref().is_some_and(|record| record.held_by != self.held_by) {
            self.next = self.lines.next_record()?;
        }
        Ok(())
    }
}

fn add<W: Write>(entry: Entry<'_>, out: &mut Pack<W>) -> io::Result<String> {
    let is_file = matches!(entry.content, Content::File { .. });
    let added = out.add(entry)?;
    Ok(if is_file { added.sha256 } else { String::new() })
}

fn check(record: &FileRecord, sha256: String) -> io::Result<()> {
    if record.sha256 == sha256 {
        return Ok(());
    }
    let message = format!("{} is not what the index of files says (SHA-256 differs)", record.path);
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

fn missing(record: &FileRecord) -> io::Error {
    let message = format!("{} is not in the archive that should hold it", record.path);
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Opens a file of a backup, decompressed.
pub(crate) type Open = Box<dyn FnOnce() -> Result<Stored, Failure> + Send>;

/// The archive of one backup, and which of its entries are wanted.
pub(crate) struct Source {
    /// The index that says so.
    pub(crate) index: Open,
    /// Which of its holders the archive is of.
    pub(crate) held_by: u32,
    /// The archive.
    pub(crate) archive: Open,
}

/// One archive of the entries that are wanted of several. Each file is opened when its turn has come.
pub(crate) fn select_from(sources: Vec<Source>) -> io::Result<Stored> {
    let handle = tokio::runtime::Handle::current();
    let stream = ThreadStream::start("select", move |out| {
        let opened = |open: Open| {
            let stored = open().map_err(|failure| io::Error::other(failure.message))?;
            Ok::<_, io::Error>(SyncIoBridge::new_with_handle(stored, handle.clone()))
        };
        let mut pack = Pack::into(out);
        for Source { index, held_by, archive } in sources {
            select(opened(index)?, held_by, BufReader::new(opened(archive)?), &mut pack)?;
        }
        pack.finish().map(|_| ())
    })?;
    Ok(stream.into_stored())
}

#[cfg(test)]
mod tests {
    use super::super::lines::tests::{index, record};
    use super::*;
    use crate::ports::{Attributes, Owner};
    use crate::stage::digest::Digest;

    fn archive(paths: &[&str]) -> Vec<u8> {
        let mut pack = Pack::into(Vec::new());
        for path in paths {
            let content = Content::File { bytes: path.len() as u64, read: &mut path.as_bytes() };
            let attributes = Attributes::from([(b"user.a".to_vec(), path.as_bytes().to_vec())]);
            let owner = Owner { mode: 0o600, user: 5, group: 6 };
            let entry = Entry {
                path: path.as_bytes(),
                owner,
                modified: (1, 2),
                changed: (0, 0),
                attributes: &attributes,
                content,
            };
            pack.add(entry).expect("memory");
        }
        pack.finish().expect("memory")
    }

    fn held(path: &str, held_by: u32) -> FileRecord {
        FileRecord { sha256: Digest::of(path.as_bytes()).sha256, ..record(path, held_by) }
    }

    fn selected(index: &[u8], held_by: u32, archive: &[u8]) -> Result<Vec<u8>, String> {
        let mut pack = Pack::into(Vec::new());
        select(index, held_by, archive, &mut pack).map_err(|error| error.to_string())?;
        pack.finish().map_err(|error| error.to_string())
    }

    #[test]
    fn takes_what_is_held_and_nothing_else_with_all_that_belongs_to_it() {
        let index = index(&[held("a", 0), held("b", 1), held("d", 1)]);
        let taken = selected(&index, 1, &archive(&["a", "b", "c", "d", "e"])).expect("all is there");
        let mut found = Vec::new();
        entries::each(&*taken, &mut |entry| {
            assert_eq!((entry.owner.user, entry.modified), (5, (1, 2)));
            found.push((entry.path.to_owned(), entry.attributes[&b"user.a".to_vec()].clone()));
            Ok(())
        })
        .expect("it is whole");
        assert_eq!(found, [(b"b".to_vec(), b"b".to_vec()), (b"d".to_vec(), b"d".to_vec())]);
    }

    #[test]
    fn what_is_missing_or_another_is_an_error() {
        let index = index(&[held("a", 0), held("b", 0)]);
        for paths in [&["a"][..], &["a", "c"], &["b"], &[]] {
            let error = selected(&index, 0, &archive(paths)).expect_err("something is missing");
            assert!(error.contains("is not in the archive"), "{error}");
        }
        let other = FileRecord { sha256: Digest::of(b"x").sha256, ..held("b", 0) };
        let index = super::super::lines::tests::index(&[held("a", 0), other]);
        let error = selected(&index, 0, &archive(&["a", "b"])).expect_err("it is another");
        assert!(error.contains("SHA-256 differs"), "{error}");
    }
}
