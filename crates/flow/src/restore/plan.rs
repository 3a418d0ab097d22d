//! What a restore would do, and what stands in its way; nothing is touched to find out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use supakeep_model::code::Code;
use supakeep_model::dump::Scope;
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::quantity::show_bytes;

use super::{RestoreSpec, globals};
use crate::failure::Failure;
use crate::ports::{Repository, Service, Site};

/// A database that is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDatabase {
    /// Its name.
    pub name: String,
    /// Its size on the server's disk when it was backed up.
    pub size_bytes: u64,
    /// The size of the one that is dropped for it.
    pub replaces_bytes: Option<u64>,
}

/// What a restore would do.
#[derive(Debug, Clone, PartialEq)]
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
    /// Why it cannot be done.
    pub problems: Vec<String>,
    /// What a person should know before saying yes.
    pub notes: Vec<String>,
}

impl RestorePlan {
    /// The plan, if nothing stands in its way.
    pub fn possible(&self) -> Result<(), Failure> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Code::TargetUnfit, self.problems.join("; ")))
    }
}

/// What is asked of the server.
const QUERY: &str = "SELECT json_build_object(\
'extensions', (SELECT coalesce(json_object_agg(name, default_version), '{}') FROM pg_available_extensions), \
'sizes', (SELECT json_object_agg(datname, pg_database_size(oid)) FROM pg_database WHERE NOT datistemplate AND datallowconn), \
'preload', current_setting('shared_preload_libraries'))";

#[derive(Deserialize)]
struct Answer {
    extensions: BTreeMap<String, String>,
    sizes: BTreeMap<String, u64>,
    preload: String,
}

/// Looks at the target and says what a restore would do to it.
pub async fn plan(
    spec: &RestoreSpec,
    site: &dyn Site,
    repository: &dyn Repository,
) -> Result<RestorePlan, Failure> {
    let facts = site.server().facts();
    let answer: Answer =
        serde_json::from_str(site.sql("template1", QUERY).await?.trim()).map_err(|error| {
            Failure::new(Code::DatabaseRefused, format!("psql's answer makes no sense: {error}"))
        })?;
    let databases: Vec<_> = spec
        .databases()
        .map(|database| PlannedDatabase {
            name: database.name.clone(),
            size_bytes: database.size_bytes,
            replaces_bytes: answer.sizes.get(&database.name).copied(),
        })
        .collect();
    let restored: BTreeSet<_> = databases.iter().map(|database| database.name.as_str()).collect();
    let left_alone = answer.sizes.keys().filter(|name| !restored.contains(name.as_str())).cloned().collect();
    let mut plan = RestorePlan {
        target: facts.record.clone(),
        services: site.services().await?,
        databases,
        left_alone,
        replaces_root_key: false,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    plan.problems.extend(misfits(spec, &facts.record.server_version, &answer));
    plan.notes.extend(oddities(spec, &facts.record, &answer));
    if !facts.is_superuser {
        plan.problems.push("stack.user is not a superuser".to_owned());
    }
    check_space(&mut plan, site.free_bytes().await?);
    if spec.is_whole() {
        check_root_key(&mut plan, spec, site, repository).await?;
    }
    Ok(plan)
}

fn major(version: &str) -> &str {
    version.split(['.', ' ']).next().unwrap_or(version)
}

fn misfits(spec: &RestoreSpec, version: &str, answer: &Answer) -> Vec<String> {
    let mut out = Vec::new();
    let recorded = &spec.manifest.head.stack.server_version;
    if major(recorded) != major(version) {
        out.push(format!("the backup is of PostgreSQL {recorded}, the server is {version}"));
    }
    if spec.manifest.head.dump.scope == Scope::Data {
        out.push("the backup holds rows without definitions: a database cannot be made of it".to_owned());
    }
    if let Some(only) = spec.only_database.as_deref().filter(|only| spec.manifest.database(only).is_none()) {
        let there: Vec<_> = spec.manifest.databases.iter().map(|database| database.name.as_str()).collect();
        out.push(format!("the backup has no database {only}; it has {}", there.join(", ")));
    }
    let missing: BTreeSet<_> = spec
        .databases()
        .flat_map(|database| &database.extensions)
        .filter(|extension| !answer.extensions.contains_key(&extension.name))
        .map(|extension| format!("{} {}", extension.name, extension.version))
        .collect();
    if !missing.is_empty() {
        let missing: Vec<_> = missing.into_iter().collect();
        out.push(format!("the server does not have the extensions {}", missing.join(", ")));
    }
    out
}

fn oddities(spec: &RestoreSpec, target: &StackRecord, answer: &Answer) -> Vec<String> {
    let mut out = Vec::new();
    let recorded = &spec.manifest.head.stack;
    if recorded.system_identifier != target.system_identifier {
        out.push(
            "the server is another one than the backup's: its own service passwords and app.settings stay"
                .to_owned(),
        );
    }
    let preload = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let setting =
        spec.manifest.server_settings.iter().find(|setting| setting.name == "shared_preload_libraries");
    let there = preload(&answer.preload);
    let missing: Vec<_> = setting
        .map(|setting| preload(&setting.value))
        .unwrap_or_default()
        .into_iter()
        .filter(|library| !there.contains(library))
        .collect();
    if !missing.is_empty() {
        out.push(format!("the server does not preload {}", missing.join(", ")));
    }
    if !spec.manifest.head.is_good() {
        out.push("the backup is not a good one: it is suspect, or its last verification failed".to_owned());
    }
    out
}

/// Room for indexes being built and for the write-ahead log, beside the data itself.
const MARGIN_BYTES: u64 = 256 << 20;

fn check_space(plan: &mut RestorePlan, free_bytes: u64) {
    let needed: u64 = plan.databases.iter().map(|database| database.size_bytes).sum::<u64>() + MARGIN_BYTES;
    let freed: u64 = plan.databases.iter().filter_map(|database| database.replaces_bytes).sum();
    if free_bytes.saturating_add(freed) < needed {
        plan.problems.push(format!(
            "the database's disk has {} free and {} in the databases that are replaced; {} are needed",
            show_bytes(free_bytes),
            show_bytes(freed),
            show_bytes(needed)
        ));
    }
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
