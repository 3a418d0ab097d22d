//! Stopping the services that write, and starting them again: together those that do not wait for one another.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use supakeep_model::code::Code;
use supakeep_model::event::Phase;
use supakeep_model::journal::{Journal, Step, StoppedService};

use super::run::Run;
use super::waves::waves;
use crate::failure::Failure;
use crate::kill_point::kill_point;
use crate::ports::{Service, Site};

/// How long one service may take to be well, whatever the port itself thinks of it.
const STARTING: Duration = Duration::from_secs(300);

impl Run<'_> {
    pub(super) async fn stop_services(&mut self) -> Result<(), Failure> {
        let running = || self.plan.services.iter().filter(|service| service.is_running);
        let mut stopped = self.journal.stopped.clone();
        for service in running() {
            if !stopped.iter().any(|known| known.id == service.id) {
                stopped.push(StoppedService { id: service.id.clone(), name: service.name.clone() });
            }
        }
        let waves = waves(running().cloned().collect());
        self.untouched = running().map(|service| service.id.clone()).collect();
        // Written down before the first is stopped: whoever finishes this knows what to start.
        self.write(Journal { step: Step::StopServices, stopped, ..self.journal.clone() })?;
        for wave in waves.into_iter().rev() {
            for service in &wave {
                self.enter(Phase::StopServices, &service.name, None);
                self.untouched.remove(&service.id);
            }
            // All of them have been stopped, or not, before anything is started again.
            for outcome in join_all(wave.iter().rev().map(|service| self.site.stop(service))).await {
                outcome?;
            }
        }
        kill_point("restore-stopped");
        Ok(())
    }

    /// Starts every service that was stopped, whatever becomes of the others; those that have been tried are
    /// not tried again.
    pub(super) async fn start_services(&mut self) -> Result<(), Failure> {
        let is_left = |service: &&Service| {
            self.was_stopped(service)
                && !self.up.contains(&service.name)
                && !self.not_up.contains_key(&service.name)
        };
        let left = self.plan.services.iter().filter(is_left).cloned().collect();
        for wave in waves(left) {
            let mut starting = FuturesUnordered::new();
            for service in wave {
                self.enter(Phase::StartServices, &service.name, None);
                starting.push(start(self.site, service));
            }
            // As they come: what is known of some survives when the rest is given up.
            while let Some((name, started)) = starting.next().await {
                match started {
                    Ok(()) => self.up.insert(name),
                    Err(failure) => self.not_up.insert(name, failure).is_none(),
                };
            }
        }
        kill_point("restore-started");
        let Some(first) = self.not_up.values().next() else { return Ok(()) };
        let messages: Vec<_> = self.not_up.values().map(|failure| failure.message.as_str()).collect();
        Err(Failure::new(first.code, messages.join("; ")))
    }

    fn was_stopped(&self, service: &Service) -> bool {
        // A container that compose has made anew since has another id and the same name.
        let is_it = |stopped: &StoppedService| stopped.id == service.id || stopped.name == service.name;
        self.journal.stopped.iter().any(is_it) && !self.untouched.contains(&service.id)
    }

    /// The services that ran before, and of which it is not known that they are well.
    pub(super) fn services_not_up(&self) -> Vec<String> {
        let known = self.plan.services.iter().filter(|service| self.was_stopped(service));
        known.map(|service| service.name.clone()).filter(|name| !self.up.contains(name)).collect()
    }
}

/// Starts one, and tells its name with what became of it.
async fn start(site: &dyn Site, service: Service) -> (String, Result<(), Failure>) {
    let started = match tokio::time::timeout(STARTING, site.start(&service)).await {
        Ok(started) => started.map_err(Failure::from),
        Err(_) => {
            let message = format!("{} does not start in {} seconds", service.name, STARTING.as_secs());
            Err(Failure::new(Code::ServiceUnhealthy, message))
        }
    };
    (service.name, started)
}
