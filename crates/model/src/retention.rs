//! Which backups may go, as a value with reasons that can be printed or carried out.
//!
//! Only what can be named and is not needed is ever removed. Never: the newest good backup of a
//! profile, anything made by hand or before a restore, a parent of something kept, a run in progress,
//! what is dated in the future, and what is no readable backup of ours (it is not in the catalog).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::catalog::Catalog;
use crate::id::BackupId;
use crate::keep::KeepPolicy;
use crate::manifest_head::{ManifestHead, Outcome};
use crate::naming::Kind;
use crate::zone::Zone;

/// How many records of failed runs are kept for each profile.
const FAILED_RECORDS: usize = 10;

/// What happens to one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PruneItem {
    /// The backup.
    pub id: BackupId,
    /// Its profile.
    pub profile: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// Whether it stays.
    pub keep: bool,
    /// Why, never empty.
    pub reasons: Vec<String>,
    /// How its run ended.
    #[serde(skip)]
    pub outcome: Outcome,
}

/// What happens to every backup of a stack, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PrunePlan {
    /// One item for each entry of the catalog.
    pub items: Vec<PruneItem>,
    /// The newest good backup of each profile: others may go because it stays.
    #[serde(skip)]
    pub relied_on: BTreeMap<String, BackupId>,
}

impl PrunePlan {
    /// What the plan removes.
    pub fn removals(&self) -> impl Iterator<Item = &PruneItem> {
        self.items.iter().filter(|item| !item.keep)
    }

    /// The part of the plan that is about one profile, or about what belongs to none.
    pub fn of_profile(mut self, profile: Option<&str>) -> PrunePlan {
        self.items.retain(|item| item.profile.as_deref() == profile);
        self.relied_on.retain(|name, _| Some(name.as_str()) == profile);
        self
    }

    /// The part of the plan that is about the records of failed runs. It removes no backup, so it relies
    /// on none.
    pub fn of_failed_runs(mut self) -> PrunePlan {
        self.items.retain(|item| item.outcome == Outcome::Failed);
        self.relied_on.clear();
        self
    }
}

/// What a plan is made from, besides the catalog.
#[derive(Debug, Clone)]
pub struct Rules<'a> {
    /// The policy of every configured profile.
    pub policies: BTreeMap<&'a str, KeepPolicy>,
    /// The zone whose hours, days, weeks and months are meant.
    pub zone: &'a Zone,
    /// The time.
    pub now: OffsetDateTime,
    /// Runs in progress and backups that are being read.
    pub in_use: &'a BTreeSet<BackupId>,
}

/// Applies every profile's policy to the catalog.
pub fn plan(catalog: &Catalog, rules: &Rules<'_>) -> PrunePlan {
    let mut reasons: BTreeMap<&BackupId, Vec<String>> = BTreeMap::new();
    let mut relied_on = BTreeMap::new();
    for (profile, policy) in &rules.policies {
        // What was named by hand stays anyway; it fills no place that a rule has to give.
        let good = catalog.of_profile(profile).filter(|head| head.is_good() && head.kind == Kind::Profile);
        let good: Vec<_> = good.collect();
        if let Some(newest) = good.iter().find(|head| head.started <= rules.now) {
            relied_on.insert((*profile).to_owned(), newest.id.clone());
        }
        keep_by_policy(&good, policy, rules, &mut reasons);
        let oldest_kept =
            good.iter().filter(|head| reasons.contains_key(&head.id)).map(|head| head.started).min();
        keep_beside_the_good(catalog, profile, oldest_kept, &mut reasons);
    }
    for head in catalog.entries() {
        if let Some(reason) = protection(head, rules) {
            reasons.entry(&head.id).or_default().push(reason);
        }
    }
    keep_parents(catalog, &mut reasons);
    let items = catalog.entries().map(|head| item(head, reasons.remove(&head.id))).collect();
    PrunePlan { items, relied_on }
}

