//! The rows of `storage.objects` beside the files that they tell of.
//!
//! The rows are read in the snapshot that the dump used, and kept until the files were packed. Both come in the
//! order of the paths' bytes, so that they are compared as they are read.

use std::io::{self, BufRead, BufReader, Read, Write as _};

use supakeep_model::artifact::Encoding;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::file_index::{FileRecord, RecordKind};
use supakeep_model::manifest_head::ObjectsRecord;
use time::OffsetDateTime;
use tokio_util::io::SyncIoBridge;

use crate::failure::{Failure, io_code};
use crate::folder::IndexLines;
use crate::ports::{Snapshot, SourceStream, StackError, StagedFile, Staging};
use crate::read_back::decoded;
use crate::stage::encode::BlockEncoder;

/// Where the rows are kept meanwhile.
const FILE: &str = ".objects.zst";
const COMPRESSION: Compression = Compression::Zstd(1);
/// Bytes that are compressed at a time.
const BLOCK: usize = 1 << 20;
/// As many are listed one by one.
const LISTED: usize = 100;

/// Paths below the prefix as hexadecimal digits, in the order of their bytes, and the length that the service has
/// noted. Old rows have no version.
const QUERY: &str = "SELECT encode(path, 'hex'), bytes FROM (SELECT convert_to(bucket_id || '/' || name || \
coalesce('/' || nullif(version, ''), ''), 'UTF8') AS path, metadata->>'size' AS bytes \
FROM storage.objects WHERE name IS NOT NULL AND bucket_id IS NOT NULL) AS rows ORDER BY path";

/// Rows that were read, and wait for the files.
pub(super) struct StagedRows {
    /// When they were read.
    pub(super) at: OffsetDateTime,
}

/// Reads the rows in a snapshot. An `Err` of the inner kind is one of the query, and no reason to do without a
/// backup.
pub(super) async fn stage(
    snapshot: &mut dyn Snapshot,
    staging: &mut dyn Staging,
) -> Result<Result<StagedRows, StackError>, Failure> {
    let at = snapshot.facts().record.snapshot_at;
    let stream = match snapshot.rows(QUERY).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(error)),
    };
    let rows = Rows { file: staging.files().create(FILE)?, block: Vec::new() };
    match rows.read(stream).await? {
        Ok(()) => {}
        Err(error) => {
            staging.files().remove(FILE)?;
            return Ok(Err(error));
        }
    }
    Ok(Ok(StagedRows { at }))
}

struct Rows {
    file: Box<dyn StagedFile>,
    block: Vec<u8>,
}

