//! A repository in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supakeep_flow::ports::{
    FailedFiles, Repository, RunLock, Space, StagedFile, StagedFiles, Staging, StoreError, Stored,
};
use supakeep_flow::redact::RedactionKey;
use supakeep_model::OffsetDateTime;
use supakeep_model::catalog::{Catalog, Unreadable};
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal::Journal;
use supakeep_model::manifest::{Manifest, ManifestError};
use supakeep_model::manifest_head::ManifestHead;
use supakeep_model::secret::Secret;
use supakeep_model::volume::StoppedContainers;

use crate::specs::START;

/// The files of one backup by path.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Default)]
struct Backup {
    manifest: Vec<u8>,
    files: Files,
}

#[derive(Debug)]
struct State {
    backups: BTreeMap<BackupId, Backup>,
    failed: BTreeMap<BackupId, Backup>,
    lent: BTreeMap<BackupId, Backup>,
    incoming: BTreeMap<BackupId, Files>,
    links: BTreeMap<String, BackupId>,
    journal: Option<Journal>,
    stopped: Option<StoppedContainers>,
    space: Space,
    /// Bytes that may still be written before the disk is full.
    room_bytes: usize,
}

impl State {
    fn find(&mut self, id: &BackupId) -> Result<&mut Backup, StoreError> {
        let places = [&mut self.backups, &mut self.failed, &mut self.lent];
        let found = places.into_iter().find_map(|place| place.get_mut(id));
        found.ok_or_else(|| StoreError::new(Code::BackupNotFound, format!("there is no backup {id}")))
    }
}

/// Keeps everything in memory, and shows it. Clones are the same repository.
#[derive(Debug, Clone)]
pub struct MemoryRepository {
    state: Arc<Mutex<State>>,
    locked: Arc<AtomicBool>,
    drilled: Arc<Mutex<Option<Option<BackupId>>>>,
}

impl Default for MemoryRepository {
    fn default() -> Self {
        let space = Space { free_bytes: 1 << 40, total_bytes: 1 << 41 };
        let state = State {
            journal: None,
            stopped: None,
            backups: BTreeMap::new(),
            failed: BTreeMap::new(),
            lent: BTreeMap::new(),
            incoming: BTreeMap::new(),
            links: BTreeMap::new(),
            space,
            room_bytes: usize::MAX,
        };
        MemoryRepository {
            state: Arc::new(Mutex::new(state)),
            locked: Arc::default(),
            drilled: Arc::default(),
        }
    }
}

impl MemoryRepository {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A repository that holds these records, without files.
    pub fn with(manifests: impl IntoIterator<Item = Manifest>) -> MemoryRepository {
        let repository = MemoryRepository::default();
        for manifest in manifests {
            let failed = manifest.head.outcome == supakeep_model::manifest_head::Outcome::Failed;
            let backup = Backup { manifest: manifest.to_json(), files: Files::new() };
            let mut state = repository.state();
            let place = if failed { &mut state.failed } else { &mut state.backups };
            place.insert(manifest.head.id, backup);
        }
        repository
    }

    /// Room that it claims to have.
    pub fn set_free_bytes(&self, free_bytes: u64) {
        self.state().space.free_bytes = free_bytes;
    }

    /// The disk is full after so many more bytes, wherever they are written.
    pub fn fill_after(&self, bytes: usize) {
        self.state().room_bytes = bytes;
    }

    /// The ids of all backups, failed runs not counted.
    pub fn ids(&self) -> Vec<String> {
        self.state().backups.keys().map(ToString::to_string).collect()
    }

    /// The ids of the records of failed runs.
    pub fn failed_ids(&self) -> Vec<String> {
        self.state().failed.keys().map(ToString::to_string).collect()
    }

    /// What is half-made.
    pub fn incoming_ids(&self) -> Vec<String> {
        self.state().incoming.keys().map(ToString::to_string).collect()
    }

    /// The links and where they point.
    pub fn links(&self) -> BTreeMap<String, String> {
        self.state().links.iter().map(|(name, id)| (name.clone(), id.to_string())).collect()
    }

    /// The files of a backup or a failed run, by path.
    pub fn files(&self, id: &str) -> BTreeMap<String, Vec<u8>> {
        let id: BackupId = id.parse().expect("a valid id");
        self.state().find(&id).map(|backup| backup.files.clone()).unwrap_or_default()
    }

    /// Changes a stored file, behind everybody's back.
    pub fn tamper(&self, id: &str, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let id: BackupId = id.parse().expect("a valid id");
        let mut state = self.state();
        let backup = state.find(&id).expect("a backup");
        change(backup.files.get_mut(path).expect("a file of it"));
    }

    /// Everything there is, to compare with later.
    pub fn shown(&self) -> String {
        format!("{:?}", self.state())
    }
}

struct MemoryLock(Arc<AtomicBool>);

impl RunLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

