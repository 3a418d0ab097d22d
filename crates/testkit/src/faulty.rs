//! A decorator that makes any repository fail at a given call.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use supakeep_flow::ports::{
    FailedFiles, Repository, RunLock, Space, StagedFile, StagedFiles, Staging, StoreError, Stored,
};
use supakeep_flow::redact::RedactionKey;
use supakeep_model::OffsetDateTime;
use supakeep_model::catalog::Catalog;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal::Journal;
use supakeep_model::manifest::Manifest;
use supakeep_model::volume::StoppedContainers;
use tokio::io::{AsyncRead, ReadBuf};

/// A call that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `Repository::prepare` and `writable`
    Prepare,
    /// `Repository::first_start`
    FirstStart,
    /// `Repository::identity`
    Identity,
    /// `Repository::redaction_key`
    RedactionKey,
    /// `Repository::lock`
    Lock,
    /// `Repository::space`
    Space,
    /// `Repository::catalog`
    Catalog,
    /// `Repository::stage`
    Stage,
    /// `Repository::manifest`
    Manifest,
    /// `Repository::open`
    Open,
    /// `Repository::update`
    Update,
    /// `Repository::remove`
    Remove,
    /// `Repository::remove_failed_files`
    RemoveFailedFiles,
    /// `Repository::set_journal`
    SetJournal,
    /// `Repository::set_stopped`
    SetStopped,
    /// `Repository::link`
    Link,
    /// `StagedFiles::create`
    Create,
    /// `Staging::open`
    OpenStaged,
    /// `Staging::commit`
    Commit,
    /// `Staging::fail`
    Fail,
    /// `Write::write` of a staged file
    Write,
    /// `StagedFile::sync`
    Sync,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With this code; a call that knows only errors of the file system gets one that stands for it.
    Code(Code),
    /// The file that is opened has the byte at this place changed.
    Flip(usize),
    /// Reading the file that is opened fails after so many bytes.
    Unreadable(usize),
    /// The call comes back when the repository is healed, as one to a file server that is gone.
    Hang,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<(Operation, usize, Fault)>,
    calls: BTreeMap<Operation, usize>,
}

/// A repository that fails when it is told to.
#[derive(Clone)]
pub struct FaultyRepository {
    inner: Arc<dyn Repository>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyRepository {
    /// Passes every call on to `inner`.
    pub fn around(inner: impl Repository + 'static) -> FaultyRepository {
        FaultyRepository { inner: Arc::new(inner), plan: Arc::default() }
    }

    /// The same, failing the `nth` call (counted from 1) of `operation`.
    pub fn failing(self, operation: Operation, nth: usize, fault: Fault) -> FaultyRepository {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).faults.push((operation, nth, fault));
        self
    }

    /// Fails every call of `operation` from now on.
    pub fn break_down(&self, operation: Operation, fault: Fault) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).faults.push((operation, 0, fault));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).faults.clear();
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: Operation) -> usize {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.calls.get(&operation).copied().unwrap_or(0)
    }

    fn fault(&self, operation: Operation) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = plan.calls.entry(operation).or_insert(0);
        *calls += 1;
        let nth = *calls;
        let due =
            |&&(what, when, _): &&(Operation, usize, Fault)| what == operation && (when == nth || when == 0);
        plan.faults.iter().find(due).map(|(_, _, fault)| *fault)
    }

    fn hang(&self, operation: Operation) {
        let hangs =
            |plan: &Plan| plan.faults.iter().any(|fault| fault.0 == operation && fault.2 == Fault::Hang);
        while hangs(&self.plan.lock().unwrap_or_else(PoisonError::into_inner)) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn check(&self, operation: Operation) -> Result<(), StoreError> {
        match self.fault(operation) {
            Some(Fault::Hang) => {
                self.hang(operation);
                Ok(())
            }
            Some(Fault::Code(code)) => Err(StoreError::new(code, format!("{operation:?} fails by the plan"))),
            _ => Ok(()),
        }
    }

    fn check_io(&self, operation: Operation) -> std::io::Result<()> {
        match self.fault(operation) {
            Some(Fault::Code(code)) => Err(io_kind(code).into()),
            _ => Ok(()),
        }
    }

    fn opened(
        &self,
        operation: Operation,
        open: impl FnOnce() -> Result<Stored, StoreError>,
    ) -> Result<Stored, StoreError> {
        match self.fault(operation) {
            Some(Fault::Code(code)) => Err(StoreError::new(code, format!("{operation:?} fails by the plan"))),
            Some(fault) => Ok(Box::new(Damaged { inner: open()?, fault, at: 0 })),
            None => open(),
        }
    }
}

/// The error of the file system that is known by `code`.
fn io_kind(code: Code) -> ErrorKind {
    match code {
        Code::RepositoryFull => ErrorKind::StorageFull,
        Code::RepositoryReadOnly => ErrorKind::ReadOnlyFilesystem,
        Code::RepositoryMissing => ErrorKind::NotFound,
        _ => ErrorKind::Other,
    }
}

impl Repository for FaultyRepository {
    fn prepare(&self) -> Result<(), StoreError> {
        self.check(Operation::Prepare)?;
        self.inner.prepare()
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.check(Operation::Prepare)?;
        self.inner.writable()
    }

    fn first_start(&self) -> Result<OffsetDateTime, StoreError> {
        self.check(Operation::FirstStart)?;
        self.inner.first_start()
    }

    fn identity(&self) -> Result<String, StoreError> {
        self.check(Operation::Identity)?;
        self.inner.identity()
    }

