//! A stack that has changed since its backup, and restores of that backup.

use std::sync::Arc;

use supakeep_flow::ports::Repository as _;
use supakeep_flow::restore::{
    FilesWish, RestoreFailure, RestorePorts, RestoreReport, RestoreSpec, plan, restore,
};
use supakeep_model::Duration;
use supakeep_model::id::BackupId;
use supakeep_model::journal::Journal;
use supakeep_testkit::{ScriptedSite, SiteFault, SiteOperation, Trial};
use tokio_util::sync::CancellationToken;

/// In the order in which they are restored.
pub(crate) const DATABASES: [&str; 2] = ["postgres", "_supabase"];
/// In the order in which they are started.
pub(crate) const SERVICES: [&str; 2] = ["auth", "rest"];
/// The key that the stack has now; the backup has another one.
const OTHER_KEY: &[u8] = b"another key";

/// What the command line would ask for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) resume: bool,
    pub(crate) only: Option<&'static str>,
    pub(crate) safety: bool,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { resume: false, only: None, safety: true }
    }
}

impl Wish {
    pub(crate) fn resume() -> Wish {
        Wish { resume: true, ..Wish::default() }
    }

    pub(crate) fn only(database: &'static str) -> Wish {
        Wish { only: Some(database), safety: false, ..Wish::default() }
    }
}

/// The next change of a kind that meets a fault.
pub(crate) type At = Option<(SiteOperation, usize, SiteFault)>;

pub(crate) struct Bench {
    pub(crate) trial: Trial,
    pub(crate) site: ScriptedSite,
    /// The backup.
    pub(crate) id: BackupId,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        Bench::with(&DATABASES).await
    }

    /// A stack that has lost a database since.
    pub(crate) async fn without(database: &str) -> Bench {
        let left: Vec<_> = DATABASES.into_iter().filter(|name| *name != database).collect();
        Bench::with(&left).await
    }

    async fn with(databases: &[&str]) -> Bench {
        let trial = Trial::default();
        let id = trial.backup().await.id;
        trial.stack.set_root_key(Ok(Some(OTHER_KEY.to_vec())));
        let site = ScriptedSite::new(&trial.stack, databases, &SERVICES);
        Bench { trial, site, id }
    }

    pub(crate) fn journal(&self) -> Option<Journal> {
        self.trial.memory.journal().expect("it can be read")
    }

    /// What was saved last.
    pub(crate) fn safety(&self) -> Option<BackupId> {
        let ids = self.trial.memory.ids().into_iter().filter(|id| id.starts_with("pre-restore"));
        ids.max().map(|id| id.parse().expect("a valid id"))
    }

    /// A restore; `None` where it was killed.
    pub(crate) async fn run(&self, wish: Wish, fault: At) -> Option<Result<RestoreReport, RestoreFailure>> {
        let unfinished = self.journal();
        let mut spec = RestoreSpec {
            manifest: self.trial.memory.manifest(&self.id).expect("it is there"),
            only_database: wish.only.map(str::to_owned),
            files: FilesWish::default(),
            resume: wish.resume,
            safety: None,
            jobs: 1,
            deadline: Duration::hours(48),
        };
        let ports = RestorePorts { backup: self.trial.ports(), sites: Arc::new(self.site.clone()) };
        let planned = plan(&spec, &self.site, &ports.backup).await.expect("the server answers");
        let replaced = planned.replaced();
        spec.safety =
            (wish.safety && !replaced.is_empty()).then(|| self.trial.recipe.before_restore(replaced));
        let lock = self.trial.memory.lock().expect("one run at a time");
        let cancel = CancellationToken::new();
        self.site.fail_at(fault, &cancel);
        self.trial.clock.advance(Duration::HOUR);
        tokio::select! {
            biased;
            done = restore(&spec, &planned, &self.site, &ports, unfinished, &*lock, &cancel) => Some(done),
            () = self.site.killed() => None,
        }
    }

    pub(crate) async fn fails(&self, wish: Wish, fault: At) -> RestoreFailure {
        let failed = self.run(wish.clone(), fault).await.expect("nobody kills it");
        failed.err().unwrap_or_else(|| panic!("{wish:?} {fault:?} goes well"))
    }

    pub(crate) async fn succeeds(&self, wish: Wish) -> RestoreReport {
        let done = self.run(wish.clone(), None).await.expect("nobody kills it");
        done.unwrap_or_else(|failure| panic!("{wish:?}: {failure:?}"))
    }

    /// It goes well, and everything is as it should be.
    pub(crate) async fn finishes(&self, wish: Wish, what: &str) {
        let done = self.run(wish, None).await.expect("nobody kills it");
        if let Err(failure) = done {
            panic!("{what}: {failure:?}");
        }
        self.assert_restored(what);
        assert_eq!(self.site.running(), SERVICES, "{what}");
        assert_eq!(self.journal(), None, "{what}");
    }

    async fn key(&self) -> Vec<u8> {
        use supakeep_flow::ports::Stack as _;
        let server = self.trial.stack.connect("looking").await.expect("it answers");
        let key = server.root_key().await.expect("it answers").expect("there is one");
        key.expose().clone()
    }

    /// Every database as it was, and open to everybody; nobody a superuser who was none.
    pub(crate) fn assert_as_it_was(&self, what: &str) {
        self.assert_open(what);
        let mut keys = self.site.calls().into_iter().filter(|(made, _)| *made == SiteOperation::PutRootKey);
        let last = keys.next_back().map(|(_, key)| key);
        assert!(last.is_none_or(|key| key.as_bytes() == OTHER_KEY), "{what}: the backup's key stays");
        assert_eq!(self.site.count(SiteOperation::Drop), 0, "{what}");
    }

    /// Every database made anew, open to everybody, with the stack's own settings.
    pub(crate) fn assert_restored(&self, what: &str) {
        self.assert_open(what);
        let key = futures_util::FutureExt::now_or_never(self.key()).expect("it needs no time");
        assert_ne!(key, OTHER_KEY, "{what}: the other key stays");
    }

    fn assert_open(&self, what: &str) {
        assert!(!self.site.is_superuser(), "{what}: postgres is a superuser");
        for name in DATABASES {
            let database = self.site.database(name).unwrap_or_else(|| panic!("{what}: no {name}"));
            assert!(database.is_filled, "{what}: {name} is half");
            assert_eq!(database.limit, -1, "{what}: {name} is closed");
            let own = database.own_settings.join("\n");
            assert!(own.contains(&format!("'of-{name}'")), "{what}: {name} has lost its own settings: {own}");
        }
    }
}
