//! A supervisor at work, with a clock and a stack that do as they are told.

mod due;
mod trouble;

use std::time::Duration as Real;

use supakeep_flow::ports::StackError;
use supakeep_flow::recipe::Recipe;
use supakeep_model::health::{Level, ProfileHealth};
use supakeep_model::manifest_head::Outcome;
use supakeep_testkit::{
    Call, Fault, GLOBALS, MemoryRepository, Operation, START, Script, Step, Trial, head, manifest, profile,
};
use time::macros::datetime;

use super::*;
use crate::daemon::Everybody;
use crate::metrics::Metrics;
use crate::status::StatusSpec;

const TWO: OffsetDateTime = datetime!(2026-01-10 02:00 UTC);
const THREE: OffsetDateTime = datetime!(2026-01-10 03:00 UTC);
const DAY: Duration = Duration::DAY;

/// A supervisor at work, and everything it works with.
struct Watch {
    trial: Trial,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    ticks: mpsc::Sender<()>,
    requests: mpsc::Sender<RunRequest>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), TicksEnded>>,
}

/// What differs from the usual.
struct Setting {
    trial: Trial,
    profiles: Vec<Profile>,
    make_ports: Option<MakePorts>,
    grace: Real,
}

impl Setting {
    fn of(trial: Trial) -> Setting {
        Setting { profiles: vec![trial.profile.clone()], trial, make_ports: None, grace: Real::from_secs(30) }
    }

    fn with(profiles: Vec<Profile>) -> Setting {
        Setting { profiles, ..Setting::of(Trial::default()) }
    }

    fn start(self) -> Watch {
        let Setting { trial, profiles, make_ports, grace } = self;
        let now = trial.now();
        let repository: Arc<dyn Repository> = Arc::new(trial.repository.clone());
        let spec = StatusSpec {
            version: "0.1.0".into(),
            stack: "supabase".into(),
            profiles: profiles.clone(),
            min_free_bytes: trial.recipe.min_free_bytes,
            exports: vec![],
        };
        let catalog = repository.catalog();
        let status = Arc::new(Status::new(spec, catalog, RepositoryView::of(&*repository, now)));
        let Recipe { build, zone, .. } = trial.recipe.clone();
        let metrics = Arc::new(Metrics::new(&build, &profiles, &[]));
        let all: Vec<Arc<dyn Observer>> = vec![status.clone(), metrics.clone(), trial.recorder.clone()];
        let observer: Arc<dyn Observer> = Arc::new(Everybody(all));
        let ports = supakeep_flow::backup::Ports { observer: Arc::clone(&observer), ..trial.ports() };
        let stop = CancellationToken::new();
        let supervisor = Supervisor {
            recipe: trial.recipe.clone(),
            retention: Retention::of(&profiles, &zone),
            repository,
            clock: trial.clock.clone(),
            observer,
            status: Arc::clone(&status),
            make_ports: make_ports.unwrap_or_else(|| Arc::new(move || Ok(ports.clone()))),
            cancel_runs: CancellationToken::new(),
            stop: stop.clone(),
        };
        let (ticks, incoming_ticks) = mpsc::channel(1);
        let (requests, incoming) = mpsc::channel(8);
        let task = tokio::spawn(supervisor.run(incoming_ticks, incoming, grace));
        Watch { trial, status, metrics, ticks, requests, stop, task }
    }
}

impl Watch {
    /// A tick at this time; returns when it has been dealt with.
    async fn tick(&self, at: OffsetDateTime) {
        self.trial.clock.set(at);
        self.ticks.send(()).await.expect("the supervisor listens");
        while self.ticks.capacity() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.ask("nobody").await, Err(Code::ProfileNotFound));
    }

    /// Asks for a run.
    async fn ask(&self, profile: &str) -> Result<(), Code> {
        let (reply, answer) = oneshot::channel();
        let request = RunRequest { profile: profile.to_owned(), reply };
        self.requests.send(request).await.expect("the supervisor listens");
        answer.await.expect("it answers")
    }

    /// Ticks at this time until so many runs have ended and been dealt with; the last one.
    async fn run(&self, at: OffsetDateTime, count: usize) -> ManifestHead {
        self.tick(at).await;
        let head = self.trial.recorder.wait_for_runs(count).await;
        self.settled().await;
        head
    }

    /// Waits until the lock is free, and what follows from a run's end has been done.
    async fn settled(&self) {
        for _ in 0..2_000 {
            if self.trial.memory.lock().is_ok() {
                tokio::time::sleep(Real::from_millis(5)).await;
                let _ = self.ask("nobody").await;
                return;
            }
            tokio::time::sleep(Real::from_millis(5)).await;
        }
        panic!("a run does not end: {:#?}", self.trial.recorder.events());
    }

    fn runs(&self) -> usize {
        let events = self.trial.recorder.events();
        events.iter().filter(|event| matches!(event, RunEvent::Started { .. })).count()
    }

    fn health(&self) -> ProfileHealth {
        self.status.profile_health(self.trial.now()).remove(0)
    }

    fn scrape(&self) -> String {
        let now = self.trial.now();
        self.metrics.render(&self.status.catalog(), &self.status.health(now), now)
    }

    #[track_caller]
    fn shows(&self, line: &str) {
        let scrape = self.scrape();
        let line = format!("supabase_backup_{line}");
        assert!(scrape.lines().any(|other| other == line), "no line {line} in\n{scrape}");
    }
}

fn refused_by(code: Code) -> StackError {
    StackError::new(code, "not now")
}
