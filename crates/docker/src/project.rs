//! What the engine has of a compose project.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder};
use supakeep_flow::ports::StackError;

use crate::discover::PROJECT_LABEL;
use crate::error::call;

/// Containers and volumes of a project, by name. Supakeep itself is none of them.
pub async fn project_remains(docker: &Docker, project: &str) -> Result<Vec<String>, StackError> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{PROJECT_LABEL}={project}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let listed = call("listing containers", docker.list_containers(Some(options))).await?;
    let own = crate::own_container::own_id();
    let containers = listed.into_iter().filter(|summary| summary.id != own).flat_map(|summary| {
        let names = summary.names.unwrap_or_default();
        names.into_iter().next().map(|name| name.trim_start_matches('/').to_owned())
    });
    let mut out: Vec<_> = containers.collect();
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let listed = call("listing volumes", docker.list_volumes(Some(options))).await?;
    out.extend(listed.volumes.unwrap_or_default().into_iter().map(|volume| volume.name));
    out.sort_unstable();
    Ok(out)
}
