//! From a stream to a file: every byte, in order; and when something fails, everything stops at once.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use supakeep_flow::failure::Failure;
use supakeep_flow::inspect::opaque::Opaque;
use supakeep_flow::inspect::split::{Split, Whole};
use supakeep_flow::inspect::sql::PlainDump;
use supakeep_flow::inspect::{Inspect, InspectError, Inspection};
use supakeep_flow::pipeline::{PipeReport, PipeSpec, Store, run};
use supakeep_flow::ports::{SourceStream, StackError, StagedFile, StagedFiles, StoreError, Stored};
use supakeep_flow::read_back::read_back;
use supakeep_flow::stage::decode::Codec;
use supakeep_flow::stage::digest::Digest;
use supakeep_flow::stage::encode::{BlockEncoder, encoding};
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;

/// How much of a stream may have been read when the failure has been noticed: what fits into the
/// queues, and one block.
const AT_ONCE: usize = 16 << 20;

/// A stream that hands out the same chunk over and over, and counts.
struct Endless {
    chunk: Bytes,
    left: usize,
    /// Never ends instead of ending.
    hangs: bool,
    read: Arc<Mutex<usize>>,
}

#[async_trait]
impl SourceStream for Endless {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        tokio::task::yield_now().await;
        let length = self.chunk.len().min(self.left);
        self.left -= length;
        *self.read.lock().expect("no panic") += length;
        match length {
            0 if self.hangs => std::future::pending().await,
            0 => Ok(None),
            _ => Ok(Some(self.chunk.slice(..length))),
        }
    }

    async fn finish(self: Box<Self>) -> Result<String, StackError> {
        Ok(String::new())
    }
}

/// A file in memory that is full after so many bytes, or cannot be put on the disk.
#[derive(Clone)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
    synced: Arc<Mutex<bool>>,
    sync_fails: bool,
}

