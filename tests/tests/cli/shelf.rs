//! A repository with backups in it, made by the real code from a scripted stack: no engine is asked.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use supakeep_flow::backup::{BackupSpec, Ports, backup};
use supakeep_flow::ports::{Repository as _, RunLock, Silent, StackError};
use supakeep_model::code::Code;
use supakeep_model::manifest_head::{Outcome, Trigger};
use supakeep_model::{Duration, OffsetDateTime};
use supakeep_store::LocalRepository;
use supakeep_testkit::{Database, ScriptedPorters, ScriptedStack, TestClock, profile, recipe};
use supakeep_tests::{Keeper, without_starting};
use tokio_util::sync::CancellationToken;

/// The stack's name.
const STACK: &str = "supabase";
/// An address that nobody listens on.
const NO_ENGINE: &str = "tcp://127.0.0.1:9";

/// The binary, and a repository to run it on.
pub(crate) struct Shelf {
    /// The binary with an environment that leads to the repository, and to no engine and no daemon.
    pub(crate) keeper: Keeper,
    stack: ScriptedStack,
}

impl Shelf {
    /// An empty one.
    pub(crate) fn new() -> Shelf {
        let keeper = Keeper::for_project(STACK)
            .with("DOCKER_HOST", NO_ENGINE)
            .with("SUPAKEEP_STACK__WAIT", "1s")
            .with("SUPAKEEP_HTTP__LISTEN", "127.0.0.1:9");
        Shelf { keeper, stack: ScriptedStack::new(&[database(300)]) }
    }

    /// With a variable set.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Shelf {
        self.keeper.set(name, value);
        self
    }

    /// The repository as another process has it, at this time.
    fn open(&self, now: OffsetDateTime) -> LocalRepository {
        LocalRepository::new(self.keeper.repository(), STACK, "a test", Arc::new(TestClock::at(now)))
    }

    /// A backup of the profile `name`, so many hours old; returns its id.
    pub(crate) fn of_profile(&self, name: &str, hours_ago: i64) -> String {
        self.take(&recipe().asked_for(&profile(name, "0 2 * * *"), Trigger::Schedule), hours_ago)
    }

    /// A backup by hand.
    pub(crate) fn by_hand(&self, name: Option<&str>, hours_ago: i64) -> String {
        self.take(&recipe().by_hand(name), hours_ago)
    }

    /// The record of a run of `daily` that failed.
    pub(crate) fn failed(&self, hours_ago: i64) -> String {
        self.stack.refuse_snapshot("postgres", StackError::new(Code::DatabaseLost, "the server went away"));
        let id = self.of_profile("daily", hours_ago);
        self.stack.replace(database(300));
        id
    }

    /// A backup of `daily` that has lost most of its rows against the one before it.
    pub(crate) fn suspect(&self, hours_ago: i64) -> String {
        self.stack.replace(database(20));
        let id = self.of_profile("daily", hours_ago);
        self.stack.replace(database(300));
        id
    }

    fn take(&self, spec: &BackupSpec, hours_ago: i64) -> String {
        let then = OffsetDateTime::now_utc() - Duration::hours(hours_ago);
        let then = then.replace_nanosecond(0).expect("zero is in range");
        let ports = Ports {
            stack: Arc::new(self.stack.clone()),
            porters: Arc::new(ScriptedPorters::default()),
            containers: Arc::new(supakeep_testkit::ScriptedContainers::default()),
            repository: Arc::new(self.open(then)),
            clock: Arc::new(TestClock::at(then)),
            observer: Arc::new(Silent),
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let head = without_starting(|| {
            let lock = ports.repository.lock().expect("nobody else has it");
            runtime.block_on(backup(spec, &ports, &*lock, &CancellationToken::new())).expect("it can begin")
        });
        assert!(head.error.as_ref().is_none_or(|error| error.code == Code::DatabaseLost), "{:?}", head.error);
        assert_eq!(head.verified.is_some(), head.outcome != Outcome::Failed);
        head.id.to_string()
    }

    /// Holds the lock, as another run would. It is let go with [`without_starting`].
    pub(crate) fn locked(&self) -> Box<dyn RunLock> {
        self.open(OffsetDateTime::now_utc()).lock().expect("nobody else has it")
    }

    /// Makes a backup's dump another one than was written.
    pub(crate) fn damage(&self, id: &str) {
        let path = self.keeper.folder().join(id).join("postgres.sql.gz");
        let mut bytes = fs::read(&path).expect("a dump");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("room for a file");
    }

    /// Where the link `latest` leads.
    pub(crate) fn latest(&self) -> Option<PathBuf> {
        fs::read_link(self.keeper.folder().join("latest")).ok()
    }

    /// Everything in the repository, with its length; to see that nothing has changed.
    pub(crate) fn content(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut folders = vec![self.keeper.repository().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("our own folder").flatten() {
                let path = entry.path();
                let metadata = fs::symlink_metadata(&path).expect("it is there");
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                // Whoever takes the lock writes its name there.
                if entry.file_name() != ".lock" {
                    found.push((path, if metadata.is_file() { metadata.len() } else { 0 }));
                }
            }
        }
        found.sort();
        found
    }
}

/// A database with so many users.
fn database(users: usize) -> Database {
    Database::new("postgres").with("users", users).with("posts", 7)
}
