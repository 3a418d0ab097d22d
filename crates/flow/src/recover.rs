//! A stack made from nothing but a backup and its `.env`.
//!
//! The folder first, then containers that do not run yet, since only they tell where Storage keeps its files; then
//! the files, the database with whatever its image puts into it, and over that the restore that every stack gets. Each
//! step is written down in the folder before it begins, and can be done again.

mod plan;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::manifest::Manifest;
use supakeep_model::parts::PartName;
use supakeep_model::recovery::{FORMAT, Recovery, RecoveryStep};
use supakeep_model::secret::Secret;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cancel::Limits;
use crate::failure::Failure;
use crate::folder::look;
use crate::kill_point::kill_point;
use crate::ports::{Access, Compose, ComposeProject, Home, Place, RunLock, Site, StorageLayout};
use crate::restore::{
    DatabaseReport, FilesReport, FilesWish, PlannedFiles, RestorePorts, RestoreSpec, file_parts,
    plan as plan_restore, plan_files_alone, restore, restore_files,
};
pub use plan::{RecoverPlan, plan};

/// How long the database's first start may take, beyond what every connection waits.
const FIRST_START: std::time::Duration = std::time::Duration::from_secs(900);
/// Pause between two tries.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What is made, and from what.
#[derive(Clone)]
pub struct RecoverSpec {
    /// The backup.
    pub manifest: Manifest,
    /// Where the stack's folder is to be.
    pub folder: PathBuf,
    /// The `.env` with its secrets; `None` where it is in the folder already.
    pub env: Option<Secret<Vec<u8>>>,
    /// The database's service.
    pub db: String,
    /// How many jobs work side by side where the format allows it.
    pub jobs: usize,
    /// The longest it may take.
    pub deadline: Duration,
}

/// What a recovery needs from outside.
#[derive(Clone)]
pub struct RecoverPorts {
    /// What a restore needs.
    pub restore: RestorePorts,
    /// Docker Compose.
    pub compose: Arc<dyn Compose>,
    /// The folder.
    pub home: Arc<dyn Home>,
}

/// A stack that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecoverReport {
    /// Each database, compared with what the backup recorded; none where an earlier attempt had done that.
    pub databases: Vec<DatabaseReport>,
    /// The files, likewise.
    pub files: Vec<FilesReport>,
    /// How long this took, in seconds: the measured time to recovery.
    pub duration_seconds: f64,
}

/// Makes the stack as `plan` was shown to a person.
pub async fn recover(
    spec: &RecoverSpec,
    plan: &RecoverPlan,
    ports: &RecoverPorts,
    lock: &dyn RunLock,
    cancel: &CancellationToken,
) -> Result<RecoverReport, Failure> {
    let began = Instant::now();
    let limits = Limits::new(cancel.clone(), spec.deadline);
    let mut run = Run { spec, plan, ports, report: None, files: Vec::new() };
    limits.apply(run.steps(lock, cancel)).await?;
    Ok(RecoverReport {
        databases: run.report.unwrap_or_default(),
        files: run.files,
        duration_seconds: began.elapsed().as_secs_f64(),
    })
}

struct Run<'a> {
    spec: &'a RecoverSpec,
    plan: &'a RecoverPlan,
    ports: &'a RecoverPorts,
    report: Option<Vec<DatabaseReport>>,
    files: Vec<FilesReport>,
}

