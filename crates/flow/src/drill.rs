//! A drill: a backup is restored into a scratch server, and what is there then is compared with what the
//! backup recorded.
//!
//! It does what a restore onto a bare machine does, in the same order and with the same code: files
//! verified, roles, the vault's root key, databases. Only then comes what nobody has the time for on the
//! day itself: every table, sequence and large object, every role, every secret of the vault, and what a
//! person wants to be so. How long that took is the measured time to restore.
//!
//! A drill of a sample leaves rows out, and with them what only all of them can show: it is a smaller promise,
//! kept apart from the whole one wherever either is told.
//!
//! It needs no lock of a run, so backups go on meanwhile; its own lock keeps its backup from being pruned.

mod checks;
mod page;
mod prepare;
mod record;
mod report;
mod sample;
mod statements;
mod vault;

use std::sync::Arc;

use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::drill_sample::SampleSpec;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{DatabaseRecord, Manifest};
use supakeep_model::manifest_head::Proof;
use supakeep_model::quantity::show_bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cancel::Limits;
use crate::failure::Failure;
use crate::kill_point::kill_point;
use crate::ports::{Clock, Observer, Repository, Scratch, ScratchSpec, Site, Sites};
use crate::restore::{
    DatabaseReport, FilesWish, Making, RestoreSpec, as_superuser, compare_database, fits, open_database,
    own_settings, restore_globals, root_key,
};
use crate::verify::verify;
pub use checks::CheckSpec;
pub use page::page;
pub use record::{KeptAs, SAMPLE, WHOLE};
pub use report::{CheckReport, DrillReport, PhaseTime, RolesReport, VaultReport};
pub use sample::{SampleReport, SampledTable};

/// What is to be drilled, and how.
#[derive(Debug, Clone)]
pub struct DrillSpec {
    /// The backup.
    pub backup: BackupId,
    /// Only the rows of some tables; `None` for all of the backup.
    pub sample: Option<SampleSpec>,
    /// What the scratch server may take.
    pub scratch: ScratchSpec,
    /// How many jobs restore side by side where the format allows it.
    pub jobs: usize,
    /// What else must be so in the restored databases.
    pub checks: Vec<CheckSpec>,
    /// The longest it may take.
    pub deadline: Duration,
}

/// What a drill needs from outside.
#[derive(Clone)]
pub struct DrillPorts {
    /// Where the backup is, and where the result is noted.
    pub repository: Arc<dyn Repository>,
    /// Where scratch servers come from.
    pub sites: Arc<dyn Sites>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who listens.
    pub observer: Arc<dyn Observer>,
}

/// How long removing the scratch server may take.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(600);

/// Drills a backup, and notes the result in its manifest. An `Err` says that it could not be tried, which
/// says nothing of the backup, and is noted nowhere. Whatever happens, the scratch server is removed.
pub async fn drill(
    spec: &DrillSpec,
    ports: &DrillPorts,
    cancel: &CancellationToken,
) -> Result<DrillReport, Failure> {
    let _lock = ports.repository.lock_drill(Some(&spec.backup))?;
    let manifest = ports.repository.manifest(&spec.backup)?;
    // Whoever made what is there has died, or it would have the lock.
    ports.sites.sweep().await?;
    let chosen = spec.sample.map(|sample| SampleReport::choose(sample, &manifest, spec.checks.len()));
    let mut run = Run {
        spec,
        ports,
        manifest: &manifest,
        report: DrillReport::new(&manifest, ports.clock.now(), chosen),
        verified: None,
        began: Instant::now(),
        phase: None,
    };
    let limits = Limits::new(cancel.clone(), spec.deadline);
    let mut scratch = None;
    let drilled = limits.apply(run.steps(&mut scratch, &limits)).await;
    run.leave_phase();
    let took = run.began.elapsed();
    clean_up(ports, scratch).await;
    match drilled {
        Err(failure) if !tells_of_the_backup(failure.code) => return Err(explained(failure, &spec.scratch)),
        Err(failure) => run.report.differences.push(format!("it does not restore: {failure}")),
        Ok(()) => {}
    }
    let Run { mut report, verified, .. } = run;
    report.finish(ports.clock.now(), took.as_secs_f64());
    record::record(&report, verified, ports)?;
    Ok(report)
}

