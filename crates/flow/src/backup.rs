//! One backup from end to end.

mod aside;
mod draft;
mod dump;
mod files;
mod known;
mod objects;
mod redis;
mod source;
mod volumes;

use std::sync::Arc;

use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, DumpSpec};
use supakeep_model::event::{Phase, RunEvent, RunRef};
use supakeep_model::gate::{GateSpec, suspicions};
use supakeep_model::health::needed_bytes;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{Build, ManifestHead, Outcome, Suspicion, Trigger};
use supakeep_model::naming::{Kind, backup_id};
use supakeep_model::parts::{PartName, Parts, Wish};
use supakeep_model::quantity::show_bytes;
use supakeep_model::zone::Zone;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::cancel::Limits;
use crate::failure::Failure;
use crate::kill_point::kill_point;
use crate::ports::{
    Clock, Containers, FailedFiles, Observer, Porters, Repository, RunLock, Server, Stack, Staging,
};
use crate::redis::RedisSpec;
use crate::stopped::{settle, start_again, tell};
use crate::verify::verify;
use draft::Draft;
pub use files::possible_files;
pub use redis::plan_redis;
pub use source::{TransportChoice, possible};
pub use volumes::{PlannedVolume, VolumesPlan, VolumesSpec, plan_volumes};
pub(crate) use volumes::{name_of, refuse_data, users};

/// How long ending a run's sessions on the server may take, after the run itself has failed.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(15);

/// What is to be backed up, and why.
#[derive(Debug, Clone)]
pub struct BackupSpec {
    /// The profile it belongs to.
    pub profile: Option<String>,
    /// What it is made for.
    pub kind: Kind,
    /// What started it.
    pub trigger: Trigger,
    /// What is in front of the time in its name.
    pub prefix: String,
    /// The label of its slot.
    pub label: Option<String>,
    /// Its slot.
    pub slot: Option<OffsetDateTime>,
    /// The zone of the time in its name.
    pub zone: Zone,
    /// What is asked of pg_dump.
    pub dump: DumpSpec,
    /// The databases; every non-template one when empty.
    pub databases: Vec<String>,
    /// What it is to hold.
    pub parts: Parts,
    /// How the storage service's files are kept.
    pub storage: StorageSpec,
    /// Which volumes are kept, where any are.
    pub volumes: VolumesSpec,
    /// Which Redis servers are kept, where `parts` says so.
    pub redis: RedisSpec,
    /// How dumps travel.
    pub transport: TransportChoice,
    /// How many threads compress.
    pub encoders: usize,
    /// When to be suspicious; `None` for backups that are compared with nothing.
    pub gate: Option<GateSpec>,
    /// Space below which no backup is started.
    pub min_free_bytes: u64,
    /// Whether vault secrets without a root key are an error.
    pub root_key_required: bool,
    /// The commit that the stack's folder is at.
    pub commit: CommitOf,
    /// The longest it may take.
    pub deadline: Duration,
    /// What makes it.
    pub build: Build,
}

/// How the storage service's files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageSpec {
    /// How the archive is compressed: pictures and films are compressed already.
    pub compression: Compression,
    /// After so many backups all files are stored again; 1 stores them with each.
    pub full_every: u32,
}

impl Default for StorageSpec {
    fn default() -> Self {
        StorageSpec { compression: Compression::Zstd(1), full_every: 30 }
    }
}

/// Tells the commit that the stack's folder is at, where that is known. It is asked for every backup: stacks
/// are updated while the daemon runs.
#[derive(Clone)]
pub struct CommitOf(Arc<dyn Fn() -> Option<String> + Send + Sync>);

impl CommitOf {
    /// As `read` tells it, from files that may be on a disk that does not answer.
    pub fn new(read: impl Fn() -> Option<String> + Send + Sync + 'static) -> CommitOf {
        CommitOf(Arc::new(read))
    }

    async fn read(&self) -> Option<String> {
        let read = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || read()).await.unwrap_or_default()
    }
}

impl std::fmt::Debug for CommitOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommitOf")
    }
}

/// What a backup needs from outside.
#[derive(Clone)]
pub struct Ports {
    /// The stack.
    pub stack: Arc<dyn Stack>,
    /// Whoever carries its files.
    pub porters: Arc<dyn Porters>,
    /// The containers around the database.
    pub containers: Arc<dyn Containers>,
    /// The repository.
    pub repository: Arc<dyn Repository>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who listens.
    pub observer: Arc<dyn Observer>,
}

