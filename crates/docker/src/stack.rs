//! A stack in Docker: found, waited for, connected to.

use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{ContainerInspectResponse, HealthStatusEnum};
use supakeep_flow::ports::{Server, Stack, StackError};
use supakeep_model::code::Code;
use supakeep_model::manifest_head::StackRecord;
use supakeep_model::secret::Secret;
use tokio::time::Instant;

use crate::discover::{PROJECT_LABEL, Target, WORKING_DIR_LABEL, discover};
use crate::error::call;
use crate::facts::{ServerAnswer, server_query};
use crate::layout::config_files;
use crate::psql::Client;
use crate::server::DockerServer;

/// The pause after the first vain try; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The server cuts longer application names off (NAMEDATALEN).
const MAX_APPLICATION_NAME: usize = 63;

/// Where the vault's root key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKey {
    /// A path in the database's container.
    At(String),
    /// This stack has none, or it is kept elsewhere.
    None,
}

/// Which stack, and how to talk to it.
#[derive(Debug, Clone)]
pub struct StackSpec {
    /// The compose project.
    pub project: String,
    /// The database's service in it.
    pub service: String,
    /// The database's container, where there are no labels to find it by.
    pub container: Option<String>,
    /// Who dumps: a superuser.
    pub user: String,
    /// The server's port, where it is not the container's own PGPORT or 5432.
    pub port: Option<u16>,
    /// The user's password, where 127.0.0.1 is not trusted.
    pub password: Option<Secret<String>>,
    /// Where the vault's root key is.
    pub root_key: RootKey,
    /// How long to wait for the server to be there.
    pub wait: Duration,
    /// The longest pause in a dump's output.
    pub stall: Duration,
    /// How long a dump waits for a table's lock.
    pub lock_wait: Duration,
}

impl StackSpec {
    pub(crate) fn target(&self) -> Target {
        match &self.container {
            Some(container) => Target::Container(container.clone()),
            None => Target::Service { project: self.project.clone(), service: self.service.clone() },
        }
    }
}

/// A stack in Docker.
pub struct DockerStack {
    docker: Docker,
    spec: StackSpec,
    family: String,
}

impl DockerStack {
    /// `identity` is the repository's: sessions on the server are known by it, so that what a dead run
    /// has left can be ended, and what another repository's run is doing is left alone.
    pub fn new(docker: Docker, spec: StackSpec, identity: &str) -> DockerStack {
        DockerStack { docker, spec, family: format!("supakeep-{identity}-") }
    }

    /// For somebody who only looks: a run that begins meanwhile ends the sessions of its repository's
    /// dead runs, and these are none.
    pub fn looking(docker: Docker, spec: StackSpec) -> DockerStack {
        DockerStack::new(docker, spec, "look")
    }

    /// Looks once.
    async fn try_connect(&self, run: &str) -> Result<DockerServer, StackError> {
        let id = discover(&self.docker, &self.spec.target()).await?;
        let container =
            call("looking at the database's container", self.docker.inspect_container(&id, None)).await?;
        check_state(&container)?;
        let mut application_name = format!("{}{run}", self.family);
        application_name.truncate(MAX_APPLICATION_NAME);
        let client =
            Client { docker: self.docker.clone(), container: id, spec: self.spec.clone(), application_name };
        let answer: ServerAnswer = client.ask("template1", &server_query()).await?;
        let facts = answer.into_facts(record(&self.spec, &container));
        Ok(DockerServer { client, facts, family: self.family.clone() })
    }
}

#[async_trait]
impl Stack for DockerStack {
    async fn connect(&self, run: &str) -> Result<Box<dyn Server>, StackError> {
        Ok(Box::new(self.wait_for_server(run).await?))
    }
}

impl DockerStack {
    /// Looks until the server answers, or cannot be expected to.
    pub(crate) async fn wait_for_server(&self, run: &str) -> Result<DockerServer, StackError> {
        let deadline = Instant::now() + self.spec.wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.try_connect(run).await {
                Ok(server) => return Ok(server),
                Err(error) => error,
            };
            if !passes_by_itself(error.code) || Instant::now() + pause > deadline {
                return Err(error);
            }
            tracing::debug!(code = %error.code, "waiting for the database: {error}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// What a server or engine that is starting looks like.
fn passes_by_itself(code: Code) -> bool {
    matches!(
        code,
        Code::DockerUnreachable
            | Code::DatabaseNotRunning
            | Code::DatabaseUnhealthy
            | Code::DatabaseRefused
            | Code::DatabaseLost
            | Code::StreamTruncated
    )
}

fn check_state(container: &ContainerInspectResponse) -> Result<(), StackError> {
    let name = name(container);
    let state = container.state.clone().unwrap_or_default();
    let refuse =
        |code, what: String| Err(StackError::new(code, format!("the database's container {name} {what}")));
    if state.paused == Some(true) {
        return refuse(Code::DatabasePaused, "is paused".to_owned());
    }
    if state.running != Some(true) || state.restarting == Some(true) {
        let status = state.status.map_or_else(|| "not running".to_owned(), |status| status.to_string());
        return refuse(Code::DatabaseNotRunning, format!("is {status}"));
    }
    match state.health.and_then(|health| health.status) {
        Some(HealthStatusEnum::UNHEALTHY) => refuse(Code::DatabaseUnhealthy, "is unhealthy".to_owned()),
        Some(HealthStatusEnum::STARTING) => refuse(Code::DatabaseUnhealthy, "is still starting".to_owned()),
        _ => Ok(()),
    }
}

fn name(container: &ContainerInspectResponse) -> String {
    container.name.clone().unwrap_or_default().trim_start_matches('/').to_owned()
}

fn record(spec: &StackSpec, container: &ContainerInspectResponse) -> StackRecord {
    let config = container.config.clone().unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    StackRecord {
        project: labels.get(PROJECT_LABEL).cloned().unwrap_or_else(|| spec.project.clone()),
        container: name(container),
        image: config.image.unwrap_or_default(),
        image_id: container.image.clone().unwrap_or_default(),
        working_dir: labels.get(WORKING_DIR_LABEL).cloned(),
        compose_files: config_files(container),
        ..StackRecord::default()
    }
}

#[cfg(test)]
mod tests;