/// Removes whatever is older than `age`, by the wish of a person: what is protected stays, and so does
/// the newest good backup of each profile.
pub fn plan_older_than(catalog: &Catalog, age: Duration, rules: &Rules<'_>) -> PrunePlan {
    let mut reasons: BTreeMap<&BackupId, Vec<String>> = BTreeMap::new();
    let mut relied_on = BTreeMap::new();
    for head in catalog.entries() {
        let mut why: Vec<String> = protection(head, rules).into_iter().collect();
        if head.age(rules.now) <= age {
            why.push("younger than asked".to_owned());
        }
        let newest =
            head.profile.as_deref().and_then(|profile| catalog.newest_good(Some(profile), rules.now));
        if newest.is_some_and(|newest| newest.id == head.id) {
            why.push("the newest good one of its profile".to_owned());
            relied_on.extend(head.profile.clone().map(|profile| (profile, head.id.clone())));
        }
        if !why.is_empty() {
            reasons.insert(&head.id, why);
        }
    }
    keep_parents(catalog, &mut reasons);
    let items = catalog.entries().map(|head| item(head, reasons.remove(&head.id))).collect();
    PrunePlan { items, relied_on }
}

fn item(head: &ManifestHead, reasons: Option<Vec<String>>) -> PruneItem {
    let keep = reasons.is_some();
    let gone = match head.outcome {
        Outcome::Complete => "no rule keeps it",
        Outcome::Suspect => "suspect, and older than every good one that is kept",
        Outcome::Failed => "the record of a failed run, no longer needed",
    };
    PruneItem {
        id: head.id.clone(),
        profile: head.profile.clone(),
        started: head.started,
        stored_bytes: head.totals.stored_bytes,
        keep,
        outcome: head.outcome,
        reasons: reasons.unwrap_or_else(|| vec![gone.to_owned()]),
    }
}

/// Why a backup stays whatever the policies say.
fn protection(head: &ManifestHead, rules: &Rules<'_>) -> Option<String> {
    if rules.in_use.contains(&head.id) {
        return Some("in use".to_owned());
    }
    let is_configured = |profile: &String| rules.policies.contains_key(profile.as_str());
    match (&head.profile, head.kind) {
        _ if head.started > rules.now => Some("dated in the future".to_owned()),
        // The record of a failed run holds no backup, whatever it was called.
        (None, _) if head.outcome == Outcome::Failed => failed_by_hand(head, rules.now),
        (Some(profile), _) if head.outcome == Outcome::Failed && is_configured(profile) => None,
        (_, Kind::Manual) => Some("made by hand".to_owned()),
        (_, Kind::Named | Kind::PreRestore | Kind::Emergency) => Some("named by hand".to_owned()),
        (None, Kind::Profile) => Some("belongs to no profile".to_owned()),
        (Some(profile), Kind::Profile) => {
            (!is_configured(profile)).then(|| format!("profile {profile} is not in the configuration"))
        }
    }
}

/// The record of a run by hand that failed holds no backup; it is kept for a month, for the log.
fn failed_by_hand(head: &ManifestHead, now: OffsetDateTime) -> Option<String> {
    (head.age(now) < Duration::days(30)).then(|| "failed within 30 days".to_owned())
}

fn keep_by_policy<'a>(
    good: &[&'a ManifestHead],
    policy: &KeepPolicy,
    rules: &Rules<'_>,
    reasons: &mut BTreeMap<&'a BackupId, Vec<String>>,
) {
    let mut keep = |head: &'a ManifestHead, reason: String| reasons.entry(&head.id).or_default().push(reason);
    // What is dated in the future neither fills a bucket nor counts as the newest.
    let past: Vec<_> = good.iter().copied().filter(|head| head.started <= rules.now).collect();
    if let Some(newest) = past.first() {
        keep(newest, "the newest good one".to_owned());
    }
    if policy.is_empty() {
        past.iter().for_each(|head| keep(head, "no retention is set".to_owned()));
        return;
    }
    for head in past.iter().take(policy.last.unwrap_or(0) as usize) {
        keep(head, format!("last {}", policy.last.unwrap_or(0)));
    }
    for (window, reason) in windows(policy, rules) {
        past.iter().filter(|head| head.started >= window).for_each(|head| keep(head, reason.clone()));
    }
    for (count, name, bucket) in buckets(policy) {
        let mut seen = BTreeSet::new();
        for head in &past {
            let key = bucket(rules.zone.local(head.started));
            if seen.len() < count as usize && seen.insert(key) {
                keep(head, format!("{name} {}", seen.len()));
            }
        }
    }
}

