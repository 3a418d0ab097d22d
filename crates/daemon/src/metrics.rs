//! What Prometheus scrapes. Counters count events since the start; everything else is computed from the
//! manifests at the moment of the scrape, so a restart loses nothing.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use supakeep_flow::ports::Observer;
use supakeep_model::OffsetDateTime;
use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::health::{Health, ProfileHealth};
use supakeep_model::manifest_head::{Build, ManifestHead, Outcome, Proof};
use supakeep_model::profile::Profile;

#[cfg(test)]
mod alert_rules;

/// In front of every name.
const PREFIX: &str = "supabase_backup_";
/// The label of backups that belong to no profile.
const NO_PROFILE: &str = "manual";
/// Upper bounds in seconds: from a demo's database to one of a terabyte.
const DURATION_BUCKETS: [f64; 13] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0];

/// Gauges with a label for the profile, set anew at every scrape.
struct ProfileGauges {
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
}

/// Gauges of the repository.
struct RepositoryGauges {
    bytes: Gauge,
    free: Gauge,
    total: Gauge,
    needed: Gauge,
    writable: Gauge,
    unreadable: Gauge,
    damaged: Gauge,
}

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    duration: HistogramVec,
    runs: IntCounterVec,
    pruned: IntCounter,
    errors: IntCounterVec,
    profile: ProfileGauges,
    repository: RepositoryGauges,
}

/// Registers a metric. The names are constants and different, so it cannot fail.
fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: Result<C, prometheus::Error>) -> C {
    let metric = metric.expect("a constant that is a valid metric");
    registry.register(Box::new(metric.clone())).expect("every metric is registered once");
    metric
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}{name}"), help)
}

impl Metrics {
    pub(crate) fn new(build: &Build, profiles: &[Profile]) -> Metrics {
        let registry = Registry::new();
        let by_profile =
            |name: &str, help: &str| register(&registry, GaugeVec::new(opts(name, help), &["profile"]));
        let gauge = |name: &str, help: &str| register(&registry, Gauge::with_opts(opts(name, help)));
        let buckets = HistogramOpts::from(opts(
            "duration_seconds",
            "How long backups took that did not fail, from start to the last file.",
        ))
        .buckets(DURATION_BUCKETS.to_vec());
        let profile = ProfileGauges {
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
        };
        let repository = RepositoryGauges {
            bytes: gauge("repository_bytes", "Bytes of all backups as stored."),
            free: gauge("repository_free_bytes", "Bytes free for supakeep."),
            total: gauge("repository_total_bytes", "Bytes of the repository's file system."),
            needed: gauge("repository_needed_bytes", "Bytes below which the next backup is not started."),
            writable: gauge("repository_writable", "1 if the repository can be written."),
            unreadable: gauge("repository_unreadable", "Backups whose manifest cannot be read."),
            damaged: gauge("repository_damaged", "Backups whose files are not what was written."),
        };
        let runs = register(
            &registry,
            IntCounterVec::new(
                opts("runs_total", "Runs since the start, by how they ended."),
                &["profile", "result"],
            ),
        );
        // A counter that appears with its first event is, for rate() and increase(), no event at all.
        for profile in profiles {
            for result in ["complete", "suspect", "failed", "skipped"] {
                runs.with_label_values(&[profile.name.as_str(), result]);
            }
        }
        let errors = register(
            &registry,
            IntCounterVec::new(opts("errors_total", "Failures since the start, by code."), &["code"]),
        );
        for code in Code::ALL {
            errors.with_label_values(&[code.as_str()]);
        }
        let info = register(
            &registry,
            GaugeVec::new(opts("build_info", "Which supakeep this is."), &["version", "revision"]),
        );
        info.with_label_values(&[build.version.as_str(), build.revision.as_str()]).set(1.0);
        register(&registry, Ok::<_, prometheus::Error>(Shared::process()));
        Metrics {
            duration: register(&registry, HistogramVec::new(buckets, &["profile"])),
            runs,
            pruned: register(
                &registry,
                IntCounter::with_opts(opts("pruned_total", "Backups removed by retention since the start.")),
            ),
            errors,
            registry,
            profile,
            repository,
        }
    }

    /// The text of a scrape.
    pub(crate) fn render(&self, catalog: &Catalog, health: &Health, now: OffsetDateTime) -> String {
        for profile in &health.profiles {
            self.profile.set(profile, catalog, now);
        }
        let repository = &self.repository;
        // The record of a failed run says how much it had written; that is gone.
        let stored: u64 = catalog.backups().map(|head| head.totals.stored_bytes).sum();
        repository.bytes.set(stored as f64);
        repository.free.set(health.repository.free_bytes as f64);
        repository.total.set(health.repository.total_bytes as f64);
        repository.needed.set(health.repository.needed_bytes as f64);
        repository.writable.set(flag(health.repository.error.is_none()));
        repository.unreadable.set(health.repository.unreadable.len() as f64);
        repository.damaged.set(health.repository.damaged.len() as f64);
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// The process's own metrics; a collector that can be registered like the others.
#[derive(Clone)]
struct Shared(std::sync::Arc<ProcessCollector>);

impl Shared {
    fn process() -> Shared {
        Shared(std::sync::Arc::new(ProcessCollector::for_self()))
    }
}

impl Collector for Shared {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.0.collect()
    }
}

impl ProfileGauges {
    fn set(&self, health: &ProfileHealth, catalog: &Catalog, now: OffsetDateTime) {
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
    }
}

/// What has never happened, or is known no more, has no number: the series is missing rather than 0.
fn put(gauge: &GaugeVec, profile: &str, value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(&[profile]).set(value),
        None => {
            let _ = gauge.remove_label_values(&[profile]);
        }
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

impl Metrics {
    fn ended(&self, head: &ManifestHead) {
        let profile = head.profile.as_deref().unwrap_or(NO_PROFILE);
        self.runs.with_label_values(&[profile, head.outcome.as_str()]).inc();
        if let Some(error) = &head.error {
            self.errors.with_label_values(&[error.code.as_str()]).inc();
        } else {
            self.duration.with_label_values(&[profile]).observe(head.duration_seconds);
        }
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &RunEvent) {
        match event {
            RunEvent::Ended { head } => self.ended(head),
            RunEvent::Skipped { profile, .. } => {
                self.runs.with_label_values(&[profile.as_str(), "skipped"]).inc();
            }
            RunEvent::Pruned { .. } => self.pruned.inc(),
            RunEvent::Fault { code, .. } => self.errors.with_label_values(&[code.as_str()]).inc(),
            RunEvent::Drilled { head } => {
                if head.drilled.as_ref().is_some_and(|proof| !proof.ok) {
                    self.errors.with_label_values(&[Code::DrillFailed.as_str()]).inc();
                }
            }
            RunEvent::Started { .. } | RunEvent::Entered { .. } | RunEvent::Progressed { .. } => {}
        }
    }
}

#[cfg(test)]
mod page;
