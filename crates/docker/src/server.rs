//! A server that answers, inside its container.

use async_trait::async_trait;
use supakeep_flow::ports::{Server, ServerFacts, Snapshot, SourceStream, StackError};
use supakeep_model::code::Code;
use supakeep_model::secret::Secret;

use crate::exec::{ExecStream, run};
use crate::psql::Client;
use crate::snapshot::DockerSnapshot;
use crate::stack::RootKey;

/// The longest root key that is believed; a real one has 64 characters.
const MAX_KEY: usize = 4 * 1024;
/// What the script below ends with where there is no key.
const NO_KEY: i64 = 66;
const READ_KEY: &str = r#"[ -e "$1" ] || exit 66; cat -- "$1""#;

/// A server and what it told about itself.
pub(crate) struct DockerServer {
    pub(crate) client: Client,
    pub(crate) facts: ServerFacts,
    /// What every run of this repository is known by on the server.
    pub(crate) family: String,
}

#[async_trait]
impl Server for DockerServer {
    fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    async fn snapshot(&self, database: &str) -> Result<Box<dyn Snapshot>, StackError> {
        Ok(Box::new(DockerSnapshot::open(&self.client, database).await?))
    }

    async fn globals(&self) -> Result<Box<dyn SourceStream>, StackError> {
        let command = self.client.command("pg_dumpall", ["--globals-only".to_owned()]);
        Ok(Box::new(run(&self.client.docker, &self.client.container, command).await?))
    }

    async fn root_key(&self) -> Result<Option<Secret<Vec<u8>>>, StackError> {
        let RootKey::At(path) = &self.client.spec.root_key else { return Ok(None) };
        let first = self.read_key(path, None).await;
        let by_owner = || self.read_key(path, Some("postgres".to_owned()));
        match first {
            // In some images an exec runs as a user who may not read it, or may not even see whether it is
            // there; its owner may.
            Err(error) if error.message.contains("Permission denied") => by_owner().await,
            Ok(None) => Ok(by_owner().await.unwrap_or_default()),
            other => other,
        }
    }

    async fn terminate(&self) -> Result<u64, StackError> {
        let pattern = self.family.replace('\'', "''");
        let query = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE starts_with(application_name, '{pattern}') AND pid <> pg_backend_pid()"
        );
        // A database that is certainly there, and that no dump is of.
        self.client.ask("template1", &query).await
    }
}

impl DockerServer {
    async fn read_key(
        &self,
        path: &str,
        user: Option<String>,
    ) -> Result<Option<Secret<Vec<u8>>>, StackError> {
        let arguments = ["sh", "-c", READ_KEY, "supakeep", path].map(str::to_owned).to_vec();
        let mut command = self.client.psql("template1", &[]);
        command.arguments = arguments;
        command.password = None;
        command.user = user;
        let stream = run(&self.client.docker, &self.client.container, command).await?;
        match read_all(stream).await {
            Ok(key) if key.is_empty() => Err(unreadable(format!("{path} is empty"))),
            Ok(key) => Ok(Some(Secret::new(key))),
            Err((_, Some(NO_KEY))) => Ok(None),
            Err((error, _)) => Err(unreadable(error.message)),
        }
    }
}

fn unreadable(message: String) -> StackError {
    StackError::new(Code::RootKeyUnreadable, format!("the vault's root key: {message}"))
}

/// Everything the program wrote; or the error, with its exit code where there was one.
async fn read_all(mut stream: ExecStream) -> Result<Vec<u8>, (StackError, Option<i64>)> {
    let mut out = Vec::new();
    while let Some(bytes) = stream.next().await.map_err(|error| (error, None))? {
        out.extend_from_slice(&bytes);
        if out.len() > MAX_KEY {
            return Err((unreadable("it is too long to be one".to_owned()), None));
        }
    }
    let code = stream.exit_code();
    Box::new(stream).finish().await.map_err(|error| (error, code))?;
    Ok(out)
}
