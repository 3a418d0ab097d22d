//! Exports on schedule, beside the supervisor. A run of either holds the stack's lock, so there is one at a time; an export
//! that finds it taken waits, at most until its next slot.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration as Real;

use supakeep_flow::export::{ExportPorts, ExportSpec, export_and_prune, failed_before};
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Clock, Exports as Shelf, Observer, Repository, RunLock};
use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::export::{ExportEvent, ExportProfile};
use supakeep_model::planner::{Decision, ProfileClock, RunPlan};
use supakeep_model::profile::Profile;
use supakeep_model::quantity::show_time;
use supakeep_model::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::status::Status;

/// How often it is asked whether one is due.
const EVERY: Real = Real::from_secs(1);
/// A longer silence means that the machine was asleep, or its time was set.
const ASLEEP: Duration = Duration::minutes(2);
/// How often what others have exported or removed is looked at.
const LOOK_EVERY: u32 = 60;

/// Makes the ports of an export, told to whoever is given.
pub type MakeExportPorts = Arc<dyn Fn() -> Result<ExportPorts, Failure> + Send + Sync>;

/// Says how an export is made.
pub type SpecifyExport = Arc<dyn Fn(&ExportProfile, &RunPlan) -> ExportSpec + Send + Sync>;

/// Exports as the configuration wants them.
#[derive(Clone)]
pub struct ExportsSpec {
    /// Which.
    pub exports: Vec<ExportProfile>,
    /// Where they are.
    pub shelf: Arc<dyn Shelf>,
    /// How.
    pub specify: SpecifyExport,
    /// With what.
    pub make_ports: MakeExportPorts,
}

/// One that is configured, and when it is due.
struct Timed {
    export: ExportProfile,
    timing: Profile,
}

/// One that waits for its turn.
struct Waiting {
    name: String,
    plan: RunPlan,
    /// When it is given up: its next slot.
    until: Option<OffsetDateTime>,
}

/// Makes exports until it is stopped.
pub(crate) struct Exporter {
    pub(crate) spec: ExportsSpec,
    pub(crate) repository: Arc<dyn Repository>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) status: Arc<Status>,
}

