use super::*;
use crate::manifest_head::{Proof, Suspicion};
use crate::sample::head;
use proptest::prelude::*;
use std::sync::Arc;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-15 12:00 UTC);

fn ago(days: i64) -> OffsetDateTime {
    NOW - Duration::days(days)
}

fn daily(days_ago: i64) -> ManifestHead {
    head(&format!("d{days_ago:04}"), Some("daily"), ago(days_ago))
}

fn policy(set: &[(&str, u32)]) -> KeepPolicy {
    let mut policy = KeepPolicy::default();
    for (name, count) in set {
        *policy.rule_mut(name).expect("a known rule") = Some(*count);
    }
    policy
}

fn run(heads: Vec<ManifestHead>, policy: KeepPolicy) -> PrunePlan {
    let none = BTreeSet::new();
    let zone = Zone::utc();
    let rules = Rules { policies: BTreeMap::from([("daily", policy)]), zone: &zone, now: NOW, in_use: &none };
    plan(&catalog(heads), &rules)
}

fn catalog(heads: Vec<ManifestHead>) -> Catalog {
    Catalog::new(heads.into_iter().map(Arc::new).collect(), vec![])
}

fn kept(plan: &PrunePlan) -> Vec<&str> {
    plan.items.iter().filter(|item| item.keep).map(|item| item.id.as_str()).collect()
}

fn reason<'a>(plan: &'a PrunePlan, id: &str) -> &'a [String] {
    &plan.items.iter().find(|item| item.id.as_str() == id).expect("in the plan").reasons
}

#[test]
fn keeps_everything_within_the_window() {
    let plan = run((0..12).map(daily).collect(), policy(&[("days", 7)]));
    assert_eq!(kept(&plan), ["d0000", "d0001", "d0002", "d0003", "d0004", "d0005", "d0006", "d0007"]);
    assert_eq!(reason(&plan, "d0000"), ["the newest good one", "within 7 days"]);
    assert_eq!(reason(&plan, "d0008"), ["no rule keeps it"]);
}

#[test]
fn keeps_everything_when_no_rule_is_set() {
    let plan = run((0..400).map(daily).collect(), KeepPolicy::default());
    assert_eq!(plan.removals().count(), 0);
    assert_eq!(reason(&plan, "d0399"), ["no retention is set"]);
}

#[test]
fn keeps_the_newest_good_one_however_old_it_is() {
    let plan = run(vec![daily(400), daily(500)], policy(&[("days", 7)]));
    assert_eq!(kept(&plan), ["d0400"]);
}

#[test]
fn a_failed_or_unverified_backup_is_never_the_newest_good_one() {
    let mut failed = daily(0);
    failed.outcome = Outcome::Failed;
    let mut damaged = daily(1);
    damaged.verified =
        Some(Proof { at: NOW, ok: false, duration_seconds: 1.0, differences: vec!["short".into()] });
    let plan = run(vec![failed, damaged, daily(30), daily(60)], policy(&[("days", 7)]));
    assert_eq!(kept(&plan), ["d0000", "d0001", "d0030"]);
    assert_eq!(reason(&plan, "d0030"), ["the newest good one"]);
}

#[test]
fn keeps_one_of_each_bucket_the_newest() {
    let plan = run(
        (0..800).map(daily).collect(),
        policy(&[("daily", 3), ("weekly", 2), ("monthly", 2), ("yearly", 2)]),
    );
    // 15 March 2026 is a Sunday: its ISO week begins on the 9th.
    assert_eq!(kept(&plan), ["d0000", "d0001", "d0002", "d0007", "d0015", "d0074"]);
    assert_eq!(
        reason(&plan, "d0000"),
        ["the newest good one", "daily 1", "weekly 1", "monthly 1", "yearly 1"]
    );
    assert_eq!(reason(&plan, "d0007"), ["weekly 2"]);
    assert_eq!(reason(&plan, "d0015"), ["monthly 2"]);
    assert_eq!(reason(&plan, "d0074"), ["yearly 2"]);
}

#[test]
fn counts_calendar_months_and_years() {
    let plan = run(vec![daily(0), daily(28), daily(29), daily(365), daily(366)], policy(&[("months", 1)]));
    assert_eq!(kept(&plan), ["d0000", "d0028"]);
    let plan = run(vec![daily(0), daily(365), daily(366)], policy(&[("years", 1)]));
    assert_eq!(kept(&plan), ["d0000", "d0365"]);
}

#[test]
fn what_is_dated_in_the_future_is_kept_and_pushes_nothing_out() {
    let plan = run(vec![daily(-700), daily(0), daily(1), daily(2)], policy(&[("last", 2)]));
    assert_eq!(kept(&plan), ["d-700", "d0000", "d0001"]);
    assert_eq!(reason(&plan, "d-700"), ["dated in the future"]);
}

#[test]
fn never_removes_what_was_made_by_hand() {
    let mut named = head("before-migration_1", None, ago(900));
    named.kind = Kind::Named;
    let mut named_in_profile = daily(901);
    named_in_profile.kind = Kind::Emergency;
    let plan = run(
        vec![daily(0), head("backup_1", None, ago(800)), named, named_in_profile],
        policy(&[("last", 1)]),
    );
    assert_eq!(plan.removals().count(), 0);
}

