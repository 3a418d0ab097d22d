//! Restores in place that fail, are cancelled, are killed or lose their server at every step: what runs
//! afterwards, what is written down, and what is said. Whatever happened, it can be finished.

#[path = "restore/bench.rs"]
mod bench;

use std::io::Write as _;

use bench::{Bench, DATABASES, SERVICES, Wish};
use supakeep_flow::ports::Repository as _;
use supakeep_flow::restore::{DUMP, Foreign, ForeignSpec, Left, State, take_in};
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal::{Journal, Step};
use supakeep_testkit::SiteFault::{Cancels, Dies, Fails, Kills};
use supakeep_testkit::SiteOperation::{
    Analyze, Create, Drop, EndRaise, Fill, Globals, Lower, Open, PutRootKey, Raise, Restart, Start, Stop,
};

use supakeep_testkit::{Database, Fault, Operation, SiteFault, SiteOperation, unfinished};

const ALL: &[&str] = &SERVICES;
const NONE: &[&str] = &[];

/// A fault, what it leaves the data as, the services that run then, and the step that stays written down.
type Row = (SiteOperation, usize, SiteFault, State, &'static [&'static str], Option<Step>);

const ROWS: &[Row] = &[
    // Nothing was changed: all is given back, and there is nothing to finish.
    (Stop, 1, Fails, State::AsItWas, ALL, None),
    (Stop, 2, Cancels, State::AsItWas, ALL, None),
    (Globals, 1, Fails, State::AsItWas, ALL, None),
    (Globals, 1, Cancels, State::AsItWas, ALL, None),
    (Globals, 1, Dies, State::AsItWas, ALL, None),
    (PutRootKey, 1, Fails, State::AsItWas, ALL, None),
    (PutRootKey, 1, Cancels, State::AsItWas, ALL, None),
    (Restart, 1, Fails, State::AsItWas, ALL, None),
    (Restart, 1, Dies, State::OtherRootKey, NONE, Some(Step::RootKey)),
    (Raise, 1, Fails, State::AsItWas, ALL, None),
    (Raise, 1, Cancels, State::AsItWas, ALL, None),
    // Half a stack is never served, and never forgotten.
    (Drop, 1, Cancels, State::HalfRestored, NONE, Some(Step::Databases)),
    (Drop, 1, Dies, State::HalfRestored, NONE, Some(Step::Databases)),
    (Create, 1, Fails, State::HalfRestored, NONE, Some(Step::Databases)),
    (Fill, 1, Fails, State::HalfRestored, NONE, Some(Step::Databases)),
    (Fill, 1, Cancels, State::HalfRestored, NONE, Some(Step::Databases)),
    (Fill, 2, Fails, State::HalfRestored, NONE, Some(Step::Databases)),
    (Fill, 2, Dies, State::HalfRestored, NONE, Some(Step::Databases)),
    (EndRaise, 1, Cancels, State::HalfRestored, NONE, Some(Step::Databases)),
    (EndRaise, 1, Dies, State::HalfRestored, NONE, Some(Step::Databases)),
    // The data is there: databases are opened, the server is restarted, services are started.
    (Analyze, 1, Fails, State::RestoredNotCompared, ALL, None),
    (Analyze, 2, Cancels, State::RestoredNotCompared, ALL, None),
    (Analyze, 1, Dies, State::RestoredNotCompared, NONE, Some(Step::Compare)),
    (Open, 1, Fails, State::RestoredNotCompared, ALL, None),
    (Open, 2, Cancels, State::RestoredNotCompared, ALL, None),
    (Restart, 2, Fails, State::Restored, ALL, None),
    (Restart, 2, Cancels, State::Restored, ALL, None),
    (Restart, 2, Dies, State::Restored, NONE, Some(Step::StartServices)),
    (Start, 1, Fails, State::Restored, &["rest"], Some(Step::StartServices)),
    (Start, 2, Fails, State::Restored, &["auth"], Some(Step::StartServices)),
    (Start, 1, Cancels, State::Restored, ALL, None),
];

#[tokio::test]
async fn what_a_fault_leaves_is_known_said_and_mended() {
    // Side by side: a server that is dead is waited for.
    futures_util::future::join_all(ROWS.iter().map(row_holds)).await;
}

