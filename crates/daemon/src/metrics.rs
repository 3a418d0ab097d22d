//! What Prometheus scrapes. Counters count events since the start; everything else is computed from the
//! manifests at the moment of the scrape, so a restart loses nothing.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use supakeep_flow::ports::Observer;
use supakeep_model::OffsetDateTime;
use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::export::ExportProfile;
use supakeep_model::health::Health;
use supakeep_model::manifest_head::{Build, ManifestHead};
use supakeep_model::profile::Profile;

#[cfg(test)]
mod alert_rules;
mod exports;
mod gauges;
mod storage;

use exports::ExportMetrics;
use gauges::{ProfileGauges, RepositoryGauges};
use storage::StorageGauges;

/// In front of every name.
const PREFIX: &str = "supabase_backup_";
/// The label of backups that belong to no profile.
const NO_PROFILE: &str = "manual";
/// Upper bounds in seconds: from a demo's database to one of a terabyte.
const DURATION_BUCKETS: [f64; 13] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0];

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    duration: HistogramVec,
    runs: IntCounterVec,
    pruned: IntCounter,
    errors: IntCounterVec,
    profile: ProfileGauges,
    storage: StorageGauges,
    repository: RepositoryGauges,
    exports: ExportMetrics,
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
    pub(crate) fn new(build: &Build, profiles: &[Profile], exports: &[ExportProfile]) -> Metrics {
        let registry = Registry::new();
        let buckets = HistogramOpts::from(opts(
            "duration_seconds",
            "How long backups took that did not fail, from start to the last file.",
        ))
        .buckets(DURATION_BUCKETS.to_vec());
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
            profile: ProfileGauges::register(&registry),
            storage: StorageGauges::register(&registry),
            repository: RepositoryGauges::register(&registry),
            exports: ExportMetrics::register(&registry, exports),
            registry,
        }
    }

    /// The text of a scrape.
    pub(crate) fn render(&self, catalog: &Catalog, health: &Health, now: OffsetDateTime) -> String {
        for profile in &health.profiles {
            self.profile.set(profile, catalog, now);
            self.storage.set(&profile.profile, catalog, now);
        }
        self.repository.set(&health.repository, catalog);
        health.exports.iter().for_each(|export| self.exports.set(export));
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
            RunEvent::Verified { head } => {
                if head.verified.as_ref().is_some_and(|proof| !proof.ok) {
                    self.errors.with_label_values(&[Code::VerifyFailed.as_str()]).inc();
                }
            }
            RunEvent::Drilled { head } => {
                if head.drilled.as_ref().is_some_and(|proof| !proof.ok) {
                    self.errors.with_label_values(&[Code::DrillFailed.as_str()]).inc();
                }
            }
            RunEvent::Sampled { head } => {
                if head.sampled.as_ref().is_some_and(|sampled| !sampled.proof.ok) {
                    self.errors.with_label_values(&[Code::DrillFailed.as_str()]).inc();
                }
            }
            RunEvent::Export(event) => {
                if let Some(code) = self.exports.observe(event) {
                    self.errors.with_label_values(&[code.as_str()]).inc();
                }
            }
            RunEvent::Started { .. } | RunEvent::Entered { .. } | RunEvent::Progressed { .. } => {}
        }
    }
}

#[cfg(test)]
mod page;
