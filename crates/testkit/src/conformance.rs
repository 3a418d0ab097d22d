//! What every repository has to do, whatever it is made of.
//!
//! `conformance_suite!` makes one test of each case; the cases themselves are plain functions that
//! take an empty repository.

use std::io::Write as _;
use std::sync::Arc;

use supakeep_flow::ports::{FailedFiles, Repository, Staging, StoreError};
use supakeep_model::Duration;
use supakeep_model::artifact::{Artifact, Encoding, Part};
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal::{self, Journal, StoppedService};
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{Outcome, Proof};
use supakeep_model::sample::head;
use supakeep_model::secret::Secret;
use supakeep_model::volume::{STOPPED_FORMAT, StoppedContainers};
use tokio::io::AsyncReadExt as _;

use crate::specs::{START, failed_head, manifest, unfinished};

/// Makes a test of every case. `$new` makes an empty repository, and whatever has to live as long.
#[macro_export]
macro_rules! conformance_suite {
    ($new:expr) => {
        $crate::conformance_suite!(@cases $new;
            a_backup_is_there_when_it_is_committed_and_not_before,
            what_is_dropped_is_gone,
            a_failed_run_leaves_a_record_and_no_backup,
            the_files_of_one_failed_run_can_be_kept,
            the_files_of_failed_runs_can_be_removed_and_the_records_stay,
            a_name_is_never_taken_twice,
            the_lock_is_taken_once,
            taking_the_lock_removes_what_is_half_made,
            a_drill_takes_no_run_its_turn_and_its_backup_is_in_use,
            what_an_unfinished_restore_needs_is_in_use,
            what_is_stopped_for_a_while_is_written_down,
            what_is_lent_to_a_restore_is_no_backup_and_goes_with_it,
            a_manifest_is_replaced_in_one_step,
            changes_of_a_manifest_do_not_lose_one_another,
            a_file_can_be_put_beside_a_manifest,
            what_is_removed_is_gone_and_the_rest_stays,
            what_is_not_there_is_not_found,
            paths_never_lead_out_of_a_backup,
            links_are_made_moved_and_removed,
            it_keeps_its_identity_and_its_first_start,
            the_catalog_is_sorted_by_time,
            every_byte_comes_back,
            many_may_look_at_once,
        );
    };
    (@cases $new:expr; $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (repository, _alive) = $new;
                $crate::conformance::$case(std::sync::Arc::new(repository)).await;
            }
        )*
    };
}

type Subject = Arc<dyn Repository>;

fn id(text: &str) -> BackupId {
    text.parse().expect("a valid id")
}

fn record(name: &str) -> Manifest {
    manifest(head(name, Some("daily"), START))
}

/// Stages a backup with one file.
fn staged(repository: &Subject, name: &str, content: &[u8]) -> Box<dyn Staging> {
    let staging = repository.stage(&id(name)).expect("it can be staged");
    let mut file = staging.files().create("postgres.sql.gz").expect("a new file");
    file.write_all(content).expect("room");
    file.sync().expect("a disk");
    staging
}

/// Makes a backup with one file.
fn backup(repository: &Subject, name: &str) {
    staged(repository, name, b"content").commit(&record(name)).expect("it can be committed");
}

fn listed(repository: &Subject) -> Vec<String> {
    let catalog = repository.catalog().expect("it can be read");
    catalog.backups().map(|head| head.id.to_string()).collect()
}

async fn content(repository: &Subject, name: &str, path: &str) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    repository.open(&id(name), path)?.read_to_end(&mut bytes).await.expect("it can be read");
    Ok(bytes)
}

#[track_caller]
fn refused<T>(result: Result<T, StoreError>, code: Code) {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => assert_eq!(error.code, code, "{error}"),
    }
}

