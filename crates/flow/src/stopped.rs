//! Containers that are stopped for a while, and always started again.
//!
//! What is to be stopped is on the disk before the first is. Whoever takes the lock next finds it there if we
//! do not come to start them: nothing else remembers that they ran.

use std::time::Duration;

use futures_util::future::join_all;
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::journal::StoppedService;
use supakeep_model::volume::{STOPPED_FORMAT, StoppedContainers};

use crate::failure::Failure;
use crate::ports::{Containers, Observer, Repository, Service};
use crate::restore::waves;

/// How long one may take to be well, whatever the port itself thinks of it.
const STARTING: Duration = Duration::from_secs(300);

/// Stops those of `services` that run. The caller holds the lock, and calls [`start_again`] however it ends.
pub(crate) async fn stop_all(
    reason: &str,
    services: &[Service],
    repository: &dyn Repository,
    containers: &dyn Containers,
) -> Result<(), Failure> {
    let running: Vec<_> = services.iter().filter(|service| service.is_running).cloned().collect();
    if running.is_empty() {
        return Ok(());
    }
    let stopped = StoppedContainers {
        format: STOPPED_FORMAT,
        reason: reason.to_owned(),
        containers: running.iter().map(stoppable).collect(),
    };
    repository.set_stopped(Some(&stopped))?;
    for wave in waves(running).into_iter().rev() {
        let stops: Vec<_> = wave.iter().map(stoppable).collect();
        // All of them have been stopped, or not, before anything is started again.
        for outcome in join_all(stops.iter().map(|one| containers.stop(one))).await {
            outcome?;
        }
    }
    Ok(())
}

/// What the engine needs to know of a service.
pub(crate) fn stoppable(service: &Service) -> StoppedService {
    StoppedService { id: service.id.clone(), name: service.name.clone() }
}

/// Starts whatever was stopped and not started again, also by a run that died. The caller holds the lock. All are
/// tried; the error tells of those that are not well. What could not be started stays written down.
pub async fn start_again(repository: &dyn Repository, containers: &dyn Containers) -> Result<(), Failure> {
    let Some(stopped) = repository.stopped()? else { return Ok(()) };
    let (mut left, mut failures) = (Vec::new(), Vec::<Failure>::new());
    for wave in waves(known(&stopped, containers).await) {
        let wave: Vec<_> = wave.iter().map(stoppable).collect();
        let starts = wave.iter().map(|one| tokio::time::timeout(STARTING, containers.start(one)));
        for (one, started) in wave.iter().zip(join_all(starts).await) {
            match started {
                Ok(Ok(())) => {}
                // Compose has made it anew meanwhile, or somebody has removed it.
                Ok(Err(error)) if error.code == Code::StackNotFound => {
                    tracing::warn!(service = one.name, "was stopped for a while, and is not there any more");
                }
                // It runs, which is all that we owe it.
                Ok(Err(error)) if error.code == Code::ServiceUnhealthy => failures.push(error.into()),
                Ok(Err(error)) => {
                    left.push(one.clone());
                    failures.push(error.into());
                }
                Err(_) => {
                    let message = format!("{} does not start in {} seconds", one.name, STARTING.as_secs());
                    failures.push(Failure::new(Code::ServiceUnhealthy, message));
                    left.push(one.clone());
                }
            }
        }
    }
    let rest = StoppedContainers { containers: left, ..stopped };
    repository.set_stopped((!rest.containers.is_empty()).then_some(&rest))?;
    let Some(first) = failures.first() else { return Ok(()) };
    let messages: Vec<_> = failures.iter().map(|failure| failure.message.as_str()).collect();
    Err(Failure::new(first.code, messages.join("; ")))
}

/// The same by whoever has just taken the lock: trouble is told, and keeps nobody from what they came for.
pub async fn settle(repository: &dyn Repository, containers: &dyn Containers, observer: &dyn Observer) {
    if let Ok(Some(stopped)) = repository.stopped() {
        let names: Vec<_> = stopped.containers.iter().map(|one| one.name.as_str()).collect();
        tracing::warn!(
            "{} were stopped for {}, which did not end: starting them",
            names.join(", "),
            stopped.reason
        );
    }
    tell(start_again(repository, containers).await, observer);
}

/// Tells of services that are not well, as of anything that goes wrong beside a run.
pub(crate) fn tell(started: Result<(), Failure>, observer: &dyn Observer) {
    if let Err(failure) = started {
        let message = format!("cannot start all that was stopped for a while: {failure}");
        observer.observe(&RunEvent::Fault { code: failure.code, message });
    }
}

/// Them as services: what waits for what is on the containers. Where they cannot be asked, in any order.
async fn known(stopped: &StoppedContainers, containers: &dyn Containers) -> Vec<Service> {
    let found = containers.containers().await.unwrap_or_default();
    let one = |stopped: &StoppedService| {
        let known = found.iter().find(|container| container.service.id == stopped.id);
        known.map_or_else(
            || Service {
                id: stopped.id.clone(),
                name: stopped.name.clone(),
                is_running: false,
                depends_on: Vec::new(),
            },
            |container| container.service.clone(),
        )
    };
    stopped.containers.iter().map(one).collect()
}
