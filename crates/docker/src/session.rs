//! A psql that stays, so that a transaction can be held open.

use std::time::Duration;

use bollard::container::LogOutput;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;
use tokio::io::AsyncWriteExt as _;

use crate::error::explain;
use crate::exec::{Command, Started, broken_frame, hand_over, start};
use crate::psql::{Client, parse};
use crate::tail::Tail;
use crate::verdict;

/// How long an answer may be.
const MAX_LINE: usize = 16 << 20;
/// How long psql may take to end after its input was closed.
const END: Duration = Duration::from_secs(10);

/// A psql that reads statements from its standard input.
pub(crate) struct Session {
    command: Command,
    started: Started,
    stderr: Tail,
    line: Vec<u8>,
}

impl Session {
    pub(crate) async fn open(client: &Client, database: &str) -> Result<Session, StackError> {
        let command = client.psql(database, &[]);
        let started = start(&client.docker, &client.container, &command, "exec \"$@\"", &[]).await?;
        Ok(Session { command, started, stderr: Tail::default(), line: Vec::new() })
    }

    /// Runs statements of which exactly one answers, with one line that is a JSON value.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, statements: &str) -> Result<T, StackError> {
        if let Err(lost) = hand_over(&mut self.started.input, format!("{statements}\n").as_bytes()).await {
            // A psql that could not connect has ended already, and what it wrote says why.
            return Err(match self.read_line().await {
                Err(ended) if ended.code != Code::DumpFailed || !self.stderr.text().trim().is_empty() => {
                    ended
                }
                _ => lost,
            });
        }
        let answer = self.read_line().await?;
        parse(&answer)
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, StackError> {
        loop {
            if let Some(end) = memchr_newline(&self.line) {
                let rest = self.line.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.line, rest));
            }
            if self.line.len() > MAX_LINE {
                return Err(StackError::new(Code::DatabaseRefused, "psql's answer is too long"));
            }
            match tokio::time::timeout(self.command.stall, self.started.output.next()).await {
                Ok(Some(Ok(LogOutput::StdOut { message }))) => self.line.extend_from_slice(&message),
                Ok(Some(Ok(LogOutput::StdErr { message }))) => self.stderr.push(&message),
                Ok(Some(Ok(LogOutput::Console { message } | LogOutput::StdIn { message }))) => {
                    return Err(broken_frame(&self.command, &message));
                }
                Ok(Some(Err(error))) => return Err(explain("reading psql's answer", &error)),
                // psql ends at the first error; its words say which.
                Ok(None) => return Err(verdict::failed("psql", 2, &self.stderr.text())),
                Err(_) => return Err(StackError::new(Code::DumpStalled, "psql does not answer")),
            }
        }
    }

    /// Ends the session; waits until it has.
    pub(crate) async fn close(mut self) -> Result<(), StackError> {
        let closing = async {
            let _ = self.started.input.shutdown().await;
            while let Some(Ok(_)) = self.started.output.next().await {}
        };
        tokio::time::timeout(END, closing)
            .await
            .map_err(|_| StackError::new(Code::DumpStalled, "psql does not end although its input is closed"))
    }
}

fn memchr_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}
