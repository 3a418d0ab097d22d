//! Starts runs when they are due, one at a time, and sees to what follows from how they end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use supakeep_flow::backup::{BackupSpec, refused};
use supakeep_flow::cycle::{Retention, backup_and_prune};
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Clock, Observer, Repository, RunLock};
use supakeep_flow::recipe::Recipe;
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::manifest_head::{ManifestHead, Trigger};
use supakeep_model::planner::{Decision, ProfileClock, RunPlan};
use supakeep_model::profile::Profile;
use supakeep_model::quantity::show_time;
use supakeep_model::{Duration, OffsetDateTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::daemon::MakePorts;
use crate::status::{RepositoryView, Status};

/// Ticks come every second: a longer silence means that the machine was asleep.
const ASLEEP: Duration = Duration::minutes(2);
/// How often the repository is tried and read again, between runs.
const LOOK_EVERY: Duration = Duration::MINUTE;

/// A wish that came in over HTTP.
pub(crate) struct RunRequest {
    /// The profile's name.
    pub(crate) profile: String,
    /// Whether it was accepted; [`Code::Busy`] when a run of the profile waits or runs already.
    pub(crate) reply: oneshot::Sender<Result<(), Code>>,
}

/// Without ticks nothing would run any more, and nothing would say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TicksEnded;

/// A run that waits for its turn.
struct Waiting {
    profile: Profile,
    plan: Option<RunPlan>,
    /// When it is given up: the profile's next slot.
    until: Option<OffsetDateTime>,
}

/// A run in progress.
struct Running {
    profile: String,
    plan: Option<RunPlan>,
    spec: BackupSpec,
    task: JoinHandle<ManifestHead>,
}

/// Everything that supervision needs.
pub(crate) struct Supervisor {
    pub(crate) recipe: Recipe,
    pub(crate) retention: Retention,
    pub(crate) repository: Arc<dyn Repository>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) status: Arc<Status>,
    pub(crate) make_ports: MakePorts,
    /// Cancels the run in progress.
    pub(crate) cancel_runs: CancellationToken,
    /// Ends the daemon.
    pub(crate) stop: CancellationToken,
}

/// What changes while it runs.
struct Plans {
    clocks: BTreeMap<String, ProfileClock>,
    /// Whether the clocks are made from what the repository holds.
    read: bool,
    waiting: VecDeque<Waiting>,
    running: Option<Running>,
    awake_since: OffsetDateTime,
    last_tick: OffsetDateTime,
    last_look: OffsetDateTime,
}

