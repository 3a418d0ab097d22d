//! Everything that a run needs, in one place.

use std::collections::BTreeMap;
use std::sync::Arc;

use supakeep_flow::backup::{BackupSpec, Ports, backup};
use supakeep_flow::cycle::{Retention, backup_and_prune};
use supakeep_flow::ports::{Clock as _, Repository as _};
use supakeep_flow::recipe::Recipe;
use supakeep_model::Duration;
use supakeep_model::keep::KeepPolicy;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{ManifestHead, Trigger};
use supakeep_model::profile::Profile;
use supakeep_model::zone::Zone;
use tokio_util::sync::CancellationToken;

use crate::clock::TestClock;
use crate::containers::ScriptedContainers;
use crate::dump::Database;
use crate::faulty::{Fault, FaultyRepository, Operation};
use crate::memory::MemoryRepository;
use crate::porters::ScriptedPorters;
use crate::recorder::Recorder;
use crate::script::Script;
use crate::specs::{START, profile, recipe};
use crate::stack::ScriptedStack;

/// The stream of the first database's dump.
const CONTENT: &str = "content:postgres";

/// A stack, a repository that can be made to fail, a clock, and somebody who listens.
pub struct Trial {
    /// Has the databases `postgres` and `_supabase`.
    pub stack: ScriptedStack,
    /// Where its files are: nowhere.
    pub porters: ScriptedPorters,
    /// What is around its database: nothing.
    pub containers: ScriptedContainers,
    /// What the backups are in.
    pub memory: MemoryRepository,
    /// The same, as the run sees it.
    pub repository: FaultyRepository,
    /// Moves on by an hour after each run.
    pub clock: Arc<TestClock>,
    /// Who listens.
    pub recorder: Arc<Recorder>,
    /// The profile that is run: `daily`.
    pub profile: Profile,
    /// What all runs have in common.
    pub recipe: Recipe,
    /// Ends the run.
    pub cancel: CancellationToken,
}

impl Default for Trial {
    fn default() -> Self {
        Trial::with(MemoryRepository::default())
    }
}

impl Trial {
    /// A trial in a repository that holds something already.
    pub fn with(memory: MemoryRepository) -> Trial {
        let databases =
            [Database::new("postgres").with("users", 300).with("posts", 7), Database::new("_supabase")];
        Trial {
            stack: ScriptedStack::new(&databases),
            porters: ScriptedPorters::default(),
            containers: ScriptedContainers::default(),
            repository: FaultyRepository::around(memory.clone()),
            memory,
            clock: Arc::new(TestClock::at(START)),
            recorder: Arc::default(),
            profile: profile("daily", "0 2 * * *"),
            recipe: recipe(),
            cancel: CancellationToken::new(),
        }
    }

    /// The same, failing at a call of the repository.
    pub fn failing(mut self, operation: Operation, nth: usize, fault: Fault) -> Trial {
        self.repository = self.repository.failing(operation, nth, fault);
        self
    }

    /// What a run of the profile is made from.
    pub fn spec(&self) -> BackupSpec {
        self.recipe.asked_for(&self.profile, Trigger::Schedule)
    }

    /// The ports of a run.
    pub fn ports(&self) -> Ports {
        Ports {
            stack: Arc::new(self.stack.clone()),
            porters: Arc::new(self.porters.clone()),
            containers: Arc::new(self.containers.clone()),
            repository: Arc::new(self.repository.clone()),
            clock: self.clock.clone(),
            observer: self.recorder.clone(),
        }
    }

    /// Takes a backup of the profile.
    ///
    /// # Panics
    ///
    /// When it cannot even begin.
    pub async fn backup(&self) -> ManifestHead {
        self.run(&self.spec()).await
    }

    /// Takes a backup as `spec` says.
    ///
    /// # Panics
    ///
    /// When it cannot even begin.
    pub async fn run(&self, spec: &BackupSpec) -> ManifestHead {
        let lock = self.memory.lock().expect("one run at a time");
        let head = backup(spec, &self.ports(), &*lock, &self.cancel).await;
        self.clock.advance(Duration::HOUR);
        head.expect("it can begin")
    }

    /// Takes a backup of the profile, and prunes by this policy when it is complete.
    ///
    /// # Panics
    ///
    /// When it cannot even begin.
    pub async fn cycle(&self, keep: KeepPolicy) -> ManifestHead {
        let lock = self.memory.lock().expect("one run at a time");
        let policies = BTreeMap::from([(self.profile.name.clone(), keep)]);
        let retention = Retention { policies, zone: Zone::utc() };
        let head = backup_and_prune(&self.spec(), &retention, &self.ports(), &*lock, &self.cancel).await;
        self.clock.advance(Duration::HOUR);
        head.expect("it can begin")
    }

    /// The dump of `postgres`, whole.
    pub fn content(&self) -> Script {
        Script::of(Database::new("postgres").with("users", 300).with("posts", 7).plain())
    }

    /// The same of a table with so many rows: 40 bytes each, more or less.
    pub fn large_content(&self, rows: usize) -> Script {
        Script::of(Database::new("postgres").with("users", rows).plain())
    }

    /// The bytes that were read of the dump of `postgres` before it was given up.
    pub fn abandoned(&self) -> Option<usize> {
        self.stack.abandoned(CONTENT)
    }

    /// The manifest of a backup or of a failed run.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn manifest(&self, head: &ManifestHead) -> Manifest {
        self.memory.manifest(&head.id).expect("it is in the repository")
    }

    /// The time.
    pub fn now(&self) -> supakeep_model::OffsetDateTime {
        self.clock.now()
    }
}