#[test]
fn what_is_named_by_hand_takes_no_place_of_the_policy() {
    let named = ManifestHead { kind: Kind::Named, ..daily(0) };
    let plan = run(vec![named, daily(1), daily(2), daily(3)], policy(&[("last", 2)]));
    assert_eq!(kept(&plan), ["d0000", "d0001", "d0002"]);
}

#[test]
fn leaves_profiles_alone_that_it_does_not_know() {
    let plan = run(vec![daily(0), head("other", Some("retired"), ago(900))], policy(&[("last", 1)]));
    assert_eq!(reason(&plan, "other"), ["profile retired is not in the configuration"]);
    assert_eq!(plan.removals().count(), 0);
}

#[test]
fn a_suspect_backup_stays_as_long_as_an_older_good_one() {
    let suspect = |days| {
        let mut head = daily(days);
        head.outcome = Outcome::Suspect;
        head.suspicion =
            Some(Suspicion { compared_with: head.id.clone(), reasons: vec![], accepted_at: None });
        head
    };
    let plan = run(vec![daily(0), suspect(1), daily(5), suspect(6), daily(9)], policy(&[("days", 7)]));
    assert_eq!(kept(&plan), ["d0000", "d0001", "d0005"]);
    let only_suspects = run(vec![suspect(1), suspect(900)], policy(&[("days", 7)]));
    assert_eq!(only_suspects.removals().count(), 0);
}

#[test]
fn keeps_the_last_records_of_failed_runs() {
    let failed = (1..=20).map(|days| ManifestHead { outcome: Outcome::Failed, ..daily(days) });
    let plan = run(failed.chain([daily(0)]).collect(), policy(&[("days", 7)]));
    assert_eq!(kept(&plan).len(), 1 + FAILED_RECORDS);
}

#[test]
fn a_name_does_not_keep_the_record_of_a_failed_run() {
    let failed = (1..=20).map(|days| {
        let kind = Kind::Named;
        ManifestHead { outcome: Outcome::Failed, kind, ..daily(days) }
    });
    let plan = run(failed.chain([daily(0)]).collect(), policy(&[("days", 7)]));
    assert_eq!(kept(&plan).len(), 1 + FAILED_RECORDS);
}

#[test]
fn keeps_the_parents_of_what_it_keeps() {
    let mut newest = daily(0);
    newest.parents = vec![daily(50).id];
    let mut parent = daily(50);
    parent.parents = vec![daily(90).id];
    let plan = run(vec![newest, daily(20), parent, daily(90)], policy(&[("last", 1)]));
    assert_eq!(kept(&plan), ["d0000", "d0050", "d0090"]);
    assert_eq!(reason(&plan, "d0090"), ["needed by d0050"]);
}

#[test]
fn never_removes_what_is_in_use() {
    let in_use = BTreeSet::from([daily(90).id]);
    let zone = Zone::utc();
    let rules = Rules {
        policies: BTreeMap::from([("daily", policy(&[("last", 1)]))]),
        zone: &zone,
        now: NOW,
        in_use: &in_use,
    };
    let plan = plan(&catalog(vec![daily(0), daily(90)]), &rules);
    assert_eq!(kept(&plan), ["d0000", "d0090"]);
}

#[test]
fn an_age_given_by_hand_still_spares_the_newest_and_the_named() {
    let none = BTreeSet::new();
    let zone = Zone::utc();
    let rules = Rules {
        policies: BTreeMap::from([("daily", policy(&[("days", 900)]))]),
        zone: &zone,
        now: NOW,
        in_use: &none,
    };
    let catalog = super::tests::catalog(vec![daily(40), daily(50), head("backup_1", None, ago(60))]);
    let plan = plan_older_than(&catalog, Duration::days(30), &rules);
    assert_eq!(kept(&plan), ["d0040", "backup_1"]);
}

proptest! {
    #[test]
    fn every_backup_is_either_kept_or_removed_and_the_newest_good_one_is_kept(
        ages in prop::collection::btree_set(-5_i64..2_000, 1..60),
        broken in prop::collection::btree_set(-5_i64..2_000, 0..60),
        rules in prop::collection::btree_map(0_usize..KeepPolicy::RULES.len(), 0_u32..20, 0..4),
    ) {
        let heads: Vec<_> = ages.iter().map(|&days| {
            let mut head = daily(days);
            if broken.contains(&days) { head.outcome = Outcome::Failed }
            head
        }).collect();
        let set: Vec<_> = rules.iter().map(|(&index, &count)| (KeepPolicy::RULES[index], count)).collect();
        let plan = run(heads.clone(), policy(&set));
        prop_assert_eq!(plan.items.len(), heads.len());
        prop_assert!(plan.items.iter().all(|item| !item.reasons.is_empty()));
        let newest = heads.iter().filter(|head| head.is_good() && head.started <= NOW).max_by_key(|head| head.started);
        if let Some(newest) = newest {
            prop_assert!(kept(&plan).contains(&newest.id.as_str()));
        }
        for item in plan.removals() {
            prop_assert!(item.started <= NOW);
        }
    }
}