struct MemoryDrillLock(Arc<Mutex<Option<Option<BackupId>>>>);

impl RunLock for MemoryDrillLock {}

impl Drop for MemoryDrillLock {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Repository for MemoryRepository {
    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn writable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn first_start(&self) -> Result<OffsetDateTime, StoreError> {
        Ok(START)
    }

    fn identity(&self) -> Result<String, StoreError> {
        Ok("00000000".to_owned())
    }

    fn redaction_key(&self) -> Result<RedactionKey, StoreError> {
        Ok(Secret::new([7; 32]))
    }

    fn lock(&self) -> Result<Box<dyn RunLock>, StoreError> {
        if self.locked.swap(true, Ordering::SeqCst) {
            return Err(StoreError::new(Code::Busy, "the repository is locked by another run"));
        }
        let mut state = self.state();
        state.incoming.clear();
        let State { lent, journal, .. } = &mut *state;
        lent.retain(|id, _| journal.iter().flat_map(Journal::backups).any(|needed| needed == id));
        Ok(Box::new(MemoryLock(Arc::clone(&self.locked))))
    }

    fn lock_drill(&self, drilled: Option<&BackupId>) -> Result<Box<dyn RunLock>, StoreError> {
        let mut held = self.drilled.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Err(StoreError::new(Code::Busy, "a drill is going on"));
        }
        *held = Some(drilled.cloned());
        Ok(Box::new(MemoryDrillLock(Arc::clone(&self.drilled))))
    }

    fn in_use(&self) -> Result<BTreeSet<BackupId>, StoreError> {
        let held = self.drilled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids: BTreeSet<BackupId> = held.iter().flatten().cloned().collect();
        ids.extend(self.journal()?.iter().flat_map(Journal::backups).cloned());
        Ok(ids)
    }

    fn space(&self) -> Result<Space, StoreError> {
        Ok(self.state().space)
    }

    fn catalog(&self) -> Result<Catalog, StoreError> {
        let state = self.state();
        let mut heads = Vec::new();
        let mut unreadable = Vec::new();
        for (id, backup) in state.backups.iter().chain(&state.failed) {
            match ManifestHead::parse_whole(&backup.manifest) {
                Ok(head) => heads.push(Arc::new(head)),
                Err(error) => unreadable.push(Unreadable { folder: id.to_string(), error }),
            }
        }
        Ok(Catalog::new(heads, unreadable))
    }

    fn stage(&self, id: &BackupId) -> Result<Box<dyn Staging>, StoreError> {
        self.state().incoming.entry(id.clone()).or_default();
        Ok(Box::new(MemoryStaging { repository: self.clone(), id: id.clone() }))
    }

    fn manifest(&self, id: &BackupId) -> Result<Manifest, StoreError> {
        let mut state = self.state();
        let backup = state.find(id)?;
        Manifest::parse(&backup.manifest)
            .map_err(|error: ManifestError| StoreError::new(error.code(), error.to_string()))
    }

    fn open(&self, id: &BackupId, path: &str) -> Result<Stored, StoreError> {
        read(&self.state().find(id)?.files, path)
    }

    fn update(&self, id: &BackupId, change: &mut dyn FnMut(&mut Manifest)) -> Result<Manifest, StoreError> {
        let mut state = self.state();
        let backup = state.find(id)?;
        let mut manifest = Manifest::parse(&backup.manifest)
            .map_err(|error: ManifestError| StoreError::new(error.code(), error.to_string()))?;
        change(&mut manifest);
        backup.manifest = manifest.to_json();
        Ok(manifest)
    }

    fn attach(&self, id: &BackupId, name: &str, content: &[u8]) -> Result<(), StoreError> {
        check(name)?;
        self.state().find(id)?.files.insert(name.to_owned(), content.to_vec());
        Ok(())
    }

    fn remove(&self, id: &BackupId) -> Result<(), StoreError> {
        let mut state = self.state();
        state.find(id)?;
        let State { backups, failed, lent, .. } = &mut *state;
        [backups, failed, lent].into_iter().find_map(|place| place.remove(id));
        Ok(())
    }

    fn remove_failed_files(&self) -> Result<(), StoreError> {
        self.state().failed.values_mut().for_each(|record| record.files.clear());
        Ok(())
    }

    fn journal(&self) -> Result<Option<Journal>, StoreError> {
        Ok(self.state().journal.clone())
    }

    fn set_journal(&self, journal: Option<&Journal>) -> Result<(), StoreError> {
        let mut state = self.state();
        state.journal = journal.cloned();
        if journal.is_none() {
            state.lent.clear();
        }
        Ok(())
    }

    fn stopped(&self) -> Result<Option<StoppedContainers>, StoreError> {
        Ok(self.state().stopped.clone())
    }

    fn set_stopped(&self, stopped: Option<&StoppedContainers>) -> Result<(), StoreError> {
        self.state().stopped = stopped.cloned();
        Ok(())
    }

