//! The services around the database: which there are, stopping and starting them.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerSummary, HealthStatusEnum};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use supakeep_flow::ports::{Service, StackError};
use supakeep_model::code::Code;
use tokio::time::Instant;

use crate::discover::{ONEOFF_LABEL, PROJECT_LABEL, SERVICE_LABEL};
use crate::error::{call, call_within};

/// What compose notes of a service's dependencies: `db:service_healthy:false,…`
const DEPENDS_ON_LABEL: &str = "com.docker.compose.depends_on";
/// How long a service may take to end by itself before it is killed: compose's own patience.
const STOP_SECONDS: i32 = 10;
/// How long the engine may take over that.
const STOPPING: Duration = Duration::from_secs(60);
/// How long a service may take to become healthy.
const STARTING: Duration = Duration::from_secs(180);
/// The length of the short form of an id.
const SHORT_ID: usize = 12;
/// Pause between two questions whether it is.
const POLL: Duration = Duration::from_millis(250);

/// What a service says that a restore must not stop, with the value [`KEEP_RUNNING`]: a proxy before the engine's
/// socket, without which nothing could be started again.
const RESTORE_LABEL: &str = "org.supakeep.restore";
const KEEP_RUNNING: &str = "keep-running";

/// The services of `project` except for the containers in `spared`, those that say that they are to be kept
/// running, and the one that the engine is reached by.
pub(crate) async fn services(
    docker: &Docker,
    project: &str,
    spared: &[String],
    engine_host: Option<&str>,
) -> Result<Vec<Service>, StackError> {
    let listed = all(docker).await?;
    let is_wanted = |summary: &ContainerSummary| !is_in_between(summary, engine_host);
    let services = listed.into_iter().filter(is_wanted).filter_map(|summary| service(summary, project));
    Ok(services.filter(|service| !spared.contains(&service.id)).collect())
}

/// All containers of the engine.
pub(crate) async fn all(docker: &Docker) -> Result<Vec<ContainerSummary>, StackError> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    call("listing containers", docker.list_containers(Some(options))).await
}

/// Whether a container is what the engine is reached by, or says that it is to be kept running.
pub(crate) fn is_in_between(summary: &ContainerSummary, engine_host: Option<&str>) -> bool {
    is_kept_running(summary) || engine_host.is_some_and(|host| is_called(summary, host))
}

fn label<'a>(summary: &'a ContainerSummary, name: &str) -> Option<&'a str> {
    summary.labels.as_ref()?.get(name).map(String::as_str)
}

fn is_kept_running(summary: &ContainerSummary) -> bool {
    label(summary, RESTORE_LABEL) == Some(KEEP_RUNNING)
}

/// Whether `host` is how the container is reached: its name, its service's, its address, or the beginning of its
/// id, which is its host name unless another was given.
fn is_called(summary: &ContainerSummary, host: &str) -> bool {
    let names = summary.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    let networks = summary.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let endpoints = networks.into_iter().flat_map(|networks| networks.values());
    let addresses = endpoints.flat_map(|endpoint| {
        let aliases = endpoint.aliases.iter().chain(&endpoint.dns_names).flatten();
        aliases.chain(&endpoint.ip_address).chain(&endpoint.global_ipv6_address).map(String::as_str)
    });
    let is_id = |id: &String| host.len() >= SHORT_ID && id.starts_with(host);
    names.chain(addresses).chain(label(summary, SERVICE_LABEL)).any(|name| name == host)
        || summary.id.as_ref().is_some_and(is_id)
}