impl Rows {
    async fn read(mut self, mut stream: Box<dyn SourceStream>) -> Result<Result<(), StackError>, Failure> {
        loop {
            match stream.next().await {
                Ok(Some(bytes)) => self.block.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            }
            if self.block.len() >= BLOCK {
                self.flush()?;
            }
        }
        if let Err(error) = stream.finish().await {
            return Ok(Err(error));
        }
        self.flush()?;
        self.file.sync().map_err(|error| failed(&error))?;
        Ok(Ok(()))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let block = std::mem::take(&mut self.block);
        let encoded = BlockEncoder::new(COMPRESSION).and_then(|mut encoder| encoder.encode(block));
        encoded.and_then(|encoded| self.file.write_all(&encoded)).map_err(|error| failed(&error))
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(io_code(error), format!("comparing storage.objects with the files: {error}"))
}

/// Compares the rows with the index at `index`, and removes them. Returns the sums, and what a person should know.
pub(super) async fn compare(
    rows: StagedRows,
    staging: &mut dyn Staging,
    index: &str,
    prefix: &str,
) -> Result<(ObjectsRecord, Option<String>), Failure> {
    let open = |path: &str| Ok::<_, Failure>(SyncIoBridge::new(decoded(staging.open(path)?, Encoding::Zstd)));
    let (objects, files) = (open(FILE)?, open(index)?);
    let (prefix, at) = (prefix.as_bytes().to_owned(), rows.at);
    let compared = tokio::task::spawn_blocking(move || merge(objects, files, &prefix, at)).await;
    let record = compared
        .map_err(|error| Failure::new(Code::Internal, format!("the comparison has died: {error}")))?
        .map_err(|error| failed(&error))?;
    staging.files().remove(FILE)?;
    let note = (record.missing + record.other_length > 0).then(|| {
        format!(
            "{} of {} rows of storage.objects have no file, and {} have one of another length: `supakeep info` lists them",
            record.missing, record.rows, record.other_length
        )
    });
    Ok((record, note))
}

/// A row.
struct Object {
    path: Vec<u8>,
    bytes: Option<u64>,
}

fn merge(rows: impl Read, index: impl Read, prefix: &[u8], at: OffsetDateTime) -> io::Result<ObjectsRecord> {
    let mut rows = BufReader::new(rows);
    let mut index = IndexLines::open(index)?;
    let mut out = ObjectsRecord::default();
    let mut object = object(&mut rows, prefix)?;
    let mut file = file(&mut index)?;
    loop {
        match (&object, &file) {
            (None, None) => return Ok(out),
            (Some(row), Some(found)) if row.path == found.path.0 => {
                out.rows += 1;
                out.other_length += u64::from(row.bytes.is_some_and(|bytes| bytes != found.bytes));
                object = self::object(&mut rows, prefix)?;
                file = self::file(&mut index)?;
            }
            (Some(row), found) if found.as_ref().is_none_or(|found| row.path < found.path.0) => {
                out.rows += 1;
                out.missing += 1;
                list(&mut out.missing_list, &row.path[prefix.len()..]);
                object = self::object(&mut rows, prefix)?;
            }
            (_, Some(found)) => {
                if found.modified.0 >= at.unix_timestamp() {
                    out.newer += 1;
                } else {
                    out.orphaned += 1;
                    list(&mut out.orphaned_list, &found.path.0);
                }
                file = self::file(&mut index)?;
            }
            // The second arm has taken every row that no file comes before.
            (Some(_), None) => unreachable!("a row without a file is missing"),
        }
    }
}

fn list(into: &mut Vec<String>, path: &[u8]) {
    if into.len() < LISTED {
        into.push(String::from_utf8_lossy(path).escape_debug().to_string());
    }
}

fn object(rows: &mut impl BufRead, prefix: &[u8]) -> io::Result<Option<Object>> {
    let mut line = String::new();
    if rows.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a row of storage.objects makes no sense");
    let (path, bytes) = line.trim_end_matches('\n').split_once('\t').ok_or_else(wrong)?;
    let path = hex::decode(path).map_err(|_| wrong())?;
    Ok(Some(Object { path: [prefix, &path].concat(), bytes: bytes.parse().ok() }))
}

/// The next file, by whichever of its names.
fn file<R: Read>(index: &mut IndexLines<R>) -> io::Result<Option<FileRecord>> {
    loop {
        match index.next_record()? {
            Some(record) if matches!(record.kind, RecordKind::File | RecordKind::HardLink) => {
                return Ok(Some(record));
            }
            None => return Ok(None),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supakeep_model::file_index::{INDEX_FORMAT, IndexHead, RawPath, index_line};

    fn index(files: &[(&str, u64, i64)]) -> Vec<u8> {
        let holders = vec!["b_1".parse().expect("a valid id")];
        let mut out = index_line(&IndexHead { format: INDEX_FORMAT, holders });
        for (path, bytes, modified) in files {
            out.extend(index_line(&FileRecord {
                path: RawPath(path.as_bytes().to_owned()),
                kind: RecordKind::File,
                bytes: *bytes,
                mode: 0,
                user: 0,
                group: 0,
                modified: (*modified, 0),
                changed: (*modified, 0),
                sha256: String::new(),
                attributes_sha256: String::new(),
                target: RawPath::default(),
                held_by: 0,
                is_torn: false,
            }));
        }
        out
    }

    fn rows(rows: &[(&str, &str)]) -> Vec<u8> {
        rows.iter()
            .flat_map(|(path, bytes)| format!("{}\t{bytes}\n", hex::encode(path)).into_bytes())
            .collect()
    }

    #[test]
    fn every_row_and_every_file_is_counted_once() {
        let at = OffsetDateTime::from_unix_timestamp(1_000).expect("a time");
        let files = index(&[
            ("p/a/1", 5, 10),
            ("p/b/1", 5, 10),
            ("p/c/new", 5, 1_000),
            ("p/c/old", 5, 999),
            ("p/e/1", 5, 10),
        ]);
        let rows = rows(&[("0", "1"), ("a/1", "5"), ("b/1", "6"), ("d/1", "1"), ("e/1", "\\N"), ("z", "1")]);
        let found = merge(&*rows, &*files, b"p/", at).expect("both are whole");
        let wanted = ObjectsRecord {
            rows: 6,
            missing: 3,
            other_length: 1,
            orphaned: 1,
            newer: 1,
            missing_list: ["0", "d/1", "z"].map(str::to_owned).to_vec(),
            orphaned_list: vec!["p/c/old".to_owned()],
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn where_there_is_nothing_nothing_is_missing() {
        let at = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(merge(&b""[..], &*index(&[]), b"", at).expect("both are whole"), ObjectsRecord::default());
        assert!(merge(&b"zz\t1\n"[..], &*index(&[]), b"", at).is_err());
        assert!(merge(&b""[..], &b""[..], b"", at).is_err(), "no index");
    }
}