/// Removes what a drill that died has left, unless one is in progress.
pub async fn sweep(repository: &dyn Repository, sites: &dyn Sites) -> Result<(), Failure> {
    match repository.lock_drill(None) {
        Err(error) if error.code == Code::Busy => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_lock) => Ok(sites.sweep().await?),
    }
}

/// Whether a failure is the backup's own fault, and not one of whatever was there to try it with. A scratch
/// server refuses us nothing, so a permission is missing that is not in the backup.
fn tells_of_the_backup(code: Code) -> bool {
    matches!(
        code,
        Code::RestoreFailed
            | Code::PrivilegesMissing
            | Code::VerifyFailed
            | Code::ManifestDamaged
            | Code::DumpIncomplete
    )
}

/// A server that goes away has most often been ended by the engine.
fn explained(failure: Failure, spec: &ScratchSpec) -> Failure {
    if failure.code != Code::DatabaseLost {
        return failure;
    }
    let memory = show_bytes(spec.memory_bytes);
    Failure::new(failure.code, format!("{failure}; the scratch server may take {memory}: drill.memory"))
}

/// Removes the scratch server, also one that was being made when the drill was cancelled.
async fn clean_up(ports: &DrillPorts, scratch: Option<Box<dyn Scratch>>) {
    let removing = async {
        if let Some(scratch) = scratch {
            scratch.remove().await?;
        }
        ports.sites.sweep().await
    };
    let message = match tokio::time::timeout(CLEAN_UP, removing).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it takes too long".to_owned(),
    };
    let message = format!("the scratch server cannot be removed, the next drill tries again: {message}");
    ports.observer.observe(&RunEvent::Fault { code: Code::DockerRefused, message });
}

struct Run<'a> {
    spec: &'a DrillSpec,
    ports: &'a DrillPorts,
    manifest: &'a Manifest,
    report: DrillReport,
    verified: Option<Proof>,
    began: Instant,
    /// The phase that is going on, what it works on, and since when.
    phase: Option<(Phase, String, Instant)>,
}

