//! Runs that fail at the repository's side. Wherever it happens: no backup is listed that is not whole,
//! the last good one is as it was, and nothing is pruned.

use supakeep_flow::backup::backup;
use supakeep_flow::ports::Repository as _;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::keep::KeepPolicy;
use supakeep_model::manifest_head::{ManifestHead, Outcome};
use supakeep_testkit::{Fault, MemoryRepository, Operation, Trial};

/// Keeps one: whatever is older would go, if a run that failed were a reason.
const ONE: KeepPolicy = KeepPolicy { last: Some(1), ..KeepPolicy::EMPTY };

/// A repository with two good backups.
async fn with_two() -> (MemoryRepository, Vec<String>, String) {
    let trial = Trial::default();
    trial.backup().await;
    trial.backup().await;
    let files = trial.memory.ids().iter().map(|id| format!("{:?}", trial.memory.files(id))).collect();
    (trial.memory.clone(), trial.memory.ids(), files)
}

/// A run in it, two hours later, with this fault.
async fn run(memory: &MemoryRepository, fault: Option<(Operation, usize, Fault)>) -> (Trial, ManifestHead) {
    let mut trial = Trial::with(memory.clone());
    trial.profile.dump.compression = Compression::None;
    if let Some((operation, nth, fault)) = fault {
        trial = trial.failing(operation, nth, fault);
    }
    trial.clock.advance(supakeep_model::Duration::hours(5));
    let head = trial.cycle(ONE).await;
    (trial, head)
}

/// Every call that a run makes fails once, at every place.
#[tokio::test]
async fn a_fault_anywhere_loses_nothing() {
    let operations = [
        (Operation::Write, Code::RepositoryFull),
        (Operation::Write, Code::RepositoryIo),
        (Operation::Sync, Code::RepositoryIo),
        (Operation::Create, Code::RepositoryFull),
        (Operation::OpenStaged, Code::RepositoryIo),
        // A file that cannot be opened now may be all right.
        (Operation::OpenStaged, Code::RepositoryUnavailable),
        (Operation::Commit, Code::RepositoryFull),
        (Operation::Space, Code::RepositoryIo),
    ];
    for (operation, code) in operations {
        let mut nth = 0;
        loop {
            nth += 1;
            let (memory, before, files) = with_two().await;
            let (trial, head) = run(&memory, Some((operation, nth, Fault::Code(code)))).await;
            if trial.repository.calls(operation) < nth {
                assert_eq!(head.outcome, Outcome::Complete);
                break;
            }
            let is_damage = (operation, code) == (Operation::OpenStaged, Code::RepositoryIo);
            let failed = if is_damage { Code::VerifyFailed } else { code };
            let error = head.error.unwrap_or_else(|| panic!("{operation:?} {nth}: it did not fail"));
            assert_eq!(error.code, failed, "{operation:?} {nth}: {}", error.message);
            assert_eq!(memory.ids(), before, "{operation:?} {nth}");
            let now: String = before.iter().map(|id| format!("{:?}", memory.files(id))).collect();
            assert_eq!(now, files, "{operation:?} {nth}");
            assert_eq!(memory.failed_ids(), [head.id.as_str()], "{operation:?} {nth}: no record");
            assert_eq!(memory.incoming_ids(), Vec::<String>::new());
            assert_eq!(trial.recorder.pruned(), Vec::<String>::new(), "{operation:?} {nth}");
            assert_eq!(memory.links()["latest"], before[1], "{operation:?} {nth}");
        }
        assert!(nth > 1, "{operation:?} was never called");
    }
}

