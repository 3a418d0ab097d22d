//! How a stack's backups are doing, from the catalog and the time.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::catalog::Catalog;
use crate::code::Code;
use crate::export::ExportHealth;
use crate::id::BackupId;
use crate::manifest_head::{ManifestHead, Outcome, SampleProof};
use crate::profile::Profile;
use crate::quantity::{show_bytes, show_duration, show_time};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything is as it should be.
    Ok,
    /// Backups are made, and something wants attention.
    Degraded,
    /// There is no recent backup, or there will not be one.
    Failing,
}

impl Level {
    /// The word used in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Degraded => "degraded",
            Level::Failing => "failing",
        }
    }
}

/// How a profile is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileHealth {
    /// The profile.
    pub profile: String,
    /// How bad it is.
    pub status: Level,
    /// Why it is not `ok`, a sentence each.
    pub reasons: Vec<String>,
    /// Whether a run is in progress.
    pub running: bool,
    /// When the last run started, however it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_attempt: Option<OffsetDateTime>,
    /// How the last run ended.
    pub last_outcome: Option<Outcome>,
    /// The code of the last run's failure.
    pub last_error_code: Option<Code>,
    /// When the newest good backup was started.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success: Option<OffsetDateTime>,
    /// Its id.
    pub latest: Option<BackupId>,
    /// Its age.
    pub age_seconds: Option<i64>,
    /// The age at which it is overdue.
    pub max_age_seconds: i64,
    /// Whether the newest good backup, or the wait for the first one, is older than that.
    pub overdue: bool,
    /// When the next run starts.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_run: Option<OffsetDateTime>,
    /// The last slot that passed without a run, if there was no run since.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub last_skipped: Option<OffsetDateTime>,
    /// How many backups there are, failed runs not counted.
    pub backups: u64,
}

/// How the repository is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryHealth {
    /// Why it cannot be written, if it cannot.
    pub error: Option<String>,
    /// Bytes free for supakeep.
    pub free_bytes: u64,
    /// Bytes of the file system.
    pub total_bytes: u64,
    /// Bytes a next backup is not started below.
    pub needed_bytes: u64,
    /// Folders with a manifest that cannot be read.
    pub unreadable: Vec<String>,
    /// Backups whose files were found not to be what was written, of whatever profile or none.
    #[serde(default)]
    pub damaged: Vec<String>,
}

/// How the whole is doing: what `/health` and `supakeep status` show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The worst of everything below.
    pub status: Level,
    /// supakeep's version.
    pub version: String,
    /// The stack.
    pub stack: String,
    /// Every configured profile.
    pub profiles: Vec<ProfileHealth>,
    /// The repository.
    pub repository: RepositoryHealth,
    /// Drills on schedule.
    #[serde(default)]
    pub drill: DrillHealth,
    /// Every configured export.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<ExportHealth>,
    /// Why it is not `ok`, a sentence each.
    pub reasons: Vec<String>,
}

/// How scheduled drills are doing. What a drill found is in the manifest of the backup, and with its profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DrillHealth {
    /// Whether one is in progress.
    pub running: bool,
    /// When the next one starts, if any is scheduled.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_run: Option<OffsetDateTime>,
    /// Why the last one could not be made, if it could not.
    pub last_error_code: Option<Code>,
    /// When the next sample is drilled, if any is scheduled.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub next_sample: Option<OffsetDateTime>,
    /// Why the last sample could not be drilled, if it could not.
    #[serde(default)]
    pub last_sample_error_code: Option<Code>,
}

/// What only the scheduler knows of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    /// Whether a run is in progress.
    pub running: bool,
    /// When the next run starts.
    pub next_run: Option<OffsetDateTime>,
    /// The last slot that passed without a run.
    pub skipped: Option<SkippedSlot>,
}

/// A slot that passed without a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedSlot {
    /// When it was.
    pub at: OffsetDateTime,
    /// Why it passed.
    pub reason: &'static str,
}

/// What is wrong, and how bad that is.
struct Verdict {
    status: Level,
    reasons: Vec<String>,
}

impl Default for Verdict {
    fn default() -> Self {
        Verdict { status: Level::Ok, reasons: Vec::new() }
    }
}

