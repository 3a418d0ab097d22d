//! Custom archives and the folders that are made of them: read in chunks of any size, cut, damaged, and
//! stored on a disk that fails.

use proptest::prelude::*;
use supakeep_flow::inspect::archive::{ArchiveIndex, CustomArchive, Rest, Sections};
use supakeep_flow::inspect::select::Index as _;
use supakeep_flow::inspect::{Inspect as _, InspectError};
use supakeep_flow::ports::Repository as _;
use supakeep_flow::verify::verify;
use supakeep_model::artifact::{Artifact, Member};
use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, DumpSpec, Format};
use supakeep_model::fingerprint::Fingerprint;
use supakeep_testkit::{ArchiveCodec, Database, Fault, Operation, ScriptedStack, Trial};

fn database() -> Database {
    let large_objects = vec![(16_400, b"one".repeat(3_000)), (16_401, vec![]), (16_402, vec![0; 9])];
    Database { large_objects, ..Database::new("postgres").with("users", 300).with("empty", 0) }
}

fn inspect(archive: &[u8], chunk: usize) -> Result<Fingerprint, InspectError> {
    let mut inspector = Box::new(CustomArchive::default());
    for part in archive.chunks(chunk) {
        inspector.push(part)?;
    }
    inspector.finish().map(|inspection| inspection.fingerprint.expect("a database has one"))
}

#[test]
fn sums_up_what_an_archive_holds() {
    let print = inspect(&database().archive(ArchiveCodec::None), 1_000_000).expect("it is whole");
    let tables: Vec<_> = print.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    assert_eq!(tables, [("empty", 0), ("users", 300)]);
    assert_eq!((print.large_objects.count, print.large_objects.bytes), (3, 9_009));
    assert_eq!(print.schema.count, 4);
    let packed = inspect(&database().archive(ArchiveCodec::Zstd), 1_000_000).expect("it is whole");
    assert_eq!(packed, print, "compression is no content");
}

/// The script and what is left, of an archive that is read in chunks.
fn apart(archive: &[u8], chunk: usize) -> (String, Vec<u8>, Rest) {
    let (mut sections, mut script, mut contents) = (Sections::default(), Vec::new(), None);
    for part in archive.chunks(chunk) {
        sections.push(part, &mut script).expect("it is one");
        contents = contents.or_else(|| sections.contents().map(<[u8]>::to_vec));
    }
    let rest = sections.finish().expect("it is whole");
    (String::from_utf8(script).expect("text"), contents.expect("a table of contents"), rest)
}

#[test]
fn is_taken_apart_into_rows_for_psql_and_an_archive_without_them() {
    let whole = Database { large_objects: vec![(16_400, b"one".repeat(30))], ..database() };
    let whole = whole.archive(ArchiveCodec::None);
    let (script, contents, rest) = apart(&whole, whole.len());
    for table in ["users", "empty"] {
        assert_eq!(script.matches(&format!("COPY public.{table} (id) FROM stdin;\n")).count(), 1, "{script}");
    }
    assert_eq!(script.matches("\n\\.\n").count(), 2, "{script}");
    assert!(script.lines().count() > 300, "{script}");
    assert!(whole.starts_with(&contents), "its own table of contents");
    // A kind, the entry, the object, its chunk, and two ends: numbers have five bytes.
    let objects = 1 + 5 + 5 + 5 + 90 + 5 + 5;
    let expected = [contents.as_slice(), &whole[whole.len() - objects..]].concat();
    assert_eq!(rest.archive.as_deref(), Some(expected.as_slice()));
    assert_eq!(rest.others, [900, 2001, 2002], "the large objects, and an index of each table");
    for chunk in [1, 7, 1_000] {
        let (again, same, others) = apart(&whole, chunk);
        assert_eq!((again, same, others.others), (script.clone(), contents.clone(), rest.others.clone()));
    }
}

#[test]
fn compression_inside_of_an_archive_is_taken_off() {
    let [plain, packed] =
        [ArchiveCodec::None, ArchiveCodec::Zstd].map(|codec| apart(&database().archive(codec), 1_000_000));
    assert_eq!(packed.0, plain.0);
    assert_eq!(packed.1, plain.1, "it says so");
}