/// A disk that is full after so many bytes, at many places, manifest included.
#[tokio::test]
async fn a_disk_that_is_full_at_any_byte() {
    let (memory, before, _) = with_two().await;
    let (_, whole) = run(&memory, None).await;
    let total = usize::try_from(whole.totals.stored_bytes).expect("it is small");
    let mut failed = 0;
    for room in (0..total + 8_000).step_by(397) {
        let (memory, before, files) = with_two().await;
        memory.fill_after(room);
        let (trial, head) = run(&memory, None).await;
        if head.outcome == Outcome::Complete {
            assert!(room > total, "there was not even room for the files");
            continue;
        }
        failed += 1;
        assert_eq!(head.error.as_ref().map(|error| error.code), Some(Code::RepositoryFull), "{room}");
        assert_eq!(memory.ids(), before, "{room}");
        let now: String = before.iter().map(|id| format!("{:?}", memory.files(id))).collect();
        assert_eq!(now, files, "{room}");
        assert_eq!(memory.incoming_ids(), Vec::<String>::new(), "{room}");
        assert!(trial.recorder.pruned().is_empty(), "{room}");
        // Where there is no room for the record either, whoever listens knows.
        assert_eq!(trial.recorder.ended().last(), Some(&head));
    }
    assert!(failed > total / 400, "{failed} of {total}");
    assert_eq!(before.len(), 2);
}

/// What is on the disk is not what was written: found before the backup is one.
#[tokio::test]
async fn a_disk_that_changes_a_byte_or_cannot_read_it() {
    for nth in 1..=6 {
        for fault in [Fault::Flip(0), Fault::Flip(20), Fault::Unreadable(0), Fault::Unreadable(30)] {
            let (memory, before, _) = with_two().await;
            let (trial, head) = run(&memory, Some((Operation::OpenStaged, nth, fault))).await;
            let error = head.error.clone().unwrap_or_else(|| panic!("file {nth}, {fault:?}: unnoticed"));
            assert_eq!(error.code, Code::VerifyFailed, "{}", error.message);
            assert_eq!(memory.ids(), before);
            assert!(trial.recorder.pruned().is_empty());
            let proof = head.verified.clone().expect("it was verified");
            let path = proof.differences[0].split(':').next().expect("a file").to_owned();
            assert!(proof.differences.iter().all(|line| line.starts_with(&path)), "{:?}", proof.differences);
            // For a person to look at.
            assert_eq!(memory.failed_ids(), [head.id.as_str()]);
            assert!(memory.files(head.id.as_str()).len() == 6);
        }
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_kept_is_told_all_the_same() {
    for operation in [Operation::Stage, Operation::Fail] {
        let (memory, before, _) = with_two().await;
        let trial = Trial::with(memory.clone());
        trial.clock.advance(supakeep_model::Duration::hours(5));
        trial.repository.break_down(operation, Fault::Code(Code::RepositoryReadOnly));
        trial.repository.break_down(Operation::Commit, Fault::Code(Code::RepositoryReadOnly));
        let head = trial.backup().await;
        assert_eq!(head.error.as_ref().map(|error| error.code), Some(Code::RepositoryReadOnly));
        assert_eq!(memory.ids(), before);
        assert_eq!(trial.recorder.ended(), [head]);
    }
}

#[tokio::test]
async fn a_catalog_that_cannot_be_read_ends_a_run_before_it_begins() {
    let trial = Trial::default().failing(Operation::Catalog, 1, Fault::Code(Code::RepositoryIo));
    let lock = trial.memory.lock().expect("nobody has it");
    let refused = backup(&trial.spec(), &trial.ports(), &*lock, &trial.cancel).await;
    assert_eq!(refused.expect_err("it cannot begin").code, Code::RepositoryIo);
    assert!(trial.recorder.events().is_empty());
}

#[tokio::test]
async fn a_link_that_cannot_be_made_is_a_fault_and_no_failure() {
    let (memory, _, _) = with_two().await;
    for nth in 1..=2 {
        let trial =
            Trial::with(memory.clone()).failing(Operation::Link, nth, Fault::Code(Code::RepositoryIo));
        trial.clock.advance(supakeep_model::Duration::hours(4 + nth as i64));
        let head = trial.backup().await;
        assert!(head.is_good());
        assert_eq!(trial.recorder.faults(), [Code::RepositoryIo]);
    }
}

/// The gate cannot compare without the manifest of the one before; that is no reason to lose this one, and
/// none to trust it.
#[tokio::test]
async fn an_unreadable_manifest_before_is_no_reason_to_fail() {
    let (memory, _, _) = with_two().await;
    let (_, head) = run(&memory, Some((Operation::Manifest, 1, Fault::Code(Code::ManifestDamaged)))).await;
    assert_eq!(head.outcome, Outcome::Suspect);
    assert!(head.verified.is_some_and(|proof| proof.ok));
}
