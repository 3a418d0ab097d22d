//! The daemon: everything put together, from start to shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use supakeep_flow::backup::Ports;
use supakeep_flow::cycle::Retention;
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Clock, Observer, Repository};
use supakeep_flow::recipe::Recipe;
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::export::ExportProfile;
use supakeep_model::profile::Profile;
use supakeep_model::quantity::show_time;
use supakeep_model::secret::Secret;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::drills::{Drills, DrillsSpec};
use crate::exports::{Exporter, ExportsSpec};
use crate::http::{Interface, router};
use crate::left_stopped;
use crate::log::LogObserver;
use crate::metrics::Metrics;
use crate::rounds::{Rounds, RoundsSpec};
use crate::status::{RepositoryView, Status, StatusSpec};
use crate::supervisor::{Supervisor, TicksEnded};
use crate::ticker::Ticker;

/// How long open HTTP connections may take to end.
const HTTP_END: Duration = Duration::from_secs(5);

/// Makes the ports of a run, told to whoever is given. It is called for each run, since what was not
/// there at the start, a mount say, can be there later.
pub type MakePorts = Arc<dyn Fn() -> Result<Ports, Failure> + Send + Sync>;

/// What the daemon is made from.
pub struct DaemonSpec {
    /// The stack's name.
    pub stack: String,
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// What all backups have in common.
    pub recipe: Recipe,
    /// What retention goes by.
    pub retention: Retention,
    /// Where HTTP listens.
    pub listen: SocketAddr,
    /// The exports.
    pub exports: Vec<ExportProfile>,
    /// What a caller must show to start a run.
    pub token: Option<Secret<String>>,
    /// How long a run may go on after a signal.
    pub grace: Duration,
}

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The address is taken or not ours.
    #[error("http.listen: cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The ticker does not start, or has ended.
    #[error("the ticker does not run: {0}")]
    Ticker(String),
}

/// A daemon that is ready to run.
pub struct Daemon {
    spec: DaemonSpec,
    repository: Arc<dyn Repository>,
    clock: Arc<dyn Clock>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    drills: Option<DrillsSpec>,
    rounds: Option<RoundsSpec>,
    exports: Option<ExportsSpec>,
}

/// Tells an event to everybody.
pub(crate) struct Everybody(pub(crate) Vec<Arc<dyn Observer>>);

impl Observer for Everybody {
    fn observe(&self, event: &RunEvent) {
        self.0.iter().for_each(|observer| observer.observe(event));
    }
}

impl Daemon {
    /// Reads what the repository holds. A repository that cannot be read or written is no reason not to
    /// start: saying so is what the daemon is for.
    pub fn new(spec: DaemonSpec, repository: Arc<dyn Repository>, clock: Arc<dyn Clock>) -> Daemon {
        let view = RepositoryView::of(&*repository, clock.now());
        if let Some(error) = &view.error {
            tracing::error!("the repository cannot be used: {error}");
        }
        sweep(&*repository);
        let catalog = repository.catalog();
        let status_spec = StatusSpec {
            version: spec.recipe.build.version.clone(),
            stack: spec.stack.clone(),
            profiles: spec.profiles.clone(),
            min_free_bytes: spec.recipe.min_free_bytes,
            exports: spec.exports.clone(),
        };
        let metrics = Arc::new(Metrics::new(&spec.recipe.build, &spec.profiles, &spec.exports));
        let status = Arc::new(Status::new(status_spec, catalog, view));
        Daemon { spec, repository, clock, status, metrics, drills: None, rounds: None, exports: None }
    }

    /// With drills.
    #[must_use]
    pub fn with_drills(self, drills: DrillsSpec) -> Daemon {
        Daemon { drills: Some(drills), ..self }
    }

    /// With rounds through the repository.
    #[must_use]
    pub fn with_rounds(self, rounds: Option<RoundsSpec>) -> Daemon {
        Daemon { rounds, ..self }
    }

    /// With exports.
    #[must_use]
    pub fn with_exports(self, exports: ExportsSpec) -> Daemon {
        Daemon { exports: Some(exports), ..self }
    }

    /// Who is told what happens in a run.
    pub fn observer(&self) -> Arc<dyn Observer> {
        let status = Arc::clone(&self.status) as Arc<dyn Observer>;
        let metrics = Arc::clone(&self.metrics) as Arc<dyn Observer>;
        Arc::new(Everybody(vec![Arc::new(LogObserver), status, metrics]))
    }

