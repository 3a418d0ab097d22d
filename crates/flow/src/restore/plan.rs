//! What a restore would do, and what stands in its way; nothing is touched to find out.

mod target;

use std::collections::BTreeSet;

use serde::Serialize;
use supakeep_model::code::Code;
use supakeep_model::dump::Scope;
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::quantity::show_bytes;

use super::content::archive_bytes;
use super::files::{PlannedFiles, check_holders, plan_files};
use super::waves::waves;
use super::{RestoreSpec, globals};
use crate::backup::Ports;
use crate::failure::Failure;
use crate::ports::{Repository, Service, Site};
use target::Target;

/// A database that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedDatabase {
    /// Its name.
    pub name: String,
    /// Its size on the server's disk when it was backed up.
    pub size_bytes: u64,
    /// The size of the one that is dropped for it.
    pub replaces_bytes: Option<u64>,
}

/// What a restore would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestorePlan {
    /// Where it goes.
    pub target: StackRecord,
    /// The stack's services, those that others wait for first.
    pub services: Vec<Service>,
    /// What is dropped and made again.
    pub databases: Vec<PlannedDatabase>,
    /// Databases of the server that the backup does not have, or that were not asked for.
    pub left_alone: Vec<String>,
    /// Whether another root key is put in place.
    pub replaces_root_key: bool,
    /// The files that are put back.
    pub files: Vec<PlannedFiles>,
    /// Why it cannot be done.
    pub problems: Vec<String>,
    /// What a person should know before saying yes.
    pub notes: Vec<String>,
}

impl RestorePlan {
    /// The plan, if nothing stands in its way.
    pub fn possible(&self) -> Result<(), Failure> {
        possible(&self.problems)
    }

    /// The databases that are there and are dropped.
    pub fn replaced(&self) -> Vec<String> {
        let replaced = self.databases.iter().filter(|database| database.replaces_bytes.is_some());
        replaced.map(|database| database.name.clone()).collect()
    }
}

/// Nothing, if there are no problems.
pub(super) fn possible(problems: &[String]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::TargetUnfit, problems.join("; ")))
}

/// Looks at a live stack and says what a restore would do to it.
pub async fn plan(spec: &RestoreSpec, site: &dyn Site, ports: &Ports) -> Result<RestorePlan, Failure> {
    let repository = &*ports.repository;
    let target = Target::look(site).await?;
    let facts = site.server().facts();
    let mut problems = misfits(spec, site, &target).await?;
    problems.extend(losses(spec));
    problems.extend(target.unmakeable(spec, site, repository).await?);
    let databases = databases(spec, &target);
    problems.extend(too_little_room(&databases, site.free_bytes().await?));
    let (mut files, mut notes) = (Vec::new(), notes(spec, &facts.record, &target));
    if !spec.files.parts.is_empty() {
        let (planned, missing) =
            plan_files(&spec.files.parts, &spec.manifest, &ports.porters.layout().await?);
        check_holders(&spec.manifest, &planned, repository).await?;
        if spec.files.is_asked {
            files = planned;
            problems.extend(missing);
        } else if missing.is_empty() {
            files = planned;
        } else {
            notes.push(format!("FILES ARE NOT RESTORED: {}", missing.join("; ")));
        }
    }
    let restored: BTreeSet<_> = databases.iter().map(|database| database.name.as_str()).collect();
    let left_alone = target.sizes.keys().filter(|name| !restored.contains(name.as_str())).cloned().collect();
    let mut plan = RestorePlan {
        target: facts.record.clone(),
        services: waves(site.services().await?).concat(),
        databases,
        left_alone,
        replaces_root_key: false,
        files,
        problems,
        notes,
    };
    if spec.is_whole() {
        check_root_key(&mut plan, spec, site, repository).await?;
    }
    Ok(plan)
}

/// What keeps a backup from being restored into a server that was made for it, in which nothing can be lost.
/// What else is wrong with it is what a drill is there to find out.
pub(crate) async fn fits(spec: &RestoreSpec, site: &dyn Site) -> Result<(), Failure> {
    let target = Target::look(site).await?;
    let mut problems = misfits(spec, site, &target).await?;
    problems.extend(too_little_room(&databases(spec, &target), site.free_bytes().await?));
    possible(&problems)
}

fn databases(spec: &RestoreSpec, target: &Target) -> Vec<PlannedDatabase> {
    let planned = spec.databases().map(|database| PlannedDatabase {
        name: database.name.clone(),
        size_bytes: database.size_bytes,
        replaces_bytes: target.sizes.get(&database.name).copied(),
    });
    planned.collect()
}

/// The major version of PostgreSQL.
pub(crate) fn major(version: &str) -> &str {
    version.split(['.', ' ']).next().unwrap_or(version)
}

