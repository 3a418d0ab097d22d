//! The containers around the database.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{ContainerSummary, MountPoint, VolumeCreateRequest};
use bollard::query_parameters::ListVolumesOptionsBuilder;
use supakeep_flow::ports::{
    Container, Containers, Labels, Mounted, Place, Program, Service, SourceStream, Spared, StackError,
};
use supakeep_model::code::Code;
use supakeep_model::journal::StoppedService;

use crate::discover::{PROJECT_LABEL, discover};
use crate::error::{call, call_within};
use crate::exec::{Command, run};
use crate::own_container::own_id;
use crate::services::{self, host_of};
use crate::stack::StackSpec;

/// What compose notes on a volume: its name in the compose file.
const VOLUME_LABEL: &str = "com.docker.compose.volume";
/// What people write on containers.
const STOP_LABEL: &str = "supakeep.stop-during-backup";
const VOLUME_WISH_LABEL: &str = "supakeep.volume";
const BEFORE_LABEL: &str = "supakeep.exec-before";
const REDIS_LABEL: &str = "supakeep.redis";
/// Where a server keeps its data unless its variable says otherwise.
const DATA: &str = "/var/lib/postgresql/data";
const DATA_VARIABLE: &str = "PGDATA=";
/// How long a program of somebody's may be silent.
const STALL: Duration = Duration::from_secs(600);
/// How much it may print.
const MAX_OUTPUT: usize = 1 << 20;
/// How long making a volume may take: its driver may have to ask another machine.
const MAKING: Duration = Duration::from_secs(60);

/// The containers of an engine, seen from a stack.
pub struct DockerContainers {
    docker: Docker,
    spec: StackSpec,
    engine_host: Option<String>,
}

impl DockerContainers {
    /// `docker_host` is what the engine is named by, as for [`crate::DockerSites::new`].
    pub fn new(docker: Docker, spec: StackSpec, docker_host: Option<&str>) -> DockerContainers {
        DockerContainers { docker, spec, engine_host: docker_host.and_then(host_of) }
    }

    /// The database's container, its project, and where it keeps its data.
    async fn database(&self) -> Result<(String, String, String), StackError> {
        let id = discover(&self.docker, &self.spec.target()).await?;
        let db =
            call("looking at the database's container", self.docker.inspect_container(&id, None)).await?;
        let config = db.config.unwrap_or_default();
        let project = config.labels.unwrap_or_default().remove(PROJECT_LABEL);
        let variables = config.env.unwrap_or_default();
        let data = variables.iter().find_map(|variable| variable.strip_prefix(DATA_VARIABLE));
        let data = data.filter(|path| path.starts_with('/')).unwrap_or(DATA).to_owned();
        Ok((id, project.unwrap_or_else(|| self.spec.project.clone()), data))
    }

    fn command(program: Program<'_>) -> Command {
        Command {
            arguments: program.arguments.to_vec(),
            password: program.password.cloned(),
            stall: STALL,
            ..Command::default()
        }
    }
}

#[async_trait]
impl Containers for DockerContainers {
    async fn containers(&self) -> Result<Vec<Container>, StackError> {
        // A stack whose database is gone has containers all the same.
        let (database, project, data) = match self.database().await {
            Err(error) if error.code == Code::StackNotFound => {
                (String::new(), self.spec.project.clone(), DATA.to_owned())
            }
            found => found?,
        };
        let own = own_id();
        let listed = services::all(&self.docker).await?;
        let container = |summary: ContainerSummary| {
            let is_database = summary.id.as_ref() == Some(&database);
            let is_own = own.is_some() && summary.id == own;
            let is_kept = is_own || services::is_in_between(&summary, self.engine_host.as_deref());
            let spared = match (is_database, is_kept) {
                (true, _) => Some(Spared::Database),
                (_, true) => Some(Spared::Supakeep),
                _ => None,
            };
            of(summary, &project, spared, is_database.then_some(data.as_str()))
        };
        Ok(listed.into_iter().filter_map(container).collect())
    }

    async fn find_volume(&self, name: &str) -> Result<Option<String>, StackError> {
        let options = ListVolumesOptionsBuilder::default().build();
        let listed = call("listing volumes", self.docker.list_volumes(Some(options))).await?;
        let volumes = listed.volumes.unwrap_or_default();
        let of_compose = |labels: &HashMap<String, String>| {
            labels.get(PROJECT_LABEL) == Some(&self.spec.project)
                && labels.get(VOLUME_LABEL).map(String::as_str) == Some(name)
        };
        // What compose calls so in this project, before what anybody else may have called so.
        let known = volumes.iter().find(|volume| of_compose(&volume.labels));
        let known = known.or_else(|| volumes.iter().find(|volume| volume.name == name));
        Ok(known.map(|volume| volume.name.clone()))
    }

    async fn make_volume(&self, name: &str) -> Result<(), StackError> {
        // Without its labels compose takes it for somebody else's.
        let project = &self.spec.project;
        let short = name.strip_prefix(project.as_str()).and_then(|rest| rest.strip_prefix('_'));
        let labels = short.filter(|_| !project.is_empty()).map(|short| {
            HashMap::from([
                (PROJECT_LABEL.to_owned(), project.clone()),
                (VOLUME_LABEL.to_owned(), short.to_owned()),
            ])
        });
        let wanted =
            VolumeCreateRequest { name: Some(name.to_owned()), labels, ..VolumeCreateRequest::default() };
        call_within(MAKING, "making a volume", self.docker.create_volume(wanted)).await?;
        Ok(())
    }

