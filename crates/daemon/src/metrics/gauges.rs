//! Gauges that are computed from the manifests and the repository at the moment of the scrape.

use prometheus::{Gauge, GaugeVec, Registry};
use supakeep_model::OffsetDateTime;
use supakeep_model::catalog::Catalog;
use supakeep_model::health::{ProfileHealth, RepositoryHealth};
use supakeep_model::manifest_head::{Outcome, Proof};

use super::{opts, register};

/// Gauges with a label for the profile, set anew at every scrape.
pub(super) struct ProfileGauges {
    size_bytes: GaugeVec,
    source_bytes: GaugeVec,
    last_attempt: GaugeVec,
    last_success: GaugeVec,
    last_run_success: GaugeVec,
    next_run: GaugeVec,
    max_age: GaugeVec,
    overdue: GaugeVec,
    running: GaugeVec,
    backups: GaugeVec,
    suspect: GaugeVec,
    last_verify: GaugeVec,
    last_verify_success: GaugeVec,
    last_drill: GaugeVec,
    last_drill_success: GaugeVec,
    drill_duration: GaugeVec,
    last_sample: GaugeVec,
    last_sample_success: GaugeVec,
    sample_duration: GaugeVec,
    sample_tables: GaugeVec,
}

/// Gauges of the repository.
pub(super) struct RepositoryGauges {
    bytes: Gauge,
    free: Gauge,
    total: Gauge,
    needed: Gauge,
    writable: Gauge,
    unreadable: Gauge,
    damaged: Gauge,
}

impl ProfileGauges {
    pub(super) fn register(registry: &Registry) -> ProfileGauges {
        let by_profile =
            |name: &str, help: &str| register(registry, GaugeVec::new(opts(name, help), &["profile"]));
        ProfileGauges {
            size_bytes: by_profile("size_bytes", "Size of the newest good backup as stored."),
            source_bytes: by_profile("source_bytes", "Size of the newest good backup before compression."),
            last_attempt: by_profile(
                "last_attempt_timestamp_seconds",
                "When the last run started, however it ended.",
            ),
            last_success: by_profile(
                "last_success_timestamp_seconds",
                "When the newest good backup was started.",
            ),
            last_run_success: by_profile("last_run_success", "1 if the last run made a good backup."),
            next_run: by_profile("next_run_timestamp_seconds", "When the next run starts."),
            max_age: by_profile("max_age_seconds", "The age at which the newest good backup is overdue."),
            overdue: by_profile(
                "overdue",
                "1 if the newest good backup is older than max_age_seconds, or there was none for so long.",
            ),
            running: by_profile("running", "1 while a run is in progress."),
            backups: by_profile("backups", "Backups in the repository, failed runs not counted."),
            suspect: by_profile("suspect", "Backups that are complete but suspect and not accepted."),
            last_verify: by_profile(
                "last_verify_timestamp_seconds",
                "When the files of any backup were last checked.",
            ),
            last_verify_success: by_profile(
                "last_verify_success",
                "1 if they were found right, 0 if any backup of the profile was not.",
            ),
            last_drill: by_profile(
                "last_drill_timestamp_seconds",
                "When a backup was last restored into a scratch database.",
            ),
            last_drill_success: by_profile("last_drill_success", "1 if that came out right."),
            drill_duration: by_profile(
                "drill_duration_seconds",
                "How long that took: the measured time to restore.",
            ),
            last_sample: by_profile(
                "last_drill_sample_timestamp_seconds",
                "When all definitions and a sample of the tables of a backup were last restored into a scratch database.",
            ),
            last_sample_success: by_profile(
                "last_drill_sample_success",
                "1 if that came out right, 0 if any sample did not since all of a backup did.",
            ),
            sample_duration: by_profile("drill_sample_duration_seconds", "How long that took."),
            sample_tables: by_profile("drill_sample_tables", "How many tables were in it."),
        }
    }