/// Why a backup of PostgreSQL `recorded` is not for a server of version `there`, if it is not.
pub fn other_version(recorded: &str, there: &str) -> Option<String> {
    (major(recorded) != major(there))
        .then(|| format!("the backup is of PostgreSQL {recorded}, the server is {there}"))
}

async fn misfits(spec: &RestoreSpec, site: &dyn Site, target: &Target) -> Result<Vec<String>, Failure> {
    let mut out = Vec::new();
    let facts = site.server().facts();
    out.extend(other_version(&spec.manifest.head.stack.server_version, &facts.record.server_version));
    if spec.manifest.head.dump.scope == Scope::Data {
        out.push("the backup holds rows without definitions: a database cannot be made of it".to_owned());
    }
    if let Some(only) = spec.only_database.as_deref().filter(|only| spec.manifest.database(only).is_none()) {
        let there: Vec<_> = spec.manifest.databases.iter().map(|database| database.name.as_str()).collect();
        out.push(format!("the backup has no database {only}; it has {}", there.join(", ")));
    }
    out.extend(target.missing_extensions(spec));
    if !facts.is_superuser {
        out.push("stack.user is not a superuser".to_owned());
    }
    let needed = spec.databases().map(|database| archive_bytes(&spec.manifest, database, spec.jobs)).max();
    out.extend(too_little_to_place(site, needed.unwrap_or(0)).await?);
    Ok(out)
}

/// Rows that would be gone afterwards, and that the backup cannot bring back.
fn losses(spec: &RestoreSpec) -> Option<String> {
    (spec.manifest.head.dump.scope == Scope::Schema).then(|| {
        "the backup holds definitions without rows: every row of these databases would be gone. `--into` a new database shows what it holds"
            .to_owned()
    })
}

fn notes(spec: &RestoreSpec, record: &StackRecord, target: &Target) -> Vec<String> {
    let mut out = Vec::new();
    let recorded = &spec.manifest.head.stack;
    let excluded = &spec.manifest.head.dump.exclude_table_data;
    if !excluded.is_empty() {
        out.push(format!(
            "ROWS WILL BE LOST: the backup was made without the rows of {} (exclude_table_data): these tables will be empty",
            excluded.join(", ")
        ));
    }
    if recorded.system_identifier != record.system_identifier {
        out.push(
            "the server is another one than the backup's: its own service passwords and app.settings stay"
                .to_owned(),
        );
    }
    out.extend(target.missing_libraries(&spec.manifest));
    out.extend(target.other_extensions(spec));
    out.extend(target.lost_slots(spec));
    if !spec.manifest.head.is_good() {
        out.push("the backup is not a good one: it is suspect, or its last verification failed".to_owned());
    }
    out
}

/// Room for indexes being built and for the write-ahead log, beside the data itself.
pub(super) const MARGIN_BYTES: u64 = 256 << 20;

fn too_little_room(databases: &[PlannedDatabase], free_bytes: u64) -> Option<String> {
    let needed: u64 = databases.iter().map(|database| database.size_bytes).sum::<u64>() + MARGIN_BYTES;
    let freed: u64 = databases.iter().filter_map(|database| database.replaces_bytes).sum();
    (free_bytes.saturating_add(freed) < needed).then(|| {
        format!(
            "the database's disk has {} free and {} in the databases that are replaced; {} are needed",
            show_bytes(free_bytes),
            show_bytes(freed),
            show_bytes(needed)
        )
    })
}

/// Why an archive of this size cannot be placed beside the server, where `pg_restore` reads it.
pub(super) async fn too_little_to_place(
    site: &dyn Site,
    needed_bytes: u64,
) -> Result<Option<String>, Failure> {
    if needed_bytes == 0 {
        return Ok(None);
    }
    let room = site.room().await?;
    Ok((room.free_bytes < needed_bytes).then(|| {
        format!(
            "the archive is placed in {} of the database's container, where {} are free; {} are needed",
            room.path,
            show_bytes(room.free_bytes),
            show_bytes(needed_bytes)
        )
    }))
}

async fn check_root_key(
    plan: &mut RestorePlan,
    spec: &RestoreSpec,
    site: &dyn Site,
    repository: &dyn Repository,
) -> Result<(), Failure> {
    let recorded = globals::root_key(&spec.manifest, repository).await?;
    let current = site.server().root_key().await?;
    let (recorded, current) =
        (recorded.as_ref().map(|key| key.expose()), current.as_ref().map(|key| key.expose()));
    match (recorded, current) {
        (Some(recorded), Some(current)) if recorded == current => {}
        (Some(_), _) => plan.replaces_root_key = true,
        (None, Some(_)) => plan.notes.push(
            "the backup has no root key for the vault: the server keeps its own, and old secrets may not open".to_owned(),
        ),
        (None, None) => {}
    }
    Ok(())
}
