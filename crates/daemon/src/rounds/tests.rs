use supakeep_flow::ports::Repository as _;
use supakeep_model::manifest_head::ManifestHead;
use supakeep_model::zone::Zone;
use supakeep_testkit::{Fault, Operation, Recorder, START, Trial};
use time::macros::datetime;

use super::*;
use crate::daemon::Everybody;
use crate::status::{RepositoryView, StatusSpec};

const ROUND: OffsetDateTime = datetime!(2026-02-20 04:30 UTC);

/// A trial with three backups, made an hour after one another on the day of [`START`].
async fn three() -> (Trial, Vec<ManifestHead>) {
    let trial = Trial::default();
    let mut heads = Vec::new();
    for _ in 0..3 {
        heads.push(trial.backup().await);
    }
    (trial, heads)
}

fn rounds(trial: &Trial, every: Duration) -> (Rounds, Arc<Status>) {
    let repository: Arc<dyn Repository> = Arc::new(trial.repository.clone());
    let spec = StatusSpec {
        version: "0.1.0".into(),
        stack: "supabase".into(),
        profiles: vec![trial.profile.clone()],
        min_free_bytes: 0,
        exports: vec![],
    };
    let view = RepositoryView::of(&*repository, START);
    let status = Arc::new(Status::new(spec, repository.catalog(), view));
    let all: Vec<Arc<dyn Observer>> = vec![trial.recorder.clone(), status.clone()];
    let schedule = Schedule::new(vec!["30 4 * * *".parse().expect("valid")], Zone::utc());
    let rounds = Rounds {
        spec: RoundsSpec { schedule, every, deadline: Duration::HOUR },
        repository,
        clock: trial.clock.clone(),
        observer: Arc::new(Everybody(all)),
        status: Arc::clone(&status),
    };
    (rounds, status)
}

/// The ids that were read again, in order, and whether they were right.
fn verified(recorder: &Recorder) -> Vec<(String, bool)> {
    let events = recorder.events().into_iter();
    let heads = events.filter_map(|event| match event {
        RunEvent::Verified { head } => Some(head),
        _ => None,
    });
    heads.map(|head| (head.id.to_string(), head.verified.is_some_and(|proof| proof.ok))).collect()
}

#[tokio::test]
async fn what_was_not_read_for_long_is_read_the_oldest_first() {
    let (trial, heads) = three().await;
    let newest = heads[2].verified.as_ref().expect("it was verified").at;
    let now = newest + Duration::days(30);
    trial.clock.set(now);
    let (rounds, _) = rounds(&trial, Duration::days(30));
    let stop = CancellationToken::new();
    rounds.round(now, &stop).await;
    let expected: Vec<_> = heads[..2].iter().map(|head| (head.id.to_string(), true)).collect();
    assert_eq!(verified(&trial.recorder), expected);
    assert_eq!(trial.manifest(&heads[0]).head.verified.expect("noted").at, now);
    // What has been read is not read again.
    let catalog = trial.memory.catalog();
    rounds.status.set_catalog(catalog);
    rounds.round(now, &stop).await;
    assert_eq!(verified(&trial.recorder), expected);
}

#[tokio::test]
async fn damage_is_noted_and_latest_leads_elsewhere() {
    let (trial, heads) = three().await;
    let newest = &heads[2];
    assert_eq!(trial.memory.links()["latest"], newest.id.as_str());
    trial.memory.tamper(newest.id.as_str(), "postgres.sql.gz", |bytes| bytes[100] ^= 1);
    trial.clock.set(ROUND);
    let (rounds, _) = rounds(&trial, Duration::days(30));
    rounds.round(ROUND, &CancellationToken::new()).await;
    assert_eq!(verified(&trial.recorder)[2], (newest.id.to_string(), false));
    assert!(!trial.manifest(newest).head.is_good());
    assert_eq!(trial.memory.links()["latest"], heads[1].id.as_str());
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_told_and_nothing_is_noted() {
    let (trial, heads) = three().await;
    trial.clock.set(ROUND);
    trial.repository.break_down(Operation::Open, Fault::Code(Code::RepositoryUnavailable));
    let (rounds, _) = rounds(&trial, Duration::days(30));
    rounds.round(ROUND, &CancellationToken::new()).await;
    assert_eq!(verified(&trial.recorder), []);
    assert_eq!(trial.manifest(&heads[0]).head.verified, heads[0].verified);
    let events = trial.recorder.events();
    let faults = events.iter().filter(|event| matches!(event, RunEvent::Fault { .. }));
    assert_eq!(faults.count(), 3);
}

#[tokio::test]
async fn it_goes_by_its_schedule_and_ends_when_it_is_told() {
    let (trial, _) = three().await;
    tokio::time::pause();
    let clock = trial.clock.clone();
    clock.set(ROUND - Duration::MINUTE);
    let (rounds, _) = rounds(&trial, Duration::days(30));
    let stop = CancellationToken::new();
    let task = tokio::spawn(rounds.run(stop.clone()));
    tokio::time::sleep(EVERY * 3).await;
    assert_eq!(verified(&trial.recorder), []);
    clock.set(ROUND);
    for _ in 0..60 {
        tokio::time::sleep(EVERY).await;
    }
    assert_eq!(verified(&trial.recorder).len(), 3);
    stop.cancel();
    task.await.expect("no panic");
}