pub async fn a_backup_is_there_when_it_is_committed_and_not_before(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    let staging = staged(&repository, "b_1", b"content");
    assert_eq!(listed(&repository), Vec::<String>::new());
    let mut bytes = Vec::new();
    let mut file = staging.open("postgres.sql.gz").expect("it was written");
    file.read_to_end(&mut bytes).await.expect("it can be read");
    assert_eq!(bytes, b"content");
    refused(repository.manifest(&id("b_1")), Code::BackupNotFound);
    staging.commit(&record("b_1")).expect("it can be committed");
    assert_eq!(listed(&repository), ["b_1"]);
    assert_eq!(repository.manifest(&id("b_1")).expect("it is there"), record("b_1"));
    assert_eq!(content(&repository, "b_1", "postgres.sql.gz").await.expect("it is there"), b"content");
}

pub async fn what_is_dropped_is_gone(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    drop(staged(&repository, "b_1", b"content"));
    assert_eq!(listed(&repository), Vec::<String>::new());
    // The name is free again, with nothing in it.
    let staging = repository.stage(&id("b_1")).expect("it can be staged");
    assert!(staging.open("postgres.sql.gz").is_err());
}

pub async fn a_failed_run_leaves_a_record_and_no_backup(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    let failed = manifest(failed_head("b_1", Some("daily"), START, Code::DumpFailed));
    staged(&repository, "b_1", b"content").fail(&failed, FailedFiles::Remove).expect("it is recorded");
    assert_eq!(listed(&repository), Vec::<String>::new());
    let catalog = repository.catalog().expect("it can be read");
    let outcomes: Vec<_> = catalog.entries().map(|head| (head.id.as_str(), head.outcome)).collect();
    assert_eq!(outcomes, [("b_1", Outcome::Failed)]);
    assert_eq!(repository.manifest(&id("b_1")).expect("it is there"), failed);
    assert!(content(&repository, "b_1", "postgres.sql.gz").await.is_err(), "the files are gone");
    repository.remove(&id("b_1")).expect("a record can be removed");
    assert_eq!(repository.catalog().expect("it can be read").entries().len(), 0);
}

pub async fn the_files_of_one_failed_run_can_be_kept(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    for name in ["b_1", "b_2"] {
        let failed = manifest(failed_head(name, Some("daily"), START, Code::VerifyFailed));
        staged(&repository, name, b"damaged").fail(&failed, FailedFiles::Keep).expect("it is recorded");
    }
    assert_eq!(content(&repository, "b_2", "postgres.sql.gz").await.expect("kept"), b"damaged");
    assert!(content(&repository, "b_1", "postgres.sql.gz").await.is_err(), "only the last one's are kept");
    assert_eq!(repository.catalog().expect("it can be read").entries().len(), 2);
}

pub async fn the_files_of_failed_runs_can_be_removed_and_the_records_stay(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    repository.remove_failed_files().expect("there is nothing to remove");
    let failed = manifest(failed_head("b_1", Some("daily"), START, Code::VerifyFailed));
    staged(&repository, "b_1", b"damaged").fail(&failed, FailedFiles::Keep).expect("it is recorded");
    backup(&repository, "b_2");
    repository.remove_failed_files().expect("they can be removed");
    assert!(content(&repository, "b_1", "postgres.sql.gz").await.is_err(), "they are gone");
    assert_eq!(repository.manifest(&id("b_1")).expect("it is there"), failed);
    assert_eq!(content(&repository, "b_2", "postgres.sql.gz").await.expect("it stays"), b"content");
}

pub async fn a_name_is_never_taken_twice(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    let mut other = record("b_1");
    other.head.profile = Some("other".into());
    let again = staged(&repository, "b_1", b"other").commit(&other);
    assert!(again.is_err(), "the first one was written over");
    assert_eq!(repository.manifest(&id("b_1")).expect("it is there"), record("b_1"));
    assert_eq!(content(&repository, "b_1", "postgres.sql.gz").await.expect("it is there"), b"content");
}

pub async fn the_lock_is_taken_once(repository: Subject) {
    let lock = repository.lock().expect("nobody has it");
    refused(repository.lock(), Code::Busy);
    refused(repository.lock(), Code::Busy);
    drop(lock);
    repository.lock().expect("it is free again");
}

