//! Putting Redis servers back: stopped, given the file, started, and their keys counted.

use std::io::Cursor;
use std::sync::Arc;

use serde::Serialize;
use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::manifest::Manifest;
use supakeep_model::volume::RedisRecord;
use tar::{EntryType, Header};
use tokio::io::AsyncReadExt as _;

use super::files::{opener, told};
use crate::backup::Ports;
use crate::failure::Failure;
use crate::folder::answer;
use crate::folder::order::{Task, UnpackReport};
use crate::kill_point::kill_point;
use crate::ports::{Access, Container, Fed, Mounted, Place, Service, Stored};
use crate::redis::{RdbPlace, Redis, RedisSpec};
use crate::stopped::{start_again, stop_all, stoppable};

const BLOCK: u64 = 512;
/// What a server's file has where there was none yet.
const MODE: u32 = 0o644;

/// A Redis server that is put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRedis {
    /// Its service.
    pub service: String,
    /// How many keys it has, which are lost.
    pub has_keys: u64,
    /// How many it gets.
    pub keys: u64,
    #[serde(skip)]
    running: Service,
    #[serde(skip)]
    place: Place,
    /// Below the place.
    #[serde(skip)]
    path: String,
    #[serde(skip)]
    owner: (u32, u64, u64),
    #[serde(skip)]
    record: RedisRecord,
    #[serde(skip)]
    artifact: Artifact,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RedisReport {
    /// Its service.
    pub service: String,
    /// How many keys it has now.
    pub keys: u64,
    /// What differs from what the backup recorded.
    pub differences: Vec<String>,
}

/// What would be done. Nothing is touched.
pub async fn plan_redis_restore(
    manifest: &Manifest,
    spec: &RedisSpec,
    ports: &Ports,
) -> Result<Vec<PlannedRedis>, Failure> {
    if manifest.head.redis.is_empty() {
        return Err(Failure::new(Code::RedisFailed, format!("{} has no Redis server", manifest.head.id)));
    }
    let all = ports.containers.containers().await?;
    let mut planned = Vec::new();
    for record in &manifest.head.redis {
        planned.push(plan_one(manifest, record, &all, spec, ports).await?);
    }
    Ok(planned)
}

async fn plan_one(
    manifest: &Manifest,
    record: &RedisRecord,
    all: &[Container],
    spec: &RedisSpec,
    ports: &Ports,
) -> Result<PlannedRedis, Failure> {
    let name = &record.service;
    let mut found = all.iter().filter(|container| container.belongs && container.service.name == *name);
    let refuse = |what: String| Failure::new(Code::RedisFailed, what);
    let container = found.next().ok_or_else(|| refuse(format!("the stack has no service {name}")))?;
    if !container.service.is_running {
        return Err(refuse(format!("{name} does not run; start it, and it tells where its file goes")));
    }
    let redis = Redis { containers: &*ports.containers, container: stoppable(&container.service), spec };
    if redis.setting("appendonly").await? != "no" {
        return Err(redis.failed(
            "appendonly is yes: when it starts it would read its append-only file, and not the backup. Start it with appendonly no, move its appendonlydir aside, restore, and then `CONFIG SET appendonly yes`",
        ));
    }
    let place = redis.place().await?;
    let (mount, path) = below(&container.mounts, &place).ok_or_else(|| {
        redis.failed(format!("{} is in no volume: it is gone with the container", place.folder))
    })?;
    let is_it = |artifact: &&Artifact| artifact.part == Part::Redis && artifact.of.as_ref() == Some(name);
    let artifact = manifest.artifacts.iter().find(is_it).ok_or_else(|| {
        Failure::new(Code::ManifestDamaged, format!("{} names no file of {name}", manifest.head.id))
    })?;
    Ok(PlannedRedis {
        service: name.clone(),
        has_keys: redis.keys().await?,
        keys: record.keys,
        running: container.service.clone(),
        place: mount,
        path,
        owner: owner(&redis, &place).await?,
        record: record.clone(),
        artifact: artifact.clone(),
    })
}

/// Where of what is mounted a file is.
fn below(mounts: &[Mounted], place: &RdbPlace) -> Option<(Place, String)> {
    let path = place.path();
    let rest = |mount: &Mounted| {
        let rest = path.strip_prefix(mount.at.trim_end_matches('/'))?.strip_prefix('/')?;
        Some(rest.to_owned())
    };
    let found = mounts.iter().filter_map(|mount| Some((mount, rest(mount)?)));
    let (mount, rest) = found.min_by_key(|(_, rest)| rest.len())?;
    Some((mount.place.clone(), rest))
}

