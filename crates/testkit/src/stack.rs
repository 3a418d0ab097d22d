//! A stack whose answers are written down beforehand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use supakeep_flow::ports::{
    DatabaseFacts, DumpKind, DumpRequest, Server, ServerFacts, Snapshot, SourceStream, Stack, StackError,
};
use supakeep_flow::stage::encode::BlockEncoder;
use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, Format};
use supakeep_model::manifest::Setting;
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::secret::Secret;

use crate::archive::ArchiveCodec;
use crate::dump::{Database, GLOBALS};
use crate::script::{Script, Step};

/// Something that was asked of the stack, or that became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A connection for a run.
    Connect(String),
    /// A snapshot of a database was opened.
    Snapshot(String),
    /// A snapshot was closed as it should be.
    SnapshotClosed(String),
    /// A snapshot was dropped, closed or not.
    SnapshotDropped(String),
    /// A stream was opened: `globals`, `create:<database>`, `content:<database>`.
    Open(String),
    /// A stream's verdict was asked for.
    Finish(String),
    /// A stream was dropped without its verdict, after so many bytes.
    Abandoned(String, usize),
    /// The root key was asked for.
    RootKey,
    /// The run's sessions were ended.
    Terminate,
}

/// A database's scripts where they differ from what its tables say.
#[derive(Debug, Clone, Default)]
struct Special {
    create: Option<Script>,
    content: Option<Script>,
    rows: Option<Script>,
    snapshot: Option<StackError>,
}

struct Scripts {
    facts: ServerFacts,
    connect: VecDeque<StackError>,
    globals: Script,
    databases: Vec<(Database, Special)>,
    root_key: Result<Option<Vec<u8>>, StackError>,
    /// What queries answer that hold some text, and what statements print.
    answers: Vec<(String, String)>,
    prints: Vec<(String, Script)>,
    leftover: u64,
    terminate: Option<StackError>,
    hang_terminate: bool,
}