/// Takes a backup. The head that is returned says how it ended; an `Err` means that it could not even
/// begin. The lock is asked for as a proof that the caller holds it.
pub async fn backup(
    spec: &BackupSpec,
    ports: &Ports,
    _lock: &dyn RunLock,
    cancel: &CancellationToken,
) -> Result<ManifestHead, Failure> {
    settle(&*ports.repository, &*ports.containers, &*ports.observer).await;
    let catalog = ports.repository.catalog()?;
    check_no_restore(spec, &*ports.repository)?;
    let started = spec.zone.local(ports.clock.now());
    let id = backup_id(&spec.prefix, started, |id| catalog.contains(id))
        .map_err(|message| Failure::new(Code::NameInvalid, message))?;
    let run = RunRef { id: id.clone(), profile: spec.profile.clone(), trigger: spec.trigger };
    ports.observer.observe(&RunEvent::Started { run, at: started });
    kill_point("backup-started");
    let needed = needed_bytes(&catalog, spec.profile.as_deref(), spec.min_free_bytes, started);
    let previous = spec
        .profile
        .as_deref()
        .and_then(|profile| catalog.newest_good(Some(profile), started))
        .map(|head| head.id.clone());
    let mut draft = Draft::new(spec, id.clone(), started);
    let mut server = None;
    let limits = Limits::new(cancel.clone(), spec.deadline);
    let made = limits.apply(make(spec, ports, &mut draft, &mut server, needed)).await;
    if made.is_err() {
        end_sessions(server.as_deref()).await;
        // Whatever kept it from starting them itself.
        tell(start_again(&*ports.repository, &*ports.containers).await, &*ports.observer);
    }
    let head = match made {
        Ok(staging) => finish(spec, ports, draft, staging, previous.as_ref(), &limits).await,
        Err(failure) => record_failure(ports, draft, failure),
    };
    ports.observer.observe(&RunEvent::Ended { head: Box::new(head.clone()) });
    Ok(head)
}

/// Everything up to the last byte of the last file.
async fn make(
    spec: &BackupSpec,
    ports: &Ports,
    draft: &mut Draft,
    server_slot: &mut Option<Box<dyn Server>>,
    needed_bytes: u64,
) -> Result<Box<dyn Staging>, Failure> {
    check_space(&*ports.repository, needed_bytes)?;
    enter(ports, &draft.head.id, Phase::Connect, "", None);
    let connected = ports.stack.connect(draft.head.id.as_str()).await?;
    let server = &**server_slot.insert(connected);
    draft.describe(server.facts(), spec.commit.read().await);
    kill_point("backup-connected");
    source::check_privileges(server.facts())?;
    let ended = server.terminate().await?;
    if ended > 0 {
        draft
            .head
            .warnings
            .push(format!("ended {ended} sessions that an earlier, unfinished run had left on the server"));
    }
    let databases = source::databases(&spec.databases, server.facts())?;
    for left_out in server.facts().databases.iter().filter(|name| !databases.contains(name)) {
        let name = left_out.escape_debug();
        draft
            .head
            .warnings
            .push(format!("database {name} is not in this backup: stack.databases leaves it out"));
    }
    for closed in &server.facts().closed_databases {
        let name = closed.escape_debug();
        draft.head.warnings.push(format!("database {name} is not in this backup: it takes no connections"));
    }
    if spec.parts != Parts::database() {
        // Only who holds the lock may: the porter of another run would be among them.
        ports.porters.sweep().await?;
    }
    // Before a dump that may take hours: what is wanted and not there is a failure.
    let mut files = files::plan(&spec.parts, &*ports.porters).await?;
    draft.head.warnings.append(&mut files.notes);
    let mut volumes = VolumesPlan::default();
    if spec.volumes.is_wanted(&spec.parts) {
        volumes = plan_volumes(&spec.volumes, &*ports.containers).await?;
        draft.head.warnings.append(&mut volumes.notes);
    }
    let mut redis = Vec::new();
    if spec.parts.wish(PartName::Redis) != Wish::No {
        redis = plan_redis(&spec.redis, &*ports.containers).await?;
    }
    let mut staging = ports.repository.stage(&draft.head.id)?;
    let dumping = dump::Dumping { spec, ports, server };
    dumping.globals(draft, &mut *staging).await?;
    let mut objects = None;
    for database in &databases {
        let wants_objects = objects.is_none() && files.storage_prefix().is_some();
        let rows = dumping.database(draft, &mut *staging, database, wants_objects).await?;
        objects = objects.or(rows);
    }
    dumping.root_key(draft, &mut *staging).await?;
    // After the dump: a file that comes between is one that no row tells of, and none is missing.
    dumping.files(draft, &mut *staging, &mut files, objects).await?;
    dumping.redis(draft, &mut *staging, &redis).await?;
    dumping.volumes(draft, &mut *staging, &volumes).await?;
    draft.finish_dump(spec.zone.local(ports.clock.now()));
    kill_point("backup-dumped");
    Ok(staging)
}

