//! Containers of ours that are to go, and what is left of runs that died.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions,
};
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

use crate::error::{call, call_within};

/// How long removing one may take: its data may be large.
const REMOVING: Duration = Duration::from_secs(300);

/// Removes a container with its volumes; one that is gone, or is going, is fine.
pub(crate) async fn remove(docker: &Docker, id: &str) -> Result<(), StackError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let removing = docker.remove_container(id, Some(options));
    match call_within(REMOVING, "removing a container", removing).await {
        Err(error) if error.code == Code::StackNotFound || error.message.contains("in progress") => Ok(()),
        other => other,
    }
}

/// Removes all containers that have this value of this label.
pub(crate) async fn sweep_containers(docker: &Docker, label: &str, value: &str) -> Result<(), StackError> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let listed = call("listing containers", docker.list_containers(Some(options))).await?;
    for id in listed.into_iter().filter_map(|summary| summary.id) {
        remove(docker, &id).await?;
    }
    Ok(())
}

/// Removes all containers and volumes that have this value of this label.
pub(crate) async fn sweep(docker: &Docker, label: &str, value: &str) -> Result<(), StackError> {
    sweep_containers(docker, label, value).await?;
    let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
    // Somebody may have removed a container and left its volumes.
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let listed = call("listing volumes", docker.list_volumes(Some(options))).await?;
    for volume in listed.volumes.unwrap_or_default() {
        let removing = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>);
        match call_within(REMOVING, "removing a volume", removing).await {
            Err(error) if error.code != Code::StackNotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
