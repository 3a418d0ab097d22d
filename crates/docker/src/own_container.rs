//! Which container supakeep itself runs in.

use bollard::Docker;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

use crate::discover::PROJECT_LABEL;
use crate::error::call;

/// Where the kernel lists this process's mounts. Docker mounts `/etc/hostname` and others from the
/// container's own folder, whose name is the container's id.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The compose project that supakeep itself belongs to, if it runs in a container that has one. An
/// error is one of asking: the engine may know better later.
pub async fn own_project(docker: &Docker) -> Result<Option<String>, StackError> {
    match own_id() {
        Some(id) => project_of(docker, &id).await,
        None => Ok(None),
    }
}

/// The id of the container that supakeep itself runs in, if it does.
pub(crate) fn own_id() -> Option<String> {
    container_id(&std::fs::read_to_string(MOUNTS).unwrap_or_default())
}

async fn project_of(docker: &Docker, id: &str) -> Result<Option<String>, StackError> {
    match call("looking at supakeep's own container", docker.inspect_container(id, None)).await {
        Ok(container) => {
            let labels = container.config.and_then(|config| config.labels);
            Ok(labels.and_then(|mut labels| labels.remove(PROJECT_LABEL)))
        }
        // It belongs to another engine.
        Err(error) if error.code == Code::StackNotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Finds `…/containers/<64 hexadecimal digits>/…` in the mounts of `/etc/hostname` and its like.
fn container_id(mounts: &str) -> Option<String> {
    mounts.lines().filter(|line| line.contains(" /etc/")).find_map(|line| {
        let (_, rest) = line.split_once("/containers/")?;
        let id = rest.split('/').next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Answer, FakeDocker};

    #[tokio::test]
    async fn asks_the_engine_for_the_project() {
        let fake = FakeDocker::start();
        let project = async || project_of(&fake.docker(), "own").await.map_err(|error| error.code);
        assert_eq!(project().await, Ok(None), "a container of another engine");
        let labels = serde_json::json!({ "Config": { "Labels": { PROJECT_LABEL: "supabase" } } });
        fake.engine.on("GET /containers/own/json", Answer::of(&labels));
        assert_eq!(project().await, Ok(Some("supabase".to_owned())));
        fake.engine.on("GET /containers/own/json", Answer::of(&serde_json::json!({ "Config": {} })));
        assert_eq!(project().await, Ok(None));
        fake.engine.on("GET /containers/own/json", Answer::error(502, "not now"));
        assert_eq!(project().await, Err(Code::DockerUnreachable));
    }

    #[test]
    fn reads_the_id_from_the_mounts() {
        let id = "0123456789abcdef".repeat(4);
        let mounts = format!(
            "22 1 0:1 / / rw - overlay overlay rw\n23 22 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda rw\n"
        );
        assert_eq!(container_id(&mounts), Some(id));
        assert_eq!(container_id("22 1 8:1 /home /etc/x rw - ext4 /dev/sda rw"), None);
        assert_eq!(container_id("23 22 8:1 /containers/short/hostname /etc/hostname rw - ext4 x rw"), None);
    }
}