/// Verification, the gate and the commit.
async fn finish(
    spec: &BackupSpec,
    ports: &Ports,
    draft: Draft,
    staging: Box<dyn Staging>,
    previous: Option<&BackupId>,
    limits: &Limits,
) -> ManifestHead {
    let mut manifest = draft.into_manifest();
    enter(ports, &manifest.head.id, Phase::Verify, "", Some(manifest.head.totals.stored_bytes));
    let proof = {
        let id = manifest.head.id.clone();
        let progress =
            |source_bytes| ports.observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
        let check = verify(&manifest, |artifact| staging.open(&artifact.path), &*ports.clock, progress);
        limits.apply(async { Ok(check.await?) }).await
    };
    let proof = match proof {
        Ok(proof) => proof,
        Err(failure) => return keep_failed(manifest, staging, failure, FailedFiles::Remove),
    };
    kill_point("backup-verified");
    manifest.head.verified = Some(proof.clone());
    if !proof.ok {
        let failure = Failure::new(Code::VerifyFailed, proof.differences.join("; "));
        return keep_failed(manifest, staging, failure, FailedFiles::Keep);
    }
    judge(spec, &*ports.repository, &mut manifest, previous);
    enter(ports, &manifest.head.id, Phase::Commit, "", None);
    if let Err(error) = staging.commit(&manifest) {
        return keep_record(ports, manifest, error.into());
    }
    kill_point("backup-committed");
    if manifest.head.outcome == Outcome::Complete
        && let Err(error) = ports.repository.remove_failed_files()
    {
        let message = format!("cannot remove the files of an earlier run that failed: {error}");
        ports.observer.observe(&RunEvent::Fault { code: error.code, message });
    }
    if let Err(failure) = link(&*ports.repository, ports.clock.now()) {
        // The backup is made; a link that does not point at it is no reason to call it failed.
        let message = format!("cannot update the links to the latest backups: {failure}");
        ports.observer.observe(&RunEvent::Fault { code: failure.code, message });
    }
    manifest.head
}

/// Compares with the last good backup of the profile, as it was when the run began. One that cannot be
/// read is a reason to be suspicious: what cannot be compared must not become the reason to remove others.
fn judge(
    spec: &BackupSpec,
    repository: &dyn Repository,
    manifest: &mut Manifest,
    previous: Option<&BackupId>,
) {
    let (Some(gate), Some(previous)) = (&spec.gate, previous) else { return };
    let reasons = match repository.manifest(previous) {
        _ if !gate.enabled => Vec::new(),
        Ok(previous) => suspicions(&previous, manifest, gate),
        Err(error) => vec![format!("it cannot be compared with {previous}: {error}")],
    };
    if !reasons.is_empty() {
        manifest.head.outcome = Outcome::Suspect;
        manifest.head.suspicion =
            Some(Suspicion { compared_with: previous.clone(), reasons, accepted_at: None });
    }
}

/// Points `latest` and `latest-<profile>` at the newest good backups; `latest` at one that is a whole
/// database again, if there is one.
pub fn link(repository: &dyn Repository, now: OffsetDateTime) -> Result<(), Failure> {
    link_with(repository, now, [])
}

