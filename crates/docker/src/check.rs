//! `supakeep check`: the way to the database, step by step.

use bollard::Docker;
use supakeep_flow::ports::{Stack as _, StackError};
use supakeep_model::code::Code;

use crate::error::call;
use crate::stack::{DockerStack, StackSpec};

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What.
    pub subject: &'static str,
    /// What was found, or what is wrong.
    pub result: Result<String, StackError>,
}

/// Looks at engine, stack, privileges and root key, as far as it gets.
pub async fn check(docker: &Docker, spec: &StackSpec) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut note = |subject, result: Result<String, StackError>| {
        let ok = result.is_ok();
        out.push(Finding { subject, result });
        ok
    };
    let version = call("asking the engine for its version", docker.version()).await;
    let engine = version.map(|version| format!("Docker Engine {}", version.version.unwrap_or_default()));
    if !note("docker", engine) {
        return out;
    }
    let spec = StackSpec { wait: std::time::Duration::ZERO, ..spec.clone() };
    let server = match DockerStack::looking(docker.clone(), spec).connect("check").await {
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
    let key = server.root_key().await.map(|key| match key {
        Some(key) => format!("the vault's root key is there ({} bytes)", key.expose().len()),
        None => "this server has no root key for a vault".to_owned(),
    });
    note("root key", key);
    out
}