/// The beginnings of the periods that are kept whole.
fn windows(policy: &KeepPolicy, rules: &Rules<'_>) -> Vec<(OffsetDateTime, String)> {
    let mut out = Vec::new();
    if let Some((window, reason)) = policy.fixed_window() {
        out.push((rules.now.checked_sub(window).unwrap_or(OffsetDateTime::UNIX_EPOCH), reason));
    }
    let months = policy.months.map(|count| (count, format!("within {count} months")));
    let years = policy.years.map(|count| (count.saturating_mul(12), format!("within {count} years")));
    for (count, reason) in months.into_iter().chain(years) {
        out.push((rules.zone.months_before(rules.now, count), reason));
    }
    out
}

type Bucket = fn(OffsetDateTime) -> (i32, u16, u8);

fn buckets(policy: &KeepPolicy) -> Vec<(u32, &'static str, Bucket)> {
    let rules: [(Option<u32>, &str, Bucket); 5] = [
        (policy.hourly, "hourly", |at| (at.year(), at.ordinal(), at.hour())),
        (policy.daily, "daily", |at| (at.year(), at.ordinal(), 0)),
        (policy.weekly, "weekly", |at| {
            let (year, week, _) = at.to_iso_week_date();
            (year, u16::from(week), 0)
        }),
        (policy.monthly, "monthly", |at| (at.year(), u16::from(u8::from(at.month())), 0)),
        (policy.yearly, "yearly", |at| (at.year(), 0, 0)),
    ];
    rules.into_iter().filter_map(|(count, name, bucket)| count.map(|count| (count, name, bucket))).collect()
}

/// A suspect backup stays as long as an older good one does: a person may still want to compare, or to
/// accept it. Of failed runs the newest records stay.
fn keep_beside_the_good<'a>(
    catalog: &'a Catalog,
    profile: &'a str,
    oldest_kept: Option<OffsetDateTime>,
    reasons: &mut BTreeMap<&'a BackupId, Vec<String>>,
) {
    let mut failed = 0;
    for head in catalog.of_profile(profile).filter(|head| !head.is_good()) {
        let reason = match head.outcome {
            Outcome::Failed => {
                failed += 1;
                (failed <= FAILED_RECORDS).then(|| format!("one of the last {FAILED_RECORDS} failed runs"))
            }
            Outcome::Complete => {
                Some("its files were not found right: look at it, then delete it".to_owned())
            }
            Outcome::Suspect => oldest_kept
                .is_none_or(|oldest| head.started > oldest)
                .then(|| "suspect, and not accepted".to_owned()),
        };
        if let Some(reason) = reason {
            reasons.entry(&head.id).or_default().push(reason);
        }
    }
}

/// Whatever is needed by something that stays, stays; parents can have parents.
fn keep_parents<'a>(catalog: &'a Catalog, reasons: &mut BTreeMap<&'a BackupId, Vec<String>>) {
    let by_id: BTreeMap<_, _> = catalog.entries().map(|head| (&head.id, head)).collect();
    let mut pending: Vec<&BackupId> = reasons.keys().copied().collect();
    while let Some(id) = pending.pop() {
        let Some(head) = by_id.get(id) else { continue };
        for parent in &head.parents {
            if let Some(parent) = by_id.get(parent).filter(|parent| !reasons.contains_key(&parent.id)) {
                reasons.insert(&parent.id, vec![format!("needed by {id}")]);
                pending.push(&parent.id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