impl Verdict {
    fn worse(&mut self, level: Level, reason: String) {
        self.status = self.status.max(level);
        self.reasons.push(reason);
    }

    fn of_last_run(&mut self, last: &ManifestHead) {
        match (last.outcome, &last.error, &last.verified) {
            (Outcome::Failed, error, _) => {
                let code = error.as_ref().map_or(Code::Internal, |error| error.code);
                self.worse(Level::Failing, format!("the last run failed: {code}"));
            }
            (_, _, Some(proof)) if !proof.ok => {
                self.worse(Level::Failing, format!("the files of {} are not as they were written", last.id));
            }
            (Outcome::Suspect, _, _) if !last.is_good() => {
                let what = format!("{} is suspect: compare it, then accept or delete it", last.id);
                self.worse(Level::Degraded, what);
            }
            _ => {}
        }
    }

    fn of_drills<'a>(&mut self, runs: impl Iterator<Item = &'a ManifestHead>) {
        let drilled = runs.filter_map(|head| Some((head, head.drilled.as_ref()?)));
        let last = drilled.max_by_key(|(_, proof)| proof.at);
        if let Some((head, _)) = last.filter(|(_, proof)| !proof.ok) {
            let what = format!("the drill of {} failed: it does not come back as recorded", head.id);
            self.worse(Level::Degraded, what);
        }
    }

    fn of_samples(&mut self, failed: Option<&ManifestHead>) {
        let sampled = failed.and_then(|head| Some((&head.id, head.sampled.as_ref()?)));
        if let Some((id, SampleProof { tables, of_tables, .. })) = sampled {
            let what = format!("the drill of a sample of {id} failed ({tables} of {of_tables} tables)");
            self.worse(Level::Degraded, what);
        }
    }
}

/// How `profile` is doing at `now`. Where there was never a good backup, its age counts from
/// `first_start`.
pub fn of_profile(
    profile: &Profile,
    catalog: &Catalog,
    first_start: OffsetDateTime,
    live: Live,
    now: OffsetDateTime,
) -> ProfileHealth {
    let last = catalog.of_profile(&profile.name).find(|head| head.started <= now);
    let good = catalog.newest_good(Some(&profile.name), now);
    let run = good.map_or(time::Duration::ZERO, |head| head.finished - head.started);
    let max_age = profile.max_age(now, run);
    let waited = good.map_or(now - first_start, |head| head.age(now));
    let overdue = waited > max_age;
    let mut verdict = Verdict::default();
    if overdue {
        let what =
            if good.is_some() { "the newest good backup is" } else { "there is no good backup yet, after" };
        verdict.worse(
            Level::Failing,
            format!("overdue: {what} {} (limit {})", show_duration(waited), show_duration(max_age)),
        );
    }
    last.into_iter().for_each(|last| verdict.of_last_run(last));
    verdict.of_drills(catalog.of_profile(&profile.name));
    verdict.of_samples(catalog.failed_sample(&profile.name));
    let skipped = live.skipped.filter(|slot| last.is_none_or(|last| last.started < slot.at));
    if let Some(SkippedSlot { at, reason }) = skipped {
        verdict.worse(Level::Degraded, format!("the run of {} was skipped: {reason}", show_time(at)));
    }
    ProfileHealth {
        profile: profile.name.clone(),
        status: verdict.status,
        reasons: verdict.reasons,
        running: live.running,
        last_attempt: last.map(|head| head.started),
        last_outcome: last.map(|head| head.outcome),
        last_error_code: last.and_then(|head| head.error.as_ref()).map(|error| error.code),
        last_success: good.map(|head| head.started),
        latest: good.map(|head| head.id.clone()),
        age_seconds: good.map(|head| head.age(now).whole_seconds()),
        max_age_seconds: max_age.whole_seconds(),
        overdue,
        next_run: live.next_run,
        last_skipped: skipped.map(|slot| slot.at),
        backups: catalog.of_profile(&profile.name).filter(|head| head.outcome != Outcome::Failed).count()
            as u64,
    }
}

