//! The services around the database: which there are, stopping and starting them.

use std::collections::{BTreeMap, BTreeSet};
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

/// A service, and what it waits for when it starts.
struct Found {
    service: Service,
    depends_on: BTreeSet<String>,
}

/// The services of `project` except for the containers in `spared`, those that say that they are to be kept
/// running, and the one that the engine is reached by; those that others depend on first.
pub(crate) async fn services(
    docker: &Docker,
    project: &str,
    spared: &[String],
    engine_host: Option<&str>,
) -> Result<Vec<Service>, StackError> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let listed = call("listing containers", docker.list_containers(Some(options))).await?;
    let is_wanted = |summary: &ContainerSummary| {
        !is_kept_running(summary) && !engine_host.is_some_and(|host| is_called(summary, host))
    };
    let found = listed.into_iter().filter(is_wanted).filter_map(|summary| found(summary, project));
    Ok(in_order(found.filter(|found| !spared.contains(&found.service.id)).collect()))
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

fn found(summary: ContainerSummary, project: &str) -> Option<Found> {
    let labels = summary.labels.unwrap_or_default();
    let belongs = labels.get(PROJECT_LABEL).map(String::as_str) == Some(project)
        && labels.get(ONEOFF_LABEL).map(String::as_str) != Some("True");
    let id = summary.id.filter(|_| belongs)?;
    let container = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    let name = labels.get(SERVICE_LABEL).cloned().unwrap_or(container.trim_start_matches('/').to_owned());
    let is_running = summary
        .state
        .is_some_and(|state| matches!(state.to_string().as_str(), "running" | "restarting" | "paused"));
    let depends_on = labels.get(DEPENDS_ON_LABEL).map(String::as_str).unwrap_or_default();
    let depends_on =
        depends_on.split(',').filter_map(|entry| entry.split(':').next()).map(str::to_owned).collect();
    Some(Found { service: Service { id, name, is_running }, depends_on })
}

/// Those first that wait for none of the others. What waits for itself in a circle comes last, by name.
fn in_order(found: Vec<Found>) -> Vec<Service> {
    let mut left: BTreeMap<(String, String), Found> =
        found.into_iter().map(|one| ((one.service.name.clone(), one.service.id.clone()), one)).collect();
    let mut out = Vec::new();
    while !left.is_empty() {
        let names: BTreeSet<String> = left.keys().map(|(name, _)| name.clone()).collect();
        let free = |one: &Found| {
            one.depends_on.iter().all(|name| *name == one.service.name || !names.contains(name))
        };
        let next = left.iter().find(|(_, one)| free(one)).or_else(|| left.iter().next());
        let Some(key) = next.map(|(key, _)| key.clone()) else { break };
        out.extend(left.remove(&key).map(|one| one.service));
    }
    out
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

    fn one(name: &str, depends_on: &[&str]) -> Found {
        Found {
            service: Service { id: format!("{name}-id"), name: name.to_owned(), is_running: true },
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn order(found: Vec<Found>) -> Vec<String> {
        in_order(found).into_iter().map(|service| service.name).collect()
    }

    #[test]
    fn starts_what_others_wait_for_first() {
        let stack = vec![
            one("studio", &["analytics"]),
            one("storage", &["db", "rest", "imgproxy"]),
            one("rest", &["db"]),
            one("imgproxy", &[]),
            one("analytics", &["db"]),
        ];
        assert_eq!(order(stack), ["analytics", "imgproxy", "rest", "storage", "studio"]);
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

    #[test]
    fn a_circle_ends_too() {
        assert_eq!(order(vec![one("a", &["b"]), one("b", &["a"]), one("c", &["c"])]), ["c", "a", "b"]);
    }
}