impl Disk {
    fn with_room(room: usize) -> Disk {
        Disk { bytes: Arc::default(), room, synced: Arc::default(), sync_fails: false }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("no panic").clone()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut written = self.bytes.lock().expect("no panic");
        if written.len() + bytes.len() > self.room {
            return Err(ErrorKind::StorageFull.into());
        }
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// There is only one file.
impl StagedFiles for Disk {
    fn create(&self, _path: &str) -> Result<Box<dyn StagedFile>, StoreError> {
        Ok(Box::new(self.clone()))
    }

    fn remove(&self, _path: &str) -> Result<(), StoreError> {
        unreachable!("a pipeline removes nothing")
    }
}

impl StagedFile for Disk {
    fn sync(self: Box<Self>) -> std::io::Result<()> {
        *self.synced.lock().expect("no panic") = true;
        if self.sync_fails { Err(std::io::Error::other("the disk has a bad day")) } else { Ok(()) }
    }
}

/// Refuses the bytes after so many.
struct Picky(usize);

impl Inspect for Picky {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => self.0 = left,
            None => return Err(InspectError::Damaged("by the plan".into())),
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        Ok(Inspection::default())
    }
}

fn spec(store: Store, inspect: Box<dyn Inspect>) -> PipeSpec {
    PipeSpec { codec: Codec::Identity, store, encoders: 2, split: whole(inspect) }
}

fn whole(inspect: Box<dyn Inspect>) -> Box<dyn Split> {
    Box::new(Whole { path: "a".to_owned(), inspect })
}

struct Given {
    stream: Endless,
    read: Arc<Mutex<usize>>,
}

fn stream(total: usize, hangs: bool) -> Given {
    let read = Arc::new(Mutex::new(0));
    // Text that hardly compresses: the file grows with the stream.
    let chunk: Vec<u8> = (0..16_384_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let stream = Endless { chunk: chunk.into(), left: total, hangs, read: Arc::clone(&read) };
    Given { stream, read }
}

async fn piped(given: Given, disk: Disk, spec: PipeSpec) -> Result<PipeReport, Failure> {
    let running = run(Box::new(given.stream), Arc::new(disk), spec, |_| {});
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_reading_of_a_large_dump_at_once() {
    for store in [
        Store::Encode(Compression::None),
        Store::Encode(Compression::Gzip(1)),
        Store::Encode(Compression::Zstd(1)),
        Store::PassThrough,
    ] {
        let given = stream(1 << 30, false);
        let read = Arc::clone(&given.read);
        let failure = piped(given, Disk::with_room(100_000), spec(store, Box::new(Opaque))).await;
        let failure = failure.expect_err("the disk is full");
        assert_eq!(failure.code, Code::RepositoryFull, "{store:?}: {failure}");
        let read = *read.lock().expect("no panic");
        assert!(read < AT_ONCE, "{store:?}: {read} bytes were read after the disk was full");
    }
}

/// The reader waits for a slow table; nobody must wait with it for a backup that has failed already.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_a_run_whose_stream_is_silent() {
    for (total, store) in [(3 << 20, Store::Encode(Compression::Gzip(1))), (3 << 20, Store::PassThrough)] {
        let began = Instant::now();
        let failure = piped(stream(total, true), Disk::with_room(100), spec(store, Box::new(Opaque))).await;
        assert_eq!(failure.expect_err("the disk is full").code, Code::RepositoryFull, "{store:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{store:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_no_dump_ends_the_reading_at_once() {
    for hangs in [false, true] {
        // The last chunk that is handed on is the one that is refused.
        let given = stream(if hangs { (2 << 20) + (256 << 10) } else { 1 << 30 }, hangs);
        let read = Arc::clone(&given.read);
        let spec = spec(Store::Encode(Compression::Gzip(1)), Box::new(Picky(2 << 20)));
        let failure = piped(given, Disk::with_room(usize::MAX), spec).await.expect_err("it is no dump");
        assert_eq!(failure.code, Code::DumpIncomplete, "{failure}");
        assert!(*read.lock().expect("no panic") < AT_ONCE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_stream_that_is_garbled_ends_the_reading_at_once() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let given = stream(1 << 30, false);
        let read = Arc::clone(&given.read);
        let spec = PipeSpec { codec, ..spec(Store::PassThrough, Box::new(Opaque)) };
        let failure = piped(given, Disk::with_room(usize::MAX), spec).await.expect_err("it is garbled");
        assert_eq!(failure.code, Code::StreamCorrupt, "{codec:?}: {failure}");
        assert!(*read.lock().expect("no panic") < AT_ONCE, "{codec:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_put_on_the_disk_is_a_failure() {
    let disk = Disk { sync_fails: true, ..Disk::with_room(usize::MAX) };
    let spec = spec(Store::Encode(Compression::Gzip(6)), Box::new(Opaque));
    let failure = piped(stream(3 << 20, false), disk.clone(), spec).await.expect_err("it is not synced");
    assert_eq!(failure.code, Code::RepositoryIo, "{failure}");
    assert!(failure.message.contains("bad day"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_run_ends_its_threads() {
    let disk = Disk::with_room(usize::MAX);
    let given = stream(3 << 20, true);
    let running = run(
        Box::new(given.stream),
        Arc::new(disk.clone()),
        spec(Store::Encode(Compression::None), Box::new(Opaque)),
        |_| {},
    );
    assert!(tokio::time::timeout(Duration::from_millis(200), running).await.is_err(), "it waits");
    // The threads hold the file; it is theirs no more when they have ended.
    let deadline = Instant::now() + Duration::from_secs(10);
    while Arc::strong_count(&disk.bytes) > 1 {
        assert!(Instant::now() < deadline, "a thread still holds the file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_stream_comes_back_in_order_with_every_number_of_encoders() {
    let total = (9 << 20) + 12_345;
    for encoders in [0, 1, 2, 5] {
        for compression in [Compression::None, Compression::Gzip(1), Compression::Zstd(1)] {
            let disk = Disk::with_room(usize::MAX);
            let spec = PipeSpec { encoders, ..spec(Store::Encode(compression), Box::new(Opaque)) };
            let report = piped(stream(total, false), disk.clone(), spec).await.expect("nothing fails");
            assert!(*disk.synced.lock().expect("no panic"));
            assert_eq!(report.files[0].source.bytes, total as u64);
            assert_eq!(report.files[0].stored, Digest::of(&disk.bytes()), "{compression} with {encoders}");
            let stored: Stored = Box::new(std::io::Cursor::new(disk.bytes()));
            let found = read_back(stored, encoding(compression), Box::new(Opaque)).await.expect("memory");
            let (source, _) = found.content.expect("it is whole");
            assert_eq!(source, report.files[0].source, "{compression} with {encoders}");
        }
    }
}

#[tokio::test]
async fn tells_how_far_it_is() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let seen = Arc::clone(&seen);
        move |bytes| seen.lock().expect("no panic").push(bytes)
    };
    let spec = spec(Store::Encode(Compression::Zstd(1)), Box::new(Opaque));
    let disk = Arc::new(Disk::with_room(usize::MAX));
    run(Box::new(stream(2 << 20, false).stream), disk, spec, progress).await.expect("nothing fails");
    let seen = seen.lock().expect("no panic");
    assert!(seen.is_sorted() && seen.len() > 2, "{seen:?}");
    assert_eq!(seen.last(), Some(&(2 << 20)));
}

/// Hands out these bytes in chunks of one size.
struct Chunks {
    bytes: Bytes,
    chunk: usize,
}

#[async_trait]
impl SourceStream for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        let chunk = self.bytes.split_to(self.bytes.len().min(self.chunk));
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    async fn finish(self: Box<Self>) -> Result<String, StackError> {
        Ok("said".to_owned())
    }
}

fn any_compression() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        (1_u8..=9).prop_map(Compression::Gzip),
        (1_u8..=19).prop_map(Compression::Zstd)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However a dump travels, in chunks of whatever size, and however it is stored: what is recorded
    /// of it is the same, and it comes back.
    #[test]
    fn the_way_of_a_dump_never_changes_what_is_recorded(
        rows in 0_usize..4_000,
        chunk in 1_usize..100_000,
        wanted in any_compression(),
        travels in any_compression(),
    ) {
        let text = supakeep_testkit::Database::new("postgres").with("users", rows).plain();
        let packed = BlockEncoder::new(travels)
            .and_then(|mut encoder| encoder.encode(text.clone().into_bytes()))
            .expect("memory");
        let codec = match travels {
            Compression::None => Codec::Identity,
            Compression::Gzip(_) => Codec::Gzip,
            Compression::Zstd(_) => Codec::Zstd,
        };
        let store = if travels == wanted { Store::PassThrough } else { Store::Encode(wanted) };
        let disk = Disk::with_room(usize::MAX);
        let spec = PipeSpec { codec, store, encoders: 2, split: whole(Box::new(PlainDump::of_database())) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stream = Chunks { bytes: packed.into(), chunk };
        let report = runtime
            .block_on(run(Box::new(stream), Arc::new(disk.clone()), spec, |_| {}))
            .expect("nothing fails");
        prop_assert_eq!(&report.files[0].source, &Digest::of(text.as_bytes()));
        prop_assert_eq!(&report.files[0].stored, &Digest::of(&disk.bytes()));
        prop_assert_eq!(&report.stderr, "said");
        let print = report.inspection.fingerprint.expect("a database has one");
        prop_assert_eq!(print.rows(), rows as u64);
        let stored: Stored = Box::new(std::io::Cursor::new(disk.bytes()));
        let inspector = Box::new(PlainDump::of_database());
        let found = runtime.block_on(read_back(stored, encoding(wanted), inspector)).expect("memory");
        let (source, inspection) = found.content.expect("it is whole");
        prop_assert_eq!(&source, &report.files[0].source);
        prop_assert_eq!(inspection.fingerprint, Some(print));
    }
}