impl Exporter {
    /// Runs until `stop` is cancelled; an export in progress has `grace` to end then.
    pub(crate) async fn run(self, stop: CancellationToken, grace: Real) {
        let timed: Vec<Timed> = self
            .spec
            .exports
            .iter()
            .filter_map(|export| Some(Timed { timing: export.timing()?, export: export.clone() }))
            .collect();
        self.look().await;
        let mut awake_since = self.clock.now();
        let mut last_tick = awake_since;
        let mut clocks = self.clocks(&timed);
        let mut waiting = VecDeque::new();
        let mut ticks = 0;
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            ticks = (ticks + 1) % LOOK_EVERY;
            if ticks == 0 {
                self.look().await;
            }
            let now = self.clock.now();
            if (now - last_tick).abs() > ASLEEP {
                awake_since = now;
            }
            self.decide(&timed, &mut clocks, &mut waiting, now, awake_since);
            self.start_next(&timed, &mut clocks, &mut waiting, &stop, grace).await;
            let now = self.clock.now();
            last_tick = now;
            for Timed { timing, .. } in &timed {
                let next = clocks.get(&timing.name).and_then(|clock| clock.next_run(timing, now));
                self.status.change_export(&timing.name, |live| live.next_run = next);
            }
        }
    }

    /// What was done until now, as the manifests tell it. A run that failed leaves none: it is made up for.
    fn clocks(&self, timed: &[Timed]) -> BTreeMap<String, ProfileClock> {
        let (catalog, first_start) = (self.status.exports(), self.status.repository().first_start);
        let none = Catalog::default();
        let clock = |name: &str| {
            let last = catalog.of(name).map(|entry| entry.slot.unwrap_or(entry.started)).max();
            ProfileClock::from_catalog(name, &none, last.unwrap_or(first_start))
        };
        timed.iter().map(|timed| (timed.timing.name.clone(), clock(&timed.timing.name))).collect()
    }

    fn decide(
        &self,
        timed: &[Timed],
        clocks: &mut BTreeMap<String, ProfileClock>,
        waiting: &mut VecDeque<Waiting>,
        now: OffsetDateTime,
        awake_since: OffsetDateTime,
    ) {
        waiting.retain(|waiting| {
            let late = waiting.until.is_some_and(|until| now >= until);
            if late {
                self.skipped(&waiting.name, waiting.plan.slot.at, "another run was busy until the next slot");
            }
            !late
        });
        for Timed { timing, .. } in timed {
            let Some(clock) = clocks.get_mut(&timing.name) else { continue };
            match clock.decide(timing, now, awake_since) {
                Decision::Wait => {}
                Decision::Missed(slot) => self.skipped(&timing.name, slot.at, "missed, and catch_up is off"),
                Decision::Run(plan) => {
                    let until = timing.schedule.next_after(now).map(|slot| slot.at);
                    waiting.push_back(Waiting { name: timing.name.clone(), plan, until });
                }
            }
        }
    }

    fn skipped(&self, export: &str, slot: OffsetDateTime, reason: &'static str) {
        let export = export.to_owned();
        self.observer.observe(&RunEvent::Export(ExportEvent::Skipped { export, slot, reason }));
    }

    async fn start_next(
        &self,
        timed: &[Timed],
        clocks: &mut BTreeMap<String, ProfileClock>,
        waiting: &mut VecDeque<Waiting>,
        stop: &CancellationToken,
        grace: Real,
    ) {
        if waiting.is_empty() {
            return;
        }
        let repository = Arc::clone(&self.repository);
        let lock = tokio::task::spawn_blocking(move || repository.lock());
        let lock = match stop.run_until_cancelled(lock).await {
            // What waits is made up for after the next start.
            None | Some(Err(_)) => return,
            Some(Ok(Err(error))) if error.code == Code::Busy => {
                tracing::debug!("an export waits for the lock: {error}");
                return;
            }
            Some(Ok(lock)) => lock.map_err(Failure::from),
        };
        let Some(Waiting { name, plan, .. }) = waiting.pop_front() else { return };
        let Some(Timed { export, timing }) = timed.iter().find(|timed| timed.timing.name == name) else {
            return;
        };
        let outcome = self.one_run(export, &plan, lock, stop, grace).await;
        self.look().await;
        let Err(failure) = outcome else { return };
        if failure.code.is_retryable()
            && let Some(clock) = clocks.get_mut(&name)
            && let Some(at) = clock.retry_later(timing, &plan, self.clock.now())
        {
            let at = show_time(at);
            tracing::info!(export = name, at, attempt = plan.attempt + 1, "trying the export again");
        }
    }

    async fn one_run(
        &self,
        export: &ExportProfile,
        plan: &RunPlan,
        lock: Result<Box<dyn RunLock>, Failure>,
        stop: &CancellationToken,
        grace: Real,
    ) -> Result<(), Failure> {
        let spec = (self.spec.specify)(export, plan);
        let begun = lock.and_then(|lock| Ok((lock, (self.spec.make_ports)()?)));
        let (lock, ports) = begun.inspect_err(|failure| {
            self.observer.observe(&failed_before(&spec, failure, self.clock.now()));
        })?;
        let (cancel, told) = (CancellationToken::new(), stop.clone());
        let cancelled = cancel.clone();
        // After the daemon was told to stop there is some time left, and then there is none.
        let patience = tokio::spawn(async move {
            told.cancelled().await;
            tokio::time::sleep(grace).await;
            cancelled.cancel();
        });
        let made = export_and_prune(&spec, &self.spec.exports, &ports, &*lock, &cancel).await;
        patience.abort();
        made.map(|_| ())
    }

    /// Reads what there is, where a disk that does not answer holds up nothing else.
    async fn look(&self) {
        let shelf = Arc::clone(&self.spec.shelf);
        if let Ok(read) = tokio::task::spawn_blocking(move || shelf.catalog()).await {
            self.status.set_exports(read);
        }
    }
}

#[cfg(test)]
mod tests;