impl Health {
    /// Puts the parts together; the whole is as bad as its worst part.
    pub fn assess(
        version: &str,
        stack: &str,
        profiles: Vec<ProfileHealth>,
        repository: RepositoryHealth,
    ) -> Health {
        let status = profiles.iter().map(|profile| profile.status).max().unwrap_or(Level::Ok);
        let reasons = profiles
            .iter()
            .flat_map(|profile| profile.reasons.iter().map(|reason| format!("{}: {reason}", profile.profile)))
            .collect();
        let mut verdict = Verdict { status, reasons };
        if let Some(error) = &repository.error {
            verdict.worse(Level::Failing, format!("repository: {error}"));
        } else if repository.free_bytes < repository.needed_bytes {
            let (free, needed) = (show_bytes(repository.free_bytes), show_bytes(repository.needed_bytes));
            verdict
                .worse(Level::Degraded, format!("repository: {free} free, the next backup wants {needed}"));
        }
        if !repository.unreadable.is_empty() {
            verdict.worse(
                Level::Degraded,
                format!("repository: cannot read the manifest of {}", repository.unreadable.join(", ")),
            );
        }
        if !repository.damaged.is_empty() {
            let damaged = repository.damaged.join(", ");
            verdict.worse(
                Level::Degraded,
                format!("repository: files are not as they were written in {damaged}"),
            );
        }
        let drill = DrillHealth::default();
        let (version, stack) = (version.to_owned(), stack.to_owned());
        let Verdict { status, reasons } = verdict;
        Health { status, version, stack, profiles, repository, drill, exports: Vec::new(), reasons }
    }

    /// With what is known of the drills.
    #[must_use]
    pub fn with(mut self, drill: DrillHealth) -> Health {
        let told = [("drill", drill.last_error_code), ("drill of a sample", drill.last_sample_error_code)];
        for (what, code) in told.into_iter().filter_map(|(what, code)| Some((what, code?))) {
            self.status = self.status.max(Level::Degraded);
            self.reasons.push(format!("the last scheduled {what} could not be made: {code}"));
        }
        Health { drill, ..self }
    }

    /// With how the exports are doing.
    #[must_use]
    pub fn with_exports(mut self, exports: Vec<ExportHealth>) -> Health {
        for export in &exports {
            self.status = self.status.max(export.status);
            let told = export.reasons.iter().map(|reason| format!("export {}: {reason}", export.export));
            self.reasons.extend(told);
        }
        Health { exports, ..self }
    }
}

