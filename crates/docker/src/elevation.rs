//! A role that is a superuser for a while.
//!
//! A Supabase dump gives event triggers to `postgres`, which PostgreSQL allows only to superusers, and
//! `postgres` must not stay one, nor may anybody log in as it meanwhile. So whoever takes the right back runs beside the server: a shell that waits
//! for a line on its standard input, which we write, or for its end, which comes also when supakeep is killed.

use std::time::Duration;

use async_trait::async_trait;
use bollard::container::LogOutput;
use futures_util::StreamExt as _;
use supakeep_flow::ports::{Elevation, StackError};
use supakeep_model::code::Code;
use tokio::io::AsyncWriteExt as _;

use crate::exec::{Started, start};
use crate::psql::Client;
use crate::tail::Tail;

/// Runs `$5 …` with the statements `$1` to `$3` at once, and with `$4` when standard input ends or one of
/// them fails. A server that restarts meanwhile is waited for.
///
/// Nobody comes in as the role before it is raised, and whoever was in already is ended, before and after:
/// a session that was just beginning is seen only the second time.
const SCRIPT: &str = r#"bar=$1
end=$2
up=$3
down=$4
shift 4
lower() {
tries=0
until "$@" -c "$down" </dev/null; do
tries=$((tries + 1))
[ "$tries" -lt 60 ] || exit 1
sleep 1
done
}
"$@" -c "$bar" -c "$end" -c "$up" -c "$end" </dev/null >/dev/null || { lower "$@"; exit 1; }
echo up
read -r _
lower "$@"
echo down"#;

/// How long each side may take.
const PATIENCE: Duration = Duration::from_secs(75);

/// A superuser, until this is dropped.
pub(crate) struct DockerElevation {
    role: String,
    started: Started,
    stderr: Tail,
}

impl DockerElevation {
    pub(crate) async fn begin(client: &Client, role: &str) -> Result<DockerElevation, StackError> {
        let quoted = format!("\"{}\"", role.replace('"', "\"\""));
        let bar = format!("ALTER ROLE {quoted} NOLOGIN");
        let end = format!(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
             WHERE usename = '{}' AND pid <> pg_backend_pid()",
            role.replace('\'', "''")
        );
        let up = format!("ALTER ROLE {quoted} SUPERUSER");
        let down = format!("ALTER ROLE {quoted} NOSUPERUSER LOGIN");
        let command = client.psql("template1", &[]);
        let started =
            start(&client.docker, &client.container, &command, SCRIPT, &[&bar, &end, &up, &down]).await?;
        let mut elevation = DockerElevation { role: role.to_owned(), started, stderr: Tail::default() };
        elevation.wait_for("up").await?;
        Ok(elevation)
    }

    async fn wait_for(&mut self, word: &str) -> Result<(), StackError> {
        let mut said = String::new();
        let listening = async {
            while let Some(Ok(frame)) = self.started.output.next().await {
                match frame {
                    LogOutput::StdErr { message } => self.stderr.push(&message),
                    other => said.push_str(&String::from_utf8_lossy(other.as_ref())),
                }
                if said.lines().any(|line| line == word) {
                    return true;
                }
            }
            false
        };
        if tokio::time::timeout(PATIENCE, listening).await == Ok(true) {
            return Ok(());
        }
        let (role, words) = (&self.role, self.stderr.text());
        let message = format!("the role {role} cannot be made a superuser and back: {}", words.trim());
        Err(StackError::new(Code::RestoreFailed, message))
    }
}

#[async_trait]
impl Elevation for DockerElevation {
    async fn end(mut self: Box<Self>) -> Result<(), StackError> {
        // Half of a connection is not closed by itself: a proxy may close all of it then, and with it what is said
        // at last. Writing fails when the other side is gone already; what it says will tell.
        let _ = self.started.input.write_all(b"\n").await;
        let _ = self.started.input.flush().await;
        self.wait_for("down").await
    }
}
