//! A place to restore into: a live stack, or a scratch server that a drill has made.

use async_trait::async_trait;
use serde::Serialize;
use supakeep_model::secret::Secret;

use super::repository::Stored;
use super::stack::{Server, StackError};
use crate::failure::Failure;

/// A service of the stack, other than its database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its container.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Whether it runs.
    pub is_running: bool,
    /// The names of the services that it waits for when it starts; some may be no services of the site.
    #[serde(skip)]
    pub depends_on: Vec<String>,
}

/// Where files are placed, and how much fits there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The folder, on the server's machine.
    pub path: String,
    /// Bytes free there.
    pub free_bytes: u64,
}

/// Text to be fed to a program, with its length: the program is told how much there is to read.
pub struct Input {
    /// The bytes.
    pub stored: Stored,
    /// How many they are.
    pub bytes: u64,
}

/// What psql does when a statement fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Ends; the call is an error.
    Stop,
    /// Goes on; its words tell what failed.
    GoOn,
}

/// Opens a file, from its beginning.
pub type OpenOnce<'a> = Box<dyn FnOnce() -> Result<Stored, Failure> + Send + 'a>;

/// A file that is put on the server's machine for a while.
pub struct Placed<'a> {
    /// Its name, with `/` between folders; never one that leads out, and no longer than 100 bytes.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Opens it when its turn comes: an archive has more files than a process may have open.
    pub open: OpenOnce<'a>,
}

/// What `pg_restore` does with an archive that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArchiveRestore {
    /// The file or folder, as it was named when it was placed.
    pub archive: String,
    /// How many jobs work side by side.
    pub jobs: usize,
    /// The entries to restore, by their number in the table of contents; all where there are none.
    pub entries: Vec<i64>,
    /// Only definitions that rows need (`--section=pre-data`).
    pub is_before_rows: bool,
}

/// Is told how many bytes have been taken so far.
pub type OnProgress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Is given what a program prints, as it comes.
pub type OnOutput<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// A role's right to everything, held for as long as this lives. It ends when this is dropped and also
/// when supakeep dies: whoever takes it back runs on the server's side.
#[async_trait]
pub trait Elevation: Send {
    /// Takes the right back, and waits until it is gone.
    async fn end(self: Box<Self>) -> Result<(), StackError>;
}

/// A server that can be changed, and the services around it.
#[async_trait]
pub trait Site: Send + Sync {
    /// The server, to be asked and dumped.
    fn server(&self) -> &dyn Server;

    /// The services of the stack except for the database and supakeep itself. A scratch server has none.
    async fn services(&self) -> Result<Vec<Service>, StackError>;

    /// Stops a service, for a bounded time gently. Idempotent; several may be stopped at a time.
    async fn stop(&self, service: &Service) -> Result<(), StackError>;

    /// Starts a service, and waits for a bounded time until it is healthy, or runs where it has no health
    /// check. Idempotent; several may be started at a time.
    async fn start(&self, service: &Service) -> Result<(), StackError>;

    /// Restarts the database and waits until it answers.
    async fn restart_server(&self) -> Result<(), StackError>;

    /// Puts the vault's root key in place, owned by the server's user and readable by nobody else. The
    /// server reads it when it starts.
    async fn put_root_key(&self, key: &Secret<Vec<u8>>) -> Result<(), StackError>;

    /// Bytes free where the server keeps its data.
    async fn free_bytes(&self) -> Result<u64, StackError>;

    /// Where [`Site::place`] puts files, and how much fits there.
    async fn room(&self) -> Result<Room, StackError>;

    /// Runs statements of ours in `database`, of which the first that fails ends all; returns what they print.
    /// Names without a schema are PostgreSQL's own, whatever people have made in the database.
    async fn sql(&self, database: &str, statements: &str) -> Result<String, StackError>;

    /// The same for statements of a person's, with the database's own `search_path` and encoding.
    async fn sql_as_configured(&self, database: &str, statements: &str) -> Result<String, StackError>;

    /// Feeds SQL text to psql in `database`. Returns what it said on standard error.
    async fn psql(
        &self,
        database: &str,
        input: Input,
        on_error: OnError,
        progress: OnProgress<'_>,
    ) -> Result<String, StackError>;

    /// Feeds SQL text to psql in `database`, where any error ends it, and hands what it prints to `output`.
    /// Returns what it said on standard error.
    async fn psql_printing(
        &self,
        database: &str,
        input: Input,
        progress: OnProgress<'_>,
        output: OnOutput<'_>,
    ) -> Result<String, StackError>;

    /// Feeds psql in `database` what `script` holds, where any error ends it, and hands what it prints to `output`.
    /// The script says itself that it is over, with `\q`. Returns what psql said on standard error.
    async fn psql_session(
        &self,
        database: &str,
        script: Stored,
        output: OnOutput<'_>,
    ) -> Result<String, StackError>;

    /// Puts files on the server's machine, in a folder of this run that [`Site::clear`] removes.
    async fn place(&self, files: Vec<Placed<'_>>, progress: OnProgress<'_>) -> Result<(), StackError>;

    /// Runs `pg_restore` on what was placed, into `database`; any error ends it.
    async fn pg_restore(&self, database: &str, restore: &ArchiveRestore) -> Result<String, StackError>;

    /// Removes what was placed, by this run or by one that died. Idempotent.
    async fn clear(&self) -> Result<(), StackError>;

    /// Makes `role` a superuser for a while, as which nobody can log in meanwhile.
    async fn elevate(&self, role: &str) -> Result<Box<dyn Elevation>, StackError>;
}

/// What a scratch server may take of the machine that it shares with the stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScratchSpec {
    /// Memory; beyond it the engine ends it.
    pub memory_bytes: u64,
    /// Cores.
    pub cpus: f64,
}

/// A server that is made for one drill.
#[async_trait]
pub trait Scratch: Send + Sync {
    /// The server. It has no services, and nobody but us reaches it.
    fn site(&self) -> &dyn Site;

    /// Removes it and all it holds.
    async fn remove(self: Box<Self>) -> Result<(), StackError>;
}

/// Finds and makes sites.
#[async_trait]
pub trait Sites: Send + Sync {
    /// The live stack. `run` names the run on the server.
    async fn live(&self, run: &str) -> Result<Box<dyn Site>, StackError>;

    /// Makes a server of the very image that the stack's database has, empty but for what the image
    /// itself puts there, and waits until it answers. The stack does not have to run, and is not touched.
    /// Whoever is cancelled in the middle of this calls [`Sites::sweep`].
    async fn scratch(&self, run: &str, spec: &ScratchSpec) -> Result<Box<dyn Scratch>, StackError>;

    /// Removes every scratch server of this repository, whoever made it. The caller sees to it that no
    /// drill is in progress. Idempotent.
    async fn sweep(&self) -> Result<(), StackError>;
}