async fn row_holds(&(operation, nth, fault, state, running, step): &Row) {
    let row = format!("{operation:?} {nth} {fault:?}");
    let bench = Bench::new().await;
    let left = bench.fails(Wish::default(), Some((operation, nth, fault))).await.left;
    assert_eq!(left.state, state, "{row}: {left:?}");
    assert_eq!(bench.site.running(), running, "{row}");
    let stopped: Vec<_> = ALL.iter().filter(|name| !running.contains(name)).collect();
    assert_eq!(left.not_up, stopped.iter().map(|name| name.to_string()).collect::<Vec<_>>(), "{row}");
    assert_eq!(bench.journal().map(|journal| journal.step), step, "{row}");
    assert_eq!(left.unfinished, step.is_some(), "{row}");
    assert_eq!(left.safety.as_ref(), bench.safety().as_ref(), "{row}");
    assert_eq!(left.elevated, bench.journal().is_some_and(|journal| journal.elevated), "{row}");
    assert!(!bench.site.is_superuser() || left.elevated, "{row}: postgres is a superuser unnoticed");
    match state {
        State::AsItWas => bench.assert_as_it_was(&row),
        State::HalfRestored => assert_eq!(left.databases, DATABASES, "{row}"),
        State::RestoredNotCompared | State::Restored if step != Some(Step::Compare) => {
            bench.assert_restored(&row);
        }
        _ => {}
    }
    if step.is_some() {
        bench.site.mend();
        bench.finishes(Wish::resume(), &row).await;
    }
}

/// Whoever is killed gives nothing back: what is written down has to be enough.
#[tokio::test]
async fn killed_anywhere_it_can_be_finished() {
    let points = [
        (Stop, 1),
        (Stop, 2),
        (Globals, 1),
        (PutRootKey, 1),
        (Restart, 1),
        (Raise, 1),
        (Drop, 1),
        (Create, 1),
        (Fill, 1),
        (Drop, 2),
        (Fill, 2),
        (EndRaise, 1),
        (Analyze, 1),
        (Open, 1),
        (Open, 2),
        (Restart, 2),
        (Start, 1),
        (Start, 2),
    ];
    for (operation, nth) in points {
        for wish in [Wish::resume(), Wish::default()] {
            let row = format!("{operation:?} {nth} {wish:?}");
            let bench = Bench::new().await;
            assert!(bench.run(Wish::default(), Some((operation, nth, Kills))).await.is_none(), "{row}");
            assert!(bench.journal().is_some(), "{row}");
            bench.finishes(wish, &row).await;
        }
    }
}

#[tokio::test]
async fn a_second_attempt_knows_that_the_stack_is_half_restored() {
    // The first with and without a way back; the second fails before it reaches the databases.
    for safety in [true, false] {
        for fault in [(Globals, 1, Fails), (Globals, 1, Cancels), (Raise, 1, Fails)] {
            let row = format!("{safety} {fault:?}");
            let bench = Bench::new().await;
            let first = Wish { safety, ..Wish::default() };
            let left = bench.fails(first, Some((Fill, 1, Fails))).await.left;
            let backups = bench.trial.memory.ids();
            let again = bench.fails(Wish::resume(), Some(fault)).await.left;
            assert_eq!(again, left, "{row}");
            assert_eq!(again.state, State::HalfRestored, "{row}");
            assert_eq!(bench.site.running(), NONE, "{row}");
            assert!(bench.journal().expect("it is kept").is_half(), "{row}");
            assert_eq!(bench.trial.memory.ids(), backups, "{row}: half a stack was saved");
            bench.finishes(Wish::resume(), &row).await;
        }
    }
}

#[tokio::test]
async fn services_are_stopped_and_started_together_but_for_those_that_wait_for_others() {
    let bench = Bench::new().await;
    bench.site.add_service("studio", &["storage", "nowhere"]);
    bench.site.add_service("storage", &["rest", "db"]);
    bench.succeeds(Wish::default()).await;
    let (stopped, started) = (
        [&["studio"][..], &["storage"], &["rest", "auth"]],
        [&["auth", "rest"][..], &["storage"], &["studio"]],
    );
    assert_eq!(bench.site.groups(), [stopped, started].concat());
    // One that is not well keeps none of the others down, in its wave or after it.
    bench.site.make_unwell("rest");
    let left = bench.fails(Wish::default(), None).await.left;
    assert_eq!(left.not_up, ["rest"]);
    assert_eq!(bench.site.groups()[9..], started);
    // One that does not stop does not keep the others from running again.
    bench.site.mend();
    let left = bench.fails(Wish::default(), Some((Stop, 3, Fails))).await.left;
    assert_eq!((left.state, left.not_up), (State::Restored, Vec::new()));
    assert_eq!(bench.site.running(), ["auth", "rest", "studio", "storage"]);
}