#[test]
fn says_which_pg_dump_has_made_it() {
    let mut index = Box::new(ArchiveIndex::of_file());
    index.push(&database().archive(ArchiveCodec::None)).expect("it is one");
    assert_eq!(index.finish().expect("it is whole").dumped_by, "17.2", "not the server that was dumped");
}

#[test]
fn every_truncation_is_noticed() {
    for codec in [ArchiveCodec::None, ArchiveCodec::Zstd] {
        let whole = database().archive(codec);
        for cut in 0..whole.len() {
            assert!(inspect(&whole[..cut], 1_000).is_err(), "{codec:?} cut at {cut} of {}", whole.len());
        }
        let longer = [whole, vec![1]].concat();
        assert!(inspect(&longer, 1_000).is_err(), "{codec:?}: a byte more");
    }
}

#[test]
fn refuses_what_is_no_archive_it_knows() {
    let whole = database().archive(ArchiveCodec::None);
    let changed = |at: usize, byte: u8| {
        let mut archive = whole.clone();
        archive[at] = byte;
        inspect(&archive, 1_000).expect_err("it is changed")
    };
    // Its mark, its version, its number sizes, its layout, its compression (LZ4, and one not known).
    for (at, byte) in [(0, b'X'), (5, 2), (6, 17), (6, 11), (8, 0), (8, 9), (10, 5), (11, 2), (11, 9)] {
        assert!(matches!(changed(at, byte), InspectError::Damaged(_)), "{at} {byte}");
    }
    assert!(inspect(b"", 1).is_err() && inspect(b"PGDMP", 1).is_err());
    assert!(inspect(Database::new("x").plain().as_bytes(), 100).is_err());
}

/// A table whose rows stop without the line that ends them, in an archive that is whole otherwise.
#[test]
fn rows_without_their_end_are_noticed() {
    let whole = database().archive(ArchiveCodec::None);
    let end = whole.windows(5).position(|five| five == b"\\.\n\n\n").expect("the rows have an end");
    let mut cut = whole;
    cut[end] = b'x';
    let error = inspect(&cut, 1_000).expect_err("the rows have no end");
    assert!(error.to_string().contains("public.users"), "{error}");
}

proptest! {
    #[test]
    fn chunk_boundaries_never_change_the_result(chunk in 1_usize..9_000) {
        for codec in [ArchiveCodec::None, ArchiveCodec::Zstd] {
            let whole = database().archive(codec);
            prop_assert_eq!(inspect(&whole, chunk), inspect(&whole, 1_000_000));
        }
    }

    /// Lengths and numbers come from the stream: none of them is believed so far that it does harm.
    #[test]
    fn a_changed_byte_never_does_harm(at in any::<prop::sample::Index>(), byte: u8, chunk in 1_usize..5_000) {
        let mut archive = database().archive(ArchiveCodec::Zstd);
        let at = at.index(archive.len());
        archive[at] = byte;
        let _ = inspect(&archive, chunk);
    }

    #[test]
    fn bytes_of_any_kind_never_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), skip in 0_usize..12) {
        let begin = database().archive(ArchiveCodec::None);
        let _ = inspect(&[&begin[..skip], &bytes].concat(), 7);
    }
}

/// A trial that makes folders.
fn trial(compression: Compression, zstd: bool) -> Trial {
    let mut trial = Trial { stack: ScriptedStack::new(&[database()]), ..Trial::default() };
    trial.profile.dump = DumpSpec { format: Format::Directory, compression, ..DumpSpec::default() };
    trial.stack.set_facts(|facts| facts.dumps_zstd = zstd);
    trial
}

