//! Drills on schedule, beside the supervisor: a drill takes hours, and backups do not wait for it.

use std::sync::Arc;
use std::time::Duration;

use supakeep_flow::drill::{DrillPorts, DrillSpec, drill, sweep};
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Clock, Observer};
use supakeep_model::OffsetDateTime;
use supakeep_model::code::Code;
use supakeep_model::drill_clock::DrillClock;
use supakeep_model::drill_sample::{SampleSize, SampleSpec};
use supakeep_model::event::RunEvent;
use supakeep_model::id::BackupId;
use supakeep_model::quantity::show_time;
use supakeep_model::schedule::Schedule;
use tokio_util::sync::CancellationToken;

use crate::status::Status;

/// How often it is asked whether one is due.
const EVERY: Duration = Duration::from_secs(1);
/// Pause between two tries to remove what a drill that died has left, while the engine does not answer.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);

/// Makes the ports of a drill, told to whoever is given.
pub type MakeDrillPorts = Arc<dyn Fn() -> Result<DrillPorts, Failure> + Send + Sync>;

/// Says how a backup is drilled, or a sample of it.
pub type SpecifyDrill = Arc<dyn Fn(BackupId, Option<SampleSpec>) -> DrillSpec + Send + Sync>;

/// Samples on schedule.
#[derive(Debug, Clone)]
pub struct SamplesSpec {
    /// When.
    pub schedule: Schedule,
    /// Of how many tables.
    pub size: SampleSize,
}

/// Drills as the configuration wants them.
#[derive(Clone)]
pub struct DrillsSpec {
    /// When; never by itself where there is none.
    pub schedule: Option<Schedule>,
    /// Drills of a sample beside them.
    pub samples: Option<SamplesSpec>,
    /// How.
    pub specify: SpecifyDrill,
    /// With what.
    pub make_ports: MakeDrillPorts,
}

/// Makes drills until it is stopped.
pub(crate) struct Drills {
    pub(crate) spec: DrillsSpec,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) status: Arc<Status>,
}

impl Drills {
    /// Runs until `stop` is cancelled, which cancels a drill in progress: it can be made again, and what it
    /// has made is removed.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.sweep()).await;
        let (catalog, first_start) = (self.status.catalog(), self.status.repository().first_start);
        let mut wholes = DrillClock::from_catalog(&catalog, first_start);
        let mut samples = DrillClock::of_samples(&catalog, first_start);
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            // What is being made now is what one would rather drill, and the machine has enough to do.
            if self.status.running().is_none() {
                self.look(&mut wholes, &mut samples, &stop).await;
            }
            let now = self.clock.now();
            let next_run = self.spec.schedule.as_ref().and_then(|schedule| wholes.next_run(schedule, now));
            let next_sample =
                self.spec.samples.as_ref().and_then(|spec| samples.next_run(&spec.schedule, now));
            self.status.change_drill(|drill| (drill.next_run, drill.next_sample) = (next_run, next_sample));
        }
    }

    /// Makes one drill, if one is due. All of a backup comes before a sample, and makes one needless.
    async fn look(&self, wholes: &mut DrillClock, samples: &mut DrillClock, stop: &CancellationToken) {
        let now = self.clock.now();
        let is_due = |schedule: &Schedule| wholes.is_due(schedule, now);
        if self.spec.schedule.as_ref().is_some_and(is_due) {
            if self.drill_latest(wholes, None, stop).await {
                samples.start(self.clock.now());
            }
        } else if let Some(spec) = &self.spec.samples
            && samples.is_due(&spec.schedule, now)
        {
            let at = spec.schedule.last_until(now).map_or(now, |slot| slot.at);
            self.drill_latest(samples, Some(SampleSpec { size: spec.size, at }), stop).await;
        }
    }

    /// A drill that was killed has left a server that takes memory and space.
    async fn sweep(&self) {
        loop {
            let swept = match (self.spec.make_ports)() {
                Ok(ports) => sweep(&*ports.repository, &*ports.sites).await,
                Err(failure) => Err(failure),
            };
            let Err(failure) = swept else { return };
            tracing::debug!(code = %failure.code, "not sweeping scratch servers: {failure}");
            if failure.code == Code::DockerRefused {
                // A proxy that lets no drills through: then there are none.
                return;
            }
            tokio::time::sleep(SWEEP_AGAIN).await;
        }
    }

    /// The newest good backup of a profile: what it is good for is what its metrics ask. Else any.
    fn latest(&self, now: OffsetDateTime) -> Option<BackupId> {
        let catalog = self.status.catalog();
        let of_profiles = self.status.profiles().iter();
        let of_profiles = of_profiles.filter_map(|profile| catalog.newest_good(Some(&profile.name), now));
        let newest = of_profiles.max_by_key(|head| head.started);
        newest.or_else(|| catalog.newest_good(None, now)).map(|head| head.id.clone())
    }

    /// Drills the newest backup, or a sample of it. Whether there was a result.
    async fn drill_latest(
        &self,
        clock: &mut DrillClock,
        sample: Option<SampleSpec>,
        stop: &CancellationToken,
    ) -> bool {
        let now = self.clock.now();
        // It stays due until there is a backup.
        let Some(id) = self.latest(now) else { return false };
        clock.start(now);
        let what = if sample.is_some() { "drill of a sample" } else { "drill" };
        tracing::info!(%id, "{what} started");
        self.status.change_drill(|drill| drill.running = true);
        let specify = &self.spec.specify;
        let drilled = async { drill(&specify(id.clone(), sample), &(self.spec.make_ports)()?, stop).await };
        let drilled = drilled.await;
        let is_made = drilled.is_ok();
        let failure = drilled.err().filter(|failure| failure.code != Code::Cancelled);
        let failed_with = failure.as_ref().map(|failure| failure.code);
        self.status.change_drill(|drill| {
            drill.running = false;
            match sample {
                None => drill.last_error_code = failed_with,
                Some(_) => drill.last_sample_error_code = failed_with,
            }
        });
        if let Some(failure) = failure {
            let message = format!("the {what} of {id} could not be made: {failure}");
            self.observer.observe(&RunEvent::Fault { code: failure.code, message });
            self.try_again(clock, &failure, &id);
        }
        is_made
    }

    fn try_again(&self, clock: &mut DrillClock, failure: &Failure, id: &BackupId) {
        if failure.code.is_retryable()
            && let Some(at) = clock.retry_later(self.clock.now())
        {
            let at = show_time(at);
            tracing::info!(%id, at, "trying the drill again");
        }
    }
}