/// The same, and for profiles of which nothing may be left: their links go with their last backup.
pub fn link_with<'a>(
    repository: &dyn Repository,
    now: OffsetDateTime,
    gone: impl IntoIterator<Item = &'a str>,
) -> Result<(), Failure> {
    let catalog = repository.catalog()?;
    let newest = |profile: Option<&str>| catalog.newest_good(profile, now).map(|head| &head.id);
    let mut profiles: std::collections::BTreeSet<_> =
        catalog.entries().filter_map(|head| head.profile.clone()).collect();
    profiles.extend(gone.into_iter().map(str::to_owned));
    let mut linked = repository.link("latest", catalog.latest(now).map(|head| &head.id));
    for profile in profiles {
        // A name that something else has taken is no reason to leave the others as they are.
        linked = linked.and(repository.link(&format!("latest-{profile}"), newest(Some(&profile))));
    }
    Ok(linked?)
}

/// The record of a run that failed before it could begin. It is kept nowhere; it is what everybody who
/// listens is told.
pub fn refused(spec: &BackupSpec, failure: &Failure, now: OffsetDateTime) -> ManifestHead {
    let started = spec.zone.local(now);
    let id = backup_id(&spec.prefix, started, |_| false)
        .or_else(|_| backup_id("backup", started, |_| false))
        .expect("a constant that is a valid prefix");
    failed(Draft::new(spec, id, started).into_manifest(), failure).head
}

fn record_failure(ports: &Ports, mut draft: Draft, failure: Failure) -> ManifestHead {
    draft.finish_dump(draft.head.started.max(ports.clock.now()));
    keep_record(ports, draft.into_manifest(), failure)
}

/// Keeps the record of a run whose files are gone already.
fn keep_record(ports: &Ports, manifest: Manifest, failure: Failure) -> ManifestHead {
    match ports.repository.stage(&manifest.head.id) {
        Ok(staging) => keep_failed(manifest, staging, failure, FailedFiles::Remove),
        Err(_) => failed(manifest, &failure).head,
    }
}

/// Keeps the record. Where even that fails, the failure that is being recorded is what counts.
fn keep_failed(
    manifest: Manifest,
    staging: Box<dyn Staging>,
    failure: Failure,
    files: FailedFiles,
) -> ManifestHead {
    let manifest = failed(manifest, &failure);
    if let Err(error) = staging.fail(&manifest, files) {
        tracing::warn!(code = %error.code, "cannot keep the record of a failed run: {error}");
    }
    manifest.head
}

fn failed(mut manifest: Manifest, failure: &Failure) -> Manifest {
    manifest.head.outcome = Outcome::Failed;
    manifest.head.error = Some(failure.record());
    manifest
}

/// What a restore has left half done is nothing to be backed up, and least of all a reason to prune.
fn check_no_restore(spec: &BackupSpec, repository: &dyn Repository) -> Result<(), Failure> {
    match repository.journal()? {
        Some(journal) if spec.trigger != Trigger::PreRestore => Err(Failure::new(
            Code::RestoreUnfinished,
            format!("the restore of {} has not ended", journal.backup),
        )),
        _ => Ok(()),
    }
}

async fn end_sessions(server: Option<&dyn Server>) {
    let Some(server) = server else { return };
    match tokio::time::timeout(CLEAN_UP, server.terminate()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::warn!(code = %error.code, "cannot end the run's sessions on the server: {error}")
        }
        Err(_) => {
            tracing::warn!("ending the run's sessions on the server takes too long; the next run will do it")
        }
    }
}

fn check_space(repository: &dyn Repository, needed_bytes: u64) -> Result<(), Failure> {
    let mut space = repository.space()?;
    if space.free_bytes < needed_bytes {
        repository.remove_failed_files()?;
        space = repository.space()?;
    }
    if space.free_bytes >= needed_bytes {
        return Ok(());
    }
    let (free, needed) = (show_bytes(space.free_bytes), show_bytes(needed_bytes));
    Err(Failure::new(
        Code::SpaceLow,
        format!(
            "{free} are free in the repository; {needed} are wanted (repository.min_free, or twice the last backup)"
        ),
    ))
}

fn enter(ports: &Ports, id: &BackupId, phase: Phase, subject: &str, expected_bytes: Option<u64>) {
    ports.observer.observe(&RunEvent::Entered {
        id: id.clone(),
        phase,
        subject: subject.to_owned(),
        expected_bytes,
    });
}