    async fn stop(&self, container: &StoppedService) -> Result<(), StackError> {
        services::stop(&self.docker, &service(container)).await
    }

    async fn start(&self, container: &StoppedService) -> Result<(), StackError> {
        services::start(&self.docker, &service(container)).await
    }

    async fn run(&self, container: &StoppedService, program: Program<'_>) -> Result<String, StackError> {
        let stream = run(&self.docker, &container.id, Self::command(program)).await?;
        Ok(String::from_utf8_lossy(&stream.collect(MAX_OUTPUT).await?).into_owned())
    }

    async fn read(
        &self,
        container: &StoppedService,
        program: Program<'_>,
    ) -> Result<Box<dyn SourceStream>, StackError> {
        Ok(Box::new(run(&self.docker, &container.id, Self::command(program)).await?))
    }
}

fn service(container: &StoppedService) -> Service {
    let StoppedService { id, name } = container.clone();
    Service { id, name, is_running: true, depends_on: Vec::new() }
}

/// A container as it is listed; the database's tells where it keeps its data.
fn of(
    summary: ContainerSummary,
    project: &str,
    spared: Option<Spared>,
    data: Option<&str>,
) -> Option<Container> {
    let mounts = summary.mounts.iter().flatten().filter_map(|mount| mounted(mount, data)).collect();
    let labels = labels(summary.labels.as_ref()?);
    let (service, belongs) = services::as_service(summary, project)?;
    Some(Container { service, belongs, spared, mounts, labels })
}

fn mounted(mount: &MountPoint, data: Option<&str>) -> Option<Mounted> {
    let is_within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let at = mount.destination.as_deref().unwrap_or_default();
    let is_data = data.is_some_and(|data| is_within(data, at) || is_within(at, data));
    let place = match (mount.typ.as_deref(), &mount.name, &mount.source) {
        (Some("volume"), Some(name), _) => Place::Volume(name.clone()),
        (Some("bind"), _, Some(source)) => Place::Host(source.clone()),
        _ => return None,
    };
    Some(Mounted { at: at.to_owned(), place, is_data })
}

fn labels(labels: &HashMap<String, String>) -> Labels {
    let is_set =
        |name: &str| labels.get(name).is_some_and(|value| matches!(value.trim(), "true" | "1" | "yes"));
    let volumes = labels.get(VOLUME_WISH_LABEL).into_iter().flat_map(|value| value.split(','));
    Labels {
        stop_during_backup: is_set(STOP_LABEL),
        volumes: volumes.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        exec_before: labels.get(BEFORE_LABEL).filter(|command| !command.trim().is_empty()).cloned(),
        redis: is_set(REDIS_LABEL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(value: serde_json::Value, data: Option<&str>) -> Container {
        let summary = serde_json::from_value(value).expect("the engine's form");
        of(summary, "supabase", None, data).expect("it is one")
    }

    #[test]
    fn a_container_tells_what_it_uses_and_what_people_want_of_it() {
        let found = container(
            json!({
                "Id": "01", "Names": ["/supabase-app-1"], "State": "running",
                "Labels": {
                    PROJECT_LABEL: "supabase", "supakeep.volume": "uploads, cache:hot",
                    "supakeep.stop-during-backup": "true", "supakeep.exec-before": "flush",
                },
                "Mounts": [
                    { "Type": "volume", "Name": "supabase_uploads", "Source": "/docker/x", "Destination": "/u" },
                    { "Type": "bind", "Source": "/opt/app", "Destination": "/app" },
                    { "Type": "tmpfs", "Destination": "/tmp" },
                ],
            }),
            None,
        );
        assert!(found.belongs && found.service.is_running);
        let places: Vec<_> = found.mounts.into_iter().map(|mount| mount.place).collect();
        assert_eq!(
            places,
            [Place::Volume("supabase_uploads".to_owned()), Place::Host("/opt/app".to_owned())]
        );
        let wanted = Labels {
            stop_during_backup: true,
            volumes: vec!["uploads".to_owned(), "cache:hot".to_owned()],
            exec_before: Some("flush".to_owned()),
            redis: false,
        };
        assert_eq!(found.labels, wanted);
    }

    #[test]
    fn where_a_server_keeps_its_data_is_known() {
        let data = |at: &str| {
            let mount = json!({ "Type": "volume", "Name": "v", "Destination": at });
            let db = json!({ "Id": "01", "Names": ["/db"], "Labels": {}, "Mounts": [mount] });
            container(db, Some("/var/lib/postgresql/data")).mounts[0].is_data
        };
        assert!(data("/var/lib/postgresql/data"));
        assert!(data("/var/lib/postgresql"), "it is in it");
        assert!(data("/var/lib/postgresql/data/pg_wal"), "it is of it");
        assert!(!data("/etc/postgresql-custom") && !data("/var/lib/postgresql/database"));
    }
}
