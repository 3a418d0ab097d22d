//! Docker Compose, as a program.

use std::process::Stdio;

use async_trait::async_trait;
use bollard::Docker;
use supakeep_docker::project_remains;
use supakeep_flow::ports::{Compose, ComposeProject, StackError};
use supakeep_model::code::Code;
use tokio::process::Command;

/// The last so many characters of what it says are shown.
const SHOWN: usize = 2_000;

/// Runs `docker compose`.
pub(crate) struct ComposeProgram {
    /// The engine, for what compose cannot tell.
    pub(crate) docker: Docker,
    /// What the engine is named by, if it is not the local socket.
    pub(crate) docker_host: Option<String>,
}

impl ComposeProgram {
    async fn run(&self, project: Option<&ComposeProject>, arguments: &[&str]) -> Result<(), StackError> {
        let mut command = Command::new("docker");
        command.arg("compose");
        if let Some(project) = project {
            command.arg("--project-name").arg(&project.name).arg("--project-directory").arg(&project.folder);
            for file in &project.files {
                command.arg("--file").arg(project.folder.join(file));
            }
            command.current_dir(&project.folder);
        }
        if let Some(host) = &self.docker_host {
            command.env("DOCKER_HOST", host);
        }
        command.args(arguments).env("COMPOSE_PROGRESS", "quiet");
        // It must not outlive us: what it has not started is started by the next attempt.
        command.stdin(Stdio::null()).kill_on_drop(true);
        let missing = |error: std::io::Error| {
            StackError::new(Code::ComposeMissing, format!("docker compose cannot be run: {error}"))
        };
        let ended = command.output().await.map_err(missing)?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        if said.contains("is not a docker command") || said.contains("unknown command") {
            return Err(StackError::new(Code::ComposeMissing, said));
        }
        let from = said.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
        let what = arguments.first().copied().unwrap_or_default();
        let message = format!("docker compose {what} ended with {}: {}", ended.status, &said[from..]);
        Err(StackError::new(Code::DockerRefused, message))
    }
}

#[async_trait]
impl Compose for ComposeProgram {
    async fn is_there(&self) -> Result<(), StackError> {
        self.run(None, &["version"]).await
    }

    async fn remains(&self, project: &str) -> Result<Vec<String>, StackError> {
        project_remains(&self.docker, project).await
    }

    async fn create(&self, project: &ComposeProject) -> Result<(), StackError> {
        self.run(Some(project), &["create"]).await
    }

    async fn up(&self, project: &ComposeProject, services: &[&str]) -> Result<(), StackError> {
        self.run(Some(project), &[&["up", "--detach"], services].concat()).await
    }
}
