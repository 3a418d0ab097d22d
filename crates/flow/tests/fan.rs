//! A large dump and several sessions: whichever of them fails, is lost or never answers, at whatever it does, all of
//! them end, and the reason is told.

use std::time::Duration;

use supakeep_flow::failure::Failure;
use supakeep_flow::restore::restore_content;
use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::manifest::Manifest;
use supakeep_testkit::SiteFault::{Cancels, Dies, Fails};
use supakeep_testkit::SiteOperation::{SessionAnswers, SessionEnds, SessionOpens, SessionRows};
use supakeep_testkit::{Database, Script, ScriptedSite, SiteFault, SiteOperation, Trial};
use tokio_util::sync::CancellationToken;

const ROWS: usize = 60_000;
const JOBS: usize = 3;
/// What is told after the rows, and must not be done where some of them are missing.
const AFTER: &str = "SELECT pg_catalog.setval('public.users_id_seq'";
/// Longer than any wait that goes well.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    trial: Trial,
    site: ScriptedSite,
    manifest: Manifest,
}

fn database() -> Database {
    Database::new("postgres").with("few", 3).with("users", ROWS)
}

impl Bench {
    async fn new() -> Bench {
        Bench::of(Script::of(database().plain())).await
    }

    /// A backup that holds this dump, and says that it is worth several sessions.
    async fn of(dump: Script) -> Bench {
        let trial = Trial::default();
        trial.stack.set_content("postgres", dump);
        let head = trial.backup().await;
        let mut manifest = trial.manifest(&head);
        let dumps = manifest.artifacts.iter_mut().filter(|artifact| artifact.part == Part::Database);
        dumps.for_each(|artifact| artifact.source_bytes = 1 << 30);
        let site = ScriptedSite::new(&trial.stack, &["postgres"], &[]);
        Bench { trial, site, manifest }
    }

    /// `None` where it was cancelled.
    async fn fill(&self, fault: Option<(SiteOperation, usize, SiteFault)>) -> Option<Result<(), Failure>> {
        let cancel = CancellationToken::new();
        self.site.fail_at(fault, &cancel);
        let database = self.manifest.database("postgres").expect("it is in the backup");
        let (memory, recorder) = (&self.trial.memory, &*self.trial.recorder);
        let filling =
            restore_content(&self.manifest, memory, database, "postgres", JOBS, &self.site, recorder);
        tokio::select! {
            filled = tokio::time::timeout(PATIENCE, filling) => Some(filled.expect("it waits for ever")),
            () = cancel.cancelled() => None,
        }
    }

    fn told(&self) -> String {
        self.site.sessions().into_iter().map(|session| session.told).collect()
    }
}

#[tokio::test]
async fn every_row_is_stored_once_and_in_several_sessions() {
    let bench = Bench::new().await;
    bench.fill(None).await.expect("nobody cancels").expect("nothing fails");
    let sessions = bench.site.sessions();
    assert_eq!(sessions.len(), JOBS);
    assert!(sessions.iter().all(|session| !session.is_open && session.rows.len() > 3), "nobody is left idle");
    let mut stored: Vec<_> = sessions.iter().flat_map(|session| session.rows.clone()).collect();
    let mut rows: Vec<_> = database().tables.into_iter().flat_map(|table| table.rows).collect();
    stored.sort_unstable();
    rows.sort_unstable();
    assert!(stored == rows, "{} rows instead of {}", stored.len(), rows.len());
    assert!(sessions[0].told.contains(AFTER) && !sessions[1].told.contains(AFTER));
}

/// A point, and how many of the sessions come to it: as many as are opened, have rows of the large table beside the
/// leading one's few, answer that the table is there and that their rows are stored, are told that this was all.
const POINTS: [(SiteOperation, usize); 4] =
    [(SessionOpens, JOBS), (SessionRows, JOBS + 1), (SessionAnswers, JOBS + 2), (SessionEnds, JOBS)];

#[tokio::test]
async fn whoever_is_in_trouble_at_whatever_point_ends_all() {
    for (operation, times) in POINTS {
        for nth in 1..=times {
            for fault in [Fails, Dies, Cancels] {
                let row = format!("{operation:?} {nth} {fault:?}");
                let bench = Bench::new().await;
                let filled = bench.fill(Some((operation, nth, fault))).await;
                match fault {
                    Cancels => assert!(filled.is_none(), "{row}: nobody was cancelled"),
                    _ => {
                        let failure = filled.expect("nobody cancels").expect_err(&row);
                        // Not only that somebody is gone.
                        let why = (failure.code, failure.message.contains(&format!("{operation:?}")));
                        let is_told = why == (Code::RestoreFailed, true)
                            || fault == Dies && failure.code == Code::DatabaseLost;
                        assert!(is_told, "{row}: {failure:?}");
                    }
                }
                assert!(bench.site.sessions().iter().all(|session| !session.is_open), "{row}: one goes on");
                let is_after = operation == SessionEnds || (operation, nth) == (SessionAnswers, JOBS + 2);
                assert_eq!(bench.told().contains(AFTER), is_after, "{row}");
                // There is no point that is not reached.
                assert!(bench.site.count(operation) >= nth, "{row}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_before_it_was_told_everything_is_no_success() {
    let mut dump = database().plain();
    let at = dump.find(AFTER).expect("it comes after the rows");
    dump.insert_str(at, "\\q\n");
    let bench = Bench::of(Script::of(dump)).await;
    let failure = bench.fill(None).await.expect("nobody cancels").expect_err("the rest is missing");
    assert_eq!(failure.code, Code::RestoreFailed);
    assert!(failure.message.contains("before it was told everything"), "{failure:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_on_ends_all() {
    let bench = Bench::new().await;
    let dump = bench.manifest.artifacts.iter().find(|artifact| artifact.part == Part::Database);
    let path = dump.expect("it is in the backup").path.clone();
    bench
        .trial
        .memory
        .tamper(bench.manifest.head.id.as_str(), &path, |bytes| bytes.truncate(bytes.len() / 2));
    let failure = bench.fill(None).await.expect("nobody cancels").expect_err("half of it is missing");
    assert_eq!(failure.code, Code::RepositoryIo, "{failure:?}");
    assert!(bench.site.sessions().iter().all(|session| !session.is_open));
    assert!(!bench.told().contains(AFTER));
}