#[tokio::test]
async fn what_was_written_after_a_restore_is_not_dropped_by_finishing_it() {
    let bench = Bench::new().await;
    bench.site.make_unwell("auth");
    let left = bench.fails(Wish::default(), None).await.left;
    assert_eq!((left.state, left.not_up.as_slice()), (State::Restored, &["auth".to_owned()][..]));
    assert!(left.safety.is_some(), "the way back is named");
    // The application runs for a day.
    bench.site.change("postgres", |database| database.own_settings = vec!["written since".to_owned()]);
    bench.site.mend();
    let backups = bench.trial.memory.ids();
    let report = bench.succeeds(Wish::resume()).await;
    assert_eq!((report.databases.len(), report.safety), (0, left.safety));
    let own = bench.site.database("postgres").expect("it is there").own_settings;
    assert_eq!(own, ["written since"]);
    let calls: Vec<_> = bench.site.calls().into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(calls, [Restart, Start, Start]);
    assert_eq!(bench.trial.memory.ids(), backups);
    assert_eq!(bench.journal(), None);
    // Another restore of the same is another restore: what was written is saved first.
    bench.site.make_unwell("auth");
    bench.fails(Wish::default(), None).await;
    bench.site.mend();
    let before = bench.trial.memory.ids().len();
    bench.succeeds(Wish::default()).await;
    assert_eq!(bench.trial.memory.ids().len(), before + 1);
}

#[tokio::test]
async fn what_was_only_not_compared_is_compared_and_not_made_again() {
    let bench = Bench::new().await;
    assert!(bench.run(Wish::default(), Some((Analyze, 1, Kills))).await.is_none());
    let report = bench.succeeds(Wish::resume()).await;
    assert!(report.databases.iter().all(|database| database.differences.is_empty()), "{report:?}");
    assert_eq!(report.databases.len(), 2);
    assert_eq!(bench.site.count(Drop), 0);
    bench.assert_restored("compared");
}

#[tokio::test]
async fn who_fails_before_changing_anything_leaves_the_restore_before_it_as_it_was() {
    let bench = Bench::new().await;
    bench.site.make_unwell("auth");
    let first = bench.fails(Wish::default(), None).await.left;
    let journal = bench.journal();
    let second = bench.fails(Wish::default(), Some((Globals, 1, Fails))).await.left;
    assert_eq!(second, first);
    assert_eq!(bench.journal(), journal);
}

#[tokio::test]
async fn a_narrower_restore_does_not_make_a_wider_one_forgotten() {
    let bench = Bench::new().await;
    bench.fails(Wish::default(), Some((Fill, 1, Fails))).await;
    let journal = bench.journal();
    let failure = bench.fails(Wish::only("postgres"), None).await;
    assert_eq!(failure.failure.code, Code::RestoreUnfinished);
    assert!(failure.failure.message.contains("_supabase"), "{}", failure.failure.message);
    assert_eq!(failure.left.state, State::Untouched);
    assert!(bench.site.calls().is_empty());
    assert_eq!(bench.journal(), journal);
    bench.finishes(Wish::resume(), "narrower").await;
}

#[tokio::test]
async fn what_was_not_there_before_is_no_reason_to_refuse_the_way_back() {
    let bench = Bench::without("_supabase").await;
    // `_supabase` is made anew and stays half; the way back does not hold it.
    let left = bench.fails(Wish::default(), Some((Fill, 2, Fails))).await.left;
    assert!(bench.site.database("_supabase").is_some());
    bench.succeeds(Wish::only("postgres")).await;
    assert_eq!(bench.site.database("_supabase"), None, "half a database stays");
    assert_eq!(left.databases, DATABASES);
    assert_eq!(bench.journal(), None);
}

#[tokio::test]
async fn nobody_stays_a_superuser_when_the_server_dies() {
    let dies = async |wish: Wish| {
        let bench = Bench::new().await;
        let left = bench.fails(wish.clone(), Some((Fill, 1, Dies))).await.left;
        assert!(left.elevated && bench.site.is_superuser(), "{wish:?}");
        bench.site.mend();
        bench.succeeds(Wish { safety: false, ..wish.clone() }).await;
        assert!(!bench.site.is_superuser(), "{wish:?}");
        assert_eq!(bench.journal(), None);
    };
    tokio::join!(dies(Wish::default()), dies(Wish::only("postgres")));
}

#[tokio::test]
async fn a_watcher_that_is_gone_is_stood_in_for() {
    let bench = Bench::new().await;
    bench.run(Wish::default(), Some((EndRaise, 1, Fails))).await.expect("not killed").expect("it goes on");
    assert_eq!(bench.site.count(Lower), 1);
    bench.assert_restored("watcher");
}

