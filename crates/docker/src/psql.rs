//! Asking the server, with its own psql.

use std::time::Duration;

use bollard::Docker;
use serde::de::DeserializeOwned;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

use crate::arguments::{connection, conninfo};
use crate::exec::{Command, run};
use crate::stack::StackSpec;

/// How long an answer may take: catalogs are small.
const ANSWER: Duration = Duration::from_secs(60);
/// How long an answer may be.
const MAX_ANSWER: usize = 16 << 20;

/// Whatever is needed to run a program against the server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) docker: Docker,
    pub(crate) container: String,
    pub(crate) spec: StackSpec,
    /// What the server knows this run by.
    pub(crate) application_name: String,
}

impl Client {
    /// `program` with the server's address and `arguments`, to be run in the database's container.
    pub(crate) fn command(&self, program: &str, arguments: impl IntoIterator<Item = String>) -> Command {
        let connection = connection(&self.spec);
        Command {
            arguments: [program.to_owned()].into_iter().chain(connection).chain(arguments).collect(),
            environment: vec![
                format!("PGAPPNAME={}", self.application_name),
                // The container's own settings are for its own purposes.
                "PGOPTIONS=".to_owned(),
                "PGCONNECT_TIMEOUT=15".to_owned(),
                "LC_ALL=C".to_owned(),
            ],
            user: None,
            password: self.spec.password.clone(),
            stall: self.spec.stall,
        }
    }

    /// psql in `database`, quiet and without headers, reading `arguments`.
    pub(crate) fn psql(&self, database: &str, arguments: &[&str]) -> Command {
        let fixed = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &conninfo(database)];
        let mut command = self.command("psql", fixed.iter().chain(arguments).map(|text| (*text).to_owned()));
        // Names without a schema are PostgreSQL's own, whatever functions and operators people have made
        // in `public` or have put there for a superuser to call.
        command.environment.retain(|variable| !variable.starts_with("PGOPTIONS="));
        command.environment.push("PGOPTIONS=-c search_path=pg_catalog".to_owned());
        // Without a terminal psql takes the database's encoding; answers are wanted in one.
        command.environment.push("PGCLIENTENCODING=UTF8".to_owned());
        command.stall = ANSWER;
        command
    }

    /// Runs a query that answers with one JSON value.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        database: &str,
        query: &str,
    ) -> Result<T, StackError> {
        let stream = run(&self.docker, &self.container, self.psql(database, &["-c", query])).await?;
        parse(&stream.collect(MAX_ANSWER).await?)
    }
}

/// Reads psql's answer.
pub(crate) fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T, StackError> {
    serde_json::from_slice(answer).map_err(|error| {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        StackError::new(Code::DatabaseRefused, format!("psql's answer makes no sense ({error}): {shown}"))
    })
}
