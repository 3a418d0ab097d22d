//! A restore in place, from the plan to the comparison.
//!
//! The order is the one that works on Supabase: save what is there, stop whoever writes, roles, the vault's
//! root key, then drop, make and fill each database while `postgres` is a superuser, compare, restart the
//! database, start the services. Every step is written down before it begins, so that a restore that was
//! killed is known of and can be finished.

mod ask;
mod compare;
mod content;
mod creation;
mod databases;
mod elevation;
mod fan;
pub(crate) mod files;
mod foreign;
mod globals;
mod outcome;
pub mod parts;
mod plan;
mod put_right;
mod redis;
mod run;
mod saved;
mod sections;
mod services;
mod sniff;
mod volumes;
mod waves;

use std::future::Future;
use std::sync::Arc;

use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::journal::{Journal, Remaining};
use supakeep_model::manifest::Manifest;
use supakeep_model::parts::PartName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backup::{BackupSpec, Ports};
use crate::cancel::Limits;
use crate::failure::Failure;
use crate::ports::{RunLock, Site, Sites};
pub(crate) use ask::ask;
pub use compare::{DatabaseReport, compare_database, fingerprint};
pub use content::restore_content;
pub(crate) use content::{files, small};
pub(crate) use creation::is_own_setting;
pub(crate) use databases::{Making, literal, open_database, own_settings};
pub use files::{FilesReport, PlannedFiles, check_parents, file_parts, plan_files_alone, restore_files};
pub use foreign::{DUMP, Foreign, ForeignSpec, is_foreign, take_in};
pub use globals::{GlobalsPlan, plan_globals, restore_globals};
pub(crate) use globals::{SERVICE_ROLES, root_key, without_password};
pub use outcome::{Left, RestoreFailure, RestoreReport, State};
pub(crate) use plan::fits;
pub use plan::{PlannedDatabase, RestorePlan, other_version, plan};
pub use redis::{PlannedRedis, RedisReport, plan_redis_restore, restore_redis};
use run::Run;
pub use saved::save_first;
pub use sniff::sniff;
pub use volumes::{PlannedVolume, VolumeReport, plan_volumes, restore_volumes};
pub(crate) use waves::waves;

/// Which parts that are files are put back with the databases.
#[derive(Debug, Clone, Default)]
pub struct FilesWish {
    /// Which.
    pub parts: Vec<PartName>,
    /// Whether a person named them: then it is a problem where they cannot be, else a note.
    pub is_asked: bool,
}

/// What is to be restored, and how.
#[derive(Debug, Clone)]
pub struct RestoreSpec {
    /// The backup.
    pub manifest: Manifest,
    /// Only this database: roles, root key and the other databases stay as they are.
    pub only_database: Option<String>,
    /// Which of its parts that are files are put back too.
    pub files: FilesWish,
    /// Whether the restore that did not end is to be finished: what it has done is not done again.
    pub resume: bool,
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

    /// What is to be done, with the restore that did not end, if there is one.
    pub fn remaining(&self, unfinished: Option<&Journal>) -> Remaining {
        unfinished.filter(|_| self.resume).map_or(Remaining::Everything, Journal::remaining)
    }

    /// Fails where the restore that did not end has left a database half that this one would leave so:
    /// afterwards nobody would know of it.
    pub fn covers(&self, unfinished: &Journal) -> Result<(), Failure> {
        let is_made = |name: &str| self.databases().any(|database| database.name == name);
        let mut missed: Vec<_> = unfinished.unsettled().filter(|name| !is_made(name)).collect();
        missed.dedup();
        if missed.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the restore of {} has not ended and has left {} half restored, which this one would not restore: \
             finish it first (supakeep restore --resume), or restore all of a backup that holds them",
            unfinished.backup,
            missed.join(", ")
        );
        Err(Failure::new(Code::RestoreUnfinished, message))
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

/// Restores as `plan` was shown to a person. `unfinished` is the restore that did not end, if there is
/// one: this one takes its place, and with it the knowledge of what ran before, and of what is half.
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
    if let Some(journal) = &unfinished {
        let left = || Left::untouched(journal);
        spec.covers(journal).map_err(|failure| RestoreFailure { failure, left: left() })?;
    }
    let limits = Limits::new(cancel.clone(), spec.deadline);
    let mut run = Run::new(spec, plan, site, ports, unfinished);
    match limits.apply(run.steps(lock, cancel)).await {
        Ok(databases) => Ok(RestoreReport {
            backup: spec.manifest.head.id.clone(),
            safety: run.journal.safety,
            databases,
            files: run.files,
            duration_seconds: began.elapsed().as_secs_f64(),
        }),
        Err(failure) => Err(RestoreFailure { failure, left: run.put_right().await }),
    }
}

/// Does `work` while `postgres` is a superuser, where it is none already, and takes that back on every path.
pub(crate) async fn as_superuser<T>(
    site: &dyn Site,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if !elevation::is_wanted(site).await? {
        return work.await;
    }
    let raised = elevation::raise(site).await?;
    let done = work.await;
    let ended = elevation::end(raised, site).await;
    let done = done?;
    ended.map(|()| done)
}
