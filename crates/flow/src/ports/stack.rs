//! The stack: a database server that can be asked and dumped.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, DumpSpec};
use supakeep_model::manifest::{DatabaseRecord, Setting};
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::secret::Secret;

/// Why the stack did not do what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StackError {
    /// The stable code.
    pub code: Code,
    /// What happened, in the words of whoever said so.
    pub message: String,
    /// Everything that the program wrote to standard error, where it was a program that failed.
    pub stderr: String,
}

impl StackError {
    /// An error of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> StackError {
        StackError { code, message: message.into(), stderr: String::new() }
    }

    /// The same error of a program that wrote this to standard error.
    #[must_use]
    pub fn saying(self, stderr: impl Into<String>) -> StackError {
        StackError { stderr: stderr.into(), ..self }
    }
}

/// Finds a stack's database server.
#[async_trait]
pub trait Stack: Send + Sync {
    /// Finds the server and waits, with growing pauses and for a bounded time, until it answers.
    /// `run` names the run in everything that is started on the server, so that it can be found there.
    async fn connect(&self, run: &str) -> Result<Box<dyn Server>, StackError>;
}

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerFacts {
    /// Where it is and what it runs.
    pub record: StackRecord,
    /// Databases that are no template and take connections, by name.
    pub databases: Vec<String>,
    /// Databases that are no template and take no connections, so that nothing can be read of them.
    pub closed_databases: Vec<String>,
    /// Settings that a restore has to match.
    pub settings: Vec<Setting>,
    /// Whether its `pg_dump` can compress with Zstandard (PostgreSQL 16 and later, built with it).
    pub dumps_zstd: bool,
    /// Whether the user that dumps is a superuser.
    pub is_superuser: bool,
}

/// A server that answers.
#[async_trait]
pub trait Server: Send + Sync {
    /// What it is.
    fn facts(&self) -> &ServerFacts;

    /// Opens a snapshot in `database`; everything read through it is of one moment.
    async fn snapshot(&self, database: &str) -> Result<Box<dyn Snapshot>, StackError>;

    /// Dumps roles, memberships, role settings and tablespaces.
    async fn globals(&self) -> Result<Box<dyn SourceStream>, StackError>;

    /// The vault's root key; `None` where the server has none.
    async fn root_key(&self) -> Result<Option<Secret<Vec<u8>>>, StackError>;

    /// Ends everything on the server that was started in this run, or in an earlier run of the same
    /// repository that died. Idempotent. Returns how many sessions it ended.
    async fn terminate(&self) -> Result<u64, StackError>;
}

/// What is known of a database, read in the snapshot that its dump uses.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseFacts {
    /// What the manifest says of it; without a fingerprint, which only its dump gives.
    pub record: DatabaseRecord,
    /// Partitions, `(schema, name)`, and the partitioned table at their top as `schema.name`.
    pub partitions: BTreeMap<(String, String), String>,
    /// Secrets in `vault.secrets`, which need the root key.
    pub vault_secrets: u64,
    /// Whether it has `storage.objects`, whose rows tell of the storage service's files.
    pub has_objects: bool,
}

/// What of a database is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpKind {
    /// The statements that create it: owner, encoding, grants, settings.
    Create,
    /// Its content, as the specification says.
    Content,
}

/// What `pg_dump` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct DumpRequest<'a> {
    /// What the profile asks for.
    pub spec: &'a DumpSpec,
    /// Which part of it.
    pub kind: DumpKind,
    /// What `pg_dump` itself compresses with (`--compress`): the whole of a plain dump, or each
    /// table's data in an archive.
    pub source_compression: Compression,
}

/// A snapshot that is held open. Dropping it ends it; [`Snapshot::close`] waits for that.
#[async_trait]
pub trait Snapshot: Send {
    /// What is known of the database.
    fn facts(&self) -> &DatabaseFacts;

    /// Dumps the database as of this snapshot.
    async fn dump(&mut self, request: DumpRequest<'_>) -> Result<Box<dyn SourceStream>, StackError>;

    /// The rows of a query, as `COPY` writes them as text.
    async fn rows(&mut self, query: &str) -> Result<Box<dyn SourceStream>, StackError>;

    /// Runs statements of ours in the snapshot's own session, of which exactly one answers, with one line that is a JSON
    /// value. Names without a schema are PostgreSQL's own. What is locked stays locked until the snapshot ends.
    async fn ask(&mut self, statements: &str) -> Result<String, StackError>;

    /// Runs statements of ours in a read-only transaction of another session that sees this snapshot, and hands over
    /// what they print. Names without a schema are PostgreSQL's own.
    async fn print(&mut self, statements: &str) -> Result<Box<dyn SourceStream>, StackError>;

    /// Ends the snapshot.
    async fn close(self: Box<Self>) -> Result<(), StackError>;
}

/// The output of a program on the server.
#[async_trait]
pub trait SourceStream: Send {
    /// The next bytes, or `None` after the last. That says nothing yet about success.
    async fn next(&mut self) -> Result<Option<Bytes>, StackError>;

    /// The verdict, after the last byte: the program ended, with 0, and every byte of it arrived.
    /// Returns what it wrote to standard error.
    async fn finish(self: Box<Self>) -> Result<String, StackError>;
}
