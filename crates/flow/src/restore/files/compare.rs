//! Are the files there what the backup recorded?

use std::cmp::Ordering;
use std::io::{self, Read};

use supakeep_model::code::Code;
use supakeep_model::file_index::FileRecord;
use tokio_util::io::SyncIoBridge;

use super::FilesReport;
use crate::failure::{Failure, io_code};
use crate::folder::IndexLines;
use crate::ports::Stored;

/// As many are told one by one.
const TOLD: usize = 20;

/// Notes in `report` what is different between the index of a backup and that of what is there.
pub(super) async fn compare_index(
    recorded: Stored,
    found: Stored,
    report: &mut FilesReport,
) -> Result<(), Failure> {
    let (recorded, found) = (SyncIoBridge::new(recorded), SyncIoBridge::new(found));
    let merged = tokio::task::spawn_blocking(move || merge(recorded, found)).await;
    let differences = merged
        .map_err(|error| Failure::new(Code::Internal, format!("the comparison has died: {error}")))?
        .map_err(|error| Failure::new(io_code(&error), format!("comparing the files: {error}")))?;
    (report.differences, report.different, report.others) =
        (differences.told, differences.count, differences.others);
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    told: Vec<String>,
    count: u64,
    others: u64,
}

impl Differences {
    fn add(&mut self, record: &FileRecord, what: &str) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{}: {what}", record.path));
        }
    }
}

fn merge(recorded: impl Read, found: impl Read) -> io::Result<Differences> {
    let (mut recorded, mut found) = (IndexLines::open(recorded)?, IndexLines::open(found)?);
    let mut out = Differences::default();
    let (mut wanted, mut there) = (recorded.next_record()?, found.next_record()?);
    loop {
        let order = match (&wanted, &there) {
            (None, None) => return Ok(out),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(wanted), Some(there)) => wanted.order(there),
        };
        if let (Ordering::Less, Some(wanted)) = (order, &wanted) {
            out.add(wanted, "it is not there");
        }
        if let (Ordering::Equal, Some(wanted), Some(there)) = (order, &wanted, &there) {
            let differences = wanted.differences(there);
            if !differences.is_empty() {
                out.add(wanted, &format!("{} differs", differences.join(", ")));
            }
        }
        out.others += u64::from(order.is_gt());
        if order.is_le() {
            wanted = recorded.next_record()?;
        }
        if order.is_ge() {
            there = found.next_record()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::index_for_tests;

    #[test]
    fn tells_what_is_missing_what_differs_and_how_much_is_new() {
        let recorded = index_for_tests(&[("a", "1"), ("b", "1"), ("d", "1")]);
        let found = index_for_tests(&[("a", "1"), ("b", "2"), ("c", "1"), ("e", "1")]);
        let differences = merge(&*recorded, &*found).expect("both are whole");
        assert_eq!(differences.told, ["b: its content differs", "d: it is not there"]);
        assert_eq!((differences.count, differences.others), (2, 2));
        assert_eq!(merge(&*recorded, &*recorded).expect("it is whole"), Differences::default());
    }
}