#[tokio::test]
async fn a_folder_has_a_file_for_everything() {
    for (compression, zstd) in [
        (Compression::Gzip(6), false),
        (Compression::Gzip(6), true),
        (Compression::Zstd(3), true),
        (Compression::None, false),
    ] {
        let trial = trial(compression, zstd);
        let head = trial.backup().await;
        assert!(head.is_good(), "{compression}: {:?}", head.error);
        let manifest = trial.manifest(&head);
        let members: Vec<_> =
            manifest.artifacts.iter().filter_map(|artifact| artifact.member.clone()).collect();
        let large_objects = [16_400, 16_401, 16_402].map(|oid| Member::LargeObject { oid });
        let rows = ["users", "empty"].map(|name| Member::Rows { schema: "public".into(), name: name.into() });
        let expected = [&[Member::Contents][..], &rows, &large_objects, &[Member::LargeObjects]].concat();
        assert_eq!(members, expected);
        let files = trial.memory.files(head.id.as_str());
        let suffix = compression.suffix();
        for name in
            ["toc.dat", &format!("1.dat{suffix}"), &format!("blob_16400.dat{suffix}"), "blobs_900.toc"]
        {
            assert!(files.contains_key(&format!("postgres.dir/{name}")), "{name}: {:?}", files.keys());
        }
        assert_eq!(
            files["postgres.dir/blobs_900.toc"],
            b"16400 blob_16400.dat\n16401 blob_16401.dat\n16402 blob_16402.dat\n"
        );
        let print = manifest.databases[0].fingerprint.clone().expect("it has one");
        let custom = inspect(&database().archive(ArchiveCodec::None), 1_000).expect("it is whole");
        assert_eq!(print, custom, "the folder holds what the archive held");
    }
}

#[tokio::test]
async fn a_folder_of_more_files_than_a_manifest_should_hold_is_refused() {
    let large_objects = (1..=20_001).map(|oid| (oid, vec![])).collect();
    let mut trial = trial(Compression::None, false);
    trial.stack = ScriptedStack::new(&[Database { large_objects, ..Database::new("postgres") }]);
    let error = trial.backup().await.error.expect("it is refused");
    assert_eq!(error.code, Code::DumpUnsupported, "{}", error.message);
    assert!(error.message.contains("custom is one"), "{}", error.message);
}

#[tokio::test]
async fn a_folder_that_pg_restore_could_not_read_is_refused() {
    let head = trial(Compression::Zstd(3), false).backup().await;
    assert_eq!(head.error.expect("why").code, Code::DumpUnsupported);
}

#[tokio::test]
async fn verify_notices_a_change_in_every_file_of_a_folder() {
    let trial = trial(Compression::Gzip(6), false);
    let head = trial.backup().await;
    let manifest = trial.manifest(&head);
    let id = head.id.as_str();
    let check = async || {
        let open = |artifact: &Artifact| trial.memory.open(&head.id, &artifact.path);
        verify(&manifest, open, &*trial.clock, |_| {}).await.expect("everything can be read")
    };
    for artifact in manifest.artifacts.iter().filter(|artifact| artifact.bytes > 0) {
        let whole = trial.memory.files(id)[&artifact.path].clone();
        let changes: [fn(&mut Vec<u8>); 3] =
            [|bytes| bytes[0] ^= 1, |bytes| bytes.truncate(bytes.len() - 1), |bytes| bytes.clear()];
        for change in changes {
            trial.memory.tamper(id, &artifact.path, change);
            let proof = check().await;
            assert!(!proof.ok && proof.differences[0].starts_with(&artifact.path), "{:?}", proof.differences);
            trial.memory.tamper(id, &artifact.path, |bytes| bytes.clone_from(&whole));
        }
    }
    assert!(check().await.ok);
}

#[tokio::test]
async fn a_fault_in_the_middle_of_a_folder_loses_nothing() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        let mut nth = 0;
        loop {
            nth += 1;
            let trial = trial(Compression::Gzip(6), false);
            let trial = trial.failing(operation, nth, Fault::Code(Code::RepositoryFull));
            let head = trial.backup().await;
            if trial.repository.calls(operation) < nth {
                break;
            }
            assert_eq!(head.error.as_ref().map(|error| error.code), Some(Code::RepositoryFull), "{nth}");
            assert_eq!((trial.memory.ids().len(), trial.memory.incoming_ids().len()), (0, 0));
            assert_eq!(trial.memory.files(head.id.as_str()).len(), 0);
        }
        assert!(nth > 8, "{operation:?} was called {nth} times");
    }
}
