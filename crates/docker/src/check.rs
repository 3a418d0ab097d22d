//! `supakeep check`: the way to the database, step by step.

use bollard::Docker;
use supakeep_flow::ports::{Server as _, ServerFacts, StackError};
use supakeep_model::code::Code;

use crate::error::call;
use crate::exec::run;
use crate::server::DockerServer;
use crate::stack::{DockerStack, StackSpec};

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What.
    pub subject: &'static str,
    /// What was found, or what is wrong.
    pub result: Result<String, StackError>,
}

/// Programs that a backup runs.
const TOOLS: [&str; 2] = ["pg_dump", "pg_dumpall"];
/// The longest answer of a program that is asked for its version.
const MAX_VERSION: usize = 4096;

/// Everything that was looked at.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// In order.
    pub findings: Vec<Finding>,
    /// What the server told, where it answered.
    pub facts: Option<ServerFacts>,
}

/// Looks at engine, stack, privileges, programs and root key, as far as it gets.
pub async fn check(docker: &Docker, spec: &StackSpec) -> Checked {
    let mut out = Checked::default();
    let mut note = |subject, result: Result<String, StackError>| {
        let ok = result.is_ok();
        out.findings.push(Finding { subject, result });
        ok
    };
    let version = call("asking the engine for its version", docker.version()).await;
    let engine = version.map(|version| format!("Docker Engine {}", version.version.unwrap_or_default()));
    if !note("docker", engine) {
        return out;
    }
    let spec = StackSpec { wait: std::time::Duration::ZERO, ..spec.clone() };
    let server = match DockerStack::looking(docker.clone(), spec).wait_for_server("check").await {
        Ok(server) => server,
        Err(error) => {
            note("stack", Err(error));
            return out;
        }
    };
    let facts = server.facts();
    let record = &facts.record;
    note("stack", Ok(format!("{} (project {}, image {})", record.container, record.project, record.image)));
    note("database", Ok(format!("PostgreSQL {}: {}", record.server_version, facts.databases.join(", "))));
    let privileges = if facts.is_superuser {
        Ok("the user is a superuser: dumps are complete".to_owned())
    } else {
        Err(StackError::new(
            Code::PrivilegesMissing,
            "the user is not a superuser: dumps would be incomplete",
        ))
    };
    note("privileges", privileges);
    note("tools", tools(&server).await);
    let key = server.root_key().await.map(|key| match key {
        Some(key) => format!("the vault's root key is there ({} bytes)", key.expose().len()),
        None => "this server has no root key for a vault".to_owned(),
    });
    note("root key", key);
    out.facts = Some(server.facts);
    out
}

/// Whether the programs of a backup are there, and which they are.
async fn tools(server: &DockerServer) -> Result<String, StackError> {
    let client = &server.client;
    let mut versions = Vec::new();
    for tool in TOOLS {
        let mut command = client.command(tool, []);
        // Any other argument before it, and a version is not what is asked for.
        command.arguments = vec![tool.to_owned(), "--version".to_owned()];
        command.password = None;
        let stream = run(&client.docker, &client.container, command).await?;
        versions.push(String::from_utf8_lossy(&stream.collect(MAX_VERSION).await?).trim().to_owned());
    }
    Ok(versions.join(", "))
}