pub async fn taking_the_lock_removes_what_is_half_made(repository: Subject) {
    let lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    // As a process does that dies: neither committed nor dropped.
    std::mem::forget(staged(&repository, "b_2", b"half"));
    refused(repository.lock(), Code::Busy);
    let half = repository.stage(&id("b_2")).expect("it can be staged");
    assert!(half.open("postgres.sql.gz").is_ok(), "whoever does not get the lock removes nothing");
    std::mem::forget(half);
    drop(lock);
    let _lock = repository.lock().expect("it is free again");
    let half = repository.stage(&id("b_2")).expect("it can be staged");
    assert!(half.open("postgres.sql.gz").is_err(), "it is still there");
    assert_eq!(listed(&repository), ["b_1"]);
}

pub async fn a_manifest_is_replaced_in_one_step(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    assert_eq!(listed(&repository), ["b_1"]);
    let mut amended = record("b_1");
    let proof = Proof {
        at: START + Duration::HOUR,
        ok: false,
        duration_seconds: 2.0,
        differences: vec!["postgres.sql.gz: 7 bytes recorded, 6 found".into()],
    };
    amended.head.verified = Some(proof);
    let change = |manifest: &mut Manifest| manifest.head.verified.clone_from(&amended.head.verified);
    assert_eq!(repository.update(&id("b_1"), &mut { change }).expect("it can be updated"), amended);
    assert_eq!(repository.manifest(&id("b_1")).expect("it is there"), amended);
    let catalog = repository.catalog().expect("it can be read");
    assert_eq!(catalog.entries().next(), Some(&amended.head), "the catalog shows the old one");
    assert_eq!(content(&repository, "b_1", "postgres.sql.gz").await.expect("untouched"), b"content");
    refused(repository.update(&id("b_9"), &mut |_| {}), Code::BackupNotFound);
}

pub async fn a_drill_takes_no_run_its_turn_and_its_backup_is_in_use(repository: Subject) {
    let in_use = || repository.in_use().expect("it can be asked");
    assert!(in_use().is_empty());
    let drill = repository.lock_drill(Some(&id("b_1"))).expect("nobody has it");
    assert_eq!(in_use().into_iter().collect::<Vec<_>>(), [id("b_1")]);
    refused(repository.lock_drill(None).map(|_| ()), Code::Busy);
    let _run = repository.lock().expect("a drill does not have it");
    drop(drill);
    assert!(in_use().is_empty());
    let nothing = repository.lock_drill(None).expect("nobody has it any more");
    assert!(in_use().is_empty());
    drop(nothing);
}

pub async fn what_an_unfinished_restore_needs_is_in_use(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    assert_eq!(repository.journal().expect("it can be asked"), None);
    let key = Some(Secret::new(b"key".to_vec()));
    let journal = Journal {
        safety: Some(id("b_2")),
        previous_key: key,
        elevated: true,
        ..unfinished(id("b_1"), journal::Step::RootKey)
    };
    repository.set_journal(Some(&journal)).expect("it can be written");
    assert_eq!(repository.journal().expect("it can be read"), Some(journal));
    let in_use = || repository.in_use().expect("it can be asked").into_iter().collect::<Vec<_>>();
    assert_eq!(in_use(), [id("b_1"), id("b_2")]);
    repository.set_journal(None).expect("it can be removed");
    assert_eq!(repository.journal().expect("it can be asked"), None);
    assert_eq!(in_use(), []);
}

pub async fn what_is_stopped_for_a_while_is_written_down(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    assert_eq!(repository.stopped().expect("it can be asked"), None);
    repository.set_stopped(None).expect("there is nothing to remove");
    let app = StoppedService { id: "01".to_owned(), name: "app".to_owned() };
    let stopped =
        StoppedContainers { format: STOPPED_FORMAT, reason: "backup_1".to_owned(), containers: vec![app] };
    repository.set_stopped(Some(&stopped)).expect("it can be written");
    assert_eq!(repository.stopped().expect("it can be read"), Some(stopped));
    repository.set_stopped(None).expect("it can be removed");
    assert_eq!(repository.stopped().expect("it can be asked"), None);
}

