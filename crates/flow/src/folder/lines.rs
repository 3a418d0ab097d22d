//! An index as it is read: head, then records in order.

use std::io::{self, BufRead, BufReader, Read};

use supakeep_model::file_index::{FileRecord, INDEX_FORMAT, IndexHead};

/// A line holds a path or two.
pub(crate) const LONGEST_LINE: u64 = 64 * 1024;

/// Whether lines make an index.
#[derive(Default)]
pub(crate) struct IndexCheck {
    last: Option<FileRecord>,
}

impl IndexCheck {
    /// Reads the first line.
    pub(crate) fn head(line: &[u8]) -> Result<IndexHead, String> {
        let head: IndexHead = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if head.format > INDEX_FORMAT {
            return Err(format!("it has format {}, this supakeep reads up to {INDEX_FORMAT}", head.format));
        }
        Ok(head)
    }

    /// Reads another line. A record that is out of order, or held by nobody, is an error.
    pub(crate) fn record(&mut self, head: &IndexHead, line: &[u8]) -> Result<FileRecord, String> {
        let record: FileRecord = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if self.last.as_ref().is_some_and(|last| last.order(&record).is_ge()) {
            return Err(format!("{} is out of order", record.path));
        }
        if head.holders.get(record.held_by as usize).is_none() {
            return Err(format!("nobody holds {}", record.path));
        }
        self.last = Some(record.clone());
        Ok(record)
    }
}

/// Reads the records of an index, one after the other.
pub(crate) struct IndexLines<R> {
    input: BufReader<R>,
    /// What its first line says.
    pub(crate) head: IndexHead,
    check: IndexCheck,
    /// The record that comes next, where it was looked at already.
    peeked: Option<FileRecord>,
}

impl<R: Read> IndexLines<R> {
    /// Reads the head.
    pub(crate) fn open(input: R) -> io::Result<IndexLines<R>> {
        let mut input = BufReader::new(input);
        let head = line(&mut input)?.ok_or_else(|| damaged("it is empty"))?;
        let head = IndexCheck::head(&head).map_err(|error| damaged(&error))?;
        Ok(IndexLines { input, head, check: IndexCheck::default(), peeked: None })
    }

    /// The next record.
    pub(crate) fn next_record(&mut self) -> io::Result<Option<FileRecord>> {
        if let Some(peeked) = self.peeked.take() {
            return Ok(Some(peeked));
        }
        let Some(line) = line(&mut self.input)? else { return Ok(None) };
        self.check.record(&self.head, &line).map(Some).map_err(|error| damaged(&error))
    }

    /// The record at the place of `wanted`, if there is one; those before it are passed over.
    pub(crate) fn seek(&mut self, wanted: &FileRecord) -> io::Result<Option<FileRecord>> {
        while let Some(record) = self.next_record()? {
            match record.order(wanted) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(record)),
                std::cmp::Ordering::Greater => {
                    self.peeked = Some(record);
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }
}

fn line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(damaged("a line has no end")),
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the index of files is damaged: {what}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use supakeep_model::file_index::{RawPath, RecordKind, index_line};

    pub(crate) fn record(path: &str, held_by: u32) -> FileRecord {
        FileRecord {
            path: path.as_bytes().into(),
            kind: RecordKind::File,
            bytes: 1,
            mode: 0o644,
            user: 0,
            group: 0,
            modified: (1, 0),
            changed: (1, 0),
            sha256: "00".to_owned(),
            attributes_sha256: String::new(),
            target: RawPath::default(),
            held_by,
            is_torn: false,
        }
    }

    pub(crate) fn index(records: &[FileRecord]) -> Vec<u8> {
        let holders = ["b_2", "b_1"].map(|id| id.parse().expect("a valid id")).to_vec();
        let mut out = index_line(&IndexHead { format: INDEX_FORMAT, holders });
        records.iter().for_each(|record| out.extend(index_line(record)));
        out
    }

    /// Files by their paths, and what stands for their content.
    pub(crate) fn index_for_tests(files: &[(&str, &str)]) -> Vec<u8> {
        let record =
            |(path, content): &(&str, &str)| FileRecord { sha256: (*content).to_owned(), ..record(path, 0) };
        index(&files.iter().map(record).collect::<Vec<_>>())
    }

    #[test]
    fn seeks_what_is_there_and_passes_over_what_is_not() {
        let bytes = index(&[record("a", 0), record("c", 1), record("d", 0)]);
        let mut lines = IndexLines::open(&*bytes).expect("it has a head");
        let mut found = |path| lines.seek(&record(path, 0)).expect("it is whole").map(|found| found.held_by);
        assert_eq!(
            [found("a"), found("b"), found("bb"), found("c"), found("e"), found("f")],
            [Some(0), None, None, Some(1), None, None]
        );
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let whole = index(&[record("a", 0), record("b", 0)]);
        let read = |bytes: &[u8]| {
            let mut lines = IndexLines::open(bytes)?;
            while lines.next_record()?.is_some() {}
            Ok::<_, io::Error>(())
        };
        assert!(read(&whole).is_ok());
        assert!(read(&whole[..whole.len() - 1]).is_err(), "cut");
        assert!(read(b"").is_err());
        assert!(read(&index(&[record("b", 0), record("a", 0)])).is_err(), "out of order");
        assert!(read(&index(&[record("a", 0), record("a", 0)])).is_err(), "twice");
        assert!(read(&index(&[record("a", 2)])).is_err(), "held by nobody");
    }
}