    fn link(&self, name: &str, target: Option<&BackupId>) -> Result<(), StoreError> {
        check(name)?;
        let mut state = self.state();
        match target {
            Some(id) => state.links.insert(name.to_owned(), id.clone()),
            None => state.links.remove(name),
        };
        Ok(())
    }
}

fn check(path: &str) -> Result<(), StoreError> {
    let inside = |component| matches!(component, Component::Normal(_));
    if path.is_empty() || !Path::new(path).components().all(inside) {
        return Err(StoreError::new(Code::ManifestDamaged, format!("{path:?} leads out of the folder")));
    }
    Ok(())
}

fn read(files: &Files, path: &str) -> Result<Stored, StoreError> {
    check(path)?;
    match files.get(path) {
        Some(bytes) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
        None => Err(StoreError::new(Code::RepositoryMissing, format!("there is no file {path}"))),
    }
}

struct MemoryStaging {
    repository: MemoryRepository,
    id: BackupId,
}

/// What becomes of what was staged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Committed,
    Lent,
    Failed(FailedFiles),
}

impl MemoryStaging {
    fn publish(self, manifest: &Manifest, end: End) -> Result<(), StoreError> {
        let manifest = manifest.to_json();
        let mut state = self.repository.state();
        if manifest.len() > state.room_bytes {
            return Err(StoreError::new(Code::RepositoryFull, "cannot write the manifest: the disk is full"));
        }
        let State { backups, failed, lent, incoming, .. } = &mut *state;
        let place = match end {
            End::Committed => backups,
            End::Lent => lent,
            End::Failed(_) => failed,
        };
        if place.contains_key(&self.id) {
            return Err(StoreError::new(
                Code::RepositoryIo,
                format!("there is a backup {} already", self.id),
            ));
        }
        let mut files = incoming.remove(&self.id).unwrap_or_default();
        match end {
            End::Failed(FailedFiles::Remove) => files.clear(),
            End::Failed(FailedFiles::Keep) => place.values_mut().for_each(|other| other.files.clear()),
            End::Committed | End::Lent => {}
        }
        place.insert(self.id.clone(), Backup { manifest, files });
        Ok(())
    }
}

impl Staging for MemoryStaging {
    fn files(&self) -> Arc<dyn StagedFiles> {
        Arc::new(MemoryFiles { repository: self.repository.clone(), id: self.id.clone() })
    }

    fn open(&self, path: &str) -> Result<Stored, StoreError> {
        let state = self.repository.state();
        read(state.incoming.get(&self.id).unwrap_or(&Files::new()), path)
    }

    fn commit(self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError> {
        self.publish(manifest, End::Committed)
    }

    fn lend(self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError> {
        self.publish(manifest, End::Lent)
    }

    fn fail(self: Box<Self>, manifest: &Manifest, files: FailedFiles) -> Result<(), StoreError> {
        self.publish(manifest, End::Failed(files))
    }
}

impl Drop for MemoryStaging {
    fn drop(&mut self) {
        self.repository.state().incoming.remove(&self.id);
    }
}

struct MemoryFiles {
    repository: MemoryRepository,
    id: BackupId,
}

impl StagedFiles for MemoryFiles {
    fn create(&self, path: &str) -> Result<Box<dyn StagedFile>, StoreError> {
        check(path)?;
        let mut state = self.repository.state();
        // A thread of a run that was given up may come too late.
        let gone = || StoreError::new(Code::RepositoryMissing, "the backup was thrown away");
        let files = state.incoming.get_mut(&self.id).ok_or_else(gone)?;
        if files.insert(path.to_owned(), Vec::new()).is_some() {
            return Err(StoreError::new(Code::RepositoryIo, format!("there is a file {path} already")));
        }
        let (repository, id) = (self.repository.clone(), self.id.clone());
        Ok(Box::new(MemoryFile { repository, id, path: path.to_owned() }))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let mut state = self.repository.state();
        let removed = state.incoming.get_mut(&self.id).and_then(|files| files.remove(path));
        let missing = || StoreError::new(Code::RepositoryMissing, format!("there is no file {path}"));
        removed.map(drop).ok_or_else(missing)
    }
}

struct MemoryFile {
    repository: MemoryRepository,
    id: BackupId,
    path: String,
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.repository.state();
        // As a disk does: what still fits is written, and the next call fails.
        let fits = bytes.len().min(state.room_bytes);
        if fits == 0 && !bytes.is_empty() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        state.room_bytes -= fits;
        // Thrown away when the run is over and a writer is still at it.
        if let Some(file) = state.incoming.get_mut(&self.id).and_then(|files| files.get_mut(&self.path)) {
            file.extend_from_slice(&bytes[..fits]);
        }
        Ok(fits)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl StagedFile for MemoryFile {
    fn sync(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}
