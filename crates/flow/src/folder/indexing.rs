//! An index that is being made, beside an older one that it may refer to.

use std::io::{self, Read, Write};

use supakeep_model::file_index::{FileRecord, INDEX_FORMAT, IndexHead, index_line};
use supakeep_model::id::BackupId;

use super::lines::IndexLines;

/// Writes an index.
pub(super) struct Indexing<R, W> {
    known: Option<IndexLines<R>>,
    out: W,
}

impl<R: Read, W: Write> Indexing<R, W> {
    /// Begins the index of backup `of`. It comes first among the holders, and after it those of the older one.
    pub(super) fn begin(of: &BackupId, known: Option<R>, mut out: W) -> io::Result<Indexing<R, W>> {
        let known = known.map(IndexLines::open).transpose()?;
        let older = known.iter().flat_map(|known| known.head.holders.iter().cloned());
        let holders = [of.clone()].into_iter().chain(older).collect();
        out.write_all(&index_line(&IndexHead { format: INDEX_FORMAT, holders }))?;
        Ok(Indexing { known, out })
    }

    /// Whether an older backup holds this very entry; then it is in the new index too.
    pub(super) fn is_held(&mut self, seen: &FileRecord) -> io::Result<bool> {
        let Some(known) = &mut self.known else { return Ok(false) };
        let Some(record) = known.seek(seen)?.filter(|record| record.still_holds(seen)) else {
            return Ok(false);
        };
        self.add(&FileRecord { held_by: record.held_by + 1, ..record })?;
        Ok(true)
    }

    /// An entry.
    pub(super) fn add(&mut self, record: &FileRecord) -> io::Result<()> {
        self.out.write_all(&index_line(record))
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::tests::{index, record};
    use super::*;

    #[test]
    fn what_is_the_same_is_held_by_whoever_held_it() {
        let older = index(&[record("a", 1), record("b", 0), record("c", 0)]);
        let mut out = Vec::new();
        let of = "b_3".parse().expect("a valid id");
        let mut indexing = Indexing::begin(&of, Some(&*older), &mut out).expect("it is an index");
        let changed = FileRecord { bytes: 2, ..record("b", 0) };
        assert!(indexing.is_held(&record("a", 0)).expect("memory"));
        assert!(!indexing.is_held(&changed).expect("memory"));
        indexing.add(&changed).expect("memory");
        assert!(!indexing.is_held(&record("bb", 0)).expect("memory"));
        assert!(indexing.is_held(&record("c", 0)).expect("memory"));
        indexing.finish().expect("memory");
        let mut lines = IndexLines::open(&*out).expect("it is an index");
        let holders: Vec<_> = lines.head.holders.iter().map(ToString::to_string).collect();
        assert_eq!(holders, ["b_3", "b_2", "b_1"]);
        let mut held = Vec::new();
        while let Some(record) = lines.next_record().expect("it is whole") {
            held.push((record.path.to_string(), record.held_by));
        }
        assert_eq!(held, [("a".to_owned(), 2), ("b".to_owned(), 0), ("c".to_owned(), 1)]);
    }
}
