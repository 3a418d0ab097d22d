//! What retention removes, and above all what it never does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use supakeep_flow::backup::BackupSpec;
use supakeep_flow::cycle::{Retention, backup_and_prune};
use supakeep_flow::ports::{FailedFiles, Repository as _};
use supakeep_flow::prune::prune;
use supakeep_model::code::Code;
use supakeep_model::keep::KeepPolicy;
use supakeep_model::manifest_head::{ManifestHead, Outcome, Suspicion};
use supakeep_model::naming::Kind;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};
use supakeep_testkit::{
    Database, Fault, MemoryRepository, Operation, START, Trial, failed_head, head, manifest,
};

fn last(count: u32) -> KeepPolicy {
    KeepPolicy { last: Some(count), ..KeepPolicy::default() }
}

fn repository(heads: Vec<ManifestHead>) -> MemoryRepository {
    MemoryRepository::with(heads.into_iter().map(manifest))
}

fn days_ago(days: i64) -> OffsetDateTime {
    START - Duration::days(days)
}

fn retention(profile: &str, keep: KeepPolicy) -> Retention {
    Retention { policies: BTreeMap::from([(profile.to_owned(), keep)]), zone: Zone::utc() }
}

#[tokio::test]
async fn a_good_backup_makes_room_for_itself() {
    let trial = Trial::default();
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(trial.cycle(last(2)).await.id.to_string());
    }
    assert_eq!(trial.memory.ids(), made[2..]);
    assert_eq!(trial.recorder.pruned(), made[..2]);
}

#[tokio::test]
async fn a_run_that_failed_or_is_suspect_prunes_nothing() {
    let trial = Trial::default();
    let good: Vec<_> = [trial.backup().await, trial.backup().await].map(|head| head.id.to_string()).into();
    trial.stack.set_facts(|facts| facts.is_superuser = false);
    assert_eq!(trial.cycle(last(1)).await.outcome, Outcome::Failed);
    assert_eq!(trial.memory.ids(), good);
    trial.stack.set_facts(|facts| facts.is_superuser = true);
    trial.stack.replace(Database::new("postgres"));
    let suspect = trial.cycle(last(1)).await;
    assert_eq!(suspect.outcome, Outcome::Suspect);
    assert_eq!(trial.memory.ids(), [good, vec![suspect.id.to_string()]].concat());
    assert!(trial.recorder.pruned().is_empty());
}

#[tokio::test]
async fn one_that_cannot_be_removed_does_not_keep_the_others() {
    let old = (1..=5).map(|day| head(&format!("b_{day}"), Some("daily"), days_ago(day)));
    let trial = Trial::with(repository(old.collect()));
    let trial = trial.failing(Operation::Remove, 2, Fault::Code(Code::RepositoryIo));
    let made = trial.cycle(last(1)).await;
    assert!(made.is_good());
    // Newest first: the second that is removed is the one of two days ago.
    assert_eq!(trial.memory.ids(), ["b_2".to_owned(), made.id.to_string()]);
    assert_eq!(trial.recorder.pruned(), ["b_1", "b_3", "b_4", "b_5"]);
    assert_eq!(trial.recorder.faults(), [Code::RepositoryIo]);
    // The next run tries again.
    let next = trial.cycle(last(1)).await;
    assert_eq!(trial.memory.ids(), [next.id.to_string()]);
}

#[tokio::test]
async fn a_catalog_that_cannot_be_read_prunes_nothing_and_is_a_fault() {
    let old = (1..=3).map(|day| head(&format!("b_{day}"), Some("daily"), days_ago(day)));
    let trial = Trial::with(repository(old.collect()));
    // The run itself reads it: at its start and for the links.
    let trial = trial.failing(Operation::Catalog, 3, Fault::Code(Code::RepositoryIo));
    let made = trial.cycle(last(1)).await;
    assert!(made.is_good());
    assert_eq!(trial.repository.calls(Operation::Catalog), 3);
    assert_eq!(trial.memory.ids().len(), 4);
    assert_eq!(trial.recorder.faults(), [Code::RepositoryIo]);
}

#[tokio::test]
async fn a_success_removes_nothing_of_another_profile_or_for_a_run_by_hand() {
    let old = |profile: &'static str| {
        (1..=3).map(move |day| head(&format!("{profile}_{day}"), Some(profile), days_ago(day)))
    };
    let trial = Trial::with(repository(old("daily").chain(old("weekly")).collect()));
    let policies = ["daily", "weekly"].map(|profile| (profile.to_owned(), last(1)));
    let retention = Retention { policies: policies.into(), zone: Zone::utc() };
    for (spec, gone) in [(trial.recipe.by_hand(None), 0), (trial.spec(), 3)] {
        let lock = trial.memory.lock().expect("one run at a time");
        let made = backup_and_prune(&spec, &retention, &trial.ports(), &*lock, &trial.cancel).await;
        assert_eq!(made.expect("it can begin").outcome, Outcome::Complete);
        assert_eq!(trial.recorder.pruned().len(), gone, "{:?}", spec.profile);
    }
    assert_eq!(trial.recorder.pruned(), ["daily_1", "daily_2", "daily_3"]);
    // Asked for by a person, it is about all of them.
    let removals = retention.plan(&trial.repository, trial.now()).expect("it can be read");
    assert_eq!(removals.removals().count(), 2);
}