pub async fn what_is_lent_to_a_restore_is_no_backup_and_goes_with_it(repository: Subject) {
    let lend = || staged(&repository, "f_1", b"a dump").lend(&record("f_1")).expect("there is room");
    let is_there = || repository.manifest(&id("f_1")).is_ok();
    let mut lock = repository.lock().expect("nobody has it");
    lend();
    assert_eq!(content(&repository, "f_1", "postgres.sql.gz").await.expect("it can be read"), b"a dump");
    assert!(listed(&repository).is_empty());
    // Nobody has said that a restore needs it.
    drop(lock);
    lock = repository.lock().expect("nobody has it");
    assert!(!is_there());
    lend();
    let journal = unfinished(id("f_1"), journal::Step::Databases);
    repository.set_journal(Some(&journal)).expect("it can be written");
    drop(lock);
    lock = repository.lock().expect("nobody has it");
    assert!(is_there() && listed(&repository).is_empty());
    repository.set_journal(None).expect("it can be removed");
    assert!(!is_there());
    lend();
    repository.remove(&id("f_1")).expect("it is there");
    assert!(!is_there());
    drop(lock);
}

pub async fn changes_of_a_manifest_do_not_lose_one_another(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let repository = &repository;
            scope.spawn(move || {
                let note = |manifest: &mut Manifest| manifest.head.warnings.push(number.to_string());
                repository.update(&id("b_1"), &mut { note }).expect("it is there")
            });
        }
    });
    let mut noted = repository.manifest(&id("b_1")).expect("it is there").head.warnings;
    noted.retain(|warning| warning.len() == 1);
    noted.sort_unstable();
    assert_eq!(noted, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    refused(repository.update(&id("b_9"), &mut |_| {}), Code::BackupNotFound);
}

pub async fn a_file_can_be_put_beside_a_manifest(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    for text in ["one", "two"] {
        repository.attach(&id("b_1"), "drill.json", text.as_bytes()).expect("there is room");
        let found = content(&repository, "b_1", "drill.json").await.expect("it is there");
        assert_eq!(found, text.as_bytes());
    }
    refused(repository.attach(&id("b_1"), "../x", b""), Code::ManifestDamaged);
    refused(repository.attach(&id("b_9"), "drill.json", b""), Code::BackupNotFound);
}

pub async fn what_is_removed_is_gone_and_the_rest_stays(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    ["b_1", "b_2", "b_10"].iter().for_each(|name| backup(&repository, name));
    repository.remove(&id("b_1")).expect("it is there");
    let mut left = listed(&repository);
    left.sort();
    assert_eq!(left, ["b_10", "b_2"]);
    refused(repository.remove(&id("b_1")), Code::BackupNotFound);
    backup(&repository, "b_1");
    assert_eq!(listed(&repository).len(), 3);
}

pub async fn what_is_not_there_is_not_found(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    refused(repository.manifest(&id("b_1")), Code::BackupNotFound);
    refused(repository.remove(&id("b_1")), Code::BackupNotFound);
    refused(repository.open(&id("b_1"), "x"), Code::BackupNotFound);
    refused(repository.update(&id("b_1"), &mut |_| {}), Code::BackupNotFound);
    assert_eq!(repository.catalog().expect("it can be read").entries().len(), 0);
    backup(&repository, "b_1");
    assert!(repository.open(&id("b_1"), "x").is_err());
}