impl Run<'_> {
    async fn steps(&mut self, lock: &dyn RunLock, cancel: &CancellationToken) -> Result<(), Failure> {
        let from = self.plan.from;
        let is_left = |step: RecoveryStep| step >= from;
        if is_left(RecoveryStep::Folder) {
            self.enter_step(RecoveryStep::Folder, Phase::RestoreFiles)?;
            self.folder().await?;
            kill_point("recover-folder");
        }
        // Somebody may have put a file there since: it is looked for each time.
        self.plan.compose_files_are_there(self.spec, &*self.ports.home)?;
        let project = &self.plan.project;
        if is_left(RecoveryStep::Containers) {
            self.enter_step(RecoveryStep::Containers, Phase::CreateStack)?;
            self.ports.compose.create(project).await?;
            self.nothing_is_there().await?;
            kill_point("recover-containers");
        }
        if is_left(RecoveryStep::Files) {
            self.enter_step(RecoveryStep::Files, Phase::RestoreFiles)?;
            self.storage().await?;
            kill_point("recover-files");
        }
        if is_left(RecoveryStep::Database) {
            self.enter_step(RecoveryStep::Database, Phase::StartServices)?;
            self.ports.compose.up(project, &[&self.spec.db]).await?;
            kill_point("recover-database");
        }
        let run = format!("recover-{}", self.spec.manifest.head.id);
        if is_left(RecoveryStep::Restore) {
            self.enter_step(RecoveryStep::Restore, Phase::RestoreDatabase)?;
            let site = self.started(&run).await?;
            self.databases(&*site, lock, cancel).await?;
            kill_point("recover-restored");
        }
        self.enter_step(RecoveryStep::Services, Phase::StartServices)?;
        self.ports.compose.up(project, &[]).await?;
        let site = self.ports.restore.sites.live(&run).await?;
        self.services(&*site).await?;
        kill_point("recover-services");
        Ok(self.ports.home.set_recovery(&self.spec.folder, None)?)
    }

    /// The database, whose image makes a cluster on its first start, which takes a while.
    async fn started(&self, run: &str) -> Result<Box<dyn Site>, Failure> {
        let deadline = Instant::now() + FIRST_START;
        loop {
            match self.ports.restore.sites.live(run).await {
                Err(error) if error.code.is_retryable() && Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                other => return Ok(other?),
            }
        }
    }

    fn enter_step(&self, step: RecoveryStep, phase: Phase) -> Result<(), Failure> {
        let started = self.ports.restore.backup.clock.now();
        let backup = self.spec.manifest.head.id.clone();
        let recovery = Recovery { format: FORMAT, backup: backup.clone(), started, step };
        self.ports.home.set_recovery(&self.spec.folder, Some(&recovery))?;
        let subject = self.plan.project.name.clone();
        self.ports.restore.backup.observer.observe(&RunEvent::Entered {
            id: backup,
            phase,
            subject,
            expected_bytes: None,
        });
        Ok(())
    }

    /// Everything that lies in the stack's folder.
    async fn folder(&mut self) -> Result<(), Failure> {
        let spec = self.spec;
        let of_folder = file_parts(&spec.manifest)
            .filter(|part| matches!(part, PartName::Functions | PartName::Config))
            .map(|part| PlannedFiles::new(part, &spec.manifest, Place::Here(spec.folder.clone())));
        let planned: Vec<_> = of_folder.collect();
        self.files.extend(restore_files(&spec.manifest, &planned, &self.ports.restore.backup).await?);
        if let Some(env) = &spec.env {
            self.ports.home.write(&spec.folder.join(".env"), env.expose())?;
        }
        Ok(())
    }

    /// A volume or folder that is not the project's own may hold somebody's files.
    async fn nothing_is_there(&self) -> Result<(), Failure> {
        let porters = &self.ports.restore.backup.porters;
        let StorageLayout::Files { place, .. } = porters.layout().await?.storage else { return Ok(()) };
        let porter = porters.open(std::slice::from_ref(&place), Access::Write).await?;
        let looked = look(&*porter, 0, b"").await?;
        porter.close().await?;
        if looked.is_empty {
            return Ok(());
        }
        let message = format!("{place}, where the storage service keeps its files, is not empty");
        Err(Failure::new(Code::RecoverUnfit, message))
    }

    /// The files of the storage service, where its container says.
    async fn storage(&mut self) -> Result<(), Failure> {
        let (manifest, ports) = (&self.spec.manifest, &self.ports.restore.backup);
        if !file_parts(manifest).any(|part| part == PartName::Storage) {
            return Ok(());
        }
        let planned = plan_files_alone(&[PartName::Storage], manifest, ports).await?;
        self.files.extend(restore_files(manifest, &planned, ports).await?);
        Ok(())
    }

    /// The restore that every stack gets, which finishes one of its own that was interrupted.
    async fn databases(
        &mut self,
        site: &dyn Site,
        lock: &dyn RunLock,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        let ports = &self.ports.restore;
        let unfinished = ports.backup.repository.journal()?;
        let spec = RestoreSpec {
            manifest: self.spec.manifest.clone(),
            only_database: None,
            files: FilesWish::default(),
            resume: unfinished.as_ref().is_some_and(|journal| journal.backup == self.spec.manifest.head.id),
            // What is there is what the image has put there.
            safety: None,
            jobs: self.spec.jobs,
            deadline: self.spec.deadline,
        };
        let plan = plan_restore(&spec, site, &ports.backup).await?;
        plan.possible()?;
        let restored = restore(&spec, &plan, site, ports, unfinished, lock, cancel).await;
        let report = restored.map_err(|failed| failed.failure)?;
        self.report = Some(report.databases);
        Ok(())
    }

    /// Every service has to be well.
    async fn services(&self, site: &dyn Site) -> Result<(), Failure> {
        let mut not_up = Vec::new();
        for service in site.services().await? {
            if let Err(error) = site.start(&service).await {
                not_up.push(error.message);
            }
        }
        if not_up.is_empty() { Ok(()) } else { Err(Failure::new(Code::ServiceUnhealthy, not_up.join("; "))) }
    }
}

/// The project that compose is told of.
fn project(spec: &RecoverSpec) -> Result<ComposeProject, String> {
    let stack = &spec.manifest.head.stack;
    let below = |file: &String| {
        let folder = stack.working_dir.as_deref().unwrap_or_default().trim_end_matches('/');
        let inside = file.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        inside.map(PathBuf::from).ok_or_else(|| file.clone())
    };
    let files = stack.compose_files.iter().map(below).collect::<Result<Vec<_>, _>>().map_err(|outside| {
        format!("the compose file {outside} lay outside of the stack's folder, and is not in the backup")
    })?;
    let files = if files.is_empty() { vec![PathBuf::from("docker-compose.yml")] } else { files };
    Ok(ComposeProject { name: stack.project.clone(), folder: spec.folder.clone(), files })
}
