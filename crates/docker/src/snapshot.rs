//! A snapshot that is held open while it is dumped.

use async_trait::async_trait;
use supakeep_flow::ports::{DatabaseFacts, DumpRequest, Snapshot, SourceStream, StackError};

use crate::arguments;
use crate::exec::run;
use crate::facts::{SNAPSHOT_QUERY, SnapshotAnswer, VAULT_QUERY};
use crate::psql::Client;
use crate::session::Session;

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

    async fn close(self: Box<Self>) -> Result<(), StackError> {
        self.session.close().await
    }
}
