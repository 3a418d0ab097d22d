//! A restore in place, from the plan to the comparison.
//!
//! The order is the one that works on Supabase: save what is there, stop whoever writes, roles, the vault's
//! root key, then drop, make and fill each database while `postgres` is a superuser, compare, restart the
//! database, start the services. Every step is written down before it begins, so that a restore that was
//! killed is known of and can be finished.

mod ask;
mod compare;
mod content;
mod databases;
mod globals;
pub mod parts;
mod plan;

use std::sync::Arc;

use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::id::BackupId;
use supakeep_model::journal::{FORMAT, Journal, Step, StoppedService};
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::Outcome;
use supakeep_model::secret::Secret;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backup::{BackupSpec, Ports, backup};
use crate::cancel::Limits;
use crate::failure::Failure;
use crate::kill_point::kill_point;
use crate::ports::{RunLock, Service, Site, Sites};
pub(crate) use ask::ask;
pub use compare::{DatabaseReport, compare_database, fingerprint};
pub use content::restore_content;
pub(crate) use content::{files, small};
pub use databases::fill_new_database;
pub(crate) use databases::{Closed, Making, is_own_setting, literal};
pub use globals::{GlobalsPlan, plan_globals, restore_globals};
pub(crate) use globals::{SERVICE_ROLES, root_key, without_password};
pub(crate) use plan::fits;
pub use plan::{PlannedDatabase, RestorePlan, other_version, plan};

/// What is to be restored, and how.
#[derive(Debug, Clone)]
pub struct RestoreSpec {
    /// The backup.
    pub manifest: Manifest,
    /// Only this database: roles, root key and the other databases stay as they are.
    pub only_database: Option<String>,
    /// How what is there is saved first; `None` where a person said that it need not be.
    pub safety: Option<BackupSpec>,
    /// How many jobs work side by side where the format allows it.
    pub jobs: usize,
    /// The longest it may take.
    pub deadline: Duration,
}

impl RestoreSpec {
    /// The databases that are restored.
    pub fn databases(&self) -> impl Iterator<Item = &supakeep_model::manifest::DatabaseRecord> {
        let wanted = |name: &str| self.only_database.as_deref().is_none_or(|only| only == name);
        self.manifest.databases.iter().filter(move |database| wanted(&database.name))
    }

    /// Whether roles and root key are restored too.
    pub fn is_whole(&self) -> bool {
        self.only_database.is_none()
    }
}

/// What a restore needs from outside.
#[derive(Clone)]
pub struct RestorePorts {
    /// What a backup needs: the safety backup is one.
    pub backup: Ports,
    /// Where the restore goes.
    pub sites: Arc<dyn Sites>,
}

/// What became of a restore.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreReport {
    /// What was restored.
    pub backup: BackupId,
    /// What was there before, if it was saved.
    pub safety: Option<BackupId>,
    /// Each database, compared with the backup's record.
    pub databases: Vec<DatabaseReport>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// How long it took, the safety backup included.
    pub duration_seconds: f64,
}

/// What state a failed restore has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Nothing has been changed; services that had been stopped run again.
    AsItWas,
    /// Databases are missing or half filled; the services that were stopped stay so.
    HalfRestored {
        /// The services.
        stopped: Vec<String>,
        /// The way back.
        safety: Option<BackupId>,
    },
    /// The data is all there; something after that failed.
    Restored,
}

/// A restore that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreFailure {
    /// Why.
    pub failure: Failure,
    /// What it left.
    pub left: Left,
}

/// How long putting things right after a failure may take.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(300);

/// Restores as `plan` was shown to a person. `unfinished` is the restore that did not end, if there is
/// one: this one takes its place, and with it the knowledge of what ran before.
pub async fn restore(
    spec: &RestoreSpec,
    plan: &RestorePlan,
    site: &dyn Site,
    ports: &RestorePorts,
    unfinished: Option<Journal>,
    lock: &dyn RunLock,
    cancel: &CancellationToken,
) -> Result<RestoreReport, RestoreFailure> {
    let began = Instant::now();
    let limits = Limits::new(cancel.clone(), spec.deadline);
    let mut run = Run::new(spec, plan, site, ports, unfinished);
    match limits.apply(run.steps(lock, cancel)).await {
        Ok(databases) => Ok(RestoreReport {
            backup: spec.manifest.head.id.clone(),
            safety: run.journal.safety,
            databases,
            notes: run.notes,
            duration_seconds: began.elapsed().as_secs_f64(),
        }),
        Err(failure) => {
            let left = tokio::time::timeout(CLEAN_UP, run.put_right()).await;
            Err(RestoreFailure { failure, left: left.unwrap_or_else(|_| run.half()) })
        }
    }
}

