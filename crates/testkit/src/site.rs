//! A place to restore into: its services, databases and roles are a handful of values, every change of them
//! is noted, and any of the changes can be made to fail.

mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use supakeep_flow::ports::{
    ArchiveRestore, Elevation, Input, OnError, OnOutput, OnProgress, Placed, Room, Scratch, ScratchSpec,
    Server, Service, Site, Sites, StackError, Stored,
};
use supakeep_model::code::Code;
use supakeep_model::secret::Secret;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::session::OpenSession;
pub use self::session::SiteSession;
use crate::stack::ScriptedStack;

/// A change of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteOperation {
    /// A service is stopped.
    Stop,
    /// A service is started.
    Start,
    /// The server is restarted.
    Restart,
    /// The vault's root key is put in place.
    PutRootKey,
    /// A role becomes a superuser.
    Raise,
    /// The watcher takes that back.
    EndRaise,
    /// A statement takes that back.
    Lower,
    /// Roles are restored.
    Globals,
    /// A database is dropped.
    Drop,
    /// A database is made.
    Create,
    /// A database is filled.
    Fill,
    /// A database's statistics are collected.
    Analyze,
    /// A database is opened.
    Open,
    /// Rows are put into a database.
    Rows,
    /// A session that is fed a script is opened.
    SessionOpens,
    /// Such a session begins with rows of a table.
    SessionRows,
    /// It says that it has done what it was told.
    SessionAnswers,
    /// It is told that this was all.
    SessionEnds,
    /// A scratch server is made.
    MakeScratch,
    /// It is removed.
    RemoveScratch,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteFault {
    /// It fails.
    Fails,
    /// Somebody cancels the run in the middle of it; it does not end.
    Cancels,
    /// The run is killed in the middle of it.
    Kills,
    /// The server dies, and everything that it is asked fails.
    Dies,
}

/// A database of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteDatabase {
    /// How many connections it takes.
    pub limit: i64,
    /// Whether all of its content is there.
    pub is_filled: bool,
    /// The settings of the stack's own, as statements.
    pub own_settings: Vec<String>,
}

struct State {
    services: Vec<Service>,
    databases: BTreeMap<String, SiteDatabase>,
    is_superuser: bool,
    is_dead: bool,
    calls: Vec<(SiteOperation, String)>,
    fault: Option<(SiteOperation, usize, SiteFault)>,
    unwell: Vec<String>,
    /// The services that are being stopped or started now, and those that have been since there was none.
    under_way: usize,
    sessions: Vec<SiteSession>,
    group: Vec<String>,
    groups: Vec<Vec<String>>,
}

/// A site, and what was done to it. Clones are the same site.
#[derive(Clone)]
pub struct ScriptedSite {
    stack: ScriptedStack,
    server: Arc<dyn Server>,
    state: Arc<Mutex<State>>,
    killed: Arc<Notify>,
    died: Arc<Notify>,
    cancel: Arc<Mutex<CancellationToken>>,
}