    fn redaction_key(&self) -> Result<RedactionKey, StoreError> {
        self.check(Operation::RedactionKey)?;
        self.inner.redaction_key()
    }

    fn lock(&self) -> Result<Box<dyn RunLock>, StoreError> {
        self.check(Operation::Lock)?;
        self.inner.lock()
    }

    fn lock_drill(&self, drilled: Option<&BackupId>) -> Result<Box<dyn RunLock>, StoreError> {
        self.check(Operation::Lock)?;
        self.inner.lock_drill(drilled)
    }

    fn in_use(&self) -> Result<BTreeSet<BackupId>, StoreError> {
        self.inner.in_use()
    }

    fn space(&self) -> Result<Space, StoreError> {
        self.check(Operation::Space)?;
        self.inner.space()
    }

    fn catalog(&self) -> Result<Catalog, StoreError> {
        self.check(Operation::Catalog)?;
        self.inner.catalog()
    }

    fn stage(&self, id: &BackupId) -> Result<Box<dyn Staging>, StoreError> {
        self.check(Operation::Stage)?;
        Ok(Box::new(FaultyStaging { inner: self.inner.stage(id)?, plan: self.clone() }))
    }

    fn manifest(&self, id: &BackupId) -> Result<Manifest, StoreError> {
        self.check(Operation::Manifest)?;
        self.inner.manifest(id)
    }

    fn open(&self, id: &BackupId, path: &str) -> Result<Stored, StoreError> {
        self.opened(Operation::Open, || self.inner.open(id, path))
    }

    fn update(&self, id: &BackupId, change: &mut dyn FnMut(&mut Manifest)) -> Result<Manifest, StoreError> {
        self.check(Operation::Update)?;
        self.inner.update(id, change)
    }

    fn attach(&self, id: &BackupId, name: &str, content: &[u8]) -> Result<(), StoreError> {
        self.check(Operation::Write)?;
        self.inner.attach(id, name, content)
    }

    fn remove(&self, id: &BackupId) -> Result<(), StoreError> {
        self.check(Operation::Remove)?;
        self.inner.remove(id)
    }

    fn remove_failed_files(&self) -> Result<(), StoreError> {
        self.check(Operation::RemoveFailedFiles)?;
        self.inner.remove_failed_files()
    }

    fn journal(&self) -> Result<Option<Journal>, StoreError> {
        self.inner.journal()
    }

    fn set_journal(&self, journal: Option<&Journal>) -> Result<(), StoreError> {
        self.check(Operation::SetJournal)?;
        self.inner.set_journal(journal)
    }

    fn stopped(&self) -> Result<Option<StoppedContainers>, StoreError> {
        self.inner.stopped()
    }

    fn set_stopped(&self, stopped: Option<&StoppedContainers>) -> Result<(), StoreError> {
        self.check(Operation::SetStopped)?;
        self.inner.set_stopped(stopped)
    }

    fn link(&self, name: &str, target: Option<&BackupId>) -> Result<(), StoreError> {
        self.check(Operation::Link)?;
        self.inner.link(name, target)
    }
}

struct FaultyStaging {
    inner: Box<dyn Staging>,
    plan: FaultyRepository,
}

impl Staging for FaultyStaging {
    fn files(&self) -> Arc<dyn StagedFiles> {
        Arc::new(FaultyFiles { inner: self.inner.files(), plan: self.plan.clone() })
    }

    fn open(&self, path: &str) -> Result<Stored, StoreError> {
        self.plan.opened(Operation::OpenStaged, || self.inner.open(path))
    }

    fn commit(self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError> {
        self.plan.check(Operation::Commit)?;
        self.inner.commit(manifest)
    }

    fn lend(self: Box<Self>, manifest: &Manifest) -> Result<(), StoreError> {
        self.plan.check(Operation::Commit)?;
        self.inner.lend(manifest)
    }

    fn fail(self: Box<Self>, manifest: &Manifest, files: FailedFiles) -> Result<(), StoreError> {
        self.plan.check(Operation::Fail)?;
        self.inner.fail(manifest, files)
    }
}

struct FaultyFiles {
    inner: Arc<dyn StagedFiles>,
    plan: FaultyRepository,
}

impl StagedFiles for FaultyFiles {
    fn create(&self, path: &str) -> Result<Box<dyn StagedFile>, StoreError> {
        self.plan.check(Operation::Create)?;
        Ok(Box::new(FaultyFile { inner: self.inner.create(path)?, plan: self.plan.clone() }))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.inner.remove(path)
    }
}

struct FaultyFile {
    inner: Box<dyn StagedFile>,
    plan: FaultyRepository,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.plan.check_io(Operation::Write)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl StagedFile for FaultyFile {
    fn sync(self: Box<Self>) -> std::io::Result<()> {
        self.plan.check_io(Operation::Sync)?;
        self.inner.sync()
    }
}

/// A file whose bytes are not what was written, or that cannot be read to its end.
struct Damaged {
    inner: Stored,
    fault: Fault,
    at: usize,
}

impl AsyncRead for Damaged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if matches!(this.fault, Fault::Unreadable(place) if place <= this.at) {
            return Poll::Ready(Err(std::io::Error::other("the disk cannot read this place")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = &mut buf.filled_mut()[before..];
        if let Fault::Flip(place) = this.fault
            && let Some(byte) = place.checked_sub(this.at).and_then(|place| read.get_mut(place))
        {
            *byte ^= 0x20;
        }
        this.at += read.len();
        Poll::Ready(Ok(()))
    }
}