/// What a next backup of `profile` is not started below: `min_free`, or twice what its last good one took.
/// Without a profile, or where it has none yet, the largest of the last good ones counts.
pub fn needed_bytes(catalog: &Catalog, profile: Option<&str>, min_free: u64, now: OffsetDateTime) -> u64 {
    let own = profile.and_then(|profile| catalog.newest_good(Some(profile), now));
    let last = match own {
        Some(head) => head.totals.stored_bytes,
        None => catalog.largest_of_the_newest(now),
    };
    min_free.max(last.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_needs_twice_the_room_of_its_own_last_one() {
        let sized = |id: &str, profile: Option<&str>, hours: i64, stored_bytes: u64| {
            let mut head = head(id, profile, NOW - Duration::hours(hours));
            head.totals.stored_bytes = stored_bytes;
            std::sync::Arc::new(head)
        };
        let catalog = Catalog::new(
            vec![
                sized("schema", Some("schema"), 1, 10),
                sized("big", Some("daily"), 2, 1_000),
                sized("bigger", Some("daily"), 3, 9_000),
                sized("hand", None, 4, 500),
            ],
            vec![],
        );
        let needed = |profile| needed_bytes(&catalog, profile, 5, NOW);
        assert_eq!(needed(Some("schema")), 20);
        assert_eq!(needed(Some("daily")), 2_000);
        assert_eq!(needed(Some("new")), 2_000);
        assert_eq!(needed(None), 2_000);
        assert_eq!(needed_bytes(&catalog, Some("schema"), 21, NOW), 21);
    }
    use crate::manifest_head::{ManifestHead, Proof, RunError, Suspicion};
    use crate::sample::head;
    use crate::schedule::Schedule;
    use crate::zone::Zone;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-10 12:00 UTC);

    fn daily() -> Profile {
        Profile::new("daily", Schedule::new(vec!["0 2 * * *".parse().expect("valid")], Zone::utc()))
    }

    fn health(heads: Vec<ManifestHead>) -> ProfileHealth {
        let first_start = NOW - Duration::hours(2);
        of_profile(
            &daily(),
            &Catalog::new(heads.into_iter().map(Into::into).collect(), vec![]),
            first_start,
            Live::default(),
            NOW,
        )
    }

    fn failed(id: &str, started: OffsetDateTime) -> ManifestHead {
        let mut head = head(id, Some("daily"), started);
        head.outcome = Outcome::Failed;
        head.verified = None;
        head.error = Some(RunError { code: Code::DumpFailed, message: "x".into(), hint: "y".into() });
        head
    }

    #[test]
    fn a_recent_good_backup_is_ok() {
        let health = health(vec![head("a", Some("daily"), NOW - Duration::hours(10))]);
        assert_eq!((health.status, health.overdue, health.backups), (Level::Ok, false, 1));
        assert_eq!((health.age_seconds, health.max_age_seconds), (Some(36_000), 90_060));
    }

    #[test]
    fn an_old_one_is_overdue() {
        let health = health(vec![head("a", Some("daily"), NOW - Duration::hours(26))]);
        assert_eq!((health.status, health.overdue), (Level::Failing, true));
    }

    #[test]
    fn without_any_backup_the_wait_counts_from_the_first_start() {
        assert_eq!(health(vec![]).status, Level::Ok);
        let waited =
            of_profile(&daily(), &Catalog::default(), NOW - Duration::hours(26), Live::default(), NOW);
        assert_eq!((waited.status, waited.overdue, waited.age_seconds), (Level::Failing, true, None));
    }

    #[test]
    fn a_failed_run_shows_although_a_good_backup_is_recent() {
        let good = head("a", Some("daily"), NOW - Duration::hours(10));
        let health = health(vec![good, failed("b", NOW - Duration::HOUR)]);
        assert_eq!((health.status, health.overdue), (Level::Failing, false));
        assert_eq!(health.last_error_code, Some(Code::DumpFailed));
        assert_eq!(health.latest.expect("a good one").as_str(), "a");
    }

    #[test]
    fn a_suspect_backup_degrades_until_it_is_accepted() {
        let good = head("a", Some("daily"), NOW - Duration::hours(10));
        let mut suspect = head("b", Some("daily"), NOW - Duration::HOUR);
        suspect.outcome = Outcome::Suspect;
        suspect.suspicion =
            Some(Suspicion { compared_with: good.id.clone(), reasons: vec![], accepted_at: None });
        let before = health(vec![good.clone(), suspect.clone()]);
        assert_eq!(
            (before.status, before.latest.map(|id| id.to_string())),
            (Level::Degraded, Some("a".into()))
        );
        if let Some(suspicion) = &mut suspect.suspicion {
            suspicion.accepted_at = Some(NOW);
        }
        assert_eq!(health(vec![good, suspect]).status, Level::Ok);
    }

    #[test]
    fn a_skipped_slot_degrades_until_there_is_a_run_again() {
        let slot = SkippedSlot { at: NOW - Duration::hours(2), reason: "another run was busy" };
        let live = Live { skipped: Some(slot), ..Live::default() };
        let after = |run: OffsetDateTime| {
            let catalog = Catalog::new(vec![head("a", Some("daily"), run).into()], vec![]);
            of_profile(&daily(), &catalog, NOW, live, NOW)
        };
        let skipped = after(NOW - Duration::hours(3));
        assert_eq!((skipped.status, skipped.last_skipped), (Level::Degraded, Some(slot.at)));
        assert_eq!(skipped.reasons, ["the run of 2026-01-10T10:00:00Z was skipped: another run was busy"]);
        let run = after(NOW - Duration::HOUR);
        assert_eq!((run.status, run.last_skipped), (Level::Ok, None));
    }

    #[test]
    fn a_failed_drill_degrades_until_one_comes_out_right() {
        let drilled = |id: &str, hours: i64, ok: bool| {
            let mut head = head(id, Some("daily"), NOW - Duration::hours(hours));
            let at = NOW - Duration::hours(hours - 1);
            head.drilled = Some(Proof { at, ok, duration_seconds: 9.0, differences: vec![] });
            head
        };
        let failed =
            health(vec![drilled("a", 9, true), drilled("b", 5, false), head("c", Some("daily"), NOW)]);
        assert_eq!(failed.status, Level::Degraded);
        assert_eq!(failed.reasons, ["the drill of b failed: it does not come back as recorded"]);
        assert_eq!(health(vec![drilled("b", 5, false), drilled("c", 2, true)]).status, Level::Ok);
    }

    #[test]
    fn a_sample_that_failed_degrades_until_all_of_a_backup_comes_back() {
        let proof = |hours: i64, ok: bool| Proof {
            at: NOW - Duration::hours(hours),
            ok,
            duration_seconds: 9.0,
            differences: vec![],
        };
        let backup = |id: &str, drilled: Option<Proof>, sampled: Option<Proof>| {
            let sampled = sampled.map(|proof| SampleProof { proof, tables: 4, of_tables: 40 });
            ManifestHead { drilled, sampled, ..head(id, Some("daily"), NOW - Duration::hours(10)) }
        };
        let after = |other: Option<ManifestHead>| {
            let failed = backup("b", None, Some(proof(5, false)));
            health([failed].into_iter().chain(other).collect())
        };
        assert_eq!(after(None).status, Level::Degraded);
        assert_eq!(after(None).reasons, ["the drill of a sample of b failed (4 of 40 tables)"]);
        let whole = |hours| after(Some(backup("c", Some(proof(hours, true)), None))).status;
        assert_eq!((whole(2), whole(7)), (Level::Ok, Level::Degraded));
        let other_tables = after(Some(backup("c", None, Some(proof(2, true)))));
        assert_eq!(other_tables.status, Level::Degraded, "it says nothing of the tables that failed");
        let whole = backup("b", Some(proof(5, false)), None);
        let told = health(vec![whole, backup("c", None, Some(proof(2, true)))]);
        assert_eq!(told.status, Level::Degraded, "a sample does not make up for a drill that failed");
    }

    #[test]
    fn a_drill_that_could_not_be_made_degrades() {
        let repository = RepositoryHealth {
            error: None,
            free_bytes: 3,
            total_bytes: 4,
            needed_bytes: 2,
            unreadable: vec![],
            damaged: vec![],
        };
        let fine = Health::assess("1", "supabase", vec![], repository);
        let drill = |last_error_code| DrillHealth { last_error_code, ..DrillHealth::default() };
        assert_eq!(fine.clone().with(drill(None)).status, Level::Ok);
        let told = fine.with(drill(Some(Code::TargetUnfit)));
        assert_eq!(told.status, Level::Degraded);
        assert_eq!(told.reasons, ["the last scheduled drill could not be made: target-unfit"]);
    }

    #[test]
    fn one_from_the_future_does_not_hide_that_there_is_none() {
        let health = health(vec![
            head("a", Some("daily"), NOW + Duration::DAY),
            head("b", Some("daily"), NOW - Duration::DAY * 3),
        ]);
        assert_eq!((health.status, health.overdue), (Level::Failing, true));
    }

    #[test]
    fn the_whole_is_as_bad_as_its_worst_part() {
        let fine = health(vec![head("a", Some("daily"), NOW)]);
        let repository = |error: Option<&str>, free_bytes| RepositoryHealth {
            error: error.map(str::to_owned),
            free_bytes,
            total_bytes: 100,
            needed_bytes: 10,
            unreadable: vec![],
            damaged: vec![],
        };
        let damaged = RepositoryHealth { damaged: vec!["hand_1".into()], ..repository(None, 50) };
        let told = Health::assess("1", "supabase", vec![fine.clone()], damaged);
        assert_eq!(told.status, Level::Degraded);
        assert_eq!(told.reasons, ["repository: files are not as they were written in hand_1"]);
        let level = |repository| Health::assess("1", "supabase", vec![fine.clone()], repository).status;
        assert_eq!(level(repository(None, 50)), Level::Ok);
        assert_eq!(level(repository(None, 5)), Level::Degraded);
        assert_eq!(level(repository(Some("read-only"), 50)), Level::Failing);
    }
}
