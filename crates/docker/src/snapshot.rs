//! A snapshot that is held open while it is dumped.

use std::time::Duration;

use async_trait::async_trait;
use supakeep_flow::ports::{DatabaseFacts, DumpRequest, Snapshot, SourceStream, StackError};

use crate::arguments::{self, lock_wait_milliseconds};
use crate::exec::run;
use crate::facts::{SNAPSHOT_QUERY, SnapshotAnswer, VAULT_QUERY};
use crate::feed::print;
use crate::psql::Client;
use crate::session::Session;

/// The longest wait for a lock in the snapshot's own session.
const LOCK_WAIT: Duration = Duration::from_secs(45);

/// A transaction in a session of its own, whose snapshot pg_dump imports.
pub(crate) struct DockerSnapshot {
    client: Client,
    session: Session,
    /// The name under which the server exports the snapshot.
    name: String,
    facts: DatabaseFacts,
}

impl DockerSnapshot {
    pub(crate) async fn open(client: &Client, database: &str) -> Result<DockerSnapshot, StackError> {
        let mut session = Session::open(client, database).await?;
        let answer: SnapshotAnswer = session.ask(SNAPSHOT_QUERY).await?;
        let vault_secrets = if answer.has_vault { session.ask(VAULT_QUERY).await? } else { 0 };
        let name = answer.snapshot.clone();
        let facts = answer.into_facts(database, vault_secrets);
        Ok(DockerSnapshot { client: client.clone(), session, name, facts })
    }
}

#[async_trait]
impl Snapshot for DockerSnapshot {
    fn facts(&self) -> &DatabaseFacts {
        &self.facts
    }

    async fn dump(&mut self, request: DumpRequest<'_>) -> Result<Box<dyn SourceStream>, StackError> {
        let lock_wait = self.client.spec.lock_wait;
        let arguments = arguments::pg_dump(&self.facts.record.name, &self.name, &request, lock_wait);
        let command = self.client.command("pg_dump", arguments);
        Ok(Box::new(run(&self.client.docker, &self.client.container, command).await?))
    }

    async fn rows(&mut self, query: &str) -> Result<Box<dyn SourceStream>, StackError> {
        let snapshot = format!("SET TRANSACTION SNAPSHOT '{}'", self.name);
        let copy = format!("COPY ({query}) TO STDOUT");
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let unlimited = "SET statement_timeout = 0";
        let arguments = ["-c", unlimited, "-c", begin, "-c", &snapshot, "-c", &copy];
        let mut command = self.client.psql(&self.facts.record.name, &arguments);
        command.stall = self.client.spec.stall;
        Ok(Box::new(run(&self.client.docker, &self.client.container, command).await?))
    }

    async fn ask(&mut self, statements: &str) -> Result<String, StackError> {
        // A lock that is waited for longer than psql may be silent would look like a session that hangs.
        let lock_wait = lock_wait_milliseconds(self.client.spec.lock_wait.min(LOCK_WAIT));
        let statements = format!("SET LOCAL lock_timeout = {lock_wait};\n{statements}");
        let answer: serde_json::Value = self.session.ask(&statements).await?;
        Ok(answer.to_string())
    }

    async fn print(&mut self, statements: &str) -> Result<Box<dyn SourceStream>, StackError> {
        let script = script(&self.name, statements, self.client.spec.lock_wait);
        let mut command = self.client.psql(&self.facts.record.name, &["-f", "-"]);
        // A row can take as long as a dump's.
        command.stall = self.client.spec.stall;
        Ok(Box::new(print(&self.client, command, &script).await?))
    }

    async fn close(self: Box<Self>) -> Result<(), StackError> {
        self.session.close().await
    }
}

/// Statements in a transaction that sees the snapshot. They are fed rather than given as an argument: the select list of a
/// wide table is longer than one may be, and every process list shows those.
fn script(snapshot: &str, statements: &str, lock_wait: Duration) -> String {
    let lock_wait = lock_wait_milliseconds(lock_wait);
    let snapshot = snapshot.replace('\'', "''");
    format!(
        "SET statement_timeout = 0;\nSET lock_timeout = {lock_wait};\nSET idle_in_transaction_session_timeout = 0;\n\
         SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout' \\g /dev/null\n\
         BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSET TRANSACTION SNAPSHOT '{snapshot}';\n\
         {statements}\nCOMMIT;\n"
    )
}