    /// Runs until `stop` is cancelled and what was running has ended.
    pub async fn run(self, make_ports: MakePorts, stop: CancellationToken) -> Result<(), DaemonError> {
        let listen = self.spec.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| DaemonError::Listen(listen, error))?;
        let (ticker, ticks) =
            Ticker::start().await.map_err(|error| DaemonError::Ticker(error.to_string()))?;
        let (requests, incoming) = mpsc::channel(8);
        let observer = self.observer();
        let http = tokio::spawn(serve(listener, self.interface(requests), stop.clone()));
        self.greet();
        let drills = self.drills.map(|spec| Drills {
            spec,
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&observer),
            status: Arc::clone(&self.status),
        });
        let drills = drills.map(|drills| tokio::spawn(drills.run(stop.clone())));
        let rounds = self.rounds.map(|spec| Rounds {
            spec,
            repository: Arc::clone(&self.repository),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&observer),
            status: Arc::clone(&self.status),
        });
        let rounds = rounds.map(|rounds| tokio::spawn(rounds.run(stop.clone())));
        let starting = left_stopped::start(
            Arc::clone(&self.repository),
            Arc::clone(&make_ports),
            Arc::clone(&observer),
            stop.clone(),
        );
        tokio::spawn(starting);
        let exports = self.exports.filter(|spec| !spec.exports.is_empty()).map(|spec| Exporter {
            spec,
            repository: Arc::clone(&self.repository),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&observer),
            status: Arc::clone(&self.status),
        });
        let grace = self.spec.grace;
        let exports = exports.map(|exports| tokio::spawn(exports.run(stop.clone(), grace)));
        let supervisor = Supervisor {
            recipe: self.spec.recipe,
            retention: self.spec.retention,
            repository: self.repository,
            clock: self.clock,
            observer,
            status: self.status,
            make_ports,
            cancel_runs: CancellationToken::new(),
            stop: stop.clone(),
        };
        let ended = supervisor.run(ticks, incoming, self.spec.grace).await;
        // Where it was not told to stop, the others do not know yet.
        stop.cancel();
        ticker.stop().await;
        for task in [drills, rounds, exports].into_iter().flatten() {
            if let Err(error) = task.await {
                tracing::error!(code = %Code::Internal, "drills, rounds or exports have died: {error}");
            }
        }
        // Connections that are kept open by their clients end with the process.
        let _ = tokio::time::timeout(HTTP_END, http).await;
        tracing::info!("stopped");
        ended.map_err(|TicksEnded| DaemonError::Ticker("it has ended".to_owned()))
    }

    fn interface(&self, requests: mpsc::Sender<crate::supervisor::RunRequest>) -> Interface {
        Interface {
            status: Arc::clone(&self.status),
            metrics: Arc::clone(&self.metrics),
            repository: Arc::clone(&self.repository),
            clock: Arc::clone(&self.clock),
            token: self.spec.token.clone().map(Arc::new),
            requests,
            reading: Arc::default(),
        }
    }

    fn greet(&self) {
        let build = &self.spec.recipe.build;
        let (version, revision) = (build.version.as_str(), build.revision.as_str());
        let listen = self.spec.listen;
        tracing::info!(version, revision, stack = self.spec.stack, %listen, "supakeep is running");
        let now = self.clock.now();
        if let Some(schedule) = self.drills.as_ref().and_then(|drills| drills.schedule.as_ref()) {
            let next = schedule.next_after(now).map(|slot| show_time(slot.at)).unwrap_or_default();
            tracing::info!(next, "drills are scheduled");
        }
        if let Some(samples) = self.drills.as_ref().and_then(|drills| drills.samples.as_ref()) {
            let next = samples.schedule.next_after(now).map(|slot| show_time(slot.at)).unwrap_or_default();
            tracing::info!(next, size = %samples.size, "drills of a sample are scheduled");
        }
        if let Some(schedule) = self.rounds.as_ref().map(|rounds| &rounds.schedule) {
            let next = schedule.next_after(now).map(|slot| show_time(slot.at)).unwrap_or_default();
            tracing::info!(next, "old backups are read again on schedule");
        }
        for export in &self.spec.exports {
            let slot = export.schedule.as_ref().and_then(|schedule| schedule.next_after(now));
            if let Some(next) = slot.map(|slot| show_time(slot.at)) {
                tracing::info!(export = export.name, next, "an export is scheduled");
            }
        }
        for profile in &self.spec.profiles {
            let next = profile.schedule.next_after(now).map(|slot| show_time(slot.at)).unwrap_or_default();
            tracing::info!(profile = profile.name, next, "scheduled");
        }
    }
}

/// What a run that died has left is removed now rather than before the next run: it takes up space.
fn sweep(repository: &dyn Repository) {
    if let Err(error) = repository.lock() {
        tracing::debug!(code = %error.code, "not sweeping: {error}");
    }
}

async fn serve(listener: TcpListener, interface: Interface, stop: CancellationToken) {
    let served = axum::serve(listener, router(interface)).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!("the HTTP interface has ended: {error}");
    }
}