/// A stack, and what was asked of it. Clones are the same stack.
#[derive(Clone)]
pub struct ScriptedStack {
    scripts: Arc<Mutex<Scripts>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScriptedStack {
    /// A healthy stack with these databases and a root key.
    pub fn new(databases: &[Database]) -> ScriptedStack {
        let facts = ServerFacts {
            record: StackRecord {
                project: "supabase".into(),
                container: "supabase-db".into(),
                image: "supabase/postgres:15.8.1.060".into(),
                image_id: "sha256:0123".into(),
                server_version: "15.8".into(),
                server_version_num: 150_008,
                system_identifier: "7400000000000000001".into(),
                working_dir: Some("/opt/supabase/docker".into()),
                compose_files: Vec::new(),
                git_commit: None,
            },
            databases: databases.iter().map(|database| database.name.clone()).collect(),
            closed_databases: Vec::new(),
            settings: vec![Setting { name: "wal_level".into(), value: "logical".into() }],
            dumps_zstd: false,
            is_superuser: true,
        };
        let scripts = Scripts {
            facts,
            connect: VecDeque::new(),
            globals: Script::of(GLOBALS),
            databases: databases.iter().map(|database| (database.clone(), Special::default())).collect(),
            root_key: Ok(Some(b"0123456789abcdef".repeat(4))),
            answers: Vec::new(),
            prints: Vec::new(),
            leftover: 0,
            terminate: None,
            hang_terminate: false,
        };
        ScriptedStack { scripts: Arc::new(Mutex::new(scripts)), calls: Arc::default() }
    }

    /// Its server, for whoever restores into it.
    pub(crate) fn server(&self) -> Arc<dyn Server> {
        let facts = lock(&self.scripts).facts.clone();
        Arc::new(ScriptedServer { stack: self.clone(), facts })
    }

    /// Everything that was asked of it, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// How often `call` was made.
    pub fn count(&self, call: &Call) -> usize {
        lock(&self.calls).iter().filter(|made| *made == call).count()
    }

    /// The bytes that were read of a stream which was then dropped.
    pub fn abandoned(&self, stream: &str) -> Option<usize> {
        lock(&self.calls).iter().find_map(|call| match call {
            Call::Abandoned(name, bytes) if name == stream => Some(*bytes),
            _ => None,
        })
    }

    /// Changes what the server tells about itself.
    pub fn set_facts(&self, change: impl FnOnce(&mut ServerFacts)) {
        change(&mut lock(&self.scripts).facts);
    }

    /// The next connections fail so, in order.
    pub fn refuse(&self, errors: impl IntoIterator<Item = StackError>) {
        lock(&self.scripts).connect.extend(errors);
    }

    /// What the dump of roles does.
    pub fn set_globals(&self, script: Script) {
        lock(&self.scripts).globals = script;
    }

    /// What the root key is.
    pub fn set_root_key(&self, root_key: Result<Option<Vec<u8>>, StackError>) {
        lock(&self.scripts).root_key = root_key;
    }

    /// How many sessions an earlier run has left.
    pub fn leave_sessions(&self, count: u64) {
        lock(&self.scripts).leftover = count;
    }

    /// Ending sessions fails so from now on.
    pub fn refuse_terminate(&self, error: StackError) {
        lock(&self.scripts).terminate = Some(error);
    }

    /// Ending sessions never answers from now on.
    pub fn hang_terminate(&self) {
        lock(&self.scripts).hang_terminate = true;
    }

    /// What the dump of a database does.
    pub fn set_content(&self, database: &str, script: Script) {
        self.special(database, |special| special.content = Some(script));
    }

    /// What a query's rows are.
    pub fn set_rows(&self, database: &str, script: Script) {
        self.special(database, |special| special.rows = Some(script));
    }

    /// What the dump of a database's own statements does.
    pub fn set_create(&self, database: &str, script: Script) {
        self.special(database, |special| special.create = Some(script));
    }

    /// What a snapshot answers to statements that hold `text`; what is said first counts.
    pub fn answer(&self, text: &str, answer: impl ToString) {
        lock(&self.scripts).answers.push((text.to_owned(), answer.to_string()));
    }

    /// What statements print that hold `text`, instead of what they did before.
    pub fn set_print(&self, text: &str, script: Script) {
        lock(&self.scripts).prints.insert(0, (text.to_owned(), script));
    }

    /// A snapshot of a database cannot be had.
    pub fn refuse_snapshot(&self, database: &str, error: StackError) {
        self.special(database, |special| special.snapshot = Some(error));
    }

    /// Replaces a database's tables; the next dump has the new ones.
    pub fn replace(&self, database: Database) {
        let mut scripts = lock(&self.scripts);
        let found = scripts.databases.iter_mut().find(|(known, _)| known.name == database.name);
        *found.expect("a database of this stack") = (database, Special::default());
    }

    fn special(&self, database: &str, change: impl FnOnce(&mut Special)) {
        let mut scripts = lock(&self.scripts);
        let found = scripts.databases.iter_mut().find(|(known, _)| known.name == database);
        change(&mut found.expect("a database of this stack").1);
    }

    fn note(&self, call: Call) {
        lock(&self.calls).push(call);
    }

    fn stream(&self, name: String, script: Script) -> Box<dyn SourceStream> {
        self.note(Call::Open(name.clone()));
        let Script { steps, verdict, chunk_bytes } = script;
        Box::new(ScriptedStream {
            stack: self.clone(),
            name,
            steps: steps.into(),
            verdict: Some(verdict),
            chunk_bytes,
            handed_out: 0,
        })
    }
}

#[async_trait]
impl Stack for ScriptedStack {
    async fn connect(&self, run: &str) -> Result<Box<dyn Server>, StackError> {
        self.note(Call::Connect(run.to_owned()));
        let mut scripts = lock(&self.scripts);
        match scripts.connect.pop_front() {
            Some(error) => Err(error),
            None => Ok(Box::new(ScriptedServer { stack: self.clone(), facts: scripts.facts.clone() })),
        }
    }
}

struct ScriptedServer {
    stack: ScriptedStack,
    facts: ServerFacts,
}

#[async_trait]
impl Server for ScriptedServer {
    fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    async fn snapshot(&self, database: &str) -> Result<Box<dyn Snapshot>, StackError> {
        let found =
            lock(&self.stack.scripts).databases.iter().find(|(known, _)| known.name == database).cloned();
        let Some((database, special)) = found else {
            return Err(StackError::new(
                Code::DatabaseMissing,
                format!("database {database} does not exist"),
            ));
        };
        if let Some(error) = special.snapshot {
            return Err(error);
        }
        self.stack.note(Call::Snapshot(database.name.clone()));
        let facts = database.facts();
        Ok(Box::new(ScriptedSnapshot { stack: self.stack.clone(), database, special, facts }))
    }

    async fn globals(&self) -> Result<Box<dyn SourceStream>, StackError> {
        let script = lock(&self.stack.scripts).globals.clone();
        Ok(self.stack.stream("globals".to_owned(), script))
    }

    async fn root_key(&self) -> Result<Option<Secret<Vec<u8>>>, StackError> {
        self.stack.note(Call::RootKey);
        let key = lock(&self.stack.scripts).root_key.clone();
        key.map(|key| key.map(Secret::new))
    }

    async fn terminate(&self) -> Result<u64, StackError> {
        self.stack.note(Call::Terminate);
        let hangs = lock(&self.stack.scripts).hang_terminate;
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut scripts = lock(&self.stack.scripts);
        match scripts.terminate.clone() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut scripts.leftover)),
        }
    }
}

struct ScriptedSnapshot {
    stack: ScriptedStack,
    database: Database,
    special: Special,
    facts: DatabaseFacts,
}