    pub(super) fn set(&self, health: &ProfileHealth, catalog: &Catalog, now: OffsetDateTime) {
        let name = health.profile.as_str();
        let put = |gauge: &GaugeVec, value: Option<f64>| put(gauge, name, value);
        let at = |time: Option<OffsetDateTime>| time.map(|at| at.unix_timestamp() as f64);
        put(&self.last_attempt, at(health.last_attempt));
        put(&self.last_success, at(health.last_success));
        put(&self.next_run, at(health.next_run));
        put(&self.max_age, Some(health.max_age_seconds as f64));
        put(&self.overdue, Some(flag(health.overdue)));
        put(&self.running, Some(flag(health.running)));
        put(&self.backups, Some(health.backups as f64));
        let last = catalog.of_profile(name).find(|head| head.started <= now);
        put(&self.last_run_success, last.map(|head| flag(head.is_good())));
        let suspects =
            catalog.of_profile(name).filter(|head| head.outcome == Outcome::Suspect && !head.is_good());
        put(&self.suspect, Some(suspects.count() as f64));
        let good = catalog.newest_good(Some(name), now).map(|head| head.totals);
        put(&self.size_bytes, good.map(|totals| totals.stored_bytes as f64));
        put(&self.source_bytes, good.map(|totals| totals.source_bytes as f64));
        self.set_proofs(name, catalog);
    }

    fn set_proofs(&self, name: &str, catalog: &Catalog) {
        let put = |gauge: &GaugeVec, value: Option<f64>| put(gauge, name, value);
        let at = |proof: &Proof| proof.at.unix_timestamp() as f64;
        let backups = || catalog.of_profile(name).filter(|head| head.outcome != Outcome::Failed);
        let verified = || backups().filter_map(|head| head.verified.as_ref());
        let last = verified().max_by_key(|proof| proof.at);
        put(&self.last_verify, last.map(at));
        // One damaged backup among good ones must not be hidden by the check of the next.
        put(&self.last_verify_success, last.map(|_| flag(verified().all(|proof| proof.ok))));
        let drilled = backups().filter_map(|head| head.drilled.as_ref()).max_by_key(|proof| proof.at);
        put(&self.last_drill, drilled.map(at));
        put(&self.last_drill_success, drilled.map(|proof| flag(proof.ok)));
        put(&self.drill_duration, drilled.map(|proof| proof.duration_seconds));
        let sampled = backups().filter_map(|head| head.sampled.as_ref());
        let sampled = sampled.max_by_key(|sampled| sampled.proof.at);
        put(&self.last_sample, sampled.map(|sampled| at(&sampled.proof)));
        // A sample of other tables must not hide what did not come back.
        let failed = catalog.failed_sample(name);
        put(&self.last_sample_success, sampled.map(|_| flag(failed.is_none())));
        put(&self.sample_duration, sampled.map(|sampled| sampled.proof.duration_seconds));
        put(&self.sample_tables, sampled.map(|sampled| sampled.tables as f64));
    }
}

impl RepositoryGauges {
    pub(super) fn register(registry: &Registry) -> RepositoryGauges {
        let gauge = |name: &str, help: &str| register(registry, Gauge::with_opts(opts(name, help)));
        RepositoryGauges {
            bytes: gauge("repository_bytes", "Bytes of all backups as stored."),
            free: gauge("repository_free_bytes", "Bytes free for supakeep."),
            total: gauge("repository_total_bytes", "Bytes of the repository's file system."),
            needed: gauge("repository_needed_bytes", "Bytes below which the next backup is not started."),
            writable: gauge("repository_writable", "1 if the repository can be written."),
            unreadable: gauge("repository_unreadable", "Backups whose manifest cannot be read."),
            damaged: gauge("repository_damaged", "Backups whose files are not what was written."),
        }
    }

    pub(super) fn set(&self, repository: &RepositoryHealth, catalog: &Catalog) {
        // The record of a failed run says how much it had written; that is gone.
        let stored: u64 = catalog.backups().map(|head| head.totals.stored_bytes).sum();
        self.bytes.set(stored as f64);
        self.free.set(repository.free_bytes as f64);
        self.total.set(repository.total_bytes as f64);
        self.needed.set(repository.needed_bytes as f64);
        self.writable.set(flag(repository.error.is_none()));
        self.unreadable.set(repository.unreadable.len() as f64);
        self.damaged.set(repository.damaged.len() as f64);
    }
}

/// What has never happened, or is known no more, has no number: the series is missing rather than 0.
pub(super) fn put(gauge: &GaugeVec, profile: &str, value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(&[profile]).set(value),
        None => {
            let _ = gauge.remove_label_values(&[profile]);
        }
    }
}

pub(super) fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}
