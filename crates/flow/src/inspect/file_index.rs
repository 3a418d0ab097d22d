//! An index of files as it passes: what does it tell of, and is it whole?

use std::collections::BTreeSet;

use supakeep_model::file_index::{IndexHead, RecordKind};

use super::{FilesTally, Inspect, InspectError, Inspection};
use crate::folder::{IndexCheck, LONGEST_LINE};

/// Reads an index line by line.
#[derive(Default)]
pub struct FileIndex {
    line: Vec<u8>,
    head: Option<IndexHead>,
    check: IndexCheck,
    tally: FilesTally,
    used: BTreeSet<u32>,
}

impl FileIndex {
    fn full_line(&mut self, line: &[u8]) -> Result<(), InspectError> {
        let damaged = |error| InspectError::Damaged(format!("the index of files: {error}"));
        let Some(head) = &self.head else {
            self.head = Some(IndexCheck::head(line).map_err(damaged)?);
            return Ok(());
        };
        let record = self.check.record(head, line).map_err(damaged)?;
        let is_new = record.held_by == 0;
        if !is_new {
            self.used.insert(record.held_by);
        }
        if record.kind == RecordKind::File {
            self.tally.files += 1;
            self.tally.bytes += record.bytes;
            self.tally.new_files += u64::from(is_new);
            self.tally.new_bytes += if is_new { record.bytes } else { 0 };
        }
        Ok(())
    }
}

impl Inspect for FileIndex {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), InspectError> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.full_line(&line)?;
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() as u64 > LONGEST_LINE {
            return Err(InspectError::Damaged("the index of files has a line without end".to_owned()));
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Inspection, InspectError> {
        let Some(head) = self.head.filter(|_| self.line.is_empty()) else {
            return Err(InspectError::Incomplete("the index of files has no end".to_owned()));
        };
        self.tally.parents =
            self.used.iter().map(|held_by| head.holders[*held_by as usize].clone()).collect();
        Ok(Inspection { files: Some(self.tally), ..Inspection::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supakeep_model::file_index::{FileRecord, INDEX_FORMAT, RawPath, index_line};

    fn index() -> Vec<u8> {
        let holders = ["b_3", "b_2", "b_1"].map(|id| id.parse().expect("a valid id")).to_vec();
        let mut out = index_line(&IndexHead { format: INDEX_FORMAT, holders });
        for (path, kind, held_by) in [
            ("a", RecordKind::Folder, 0),
            ("a/b", RecordKind::File, 0),
            ("a/c", RecordKind::File, 2),
            ("a/d", RecordKind::HardLink, 2),
        ] {
            out.extend(index_line(&FileRecord {
                path: path.as_bytes().into(),
                kind,
                bytes: 10,
                mode: 0,
                user: 0,
                group: 0,
                modified: (0, 0),
                changed: (0, 0),
                sha256: String::new(),
                attributes_sha256: String::new(),
                target: RawPath::default(),
                held_by,
                is_torn: false,
            }));
        }
        out
    }

    fn look(bytes: &[u8], chunk: usize) -> Result<Inspection, InspectError> {
        let mut index = Box::new(FileIndex::default());
        for piece in bytes.chunks(chunk) {
            index.push(piece)?;
        }
        index.finish()
    }

    #[test]
    fn sums_up_what_is_new_and_names_who_holds_the_rest() {
        let bytes = index();
        let wanted = FilesTally {
            files: 2,
            bytes: 20,
            new_files: 1,
            new_bytes: 10,
            parents: vec!["b_1".parse().expect("a valid id")],
        };
        for chunk in [1, 13, bytes.len()] {
            assert_eq!(look(&bytes, chunk).map(|found| found.files), Ok(Some(wanted.clone())), "{chunk}");
        }
    }

    #[test]
    fn notices_what_is_no_index() {
        let bytes = index();
        assert!(look(&bytes[..bytes.len() - 1], 100).is_err());
        assert!(look(b"", 1).is_err());
        assert!(look(b"{}\n", 1).is_err());
        let twice =
            [&bytes[..], bytes.split_inclusive(|byte| *byte == b'\n').next_back().expect("a line")].concat();
        assert!(look(&twice, 100).is_err());
    }
}