#[async_trait]
impl Snapshot for ScriptedSnapshot {
    fn facts(&self) -> &DatabaseFacts {
        &self.facts
    }

    async fn dump(&mut self, request: DumpRequest<'_>) -> Result<Box<dyn SourceStream>, StackError> {
        let name = &self.database.name;
        Ok(match request.kind {
            DumpKind::Create => {
                let usual = || Script::of(self.database.create_statements());
                let script = self.special.create.clone().unwrap_or_else(usual);
                self.stack.stream(format!("create:{name}"), script)
            }
            DumpKind::Content => {
                let script = self.special.content.clone().unwrap_or_else(|| usual(&self.database, &request));
                self.stack.stream(format!("content:{name}"), script)
            }
        })
    }

    /// Whatever is asked for: the rows of `storage.objects`.
    async fn rows(&mut self, _query: &str) -> Result<Box<dyn SourceStream>, StackError> {
        let mut rows = self.database.objects.clone().unwrap_or_default();
        rows.sort();
        let lines = rows.iter().map(|(path, bytes)| format!("{}\t{bytes}\n", hex::encode(path)));
        let script = self.special.rows.clone().unwrap_or_else(|| Script::of(lines.collect::<String>()));
        Ok(self.stack.stream(format!("rows:{}", self.database.name), script))
    }

    async fn ask(&mut self, statements: &str) -> Result<String, StackError> {
        let scripts = lock(&self.stack.scripts);
        let found = scripts.answers.iter().find(|(text, _)| statements.contains(text));
        let unknown = || StackError::new(Code::DumpFailed, format!("no answer to {statements}"));
        found.map(|(_, answer)| answer.clone()).ok_or_else(unknown)
    }

    async fn print(&mut self, statements: &str) -> Result<Box<dyn SourceStream>, StackError> {
        let scripts = lock(&self.stack.scripts);
        let found = scripts.prints.iter().find(|(text, _)| statements.contains(text)).cloned();
        drop(scripts);
        let unknown = || StackError::new(Code::DumpFailed, format!("nothing is printed by {statements}"));
        let (text, script) = found.ok_or_else(unknown)?;
        Ok(self.stack.stream(format!("print:{text}"), script))
    }

    async fn close(self: Box<Self>) -> Result<(), StackError> {
        self.stack.note(Call::SnapshotClosed(self.database.name.clone()));
        Ok(())
    }
}

impl Drop for ScriptedSnapshot {
    fn drop(&mut self) {
        self.stack.note(Call::SnapshotDropped(self.database.name.clone()));
    }
}

/// What pg_dump would write, compressed as it was asked to.
fn usual(database: &Database, request: &DumpRequest<'_>) -> Script {
    let compression = request.source_compression;
    if request.spec.format != Format::Plain {
        let codec = match compression {
            Compression::Zstd(_) => ArchiveCodec::Zstd,
            _ => ArchiveCodec::None,
        };
        return Script::of(database.archive(codec));
    }
    let text = database.plain().into_bytes();
    let packed = BlockEncoder::new(compression).and_then(|mut encoder| encoder.encode(text));
    Script::of(packed.expect("memory, and a valid level"))
}

struct ScriptedStream {
    stack: ScriptedStack,
    name: String,
    steps: VecDeque<Step>,
    /// Taken when it is asked for.
    verdict: Option<Result<String, StackError>>,
    chunk_bytes: usize,
    handed_out: usize,
}

impl ScriptedStream {
    fn chunk(&mut self, mut bytes: Bytes) -> Bytes {
        let chunk = bytes.split_to(bytes.len().min(self.chunk_bytes));
        if !bytes.is_empty() {
            self.steps.push_front(Step::Bytes(bytes));
        }
        self.handed_out += chunk.len();
        chunk
    }
}

#[async_trait]
impl SourceStream for ScriptedStream {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        loop {
            match self.steps.pop_front() {
                None => return Ok(None),
                Some(Step::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Step::Bytes(bytes)) => {
                    // A real stream comes over a socket: whoever reads it can be interrupted.
                    tokio::task::yield_now().await;
                    return Ok(Some(self.chunk(bytes)));
                }
                Some(Step::Pause(length)) => tokio::time::sleep(length).await,
                Some(Step::Hang) => std::future::pending().await,
                Some(Step::Fail(error)) => return Err(error),
                Some(Step::Panic) => panic!("the script of {} says so", self.name),
            }
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<String, StackError> {
        self.stack.note(Call::Finish(self.name.clone()));
        let ended = self.steps.is_empty();
        let verdict = self.verdict.take().expect("it is asked for once");
        if verdict.is_ok() && !ended {
            return Err(StackError::new(Code::StreamTruncated, "asked for the verdict before the last byte"));
        }
        verdict
    }
}

impl Drop for ScriptedStream {
    fn drop(&mut self) {
        if self.verdict.is_some() {
            self.stack.note(Call::Abandoned(self.name.clone(), self.handed_out));
        }
    }
}
