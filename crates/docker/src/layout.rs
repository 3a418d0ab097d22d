//! Where the files of a stack are, as its containers tell.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary, MountPoint};
use bollard::query_parameters::ListContainersOptionsBuilder;
use supakeep_flow::ports::{ComposeFiles, Layout, Place, StackError, StorageLayout};
use supakeep_model::code::Code;

use crate::discover::{
    CONFIG_FILES_LABEL, ENVIRONMENT_FILE_LABEL, ONEOFF_LABEL, PROJECT_LABEL, SERVICE_LABEL,
    WORKING_DIR_LABEL, discover,
};
use crate::error::call;
use crate::stack::StackSpec;

/// The storage service, as Supabase's compose file calls it.
const STORAGE_SERVICE: &str = "storage";
/// Where it keeps files, by the names of its variables, newer ones first.
const BACKEND: [&str; 1] = ["STORAGE_BACKEND"];
const FILE_PATH: [&str; 2] = ["STORAGE_FILE_BACKEND_PATH", "FILE_STORAGE_BACKEND_PATH"];
const BUCKET: [&str; 2] = ["STORAGE_S3_BUCKET", "GLOBAL_S3_BUCKET"];
const TENANT: [&str; 1] = ["TENANT_ID"];
/// Where it keeps them unless a variable says otherwise.
const DEFAULT_PATH: &str = "/var/lib/storage";

/// What the containers of the stack tell, whether they run or not.
pub(crate) async fn layout(docker: &Docker, spec: &StackSpec) -> Result<Layout, StackError> {
    let db = discover(docker, &spec.target()).await?;
    let db = call("looking at the database's container", docker.inspect_container(&db, None)).await?;
    let compose = compose_files(&db);
    let project = label(&db, PROJECT_LABEL).cloned();
    let storage = match project {
        Some(project) => storage(docker, &project).await?,
        None => StorageLayout::Absent,
    };
    Ok(Layout { folder: compose.working_dir.clone().map(Place::Host), compose, storage })
}

async fn storage(docker: &Docker, project: &str) -> Result<StorageLayout, StackError> {
    let labels = vec![format!("{PROJECT_LABEL}={project}"), format!("{SERVICE_LABEL}={STORAGE_SERVICE}")];
    let filters = HashMap::from([("label".to_owned(), labels)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let listed = call("looking for the storage service", docker.list_containers(Some(options))).await?;
    let is_service = |summary: &ContainerSummary| {
        summary.labels.as_ref().and_then(|labels| labels.get(ONEOFF_LABEL)).map(String::as_str)
            != Some("True")
    };
    match listed.into_iter().filter(is_service).find_map(|summary| summary.id) {
        None => Ok(StorageLayout::Absent),
        Some(id) => match call("looking at the storage service", docker.inspect_container(&id, None)).await {
            Ok(container) => Ok(storage_layout(&container)),
            // It went away meanwhile.
            Err(error) if error.code == Code::StackNotFound => Ok(StorageLayout::Absent),
            Err(error) => Err(error),
        },
    }
}

fn storage_layout(container: &ContainerInspectResponse) -> StorageLayout {
    let variables = container.config.as_ref().and_then(|config| config.env.as_deref()).unwrap_or_default();
    let variable = |names: &[&str]| {
        let values = names.iter().filter_map(|name| {
            variables.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
        });
        values.filter(|value| !value.is_empty()).map(str::to_owned).next()
    };
    let bucket = variable(&BUCKET).unwrap_or_default();
    if variable(&BACKEND).is_some_and(|backend| backend != "file") {
        return StorageLayout::S3 { bucket };
    }
    let path = variable(&FILE_PATH).unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let parts = [bucket, variable(&TENANT).unwrap_or_default()];
    let prefix = parts.iter().filter(|part| !part.is_empty()).map(|part| format!("{part}/")).collect();
    match place(container.mounts.as_deref().unwrap_or_default(), &path) {
        Some(place) => StorageLayout::Files { place, prefix },
        None => StorageLayout::Unmounted { path },
    }
}

/// What of the host is at `path` in a container.
fn place(mounts: &[MountPoint], path: &str) -> Option<Place> {
    let below = |mount: &MountPoint| {
        let target = mount.destination.as_deref()?.trim_end_matches('/');
        let rest = path.trim_end_matches('/').strip_prefix(target)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
    };
    // The one that is mounted last of all that hold it.
    let of_it = mounts.iter().filter_map(|mount| Some((mount, below(mount)?)));
    let (mount, rest) = of_it.min_by_key(|(_, rest)| rest.len())?;
    match (mount.typ.as_deref(), &mount.name, &mount.source) {
        (Some("volume"), Some(name), _) if rest.is_empty() => Some(Place::Volume(name.clone())),
        (Some("volume" | "bind"), _, Some(source)) => Some(Place::Host(format!("{source}{rest}"))),
        _ => None,
    }
}

/// What compose has written down of the files that it was given.
fn compose_files(container: &ContainerInspectResponse) -> ComposeFiles {
    let list = |name: &str| {
        let files = label(container, name).into_iter().flat_map(|value| value.split(','));
        files.map(str::trim).filter(|file| !file.is_empty()).map(str::to_owned).collect()
    };
    ComposeFiles {
        working_dir: label(container, WORKING_DIR_LABEL).cloned(),
        config_files: list(CONFIG_FILES_LABEL),
        environment_files: list(ENVIRONMENT_FILE_LABEL),
    }
}

fn label<'a>(container: &'a ContainerInspectResponse, name: &str) -> Option<&'a String> {
    let labels = container.config.as_ref()?.labels.as_ref()?;
    labels.get(name).filter(|value| !value.is_empty())
}