/// Mode and owner of the file that is there, or of the folder it goes into.
async fn owner(redis: &Redis<'_>, place: &RdbPlace) -> Result<(u32, u64, u64), Failure> {
    let stat = async |format: &str, path: &str| redis.run(&["stat", "-c", format, path]).await;
    let (said, mode) = match stat("%a %u %g", &place.path()).await {
        Ok(said) => (said, None),
        Err(_) => (stat("%a %u %g", &place.folder).await?, Some(MODE)),
    };
    let mut words = said.split_whitespace();
    let mut number = |radix| words.next().and_then(|word| u64::from_str_radix(word, radix).ok());
    let (found, user, group) = (number(8), number(10), number(10));
    match (found.and_then(|mode| u32::try_from(mode).ok()), user, group) {
        (Some(found), Some(user), Some(group)) => Ok((mode.unwrap_or(found), user, group)),
        _ => Err(redis.failed(format!("stat says {said:?}"))),
    }
}

/// Puts them back. The caller holds the lock, and calls [`start_again`] where this does not come back.
pub async fn restore_redis(
    manifest: &Manifest,
    planned: &[PlannedRedis],
    spec: &RedisSpec,
    ports: &Ports,
) -> Result<Vec<RedisReport>, Failure> {
    let (repository, containers) = (&*ports.repository, &*ports.containers);
    let services: Vec<_> = planned.iter().map(|one| one.running.clone()).collect();
    enter(manifest, ports, Phase::StopServices, "", None);
    let reason = format!("a restore of Redis of {}", manifest.head.id);
    let filled = match stop_all(&reason, &services, repository, containers).await {
        Ok(()) => {
            kill_point("restore-redis-stopped");
            fill(manifest, planned, ports).await
        }
        Err(failure) => Err(failure),
    };
    enter(manifest, ports, Phase::StartServices, "", None);
    let started = start_again(repository, containers).await;
    filled?;
    started?;
    let mut reports = Vec::new();
    for one in planned {
        enter(manifest, ports, Phase::Compare, &one.service, None);
        let redis = Redis { containers, container: stoppable(&one.running), spec };
        redis.loaded().await?;
        let keys = redis.keys().await?;
        // Those that go by themselves may be gone.
        let expected = one.record.keys.saturating_sub(one.record.expires)..=one.record.keys;
        let differs = (!expected.contains(&keys)).then(|| {
            format!("{}: {} keys were recorded, and there are {keys}", one.service, one.record.keys)
        });
        reports.push(RedisReport {
            service: one.service.clone(),
            keys,
            differences: differs.into_iter().collect(),
        });
    }
    Ok(reports)
}

async fn fill(manifest: &Manifest, planned: &[PlannedRedis], ports: &Ports) -> Result<(), Failure> {
    ports.porters.sweep().await?;
    let places: Vec<_> = planned.iter().map(|one| one.place.clone()).collect();
    let porter = ports.porters.open(&places, Access::Write).await?;
    for (at, one) in planned.iter().enumerate() {
        enter(manifest, ports, Phase::RestoreFiles, &one.service, Some(one.record.bytes));
        let stored = opener(manifest, &one.artifact, &ports.repository)()?;
        let stored = archive(one, manifest, told(stored, manifest, Arc::clone(&ports.observer)))?;
        let stream = porter.start(at, &Task::Unpack, None, Some(Fed { stored, bytes: None })).await?;
        let unpacked = answer::<UnpackReport>(stream, &mut |_, _| Ok(())).await;
        unpacked.map_err(|error| Failure::from(error).while_doing(&one.service))?;
    }
    Ok(porter.close().await?)
}

/// An archive of the file alone: it is put beside its place and renamed into it, like any file.
fn archive(one: &PlannedRedis, manifest: &Manifest, stored: Stored) -> Result<Stored, Failure> {
    let bytes = one.artifact.source_bytes;
    let (mode, user, group) = one.owner;
    let mut header = Header::new_ustar();
    let named = header.set_path(&one.path);
    named.map_err(|error| Failure::new(Code::RedisFailed, format!("{}: {error}", one.path)))?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(user);
    header.set_gid(group);
    header.set_size(bytes);
    header.set_mtime(manifest.head.started.unix_timestamp().max(0).cast_unsigned());
    header.set_cksum();
    let padding = bytes.next_multiple_of(BLOCK) - bytes;
    let end = vec![0; usize::try_from(padding + 2 * BLOCK).unwrap_or_default()];
    let whole = Cursor::new(header.as_bytes().to_vec()).chain(stored).chain(Cursor::new(end));
    Ok(Box::new(whole))
}

fn enter(manifest: &Manifest, ports: &Ports, phase: Phase, subject: &str, bytes: Option<u64>) {
    ports.observer.observe(&RunEvent::Entered {
        id: manifest.head.id.clone(),
        phase,
        subject: subject.to_owned(),
        expected_bytes: bytes,
    });
}