impl ScriptedSite {
    /// A site around `stack`: with these databases, whole, and these services, which run.
    pub fn new(stack: &ScriptedStack, databases: &[&str], services: &[&str]) -> ScriptedSite {
        let service = |name: &&str| Service {
            id: format!("{name}-id"),
            name: (*name).to_owned(),
            is_running: true,
            depends_on: Vec::new(),
        };
        let database = |name: &&str| {
            let own = format!("ALTER DATABASE {name} SET \"app.settings.jwt_secret\" TO 'of-{name}';");
            ((*name).to_owned(), SiteDatabase { limit: -1, is_filled: true, own_settings: vec![own] })
        };
        let state = State {
            services: services.iter().map(service).collect(),
            databases: databases.iter().map(database).collect(),
            is_superuser: false,
            is_dead: false,
            calls: Vec::new(),
            fault: None,
            unwell: Vec::new(),
            under_way: 0,
            sessions: Vec::new(),
            group: Vec::new(),
            groups: Vec::new(),
        };
        ScriptedSite {
            stack: stack.clone(),
            server: stack.server(),
            state: Arc::new(Mutex::new(state)),
            killed: Arc::default(),
            died: Arc::default(),
            cancel: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `nth` change of this kind from now on meets a fault; whoever made the site before meets none any more.
    /// `cancel` is what a fault cancels.
    pub fn fail_at(&self, fault: Option<(SiteOperation, usize, SiteFault)>, cancel: &CancellationToken) {
        let mut state = self.lock();
        state.fault = fault;
        state.calls.clear();
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = cancel.clone();
    }

    /// One more service, which runs and waits for others when it is started.
    pub fn add_service(&self, name: &str, depends_on: &[&str]) {
        let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
        let (id, name) = (format!("{name}-id"), name.to_owned());
        self.lock().services.push(Service { id, name, is_running: true, depends_on });
    }

    /// The services that were stopped or started, those in one group that were at the same time.
    pub fn groups(&self) -> Vec<Vec<String>> {
        self.lock().groups.clone()
    }

    /// The sessions that were fed a script, in the order in which they were opened.
    pub fn sessions(&self) -> Vec<SiteSession> {
        self.lock().sessions.clone()
    }

    /// This service is never well when it is started.
    pub fn make_unwell(&self, service: &str) {
        self.lock().unwell.push(service.to_owned());
    }

    /// All services are well when they are started, and the server answers.
    pub fn mend(&self) {
        let mut state = self.lock();
        state.unwell.clear();
        state.is_dead = false;
    }

    /// Whoever waits for this is told when a fault kills the run.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    /// The changes so far, in order, each with what was changed.
    pub fn calls(&self) -> Vec<(SiteOperation, String)> {
        self.lock().calls.clone()
    }

    /// How often something of this kind was tried.
    pub fn count(&self, operation: SiteOperation) -> usize {
        self.lock().calls.iter().filter(|(made, _)| *made == operation).count()
    }

    /// The services that run.
    pub fn running(&self) -> Vec<String> {
        let running = |service: &&Service| service.is_running;
        self.lock().services.iter().filter(running).map(|service| service.name.clone()).collect()
    }

    /// A database.
    pub fn database(&self, name: &str) -> Option<SiteDatabase> {
        self.lock().databases.get(name).cloned()
    }

    /// Changes a database that is there.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut SiteDatabase)) {
        change(self.lock().databases.get_mut(name).expect("a database of this site"));
    }

    /// Whether `postgres` is a superuser.
    pub fn is_superuser(&self) -> bool {
        self.lock().is_superuser
    }

    /// Notes the change, and meets its fault before anything has changed.
    async fn note(&self, operation: SiteOperation, subject: &str) -> Result<(), StackError> {
        let fault = {
            let mut state = self.lock();
            state.calls.push((operation, subject.to_owned()));
            let nth = state.calls.iter().filter(|(made, _)| *made == operation).count();
            let fault = state.fault.filter(|fault| (fault.0, fault.1) == (operation, nth));
            let fault = fault.map(|(_, _, fault)| fault);
            if fault == Some(SiteFault::Dies) {
                state.is_dead = true;
                self.died.notify_waiters();
            }
            fault
        };
        match fault {
            None => Ok(()),
            Some(SiteFault::Fails | SiteFault::Dies) => {
                Err(StackError::new(Code::RestoreFailed, format!("{operation:?} {subject} fails")))
            }
            Some(SiteFault::Cancels) => {
                self.cancel.lock().unwrap_or_else(PoisonError::into_inner).cancel();
                std::future::pending().await
            }
            Some(SiteFault::Kills) => {
                self.killed.notify_one();
                std::future::pending().await
            }
        }
    }

    /// Others have their turn meanwhile.
    async fn take_a_while(&self, service: &str) {
        {
            let mut state = self.lock();
            state.under_way += 1;
            state.group.push(service.to_owned());
        }
        tokio::task::yield_now().await;
        let mut state = self.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            let group = std::mem::take(&mut state.group);
            state.groups.push(group);
        }
    }

    fn must_live(&self) -> Result<(), StackError> {
        let is_dead = self.lock().is_dead;
        if is_dead { Err(StackError::new(Code::DatabaseLost, "the server is gone")) } else { Ok(()) }
    }

