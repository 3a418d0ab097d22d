//! Metrics of exports: an export is no backup, so none of them is among those of profiles.

use prometheus::{GaugeVec, IntCounterVec, Registry};
use supakeep_model::OffsetDateTime;
use supakeep_model::code::Code;
use supakeep_model::export::{ExportEvent, ExportHealth, ExportProfile};

use super::gauges::{flag, put};
use super::{NO_PROFILE, opts, register};

/// Counters of events, and gauges that are set anew at every scrape.
pub(super) struct ExportMetrics {
    runs: IntCounterVec,
    last_success: GaugeVec,
    last_run_success: GaugeVec,
    next_run: GaugeVec,
    max_age: GaugeVec,
    overdue: GaugeVec,
    running: GaugeVec,
    rows: GaugeVec,
    size_bytes: GaugeVec,
    count: GaugeVec,
}

impl ExportMetrics {
    pub(super) fn register(registry: &Registry, exports: &[ExportProfile]) -> ExportMetrics {
        let gauge = |name: &str, help: &str| register(registry, GaugeVec::new(opts(name, help), &["export"]));
        let runs = IntCounterVec::new(
            opts("export_runs_total", "Exports since the start, by how they ended."),
            &["export", "result"],
        );
        let runs = register(registry, runs);
        for export in exports {
            for result in ["complete", "failed", "skipped"] {
                runs.with_label_values(&[export.name.as_str(), result]);
            }
        }
        ExportMetrics {
            runs,
            last_success: gauge(
                "export_last_success_timestamp_seconds",
                "When the newest export was started.",
            ),
            last_run_success: gauge("export_last_run_success", "1 if the last run made an export."),
            next_run: gauge("export_next_run_timestamp_seconds", "When the next run starts."),
            max_age: gauge("export_max_age_seconds", "The age at which the newest export is overdue."),
            overdue: gauge(
                "export_overdue",
                "1 if the newest export is older than export_max_age_seconds, or there was none for so long.",
            ),
            running: gauge("export_running", "1 while a run is in progress."),
            rows: gauge("export_rows", "Rows of the newest export."),
            size_bytes: gauge("export_size_bytes", "Size of the newest export as stored."),
            count: gauge("exports", "Exports in the repository."),
        }
    }

    /// Counts; returns the code of a run that failed.
    pub(super) fn observe(&self, event: &ExportEvent) -> Option<Code> {
        match event {
            ExportEvent::Ended(run) => {
                let export = run.export.as_deref().unwrap_or(NO_PROFILE);
                let result = if run.error.is_some() { "failed" } else { "complete" };
                self.runs.with_label_values(&[export, result]).inc();
                run.error.as_ref().map(|error| error.code)
            }
            ExportEvent::Skipped { export, .. } => {
                self.runs.with_label_values(&[export.as_str(), "skipped"]).inc();
                None
            }
            ExportEvent::Started { .. } | ExportEvent::Pruned { .. } => None,
        }
    }

    pub(super) fn set(&self, health: &ExportHealth) {
        let put = |gauge: &GaugeVec, value: Option<f64>| put(gauge, &health.export, value);
        let at = |time: Option<OffsetDateTime>| time.map(|at| at.unix_timestamp() as f64);
        put(&self.last_success, at(health.last_success));
        put(&self.last_run_success, health.last_run_ok.map(flag));
        put(&self.next_run, at(health.next_run));
        put(&self.max_age, health.max_age_seconds.map(|seconds| seconds as f64));
        put(&self.overdue, health.max_age_seconds.map(|_| flag(health.overdue)));
        put(&self.running, Some(flag(health.running)));
        put(&self.rows, health.rows.map(|rows| rows as f64));
        put(&self.size_bytes, health.stored_bytes.map(|bytes| bytes as f64));
        put(&self.count, Some(health.exports as f64));
    }
}
