//! How an export is doing, from its manifests and the time.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::catalog::ExportCatalog;
use super::event::ExportRun;
use super::profile::ExportProfile;
use crate::code::Code;
use crate::health::Level;
use crate::id::BackupId;
use crate::quantity::show_duration;

/// How a configured export is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportHealth {
    /// Its name.
    pub export: String,
    /// How bad it is. An export is no backup: it is never worse than `degraded`.
    pub status: Level,
    /// Why it is not `ok`, a sentence each.
    pub reasons: Vec<String>,
    /// Whether a run is in progress.
    pub running: bool,
    /// When the newest was started.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success: Option<OffsetDateTime>,
    /// Its id.
    pub latest: Option<BackupId>,
    /// Its rows.
    pub rows: Option<u64>,
    /// Its bytes as stored.
    pub stored_bytes: Option<u64>,
    /// Its age.
    pub age_seconds: Option<i64>,
    /// The age at which it is overdue; none without a schedule.
    pub max_age_seconds: Option<i64>,
    /// Whether it, or the wait for the first one, is older than that.
    pub overdue: bool,
    /// How the last run ended that this daemon made, where it made one.
    pub last_run_ok: Option<bool>,
    /// The code of its failure.
    pub last_error_code: Option<Code>,
    /// When the next run starts.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_run: Option<OffsetDateTime>,
    /// How many there are.
    pub exports: u64,
}

/// What only the scheduler knows of an export.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExportLive {
    /// Whether a run is in progress.
    pub running: bool,
    /// When the next run starts.
    pub next_run: Option<OffsetDateTime>,
    /// The last run that ended.
    pub last_run: Option<ExportRun>,
}

/// How `export` is doing at `now`. Where there was never one, its age counts from `first_start`.
pub fn of_export(
    export: &ExportProfile,
    catalog: &ExportCatalog,
    first_start: OffsetDateTime,
    live: &ExportLive,
    now: OffsetDateTime,
) -> ExportHealth {
    let newest = catalog.newest(&export.name, now);
    let took = newest.map_or(Duration::ZERO, |entry| entry.finished - entry.started);
    let max_age = export.timing().map(|timing| timing.max_age(now, took));
    let waited = newest.map_or(now - first_start, |entry| now - entry.started);
    let overdue = max_age.is_some_and(|max_age| waited > max_age);
    let mut reasons = Vec::new();
    if let Some(max_age) = max_age.filter(|_| overdue) {
        let what = if newest.is_some() { "the newest is" } else { "there is none yet, after" };
        let (waited, limit) = (show_duration(waited), show_duration(max_age));
        reasons.push(format!("overdue: {what} {waited} (limit {limit})"));
    }
    // A success that somebody else has had since is the news.
    let last_run =
        live.last_run.as_ref().filter(|run| newest.is_none_or(|entry| entry.started <= run.started));
    let error = last_run.and_then(|run| run.error.as_ref());
    reasons.extend(error.map(|error| format!("the last run failed: {}", error.code)));
    ExportHealth {
        export: export.name.clone(),
        status: if reasons.is_empty() { Level::Ok } else { Level::Degraded },
        reasons,
        running: live.running,
        last_success: newest.map(|entry| entry.started),
        latest: newest.map(|entry| entry.id.clone()),
        rows: newest.map(|entry| entry.totals.rows),
        stored_bytes: newest.map(|entry| entry.totals.stored_bytes),
        age_seconds: newest.map(|entry| (now - entry.started).whole_seconds()),
        max_age_seconds: max_age.map(Duration::whole_seconds),
        overdue,
        last_run_ok: last_run.map(|run| run.error.is_none()).or_else(|| newest.map(|_| true)),
        last_error_code: error.map(|error| error.code),
        next_run: live.next_run,
        exports: catalog.of(&export.name).count() as u64,
    }
}