pub async fn paths_never_lead_out_of_a_backup(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    backup(&repository, "b_2");
    for path in ["", "..", "../b_1/manifest.json", "/etc/hostname", "a/../../b_1/postgres.sql.gz", "./x"] {
        refused(repository.open(&id("b_2"), path), Code::ManifestDamaged);
        let staging = repository.stage(&id("b_3")).expect("it can be staged");
        refused(staging.files().create(path), Code::ManifestDamaged);
        refused(staging.open(path), Code::ManifestDamaged);
        refused(repository.link(path, Some(&id("b_1"))), Code::ManifestDamaged);
    }
}

pub async fn links_are_made_moved_and_removed(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    backup(&repository, "b_2");
    for target in [Some("b_1"), Some("b_1"), Some("b_2"), None, None] {
        let target = target.map(id);
        repository.link("latest", target.as_ref()).expect("a link");
        repository.link("latest-daily", target.as_ref()).expect("a link");
    }
    let mut left = listed(&repository);
    left.sort();
    assert_eq!(left, ["b_1", "b_2"], "a link is no backup, and removing it removes none");
}

pub async fn it_keeps_its_identity_and_its_first_start(repository: Subject) {
    repository.prepare().expect("it can be used");
    let (identity, first_start) = (repository.identity(), repository.first_start());
    let identity = identity.expect("it has one");
    let key = repository.redaction_key().expect("it has one");
    assert!(!identity.is_empty());
    assert_eq!(first_start.expect("it has one"), START);
    repository.prepare().expect("any number of times");
    let lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    drop(lock);
    assert_eq!(repository.identity().expect("it has one"), identity);
    assert!(repository.redaction_key().expect("it has one") == key);
    assert!(repository.space().expect("it can tell").total_bytes > 0);
}

pub async fn the_catalog_is_sorted_by_time(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    for (name, hours) in [("a", 2), ("b", 3), ("c", 1)] {
        let record = manifest(head(name, None, START + Duration::hours(hours)));
        staged(&repository, name, b"x").commit(&record).expect("it can be committed");
    }
    assert_eq!(listed(&repository), ["b", "a", "c"]);
}

pub async fn every_byte_comes_back(repository: Subject) {
    let _lock = repository.lock().expect("nobody has it");
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let staging = repository.stage(&id("b_1")).expect("it can be staged");
    let mut file = staging.files().create("postgres.dir/1.dat").expect("a new file, in a folder of its own");
    bytes.chunks(70_001).for_each(|chunk| file.write_all(chunk).expect("room"));
    file.flush().and_then(|()| file.sync()).expect("a disk");
    let empty = staging.files().create("empty").expect("a new file");
    empty.sync().expect("a disk");
    assert!(staging.files().create("empty").is_err(), "no file is written over");
    let mut record = record("b_1");
    record.artifacts = vec![Artifact {
        path: "postgres.dir/1.dat".into(),
        part: Part::Database,
        of: None,
        member: None,
        database: Some("postgres".into()),
        bytes: bytes.len() as u64,
        sha256: "00".into(),
        source_bytes: bytes.len() as u64,
        source_sha256: "00".into(),
        encoding: Encoding::Identity,
    }];
    staging.commit(&record).expect("it can be committed");
    assert!(content(&repository, "b_1", "postgres.dir/1.dat").await.expect("it is there") == bytes);
    assert_eq!(content(&repository, "b_1", "empty").await.expect("it is there"), b"");
    assert_eq!(repository.manifest(&id("b_1")).expect("it is there").artifacts, record.artifacts);
}

/// The daemon looks at its repository while commands do: nobody disturbs anybody.
pub async fn many_may_look_at_once(repository: Subject) {
    let identities: Vec<_> = std::thread::scope(|scope| {
        let look = || {
            let looks = (0..20).map(|_| {
                repository.prepare().expect("it can be used");
                repository.catalog().expect("it can be read");
                let tried = repository.lock().map(drop);
                assert!(tried.is_ok() || tried.is_err_and(|error| error.code == Code::Busy));
                repository.identity().expect("it has one")
            });
            looks.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(look)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(identities.iter().all(|identity| *identity == identities[0]), "{identities:?}");
}
