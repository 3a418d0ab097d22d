//! The steps of a restore, each written down before it begins.

use std::collections::{BTreeMap, BTreeSet};

use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::journal::{FORMAT, HalfDatabase, Journal, Remaining, Step};
use supakeep_model::manifest::DatabaseRecord;
use supakeep_model::secret::Secret;
use tokio_util::sync::CancellationToken;

use super::compare::{DatabaseReport, compare_database};
use super::databases::{Making, content_bytes, drop_database, names, open_database, own_settings};
use super::files::{FilesReport, restore_files};
use super::globals::{restore_globals, root_key};
use super::saved::save_first;
use super::{RestorePlan, RestorePorts, RestoreSpec, elevation};
use crate::failure::Failure;
use crate::kill_point::kill_point;
use crate::ports::{RunLock, Site};

/// A restore that is going on.
pub(super) struct Run<'a> {
    pub(super) spec: &'a RestoreSpec,
    pub(super) plan: &'a RestorePlan,
    pub(super) site: &'a dyn Site,
    pub(super) ports: &'a RestorePorts,
    /// What is on the disk, or will be with the next step.
    pub(super) journal: Journal,
    /// The restore whose place this takes and whose data is all there, as it was written down.
    pub(super) replaced: Option<Journal>,
    /// How much there is to do.
    remaining: Remaining,
    /// What became of the files.
    pub(super) files: Vec<FilesReport>,
    /// Services that run, and that nobody has tried to stop yet.
    pub(super) untouched: BTreeSet<String>,
    /// Services that are well again.
    pub(super) up: BTreeSet<String>,
    /// Services that were started and are not well, and what they say.
    pub(super) not_up: BTreeMap<String, Failure>,
    /// Whether the server was restarted since its databases were replaced.
    pub(super) is_restarted: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        spec: &'a RestoreSpec,
        plan: &'a RestorePlan,
        site: &'a dyn Site,
        ports: &'a RestorePorts,
        unfinished: Option<Journal>,
    ) -> Run<'a> {
        let (mut remaining, mut replaced) = (Remaining::Everything, None);
        let new = Journal {
            format: FORMAT,
            backup: spec.manifest.head.id.clone(),
            only_database: spec.only_database.clone(),
            files: plan.files.iter().map(|planned| planned.part).collect(),
            started: ports.backup.clock.now(),
            step: Step::SafetyBackup,
            safety: None,
            stopped: Vec::new(),
            half: Vec::new(),
            closed: Vec::new(),
            elevated: false,
            previous_key: None,
        };
        let journal = match unfinished {
            None => new,
            Some(old) if spec.resume && old.remaining() != Remaining::Everything => {
                remaining = old.remaining();
                old
            }
            Some(old) => {
                replaced = Some(old.clone()).filter(|old| old.remaining() != Remaining::Everything);
                // What was saved before half a stack is the way back. Else more may have been written since.
                let safety = old.safety.clone().filter(|_| old.is_half());
                let Journal { stopped, half, closed, elevated, previous_key, .. } = old;
                Journal { safety, stopped, half, closed, elevated, previous_key, ..new }
            }
        };
        Run {
            spec,
            plan,
            site,
            ports,
            journal,
            replaced,
            remaining,
            files: Vec::new(),
            untouched: BTreeSet::new(),
            up: BTreeSet::new(),
            not_up: BTreeMap::new(),
            is_restarted: false,
        }
    }

    pub(super) async fn steps(
        &mut self,
        lock: &dyn RunLock,
        cancel: &CancellationToken,
    ) -> Result<Vec<DatabaseReport>, Failure> {
        if self.remaining == Remaining::Everything {
            self.settle().await?;
            self.save(lock, cancel).await?;
            self.stop_services().await?;
            self.files().await?;
            self.enter_step(Step::Globals)?;
            if self.spec.is_whole() {
                self.enter(Phase::RestoreGlobals, "", None);
                restore_globals(&self.spec.manifest, &*self.ports.backup.repository, self.site).await?;
                kill_point("restore-globals");
                self.root_key().await?;
            }
            self.databases().await?;
        }
        let mut reports = Vec::new();
        if self.remaining != Remaining::Services {
            reports = self.compare().await?;
            self.open_databases().await?;
            self.enter_step(Step::StartServices)?;
        }
        self.restart().await?;
        self.start_services().await?;
        self.ports.backup.repository.set_journal(None)?;
        Ok(reports)
    }

    /// Before the databases: a file that is there too early harms nobody, a row without its file does.
    async fn files(&mut self) -> Result<(), Failure> {
        if self.plan.files.is_empty() {
            return Ok(());
        }
        self.enter_step(Step::Files)?;
        self.files = restore_files(&self.spec.manifest, &self.plan.files, &self.ports.backup).await?;
        kill_point("restore-files");
        Ok(())
    }

    /// Writes the step down, then begins it.
    pub(super) fn enter_step(&mut self, step: Step) -> Result<(), Failure> {
        self.write(Journal { step, ..self.journal.clone() })
    }

    /// What cannot be written down has not happened.
    pub(super) fn write(&mut self, journal: Journal) -> Result<(), Failure> {
        self.ports.backup.repository.set_journal(Some(&journal))?;
        self.journal = journal;
        Ok(())
    }

    pub(super) fn enter(&self, phase: Phase, subject: &str, expected_bytes: Option<u64>) {
        self.ports.backup.observer.observe(&RunEvent::Entered {
            id: self.journal.backup.clone(),
            phase,
            subject: subject.to_owned(),
            expected_bytes,
        });
    }

    /// What an earlier attempt has left although all databases are whole is put right before anything is
    /// saved: it would be saved too.
    async fn settle(&mut self) -> Result<(), Failure> {
        self.lower().await?;
        if self.journal.is_half() {
            return Ok(());
        }
        self.previous_root_key().await?;
        self.open_databases().await
    }

    /// The safety backup. Half a stack is not saved: what was saved before it was half is the way back.
    async fn save(&mut self, lock: &dyn RunLock, cancel: &CancellationToken) -> Result<(), Failure> {
        let Some(spec) = self.spec.safety.as_ref().filter(|_| !self.journal.is_half()) else {
            return Ok(());
        };
        self.journal.safety = Some(save_first(spec, &self.ports.backup, lock, cancel).await?);
        kill_point("restore-saved");
        Ok(())
    }

    /// Puts the key back that belongs to the databases as they are, where another one is in its place.
    pub(super) async fn previous_root_key(&mut self) -> Result<(), Failure> {
        let Some(key) = self.journal.previous_key.clone() else { return Ok(()) };
        self.site.put_root_key(&key).await?;
        self.site.restart_server().await?;
        self.journal.previous_key = None;
        Ok(())
    }

    async fn root_key(&mut self) -> Result<(), Failure> {
        let Some(wanted) = root_key(&self.spec.manifest, &*self.ports.backup.repository).await? else {
            return Ok(());
        };
        let current = self.site.server().root_key().await?;
        if current.as_ref().is_some_and(|current| current.expose() == wanted.expose()) {
            return Ok(());
        }
        let previous_key = current.filter(|_| !self.journal.is_half());
        self.write(Journal { step: Step::RootKey, previous_key, ..self.journal.clone() })?;
        self.enter(Phase::RestoreRootKey, "", None);
        self.site.put_root_key(&wanted).await?;
        kill_point("restore-root-key");
        // It is read when the server starts.
        self.enter(Phase::Restart, &self.plan.target.container, None);
        Ok(self.site.restart_server().await?)
    }

    /// Replaces one database after the other while `postgres` is a superuser, which it never stays.
    async fn databases(&mut self) -> Result<(), Failure> {
        let mut raised = None;
        if elevation::is_wanted(self.site).await? {
            // Written down first: whoever takes it back may die with the server.
            self.write(Journal { elevated: true, ..self.journal.clone() })?;
            raised = Some(elevation::raise(self.site).await?);
        }
        let replaced = self.replace_databases().await;
        // On every path.
        if let Some(raised) = raised {
            let lowered = elevation::end(raised, self.site).await;
            self.journal.elevated = lowered.is_err();
            replaced?;
            lowered?;
        } else {
            replaced?;
        }
        self.write(Journal { step: Step::Compare, half: Vec::new(), ..self.journal.clone() })
    }

    async fn replace_databases(&mut self) -> Result<(), Failure> {
        let half = self.half_from_now_on().await?;
        let next = Journal { half, closed: Vec::new(), previous_key: None, ..self.journal.clone() };
        self.write(Journal { step: Step::Databases, ..next })?;
        let spec = self.spec;
        let remains = |database: &&HalfDatabase| spec.databases().all(|other| other.name != database.name);
        for database in self.journal.half.iter().filter(remains) {
            // There was none, and this restore makes none.
            drop_database(&database.name, self.site).await?;
        }
        let making = Making {
            manifest: &spec.manifest,
            repository: &*self.ports.backup.repository,
            site: self.site,
            observer: &*self.ports.backup.observer,
            jobs: spec.jobs,
        };
        for database in spec.databases() {
            let bytes = content_bytes(&spec.manifest, &database.name);
            self.enter(Phase::RestoreDatabase, &database.name, Some(bytes));
            let closed = making.replace(database, self.own_settings(database)).await?;
            self.journal.closed.push(closed);
        }
        Ok(())
    }

    /// Every database that will be dropped, with what would be lost of it, and those that are half already:
    /// what they have now is not what they had.
    async fn half_from_now_on(&self) -> Result<Vec<HalfDatabase>, Failure> {
        let there = names(self.site).await?;
        let mut half = self.journal.half.clone();
        for DatabaseRecord { name, .. } in self.spec.databases() {
            if half.iter().all(|known| known.name != *name) {
                half.push(HalfDatabase {
                    name: name.clone(),
                    is_new: !there.contains(name),
                    own_settings: Secret::new(own_settings(name, self.site).await?),
                });
            }
        }
        Ok(half)
    }

    fn own_settings(&self, database: &DatabaseRecord) -> &[String] {
        let known = self.journal.half.iter().find(|known| known.name == database.name);
        known.map_or(&[], |known| known.own_settings.expose())
    }

    async fn compare(&mut self) -> Result<Vec<DatabaseReport>, Failure> {
        let mut reports = Vec::new();
        for database in self.spec.databases() {
            self.enter(Phase::Analyze, &database.name, None);
            self.site.sql(&database.name, "ANALYZE").await?;
            self.enter(Phase::Compare, &database.name, None);
            reports.push(compare_database(&self.spec.manifest, database, self.site.server()).await?);
        }
        kill_point("restore-compared");
        Ok(reports)
    }

    /// One that cannot be opened keeps no other closed, and stays known.
    pub(super) async fn open_databases(&mut self) -> Result<(), Failure> {
        let mut failed = None;
        for closed in self.journal.closed.clone() {
            match open_database(&closed, self.site).await {
                Ok(()) => self.journal.closed.retain(|other| *other != closed),
                Err(failure) => {
                    failed = Some(failure.while_doing(format!("opening the database {}", closed.name)))
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes superuser from `postgres` where an earlier attempt, or this one, may have left it.
    pub(super) async fn lower(&mut self) -> Result<(), Failure> {
        if self.journal.elevated {
            elevation::lower(self.site).await?;
            self.journal.elevated = false;
        }
        Ok(())
    }

    /// The launcher of pg_cron does not come back by itself after its database was dropped.
    pub(super) async fn restart(&mut self) -> Result<(), Failure> {
        self.lower().await?;
        self.enter(Phase::Restart, &self.plan.target.container, None);
        self.site.restart_server().await?;
        self.is_restarted = true;
        Ok(())
    }
}