/// The compose files of a container, as paths of the host.
pub(crate) fn config_files(container: &ContainerInspectResponse) -> Vec<String> {
    compose_files(container).config_files
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ContainerConfig;

    fn container(value: serde_json::Value) -> ContainerInspectResponse {
        serde_json::from_value(value).expect("the engine's form")
    }

    #[test]
    fn what_compose_was_given_is_read_from_its_labels() {
        let labels = [
            (WORKING_DIR_LABEL, "/opt/s"),
            (CONFIG_FILES_LABEL, "/opt/s/docker-compose.yml,/opt/s/over.yml"),
            (ENVIRONMENT_FILE_LABEL, ""),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let config = ContainerConfig { labels: Some(labels), ..Default::default() };
        let found = compose_files(&ContainerInspectResponse { config: Some(config), ..Default::default() });
        assert_eq!(found.working_dir.as_deref(), Some("/opt/s"));
        assert_eq!(found.config_files, ["/opt/s/docker-compose.yml", "/opt/s/over.yml"]);
        assert_eq!(found.environment_files, Vec::<String>::new());
        assert_eq!(compose_files(&ContainerInspectResponse::default()), ComposeFiles::default());
    }

    fn storage(variables: &[&str], mounts: &serde_json::Value) -> StorageLayout {
        storage_layout(&container(serde_json::json!({ "Config": { "Env": variables }, "Mounts": mounts })))
    }

    #[test]
    fn the_storage_service_tells_where_it_keeps_its_files() {
        let bind = serde_json::json!([
            { "Type": "bind", "Source": "/opt/s/volumes/storage", "Destination": "/var/lib/storage" },
            { "Type": "bind", "Source": "/opt/s", "Destination": "/var/lib" },
        ]);
        let files = |place, prefix: &str| StorageLayout::Files { place, prefix: prefix.to_owned() };
        let host = |path: &str| Place::Host(path.to_owned());
        let known = ["STORAGE_BACKEND=file", "GLOBAL_S3_BUCKET=stub", "TENANT_ID=stub"];
        assert_eq!(storage(&known, &bind), files(host("/opt/s/volumes/storage"), "stub/stub/"));
        assert_eq!(storage(&[], &bind), files(host("/opt/s/volumes/storage"), ""));
        assert_eq!(
            storage(&["FILE_STORAGE_BACKEND_PATH=/var/lib/storage/deep"], &bind),
            files(host("/opt/s/volumes/storage/deep"), "")
        );
        assert_eq!(
            storage(&["FILE_STORAGE_BACKEND_PATH=/var/lib/storages"], &bind),
            files(host("/opt/s/storages"), "")
        );
        let volume = serde_json::json!([
            { "Type": "volume", "Name": "s_storage", "Source": "/docker/s_storage", "Destination": "/var/lib/storage" }
        ]);
        assert_eq!(storage(&[], &volume), files(Place::Volume("s_storage".to_owned()), ""));
        assert_eq!(
            storage(&["STORAGE_FILE_BACKEND_PATH=/var/lib/storage/x"], &volume),
            files(host("/docker/s_storage/x"), "")
        );
        let unmounted = StorageLayout::Unmounted { path: "/var/lib/storage".to_owned() };
        assert_eq!(storage(&[], &serde_json::json!([])), unmounted);
        let tmpfs = serde_json::json!([{ "Type": "tmpfs", "Source": "", "Destination": "/var/lib/storage" }]);
        assert_eq!(storage(&[], &tmpfs), unmounted);
        let bucket = StorageLayout::S3 { bucket: "stub".to_owned() };
        assert_eq!(storage(&["STORAGE_BACKEND=s3", "GLOBAL_S3_BUCKET=stub"], &bind), bucket);
    }
}