/// The host that `DOCKER_HOST` names, unless it is a socket's path.
pub(crate) fn host_of(docker_host: &str) -> Option<String> {
    let (scheme, rest) = docker_host.split_once("://")?;
    if scheme == "unix" {
        return None;
    }
    let authority = rest.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn service(summary: ContainerSummary, project: &str) -> Option<Service> {
    as_service(summary, project).filter(|(_, belongs)| *belongs).map(|(service, _)| service)
}

/// A container as a service, and whether it is one of `project`.
pub(crate) fn as_service(summary: ContainerSummary, project: &str) -> Option<(Service, bool)> {
    let labels = summary.labels.unwrap_or_default();
    let belongs = labels.get(PROJECT_LABEL).map(String::as_str) == Some(project)
        && labels.get(ONEOFF_LABEL).map(String::as_str) != Some("True");
    let id = summary.id?;
    let container = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    let name = labels.get(SERVICE_LABEL).cloned().unwrap_or(container.trim_start_matches('/').to_owned());
    let is_running = summary
        .state
        .is_some_and(|state| matches!(state.to_string().as_str(), "running" | "restarting" | "paused"));
    let depends_on = labels.get(DEPENDS_ON_LABEL).map(String::as_str).unwrap_or_default();
    let depends_on = depends_on.split(',').filter_map(|entry| entry.split(':').next());
    let depends_on = depends_on.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some((Service { id, name, is_running, depends_on }, belongs))
}

/// Stops a container; one that is stopped already is fine.
pub(crate) async fn stop(docker: &Docker, service: &Service) -> Result<(), StackError> {
    let options = StopContainerOptionsBuilder::default().t(STOP_SECONDS).build();
    let doing = format!("stopping {}", service.name);
    call_within(STOPPING, &doing, docker.stop_container(&service.id, Some(options))).await
}

/// Starts a container and waits until it is well.
pub(crate) async fn start(docker: &Docker, service: &Service) -> Result<(), StackError> {
    let doing = format!("starting {}", service.name);
    call_within(STOPPING, &doing, docker.start_container(&service.id, None)).await?;
    until_well(docker, &service.id, &service.name).await
}

/// Restarts a container and waits until it is well.
pub(crate) async fn restart(docker: &Docker, id: &str, name: &str) -> Result<(), StackError> {
    let options = RestartContainerOptionsBuilder::default().t(STOP_SECONDS * 6).build();
    let doing = format!("restarting {name}");
    call_within(STOPPING * 3, &doing, docker.restart_container(id, Some(options))).await?;
    until_well(docker, id, name).await
}

async fn until_well(docker: &Docker, id: &str, name: &str) -> Result<(), StackError> {
    let deadline = Instant::now() + STARTING;
    loop {
        let state =
            call("looking at a service", docker.inspect_container(id, None)).await?.state.unwrap_or_default();
        let health = state.health.and_then(|health| health.status);
        let is_well = state.running == Some(true)
            && state.restarting != Some(true)
            && !matches!(health, Some(HealthStatusEnum::STARTING | HealthStatusEnum::UNHEALTHY));
        if is_well {
            return Ok(());
        }
        if Instant::now() > deadline {
            let status = health.map_or_else(
                || state.status.map_or_else(|| "not running".to_owned(), |status| status.to_string()),
                |health| health.to_string(),
            );
            let message = format!("{name} was started and is {status} after {} seconds", STARTING.as_secs());
            return Err(StackError::new(Code::ServiceUnhealthy, message));
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_by_what_compose_has_written_on_its_container() {
        let storage = || {
            serde_json::json!({
                "Id": "0123", "Names": ["/supabase-storage-1"], "State": "running",
                "Labels": {
                    PROJECT_LABEL: "supabase", SERVICE_LABEL: "storage",
                    DEPENDS_ON_LABEL: "db:service_healthy:false,rest:service_started:false",
                },
            })
        };
        let service = service(container(storage()), "supabase").expect("it belongs to the project");
        assert_eq!((service.name.as_str(), service.is_running), ("storage", true));
        assert_eq!(service.depends_on, ["db", "rest"]);
        for (label, value) in [(DEPENDS_ON_LABEL, ""), (SERVICE_LABEL, "storage")] {
            let mut alone = storage();
            alone["Labels"] = serde_json::json!({ PROJECT_LABEL: "supabase", label: value });
            let service = super::service(container(alone), "supabase").expect("it belongs to the project");
            assert_eq!(service.depends_on, [""; 0]);
        }
        assert_eq!(super::service(container(storage()), "another"), None);
    }

    fn container(value: serde_json::Value) -> ContainerSummary {
        serde_json::from_value(value).expect("the engine's form")
    }

    #[test]
    fn whatever_the_engine_is_reached_by_is_not_stopped() {
        let labelled = container(serde_json::json!({ "Labels": { "org.supakeep.restore": "keep-running" } }));
        assert!(is_kept_running(&labelled));
        assert!(!is_kept_running(&container(
            serde_json::json!({ "Labels": { "org.supakeep.restore": "stop" } })
        )));
        let id = "0123456789abcdef".repeat(4);
        let proxy = container(serde_json::json!({
            "Id": id, "Names": ["/supabase-proxy-1"], "Labels": { SERVICE_LABEL: "proxy" },
            "NetworkSettings": { "Networks": { "n": { "IPAddress": "172.18.0.9" } } },
        }));
        for host in ["proxy", "supabase-proxy-1", "172.18.0.9", "0123456789ab", &id] {
            assert!(is_called(&proxy, host), "{host}");
        }
        for host in ["0123", "db", "172.18.0.1", ""] {
            assert!(!is_called(&proxy, host), "{host}");
        }
    }

    #[test]
    fn the_host_is_read_from_what_names_the_engine() {
        for (docker_host, host) in [
            ("tcp://supakeep-socket-proxy:2375", Some("supakeep-socket-proxy")),
            ("tcp://172.18.0.9:2375/", Some("172.18.0.9")),
            ("https://[fd00::9]:2376", Some("fd00::9")),
            ("http://proxy", Some("proxy")),
            ("unix:///var/run/docker.sock", None),
            ("tcp://", None),
        ] {
            assert_eq!(host_of(docker_host).as_deref(), host, "{docker_host}");
        }
    }
}