impl Run<'_> {
    async fn steps(
        &mut self,
        scratch: &mut Option<Box<dyn Scratch>>,
        limits: &Limits,
    ) -> Result<(), Failure> {
        match self.report.sample.clone() {
            Some(sample) => self.sample(&sample, scratch, limits).await,
            None => self.whole(scratch).await,
        }
    }

    async fn whole(&mut self, scratch: &mut Option<Box<dyn Scratch>>) -> Result<(), Failure> {
        if !self.files_are_right().await? {
            return Ok(());
        }
        let site = self.make(scratch).await?;
        self.prepare(site, self.manifest).await?;
        self.restore(site).await?;
        kill_point("drill-restored");
        self.compare(site).await
    }

    async fn make<'s>(&mut self, scratch: &'s mut Option<Box<dyn Scratch>>) -> Result<&'s dyn Site, Failure> {
        self.enter(Phase::MakeScratch, "");
        let run = format!("drill-{}", self.spec.backup);
        let made = self.ports.sites.scratch(&run, &self.spec.scratch).await?;
        kill_point("drill-made");
        let site = scratch.insert(made).site();
        self.report.describe(site.server().facts());
        Ok(site)
    }

    /// Nobody restores what is not what was written.
    async fn files_are_right(&mut self) -> Result<bool, Failure> {
        self.enter(Phase::Verify, "");
        let proof = {
            let id = &self.spec.backup;
            let open = |artifact: &supakeep_model::artifact::Artifact| {
                self.ports.repository.open(id, &artifact.path)
            };
            let progress = |source_bytes| self.progress(source_bytes);
            verify(self.manifest, open, &*self.ports.clock, progress).await?
        };
        let differences = proof.differences.iter().map(|difference| format!("files: {difference}"));
        self.report.differences.extend(differences);
        let is_right = proof.ok;
        self.verified = Some(proof);
        Ok(is_right)
    }

    /// The server as the backup's was, before anything is put into it. `needs` says how large that is.
    async fn prepare(&mut self, site: &dyn Site, needs: &Manifest) -> Result<(), Failure> {
        self.enter(Phase::RestoreRootKey, "");
        prepare::settings(self.manifest, site).await?;
        if let Some(key) = root_key(self.manifest, &*self.ports.repository).await? {
            site.put_root_key(&key).await?;
        }
        // Both are read when the server starts.
        site.restart_server().await?;
        fits(&self.as_restore(needs), site).await
    }

    fn as_restore(&self, manifest: &Manifest) -> RestoreSpec {
        RestoreSpec {
            manifest: manifest.clone(),
            only_database: None,
            files: FilesWish::default(),
            resume: false,
            safety: None,
            jobs: self.spec.jobs,
            deadline: self.spec.deadline,
        }
    }

    async fn restore(&mut self, site: &dyn Site) -> Result<(), Failure> {
        let repository = &*self.ports.repository;
        self.enter(Phase::RestoreGlobals, "");
        restore_globals(self.manifest, repository, site).await?;
        let manifest = self.manifest;
        let making =
            Making { manifest, repository, site, observer: &*self.ports.observer, jobs: self.spec.jobs };
        let replacing = async {
            let mut closed = Vec::new();
            for database in &manifest.databases {
                self.enter(Phase::RestoreDatabase, &database.name);
                let own = own_settings(&database.name, site).await?;
                closed.push(making.replace(database, &own).await?);
            }
            Ok(closed)
        };
        for database in as_superuser(site, replacing).await? {
            open_database(&database, site).await?;
        }
        for database in &manifest.databases {
            self.enter(Phase::Analyze, &database.name);
            site.sql(&database.name, "ANALYZE").await?;
        }
        Ok(())
    }

    async fn compare(&mut self, site: &dyn Site) -> Result<(), Failure> {
        let manifest = self.manifest;
        for database in &manifest.databases {
            self.enter(Phase::Compare, &database.name);
            let compared = compare_database(manifest, database, site.server()).await?;
            self.compared(database, compared, site).await?;
        }
        self.compare_roles(site).await?;
        self.enter(Phase::Check, "");
        for database in &manifest.databases {
            if let Some(vault) = vault::opens(&database.name, site).await? {
                self.report.add_vault(vault);
            }
        }
        for check in &self.spec.checks {
            let checked = checks::run(check, site).await?;
            self.report.add_check(checked);
        }
        Ok(())
    }

    /// What is in a database was compared; now what makes it.
    async fn compared(
        &mut self,
        database: &DatabaseRecord,
        mut compared: DatabaseReport,
        site: &dyn Site,
    ) -> Result<(), Failure> {
        let repository = &*self.ports.repository;
        compared
            .differences
            .extend(statements::of_database(self.manifest, database, repository, site).await?);
        self.report.add_database(compared);
        Ok(())
    }

    async fn compare_roles(&mut self, site: &dyn Site) -> Result<(), Failure> {
        self.enter(Phase::Compare, "roles");
        self.report.add_roles(statements::roles(self.manifest, &*self.ports.repository, site).await?);
        Ok(())
    }

    fn progress(&self, source_bytes: u64) {
        self.ports.observer.observe(&RunEvent::Progressed { id: self.spec.backup.clone(), source_bytes });
    }

    fn enter(&mut self, phase: Phase, subject: &str) {
        self.leave_phase();
        self.phase = Some((phase, subject.to_owned(), Instant::now()));
        self.ports.observer.observe(&entered(&self.spec.backup, phase, subject));
    }

    fn leave_phase(&mut self) {
        if let Some((phase, subject, since)) = self.phase.take() {
            self.report.add_phase(phase, subject, since.elapsed().as_secs_f64());
        }
    }
}

fn entered(id: &BackupId, phase: Phase, subject: &str) -> RunEvent {
    RunEvent::Entered { id: id.clone(), phase, subject: subject.to_owned(), expected_bytes: None }
}
