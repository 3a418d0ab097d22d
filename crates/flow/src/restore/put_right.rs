//! After a failure: ending what still runs on the server, and giving the stack back unless it is half.

use std::future::Future;
use std::time::Duration;

use supakeep_model::journal::{Journal, Step, StoppedService};

use super::outcome::{Left, State};
use super::run::Run;
use crate::failure::Failure;

/// How long a statement or two may take.
const STATEMENTS: Duration = Duration::from_secs(100);
/// How long a restart of the server may take, with what belongs to it.
const RESTART: Duration = Duration::from_secs(600);

/// Whether it went well; what did not is told in the log, since another failure is on its way to the person.
async fn tried(doing: &str, limit: Duration, work: impl Future<Output = Result<(), Failure>>) -> bool {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(())) => return true,
        Ok(Err(failure)) => tracing::error!(code = %failure.code, "{doing}: {failure}"),
        Err(_) => tracing::error!("{doing}: not within {} seconds", limit.as_secs()),
    }
    false
}

impl Run<'_> {
    /// Says what is left. What the data is follows from what was written down, not from how long this takes.
    pub(super) async fn put_right(&mut self) -> Left {
        let site = self.site;
        let end = async { Ok(site.server().terminate().await.map(|_| ())?) };
        tried("ending the restore's sessions", STATEMENTS, end).await;
        tried("removing what was placed", STATEMENTS, async { Ok(site.clear().await?) }).await;
        tried("cleaning up", STATEMENTS, self.lower()).await;
        if self.journal.is_half() {
            return self.leave_stopped(State::HalfRestored);
        }
        if !tried("putting the previous root key back", RESTART, self.previous_root_key()).await {
            return self.leave_stopped(State::OtherRootKey);
        }
        self.remember_replaced();
        if self.journal.step >= Step::Compare {
            return self.give_back_restored().await;
        }
        self.start_what_was_stopped().await;
        // Nothing is to be finished. But somebody has to see to it that nobody stays a superuser.
        let is_forgotten = !self.journal.elevated && self.forget();
        self.left(State::AsItWas, !is_forgotten)
    }

    /// Who has failed before anything was changed leaves what the restore before it had made.
    fn remember_replaced(&mut self) {
        if let Some(old) = self.replaced.take().filter(|_| self.journal.step < Step::Databases) {
            let Journal { stopped, closed, elevated, .. } = self.journal.clone();
            self.journal = Journal { stopped, closed, elevated, ..old };
        }
    }

    async fn give_back_restored(&mut self) -> Left {
        let state =
            if self.journal.step == Step::Compare { State::RestoredNotCompared } else { State::Restored };
        if !tried("opening the databases", STATEMENTS, self.open_databases()).await {
            return self.leave_stopped(state);
        }
        self.journal.step = Step::StartServices;
        if !self.is_restarted && !tried("restarting the database", RESTART, self.restart()).await {
            return self.leave_stopped(state);
        }
        let is_done = self.start_what_was_stopped().await && self.forget();
        if !is_done {
            self.keep();
        }
        self.left(state, !is_done)
    }

    async fn start_what_was_stopped(&mut self) -> bool {
        match self.start_services().await {
            Ok(()) => true,
            Err(failure) => {
                tracing::error!(code = %failure.code, "not every service is well: {failure}");
                false
            }
        }
    }

    fn leave_stopped(&self, state: State) -> Left {
        self.keep();
        let left = self.left(state, true);
        let name = |service: &StoppedService| service.name.clone();
        Left { not_up: self.journal.stopped.iter().map(name).collect(), ..left }
    }

    /// What is known by now, for whoever finishes it. If it cannot be written, what was written last holds.
    fn keep(&self) {
        if let Err(error) = self.ports.backup.repository.set_journal(Some(&self.journal)) {
            tracing::error!(code = %error.code, "the record of the restore cannot be written: {error}");
        }
    }

    fn forget(&self) -> bool {
        match self.ports.backup.repository.set_journal(None) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(code = %error.code, "the record of the restore cannot be removed: {error}");
                false
            }
        }
    }

    fn left(&self, state: State, unfinished: bool) -> Left {
        let half = self.journal.half.iter().map(|database| &database.name);
        let closed = self.journal.closed.iter().map(|database| &database.name);
        Left {
            state,
            databases: if state == State::HalfRestored {
                half.cloned().collect()
            } else {
                closed.cloned().collect()
            },
            not_up: self.services_not_up(),
            safety: self.journal.safety.clone(),
            elevated: self.journal.elevated,
            unfinished,
        }
    }
}