#[tokio::test]
async fn nothing_goes_for_a_newest_good_backup_that_cannot_be_read() {
    let old = (1..=3).map(|day| head(&format!("b_{day}"), Some("daily"), days_ago(day)));
    let trial = Trial::with(repository(old.collect()));
    // The first is the gate's.
    let trial = trial.failing(Operation::Manifest, 2, Fault::Code(Code::ManifestDamaged));
    let made = trial.cycle(last(1)).await;
    assert_eq!(made.outcome, Outcome::Complete);
    assert_eq!(trial.memory.ids().len(), 4);
    assert_eq!(trial.recorder.faults(), [Code::ManifestDamaged]);
}

#[tokio::test]
async fn a_backup_that_cannot_be_compared_with_the_last_one_is_suspect() {
    let old = (1..=3).map(|day| head(&format!("b_{day}"), Some("daily"), days_ago(day)));
    let trial = Trial::with(repository(old.collect()));
    let trial = trial.failing(Operation::Manifest, 1, Fault::Code(Code::ManifestDamaged));
    let made = trial.cycle(last(1)).await;
    assert_eq!(made.outcome, Outcome::Suspect);
    let suspicion = made.suspicion.expect("it says why");
    assert_eq!(suspicion.compared_with.as_str(), "b_1");
    assert!(suspicion.reasons[0].starts_with("it cannot be compared with b_1"), "{:?}", suspicion.reasons);
    assert_eq!(trial.memory.ids().len(), 4);
}

#[tokio::test]
async fn records_of_failed_runs_do_not_grow_without_end() {
    let trial = Trial::default();
    let good = trial.backup().await;
    trial.stack.set_facts(|facts| facts.is_superuser = false);
    for _ in 0..12 {
        assert_eq!(trial.cycle(last(1)).await.outcome, Outcome::Failed);
    }
    assert_eq!(trial.memory.failed_ids().len(), 10);
    assert_eq!(trial.memory.ids(), [good.id.to_string()]);
}

#[tokio::test]
async fn the_files_of_a_failed_run_go_at_the_next_success_or_when_the_room_is_needed() {
    for success in [true, false] {
        let trial = Trial::default();
        let record = manifest(failed_head("b_1", Some("daily"), days_ago(1), Code::VerifyFailed));
        let id = record.head.id.clone();
        let staging = trial.memory.stage(&id).expect("it can be staged");
        staging.files().create("postgres.sql.gz").expect("a new file").sync().expect("a disk");
        staging.fail(&record, FailedFiles::Keep).expect("it is recorded");
        assert_eq!(trial.memory.files("b_1").len(), 1);
        if !success {
            trial.memory.set_free_bytes(0);
        }
        let made = trial.run(&BackupSpec { min_free_bytes: 1, ..trial.spec() }).await;
        assert_eq!(made.outcome, if success { Outcome::Complete } else { Outcome::Failed });
        assert_eq!(trial.memory.files("b_1").len(), 0, "{success}");
    }
}

#[tokio::test]
async fn profiles_that_are_not_configured_and_backups_by_hand_stay() {
    let mut named = head("before-migration_1", None, days_ago(900));
    named.kind = Kind::Named;
    let mut emergency = head("emergency-disk_1", Some("daily"), days_ago(900));
    emergency.kind = Kind::Emergency;
    let stay = vec![
        named,
        emergency,
        head("backup_1", None, days_ago(900)),
        head("b_weekly_1", Some("weekly"), days_ago(900)),
        head("b_weekly_2", Some("weekly"), days_ago(901)),
    ];
    let mut expected: Vec<_> = stay.iter().map(|head| head.id.to_string()).collect();
    let old = (1..=3).map(|day| head(&format!("b_{day}"), Some("daily"), days_ago(day)));
    let trial = Trial::with(repository(old.chain(stay).collect()));
    expected.push(trial.cycle(last(1)).await.id.to_string());
    expected.sort();
    assert_eq!(trial.memory.ids(), expected);
}

/// A backup in a repository, as properties are tried with.
#[derive(Debug, Clone)]
struct Given {
    days: i64,
    profile: usize,
    state: usize,
    kind: usize,
    parent: Option<usize>,
}

fn any_backup() -> impl Strategy<Value = Given> {
    (-3_i64..400, 0_usize..3, 0_usize..8, 0_usize..8, prop::option::weighted(0.2, 0_usize..30))
        .prop_map(|(days, profile, state, kind, parent)| Given { days, profile, state, kind, parent })
}