    /// What a question is answered with; `None` where it is no question that a restore asks.
    fn answer(&self, statements: &str) -> Option<String> {
        let mut state = self.lock();
        if statements.contains("'is_there'") {
            let is_it = |name: &str| statements.contains(&format!("datname = '{name}'"));
            let found = state.databases.iter_mut().find(|(name, _)| is_it(name));
            let is_there = found.map(|(_, database)| database.limit = 0).is_some();
            return Some(format!(r#"{{"is_there": {is_there}, "has_inside": false}}"#));
        }
        let names = || state.databases.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
        let named = || state.databases.iter().find(|(name, _)| statements.contains(&format!("'{name}'")));
        Some(if statements.contains("FROM pg_settings") {
            "{}".to_owned()
        } else if statements.contains("pg_partition_tree") {
            // None of the tables has anything that rows would meet.
            "[]".to_owned()
        } else if statements.contains("'missing_roles'") {
            r#"{"missing_roles": [], "missing_extensions": []}"#.to_owned()
        } else if statements.contains("pg_depend") {
            r#"[["public", "users"], ["public", "newer"]]"#.to_owned()
        } else if statements.contains("pg_available_extensions") {
            let sizes = names().iter().map(|name| format!("{name}: 8000000")).collect::<Vec<_>>().join(", ");
            let rest =
                r#""slots": [], "locales": ["C.UTF-8"], "tablespaces": ["pg_default"], "knows_icu": true"#;
            format!(r#"{{"extensions": {{"pgcrypto": "1.3"}}, "sizes": {{{sizes}}}, {rest}, "preload": ""}}"#)
        } else if statements.contains("'kept'") {
            r#"{"roles": ["postgres"], "tablespaces": ["pg_default"], "kept": []}"#.to_owned()
        } else if statements.contains("pg_authid") {
            "[]".to_owned()
        } else if statements.contains("NOT rolsuper") {
            u8::from(!state.is_superuser).to_string()
        } else if statements.contains("json_agg(datname)") {
            format!("[{}]", names().join(", "))
        } else if statements.contains("pg_db_role_setting") {
            named().map(|(_, database)| database.own_settings.join("\n")).unwrap_or_default()
        } else {
            return None;
        })
    }

    /// `ALTER DATABASE "…" CONNECTION LIMIT …`
    async fn limit(&self, statements: &str) -> Result<bool, StackError> {
        let Some((name, limit)) = statements
            .strip_prefix("ALTER DATABASE \"")
            .and_then(|rest| rest.split_once("\" CONNECTION LIMIT "))
            .and_then(|(name, limit)| Some((name, limit.parse::<i64>().ok()?)))
        else {
            return Ok(false);
        };
        if limit != 0 {
            self.note(SiteOperation::Open, name).await?;
        }
        match self.lock().databases.get_mut(name) {
            Some(database) => database.limit = limit,
            None => return Err(StackError::new(Code::RestoreFailed, format!("there is no {name}"))),
        }
        Ok(true)
    }
}

/// What psql says at the end of the script with the roles.
const ROLES_DONE: &str = "supakeep: roles restored";

/// What a script lets psql say at its end.
fn said(text: &str) -> String {
    let words = text.lines().filter_map(|line| line.strip_prefix("\\warn "));
    words.map(|word| format!("{word}\n")).collect()
}

/// The name between the first double quotes after `before`.
fn name_after(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("{before} \""))?;
    rest.split_once('"').map(|(name, _)| name.to_owned())
}

#[async_trait]
impl Site for ScriptedSite {
    fn server(&self) -> &dyn Server {
        &*self.server
    }

    async fn services(&self) -> Result<Vec<Service>, StackError> {
        Ok(self.lock().services.clone())
    }

    async fn stop(&self, service: &Service) -> Result<(), StackError> {
        self.note(SiteOperation::Stop, &service.name).await?;
        self.take_a_while(&service.name).await;
        let mut state = self.lock();
        let found = state.services.iter_mut().find(|other| other.id == service.id);
        found.expect("a service of this site").is_running = false;
        Ok(())
    }

    async fn start(&self, service: &Service) -> Result<(), StackError> {
        self.note(SiteOperation::Start, &service.name).await?;
        self.take_a_while(&service.name).await;
        let mut state = self.lock();
        let found = state.services.iter_mut().find(|other| other.id == service.id);
        found.expect("a service of this site").is_running = true;
        if state.unwell.contains(&service.name) {
            let message = format!("{} was started and is unhealthy", service.name);
            return Err(StackError::new(Code::ServiceUnhealthy, message));
        }
        Ok(())
    }

    async fn restart_server(&self) -> Result<(), StackError> {
        self.note(SiteOperation::Restart, "").await?;
        self.must_live()
    }

    async fn put_root_key(&self, key: &Secret<Vec<u8>>) -> Result<(), StackError> {
        self.note(SiteOperation::PutRootKey, &String::from_utf8_lossy(key.expose())).await?;
        self.must_live()?;
        self.stack.set_root_key(Ok(Some(key.expose().clone())));
        Ok(())
    }

    async fn free_bytes(&self) -> Result<u64, StackError> {
        Ok(1 << 40)
    }

    async fn room(&self) -> Result<Room, StackError> {
        Ok(Room { path: "/tmp".to_owned(), free_bytes: 1 << 40 })
    }

    async fn sql_as_configured(&self, database: &str, statements: &str) -> Result<String, StackError> {
        self.sql(database, statements).await
    }

    async fn sql(&self, database: &str, statements: &str) -> Result<String, StackError> {
        self.must_live()?;
        if let Some(answer) = self.answer(statements) {
            return Ok(answer);
        }
        if self.limit(statements).await? {
            return Ok(String::new());
        }
        if statements.contains("NOSUPERUSER LOGIN") {
            self.note(SiteOperation::Lower, "postgres").await?;
            self.lock().is_superuser = false;
        } else if let Some(name) = name_after(statements, "DROP DATABASE IF EXISTS") {
            self.note(SiteOperation::Drop, &name).await?;
            self.lock().databases.remove(&name);
        } else if statements == "ANALYZE" {
            self.note(SiteOperation::Analyze, database).await?;
        }
        Ok(String::new())
    }

    async fn psql(
        &self,
        database: &str,
        mut input: Input,
        _on_error: OnError,
        _progress: OnProgress<'_>,
    ) -> Result<String, StackError> {
        self.must_live()?;
        let mut text = String::new();
        let read = input.stored.read_to_string(&mut text).await;
        read.map_err(unread)?;
        if text.contains(ROLES_DONE) {
            self.note(SiteOperation::Globals, "").await?;
            return Ok(format!("{ROLES_DONE}\n"));
        }
        if let Some(name) = name_after(&text, "CREATE DATABASE") {
            self.note(SiteOperation::Create, &name).await?;
            let own_settings =
                text.lines().filter(|line| line.contains("app.settings.")).map(str::to_owned).collect();
            let limit = if text.contains("CONNECTION LIMIT = 0;") { 0 } else { -1 };
            let made = SiteDatabase { limit, is_filled: false, own_settings };
            self.lock().databases.insert(name, made);
        } else {
            self.note(SiteOperation::Fill, database).await?;
            self.change(database, |database| database.is_filled = true);
        }
        Ok(said(&text))
    }

    async fn psql_printing(
        &self,
        database: &str,
        mut input: Input,
        _progress: OnProgress<'_>,
        _output: OnOutput<'_>,
    ) -> Result<String, StackError> {
        self.must_live()?;
        let mut text = String::new();
        let read = input.stored.read_to_string(&mut text).await;
        read.map_err(unread)?;
        // What is loaded, so that a test can see what is and what is not.
        let loaded = text.lines().filter(|line| line.starts_with("COPY ")).collect::<Vec<_>>().join(" ");
        self.note(SiteOperation::Rows, &format!("{database}: {loaded}")).await?;
        Ok(said(&text))
    }

    async fn psql_session(
        &self,
        database: &str,
        script: Stored,
        output: OnOutput<'_>,
    ) -> Result<String, StackError> {
        let died = self.died.notified();
        self.must_live()?;
        self.note(SiteOperation::SessionOpens, database).await?;
        let session = OpenSession::new(self.clone());
        // All sessions of a server end with it, whatever they wait for.
        tokio::select! {
            biased;
            () = died => self.must_live().map(|()| String::new()),
            ended = session.run(script, output) => ended.map(|()| String::new()),
        }
    }

    async fn place(&self, _files: Vec<Placed<'_>>, _progress: OnProgress<'_>) -> Result<(), StackError> {
        self.must_live()
    }

    async fn pg_restore(&self, database: &str, _restore: &ArchiveRestore) -> Result<String, StackError> {
        self.must_live()?;
        self.note(SiteOperation::Fill, database).await?;
        self.change(database, |database| database.is_filled = true);
        Ok(String::new())
    }

    async fn clear(&self) -> Result<(), StackError> {
        self.must_live()
    }

    async fn elevate(&self, role: &str) -> Result<Box<dyn Elevation>, StackError> {
        self.must_live()?;
        self.note(SiteOperation::Raise, role).await?;
        self.lock().is_superuser = true;
        Ok(Box::new(Watcher(self.clone())))
    }
}

/// Whoever takes the right back when it is told to; it dies with the server and with the run.
struct Watcher(ScriptedSite);

#[async_trait]
impl Elevation for Watcher {
    async fn end(self: Box<Self>) -> Result<(), StackError> {
        self.0.must_live()?;
        self.0.note(SiteOperation::EndRaise, "postgres").await?;
        self.0.lock().is_superuser = false;
        Ok(())
    }
}

fn unread(error: std::io::Error) -> StackError {
    StackError::new(Code::RepositoryIo, error.to_string())
}

struct ScriptedScratch(ScriptedSite);

#[async_trait]
impl Scratch for ScriptedScratch {
    fn site(&self) -> &dyn Site {
        &self.0
    }

    async fn remove(self: Box<Self>) -> Result<(), StackError> {
        self.0.note(SiteOperation::RemoveScratch, "").await
    }
}

#[async_trait]
impl Sites for ScriptedSite {
    async fn live(&self, _run: &str) -> Result<Box<dyn Site>, StackError> {
        Ok(Box::new(self.clone()))
    }

    /// A drill is shown this site for one that was made for it.
    async fn scratch(&self, run: &str, _spec: &ScratchSpec) -> Result<Box<dyn Scratch>, StackError> {
        self.note(SiteOperation::MakeScratch, run).await?;
        Ok(Box::new(ScriptedScratch(self.clone())))
    }

    async fn sweep(&self) -> Result<(), StackError> {
        Ok(())
    }
}