impl Supervisor {
    /// Runs until it is told to stop; then no new run starts, and the one in progress has `grace` to
    /// end before it is cancelled too.
    pub(crate) async fn run(
        self,
        mut ticks: mpsc::Receiver<()>,
        mut requests: mpsc::Receiver<RunRequest>,
        grace: std::time::Duration,
    ) -> Result<(), TicksEnded> {
        let mut plans = self.begin();
        let ended = loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break Ok(()),
                head = ended(&mut plans.running) => {
                    self.after(&mut plans, head);
                    self.look().await;
                }
                Some(request) = requests.recv() => self.take_request(&mut plans, request).await,
                tick = ticks.recv() => match tick {
                    Some(()) => self.tick(&mut plans).await,
                    None => break Err(TicksEnded),
                },
            }
        };
        self.finish(plans, grace).await;
        ended
    }

    fn begin(&self) -> Plans {
        let now = self.clock.now();
        let plans = Plans {
            clocks: self.clocks(),
            read: self.status.is_read(),
            waiting: VecDeque::new(),
            running: None,
            awake_since: now,
            last_tick: now,
            last_look: now,
        };
        self.show_next_runs(&plans, now);
        plans
    }

    /// What was done until now, as the manifests tell it.
    fn clocks(&self) -> BTreeMap<String, ProfileClock> {
        let (catalog, first_start) = (self.status.catalog(), self.status.repository().first_start);
        let clock = |name: &String| ProfileClock::from_catalog(name, &catalog, first_start);
        self.status.profiles().iter().map(|profile| (profile.name.clone(), clock(&profile.name))).collect()
    }

    async fn tick(&self, plans: &mut Plans) {
        let now = self.clock.now();
        let step = now - plans.last_tick;
        if step > ASLEEP || step < -ASLEEP {
            tracing::info!(
                seconds = step.whole_seconds(),
                "the clock jumped: the machine slept, or its time was set"
            );
            plans.awake_since = now;
        }
        plans.last_tick = now;
        self.decide(plans, now);
        self.give_up_late(plans, now);
        self.start_next(plans).await;
        if now - plans.last_look >= LOOK_EVERY || now < plans.last_look {
            plans.last_look = now;
            self.look().await;
            if !plans.read && self.status.is_read() {
                // Only now it can be told what was missed before the start.
                plans.read = true;
                plans.clocks = self.clocks();
            }
        }
        self.show_next_runs(plans, now);
    }

    fn decide(&self, plans: &mut Plans, now: OffsetDateTime) {
        for profile in self.status.profiles() {
            let Some(clock) = plans.clocks.get_mut(&profile.name) else { continue };
            match clock.decide(profile, now, plans.awake_since) {
                Decision::Wait => {}
                Decision::Missed(slot) => self.skipped(&profile.name, slot.at, "missed, and catch_up is off"),
                Decision::Run(plan) => {
                    let until = profile.schedule.next_after(now).map(|slot| slot.at);
                    plans.waiting.push_back(Waiting { profile: profile.clone(), plan: Some(plan), until });
                }
            }
        }
    }

    /// Whoever waits until its next slot comes has lost its turn.
    fn give_up_late(&self, plans: &mut Plans, now: OffsetDateTime) {
        plans.waiting.retain(|waiting| {
            let late = waiting.until.is_some_and(|until| now >= until);
            if late && let Some(plan) = &waiting.plan {
                self.skipped(&waiting.profile.name, plan.slot.at, "another run was busy until the next slot");
            }
            !late
        });
    }

    fn skipped(&self, profile: &str, slot: OffsetDateTime, reason: &'static str) {
        self.observer.observe(&RunEvent::Skipped { profile: profile.to_owned(), slot, reason });
    }

    async fn start_next(&self, plans: &mut Plans) {
        if plans.running.is_some() || plans.waiting.is_empty() {
            return;
        }
        let repository = Arc::clone(&self.repository);
        let Some(lock) = self.at_disk(move || repository.lock()).await else { return };
        let lock = match lock {
            Err(error) if error.code == Code::Busy => {
                tracing::debug!("waiting for the lock: {error}");
                return;
            }
            other => other.map_err(Failure::from),
        };
        let Some(Waiting { profile, plan, .. }) = plans.waiting.pop_front() else { return };
        let spec = match &plan {
            Some(plan) => self.recipe.scheduled(&profile, plan),
            None => self.recipe.asked_for(&profile, Trigger::Api),
        };
        let task = tokio::spawn(self.one_run(spec.clone(), lock));
        plans.running = Some(Running { profile: profile.name, plan, spec, task });
    }

    fn one_run(
        &self,
        spec: BackupSpec,
        lock: Result<Box<dyn RunLock>, Failure>,
    ) -> impl Future<Output = ManifestHead> + Send + use<> {
        let (make_ports, observer) = (Arc::clone(&self.make_ports), Arc::clone(&self.observer));
        let (retention, cancel, clock) =
            (self.retention.clone(), self.cancel_runs.clone(), Arc::clone(&self.clock));
        async move {
            let result = async {
                let (lock, ports) = (lock?, make_ports()?);
                backup_and_prune(&spec, &retention, &ports, &*lock, &cancel).await
            };
            match result.await {
                Ok(head) => head,
                Err(failure) => {
                    let head = refused(&spec, &failure, clock.now());
                    observer.observe(&RunEvent::Ended { head: Box::new(head.clone()) });
                    head
                }
            }
        }
    }

    fn after(&self, plans: &mut Plans, ended: Result<ManifestHead, JoinError>) {
        let now = self.clock.now();
        let Some(Running { profile, plan, spec, .. }) = plans.running.take() else { return };
        let head = ended.unwrap_or_else(|error| self.died(&spec, &error));
        let retryable = head.error.as_ref().is_some_and(|error| error.code.is_retryable());
        if let (true, Some(plan)) = (retryable, plan) {
            self.plan_retry(plans, &profile, &plan, now);
        }
        self.show_next_runs(plans, now);
    }

    /// A run that has panicked tells nobody how it ended; and without that it would run for ever in every
    /// place where it can be seen.
    fn died(&self, spec: &BackupSpec, error: &JoinError) -> ManifestHead {
        let failure = Failure::new(Code::Internal, format!("the run has died: {error}"));
        let mut head = refused(spec, &failure, self.clock.now());
        if let Some(run) = self.status.running() {
            head.id = run.id;
        }
        self.observer.observe(&RunEvent::Ended { head: Box::new(head.clone()) });
        head
    }

    fn plan_retry(&self, plans: &mut Plans, profile: &str, plan: &RunPlan, now: OffsetDateTime) {
        let configured = self.status.profiles().iter().find(|other| other.name == profile);
        let (Some(profile), Some(clock)) = (configured, plans.clocks.get_mut(profile)) else { return };
        match clock.retry_later(profile, plan, now) {
            Some(at) => {
                let at = show_time(at);
                tracing::info!(profile = profile.name, at, attempt = plan.attempt + 1, "trying again")
            }
            None => tracing::warn!(profile = profile.name, "no further retry before the next slot"),
        }
    }

    async fn take_request(&self, plans: &mut Plans, request: RunRequest) {
        let Some(profile) = self.status.profiles().iter().find(|profile| profile.name == request.profile)
        else {
            let _ = request.reply.send(Err(Code::ProfileNotFound));
            return;
        };
        let running = plans.running.as_ref().is_some_and(|running| running.profile == profile.name);
        let waiting = plans.waiting.iter().any(|waiting| waiting.profile.name == profile.name);
        if running || waiting {
            let _ = request.reply.send(Err(Code::Busy));
            return;
        }
        plans.waiting.push_back(Waiting { profile: profile.clone(), plan: None, until: None });
        let _ = request.reply.send(Ok(()));
        self.start_next(plans).await;
    }

    /// Other commands change the repository too; and a disk can go away.
    async fn look(&self) {
        let (repository, now) = (Arc::clone(&self.repository), self.clock.now());
        let look = move || (RepositoryView::of(&*repository, now), repository.catalog());
        let Some((view, catalog)) = self.at_disk(look).await else { return };
        self.status.set_repository(view);
        self.status.set_catalog(catalog);
    }

    /// Does `work` where a disk that does not answer holds up nothing else, least of all the end of the
    /// daemon; then nothing comes of it. What panics in it, panics here.
    async fn at_disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self.stop.run_until_cancelled(tokio::task::spawn_blocking(work)).await? {
            Ok(done) => Some(done),
            Err(error) => error.try_into_panic().map(|panic| std::panic::resume_unwind(panic)).ok(),
        }
    }

    fn show_next_runs(&self, plans: &Plans, now: OffsetDateTime) {
        for profile in self.status.profiles() {
            let next = plans.clocks.get(&profile.name).and_then(|clock| clock.next_run(profile, now));
            self.status.set_next_run(&profile.name, next);
        }
    }

    async fn finish(&self, mut plans: Plans, grace: std::time::Duration) {
        if plans.running.is_none() {
            return;
        }
        tracing::info!(seconds = grace.as_secs(), "a backup is running: it may go on for a while");
        let head = match tokio::time::timeout(grace, ended(&mut plans.running)).await {
            Ok(head) => head,
            Err(_) => {
                self.cancel_runs.cancel();
                ended(&mut plans.running).await
            }
        };
        self.after(&mut plans, head);
    }
}

/// Waits for the run in progress; for ever, if there is none. An error when it has panicked.
async fn ended(running: &mut Option<Running>) -> Result<ManifestHead, JoinError> {
    match running {
        None => std::future::pending().await,
        Some(running) => (&mut running.task).await,
    }
}

#[cfg(test)]
mod tests;