struct Run<'a> {
    spec: &'a RestoreSpec,
    plan: &'a RestorePlan,
    site: &'a dyn Site,
    ports: &'a RestorePorts,
    journal: Journal,
    notes: Vec<String>,
    /// The root key that was there, where it has been replaced.
    previous_key: Option<Secret<Vec<u8>>>,
    /// The databases that are filled and not yet open to everybody.
    closed: Vec<Closed>,
}

impl<'a> Run<'a> {
    fn new(
        spec: &'a RestoreSpec,
        plan: &'a RestorePlan,
        site: &'a dyn Site,
        ports: &'a RestorePorts,
        unfinished: Option<Journal>,
    ) -> Run<'a> {
        let (safety, stopped) = unfinished.map_or((None, Vec::new()), |old| (old.safety, old.stopped));
        let journal = Journal {
            format: FORMAT,
            backup: spec.manifest.head.id.clone(),
            only_database: spec.only_database.clone(),
            started: ports.backup.clock.now(),
            step: Step::SafetyBackup,
            safety,
            stopped,
        };
        Run { spec, plan, site, ports, journal, notes: Vec::new(), previous_key: None, closed: Vec::new() }
    }

    async fn steps(
        &mut self,
        lock: &dyn RunLock,
        cancel: &CancellationToken,
    ) -> Result<Vec<DatabaseReport>, Failure> {
        self.save(lock, cancel).await?;
        self.stop_services().await?;
        self.enter_step(Step::Globals)?;
        if self.spec.is_whole() {
            self.enter(Phase::RestoreGlobals, "");
            restore_globals(&self.spec.manifest, &*self.ports.backup.repository, self.site).await?;
            kill_point("restore-globals");
            self.root_key().await?;
        }
        self.enter_step(Step::Databases)?;
        self.databases().await?;
        self.enter_step(Step::Compare)?;
        let reports = self.compare().await?;
        self.enter_step(Step::StartServices)?;
        self.enter(Phase::Restart, &self.plan.target.container);
        // The launcher of pg_cron does not come back by itself after its database was dropped.
        self.site.restart_server().await?;
        self.start_services().await?;
        self.ports.backup.repository.set_journal(None)?;
        Ok(reports)
    }

    /// Writes the step down, then begins it.
    fn enter_step(&mut self, step: Step) -> Result<(), Failure> {
        self.journal.step = step;
        self.ports.backup.repository.set_journal(Some(&self.journal))?;
        Ok(())
    }

    fn enter(&self, phase: Phase, subject: &str) {
        self.ports.backup.observer.observe(&RunEvent::Entered {
            id: self.journal.backup.clone(),
            phase,
            subject: subject.to_owned(),
            expected_bytes: None,
        });
    }

    /// The safety backup. What an unfinished restore has saved already is not saved again: what is there
    /// now may be half of a database.
    async fn save(&mut self, lock: &dyn RunLock, cancel: &CancellationToken) -> Result<(), Failure> {
        let Some(spec) = self.spec.safety.as_ref().filter(|_| self.journal.safety.is_none()) else {
            return Ok(());
        };
        let head = backup(spec, &self.ports.backup, lock, cancel).await?;
        if head.outcome == Outcome::Failed {
            let why = head.error.map(|error| error.message).unwrap_or_default();
            return Err(Failure::new(
                Code::RestoreFailed,
                format!(
                    "what is there cannot be saved first, so nothing was touched: {why}. If it is worth nothing: --no-safety-backup"
                ),
            ));
        }
        self.journal.safety = Some(head.id);
        kill_point("restore-saved");
        Ok(())
    }

    async fn stop_services(&mut self) -> Result<(), Failure> {
        let running = self.plan.services.iter().filter(|service| service.is_running);
        for service in running {
            if !self.journal.stopped.iter().any(|stopped| stopped.id == service.id) {
                let stopped = StoppedService { id: service.id.clone(), name: service.name.clone() };
                self.journal.stopped.push(stopped);
            }
        }
        // Written down before the first is stopped: whoever finishes this knows what to start.
        self.enter_step(Step::StopServices)?;
        // Those that others wait for come first in the list, and are stopped last.
        for service in self.plan.services.iter().rev().filter(|service| service.is_running) {
            self.enter(Phase::StopServices, &service.name);
            self.site.stop(service).await?;
        }
        kill_point("restore-stopped");
        Ok(())
    }

    async fn start_services(&mut self) -> Result<(), Failure> {
        for service in self.plan.services.iter().filter(|service| self.was_stopped(service)) {
            self.enter(Phase::StartServices, &service.name);
            self.site.start(service).await?;
        }
        kill_point("restore-started");
        Ok(())
    }

    fn was_stopped(&self, service: &Service) -> bool {
        // A container that compose has made anew since has another id and the same name.
        self.journal.stopped.iter().any(|stopped| stopped.id == service.id || stopped.name == service.name)
    }

    async fn root_key(&mut self) -> Result<(), Failure> {
        let Some(wanted) = root_key(&self.spec.manifest, &*self.ports.backup.repository).await? else {
            return Ok(());
        };
        let current = self.site.server().root_key().await?;
        if current.as_ref().is_some_and(|current| current.expose() == wanted.expose()) {
            return Ok(());
        }
        self.enter_step(Step::RootKey)?;
        self.enter(Phase::RestoreRootKey, "");
        self.previous_key = current;
        self.site.put_root_key(&wanted).await?;
        kill_point("restore-root-key");
        // It is read when the server starts.
        self.enter(Phase::Restart, &self.plan.target.container);
        Ok(self.site.restart_server().await?)
    }

    async fn databases(&mut self) -> Result<(), Failure> {
        let making = Making {
            manifest: &self.spec.manifest,
            repository: &*self.ports.backup.repository,
            site: self.site,
            observer: &*self.ports.backup.observer,
            safety: self.journal.safety.as_ref(),
            jobs: self.spec.jobs,
        };
        let mut closed = Vec::new();
        let enter = |name: &str| self.enter(Phase::RestoreDatabase, name);
        let made = making.replace_all(self.spec.databases(), enter, &mut closed).await;
        self.closed = closed;
        made
    }

    async fn compare(&mut self) -> Result<Vec<DatabaseReport>, Failure> {
        let mut reports = Vec::new();
        for database in self.spec.databases() {
            self.enter(Phase::Analyze, &database.name);
            self.site.sql(&database.name, "ANALYZE").await?;
            self.enter(Phase::Compare, &database.name);
            reports.push(compare_database(&self.spec.manifest, database, self.site.server()).await?);
        }
        kill_point("restore-compared");
        self.open_databases().await?;
        Ok(reports)
    }

    async fn open_databases(&mut self) -> Result<(), Failure> {
        for closed in std::mem::take(&mut self.closed) {
            closed.open(self.site).await?;
        }
        Ok(())
    }

    /// After a failure: ends what still runs on the server, and starts the services again unless they
    /// would serve half a database.
    async fn put_right(&mut self) -> Left {
        let step = self.journal.step;
        for result in [self.site.server().terminate().await.map(|_| ()), self.site.clear().await] {
            if let Err(error) = result {
                tracing::warn!(code = %error.code, "cleaning up after a failed restore: {error}");
            }
        }
        if !step.leaves_a_whole_stack() {
            databases::lower(self.site).await;
            return self.half();
        }
        if let Some(previous) = self.previous_key.take().filter(|_| step == Step::RootKey) {
            let back = async {
                self.site.put_root_key(&previous).await?;
                self.site.restart_server().await
            };
            if let Err(error) = back.await {
                tracing::error!(code = %error.code, "the previous root key cannot be put back: {error}");
                return self.half();
            }
        }
        if let Err(failure) = self.open_databases().await {
            tracing::error!(code = %failure.code, "a database cannot be opened again: {failure}");
            return self.half();
        }
        if let Err(failure) = self.start_services().await {
            tracing::error!(code = %failure.code, "a service does not start again: {failure}");
        } else if let Err(error) = self.ports.backup.repository.set_journal(None) {
            tracing::error!(code = %error.code, "the record of the restore cannot be removed: {error}");
        }
        if step < Step::Databases { Left::AsItWas } else { Left::Restored }
    }

    fn half(&self) -> Left {
        let stopped = self.journal.stopped.iter().map(|service| service.name.clone()).collect();
        Left::HalfRestored { stopped, safety: self.journal.safety.clone() }
    }
}