fn any_policy() -> impl Strategy<Value = KeepPolicy> {
    let rule = || prop::option::weighted(0.3, 0_u32..6);
    (rule(), rule(), rule(), rule(), rule()).prop_map(|(last, days, daily, monthly, hours)| KeepPolicy {
        last,
        days,
        daily,
        monthly,
        hours,
        ..KeepPolicy::default()
    })
}

fn made_of(all: &[Given]) -> Vec<ManifestHead> {
    let id = |index: usize| format!("b_{index}");
    let of = |(index, one): (usize, &Given)| {
        let profile = [Some("daily"), Some("weekly"), None][one.profile];
        // Two backups never start in the same second.
        let started = days_ago(one.days) + Duration::seconds(i64::try_from(index).expect("few"));
        let mut head = head(&id(index), profile, started);
        match one.state {
            0 => head = failed_head(&id(index), profile, started, Code::DumpFailed),
            1 => head.verified = None,
            2 => {
                head.outcome = Outcome::Suspect;
                let compared_with = id(0).parse().expect("a valid id");
                head.suspicion = Some(Suspicion { compared_with, reasons: vec![], accepted_at: None });
            }
            _ => {}
        }
        if profile.is_some() && one.kind == 0 {
            head.kind = Kind::Named;
        }
        let parent = one.parent.filter(|parent| *parent < all.len() && *parent != index);
        head.parents = parent.map(|parent| id(parent).parse().expect("a valid id")).into_iter().collect();
        head
    };
    all.iter().enumerate().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is in a repository and whatever the policy is.
    #[test]
    fn retention_never_removes_what_is_needed(
        all in prop::collection::vec(any_backup(), 1..30),
        policy in any_policy(),
        broken in prop::option::of(1_usize..5),
    ) {
        let heads = made_of(&all);
        let mut trial = Trial::with(repository(heads.clone()));
        if let Some(nth) = broken {
            trial = trial.failing(Operation::Remove, nth, Fault::Code(Code::RepositoryIo));
        }
        let retention = retention("daily", policy);
        let plan = retention.plan(&trial.repository, trial.now()).expect("the catalog can be read");
        prop_assert_eq!(plan.items.len(), heads.len());
        prop_assert!(plan.items.iter().all(|item| !item.reasons.is_empty()));
        let lock = trial.memory.lock().expect("nobody has it");
        let report = prune(&trial.repository, &plan, &*trial.recorder, &*lock);
        let left: BTreeSet<String> =
            trial.memory.ids().into_iter().chain(trial.memory.failed_ids()).collect();
        let removed = |head: &&ManifestHead| !left.contains(head.id.as_str());

        // The plan is what was carried out, but for the one that failed.
        let planned = plan.removals().count() as u64;
        prop_assert_eq!(report.removed + report.failed, planned);
        prop_assert_eq!(report.removed, heads.iter().filter(removed).count() as u64);
        prop_assert_eq!(report.failed, u64::from(broken.is_some_and(|nth| nth as u64 <= planned)));
        prop_assert_eq!(trial.recorder.pruned().len() as u64, report.removed);
        for item in plan.items.iter().filter(|item| item.keep) {
            prop_assert!(left.contains(item.id.as_str()));
        }

        for head in heads.iter().filter(removed) {
            let by_hand = head.profile.is_none() && head.outcome != Outcome::Failed;
            prop_assert!(!by_hand && head.kind == Kind::Profile || head.outcome == Outcome::Failed);
            prop_assert!(head.profile.as_deref() != Some("weekly"), "a profile that is not configured");
            prop_assert!(head.started <= START, "dated in the future");
            if policy.is_empty() {
                prop_assert!(!head.is_good(), "no retention is set");
            }
        }
        for profile in ["daily", "weekly"] {
            let of_profile = heads.iter().filter(|head| head.profile.as_deref() == Some(profile));
            let newest = of_profile
                .filter(|head| head.is_good() && head.started <= START)
                .max_by_key(|head| head.started);
            prop_assert!(newest.is_none_or(|head| left.contains(head.id.as_str())), "the newest good one");
        }
        for parent in heads.iter().filter(|head| left.contains(head.id.as_str())).flat_map(|head| &head.parents) {
            let is_planned = plan.removals().any(|item| item.id == *parent);
            let child_is_planned = |head: &&ManifestHead| {
                head.parents.contains(parent) && !plan.removals().any(|item| item.id == head.id)
            };
            prop_assert!(!is_planned || !heads.iter().any(|head| child_is_planned(&head)));
        }

        // Once more with nothing new: nothing more goes, but what could not before.
        trial.repository.heal();
        let again = retention.plan(&trial.repository, trial.now()).expect("the catalog can be read");
        let report = prune(&trial.repository, &again, &*trial.recorder, &*lock);
        prop_assert!(report.failed == 0);
        let third = retention.plan(&trial.repository, trial.now()).expect("the catalog can be read");
        prop_assert_eq!(third.removals().count(), 0, "{:?}", third);
    }
}