#[tokio::test]
async fn a_step_that_cannot_be_written_down_has_not_begun() {
    for nth in 1..20 {
        let bench = Bench::new().await;
        let mut trial = bench.trial;
        trial = trial.failing(Operation::SetJournal, nth, Fault::Code(Code::RepositoryFull));
        let bench = Bench { trial, ..bench };
        let Err(failure) = bench.run(Wish::default(), None).await.expect("not killed") else {
            assert!(nth > 5, "{nth}");
            break;
        };
        let Left { state, .. } = failure.left;
        let dropped = bench.site.count(Drop) > 0;
        let half = dropped && bench.site.count(Analyze) == 0;
        assert_eq!(state == State::HalfRestored, half, "{nth}: {state:?}");
        assert_eq!(bench.site.running().is_empty(), half, "{nth}: {state:?}");
        if !dropped {
            assert_eq!(state, State::AsItWas, "{nth}");
            bench.assert_as_it_was(&nth.to_string());
        }
    }
}

#[tokio::test]
async fn nobody_but_superusers_gets_into_a_database_before_it_was_compared() {
    let bench = Bench::new().await;
    for (operation, nth) in [(Fill, 1), (Fill, 2), (Analyze, 1)] {
        assert!(bench.run(Wish::default(), Some((operation, nth, Kills))).await.is_none());
        let made = DATABASES.iter().filter_map(|name| bench.site.database(name));
        let open: Vec<_> = made.filter(|database| database.limit != 0 && !database.is_filled).collect();
        assert!(open.is_empty(), "{operation:?} {nth}: {open:?}");
    }
    let limits = DATABASES.map(|name| bench.site.database(name).map(|database| database.limit));
    assert_eq!(limits, [Some(0), Some(0)]);
    assert!(bench.trial.memory.in_use().expect("it can be asked").contains(&bench.id));
}

/// Keeps a dump of `postgres` that somebody else made, as for a restore that was killed before it began.
async fn takes_in(bench: &mut Bench) -> Foreign {
    let memory = &bench.trial.memory;
    let lock = memory.lock().expect("nobody has it");
    let id: BackupId = "file_1".parse().expect("a valid id");
    let staging = memory.stage(&id).expect("it can be staged");
    let mut file = staging.files().create(DUMP).expect("a new file");
    let dump = Database::new("elsewhere").with("users", 300).with("posts", 7).plain();
    file.write_all(dump.as_bytes()).and_then(|()| file.sync()).expect("memory");
    let build = bench.trial.recipe.build.clone();
    let (started, half) = (bench.trial.now(), None);
    let spec = ForeignSpec { id: id.clone(), name: "a.sql", database: "postgres", half, started, build };
    let taken = take_in(&spec, staging, &bench.site, memory).await.expect("it is whole");
    let journal =
        Journal { only_database: Some("postgres".into()), ..unfinished(id.clone(), Step::StopServices) };
    memory.set_journal(Some(&journal)).expect("memory");
    drop(lock);
    bench.id = id;
    taken
}

#[tokio::test]
async fn a_file_that_supakeep_did_not_make_is_there_until_its_restore_has_ended() {
    let mut bench = Bench::new().await;
    let taken = takes_in(&mut bench).await;
    assert_eq!((taken.manifest.head.totals.rows, taken.problems.len()), (307, 0));
    assert!(taken.notes.concat().contains("public.newer"), "{:?}", taken.notes);
    let wish = Wish { only: Some("postgres"), ..Wish::resume() };
    for fault in [(Drop, 1), (Create, 1), (Fill, 1), (Analyze, 1), (Start, 1)] {
        assert!(bench.run(wish.clone(), Some((fault.0, fault.1, Kills))).await.is_none(), "{fault:?}");
        assert!(bench.trial.memory.manifest(&bench.id).is_ok(), "{fault:?}: it is gone");
        assert!(!bench.trial.memory.ids().contains(&"file_1".to_owned()), "{fault:?}: it is no backup");
    }
    let report = bench.succeeds(wish).await;
    assert!(report.safety.is_some(), "what was there was saved");
    assert_eq!(bench.journal(), None);
    assert!(bench.trial.memory.manifest(&bench.id).is_err(), "it is kept for nobody");
    assert_eq!(bench.site.running(), SERVICES);
}

#[tokio::test]
async fn rows_that_have_not_come_in_are_told() {
    let mut bench = Bench::new().await;
    takes_in(&mut bench).await;
    bench.trial.stack.replace(Database::new("postgres").with("users", 299));
    let report = bench.succeeds(Wish { only: Some("postgres"), ..Wish::resume() }).await;
    assert_eq!(report.databases[0].differences, ["the file has 307 rows, the database 299"]);
}
