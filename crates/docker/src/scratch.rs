//! A scratch server: a container of the very image that the live database runs, for one drill.
//!
//! It is made like the live one (image id, command, entrypoint), so that its programs, extensions and
//! preload libraries are those that a restore would meet. It shares nothing else with it: no mount, no
//! network, no secret. Container and volumes carry a label with the repository's identity, by which they
//! are found and removed when whoever made them has died.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, HealthConfig, HostConfig, Mount,
    MountType, MountVolumeOptions,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, StartContainerOptions};
use futures_util::StreamExt as _;
use supakeep_flow::ports::{Scratch, ScratchSpec, Site, StackError};
use supakeep_model::code::Code;
use supakeep_model::secret::Secret;
use tokio::time::Instant;

use crate::discover::discover;
use crate::error::call;
use crate::exec::nonce;
use crate::remains;
use crate::server::DockerServer;
use crate::site::DockerSite;
use crate::stack::{DockerStack, RootKey, StackSpec};

/// The label of everything that belongs to a scratch server; its value is the repository's identity.
pub(crate) const LABEL: &str = "org.supakeep.drill";
/// Where the server keeps its data unless the image says otherwise.
const DATA: &str = "/var/lib/postgresql/data";
/// How long the first start may take: the image makes a cluster and runs its own scripts in it.
const STARTING: Duration = Duration::from_secs(600);
/// How long a restart may take.
const RESTARTING: Duration = Duration::from_secs(300);
/// Pause between two questions whether it answers. An image may restart its server once more when its
/// scripts are through: it counts when the same server answers on both sides of a pause.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines of its log that an error shows.
const LAST_LINES: &str = "5";

/// Variables of the live container that shape a server and hold no secret. All others stay where they are.
const SHAPING: [&str; 17] = [
    "JWT_EXP",
    "LANG",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "PATH",
    "PGDATA",
    "PGDATABASE",
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "POSTGRES_DB",
    "POSTGRES_HOST",
    "POSTGRES_INITDB_ARGS",
    "POSTGRES_PORT",
    "POSTGRES_USER",
    "TZ",
];
/// Variables that images want to be there, and that are made up anew.
const MADE_UP: [&str; 3] = ["POSTGRES_PASSWORD", "PGPASSWORD", "JWT_SECRET"];

/// A scratch server, until it is removed.
pub(crate) struct DockerScratch {
    docker: Docker,
    id: String,
    site: DockerSite,
}

impl DockerScratch {
    /// Makes one beside the live stack that `spec` names, whether that one runs or not.
    pub(crate) async fn make(
        docker: &Docker,
        spec: &StackSpec,
        identity: &str,
        run: &str,
        wanted: &ScratchSpec,
    ) -> Result<DockerScratch, StackError> {
        let live = discover(docker, &spec.target()).await?;
        let live = call("looking at the database's container", docker.inspect_container(&live, None)).await?;
        let password = nonce()?;
        let body = body(&live, spec, identity, &password, wanted)?;
        let name = format!("supakeep-drill-{identity}-{}", &password[..8]);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created =
            call("making a scratch container", docker.create_container(Some(options), body)).await?;
        let made = Self::start(docker, spec, identity, run, &created.id, password).await;
        if made.is_err()
            && let Err(error) = remains::remove(docker, &created.id).await
        {
            tracing::warn!(code = %error.code, "a scratch container stays until the next drill: {error}");
        }
        made
    }

    async fn start(
        docker: &Docker,
        spec: &StackSpec,
        identity: &str,
        run: &str,
        id: &str,
        password: String,
    ) -> Result<DockerScratch, StackError> {
        let starting = docker.start_container(id, None::<StartContainerOptions>);
        call("starting the scratch container", starting).await?;
        let spec = StackSpec {
            project: String::new(),
            container: Some(id.to_owned()),
            password: Some(Secret::new(password)),
            wait: Duration::ZERO,
            ..spec.clone()
        };
        let stack = DockerStack::new(docker.clone(), spec.clone(), identity);
        let server = until_it_stays(docker, &stack, id, run).await?;
        let patient = DockerStack::new(docker.clone(), StackSpec { wait: RESTARTING, ..spec }, identity);
        let site = DockerSite::scratch(patient, server).await;
        Ok(DockerScratch { docker: docker.clone(), id: id.to_owned(), site })
    }
}

#[async_trait]
impl Scratch for DockerScratch {
    fn site(&self) -> &dyn Site {
        &self.site
    }

    async fn remove(self: Box<Self>) -> Result<(), StackError> {
        remains::remove(&self.docker, &self.id).await
    }
}

/// The container: the live one's program, and nothing of its data, network or secrets.
fn body(
    live: &ContainerInspectResponse,
    spec: &StackSpec,
    identity: &str,
    password: &str,
    wanted: &ScratchSpec,
) -> Result<ContainerCreateBody, StackError> {
    let image = live.image.clone().filter(|image| !image.is_empty());
    let image = image
        .ok_or_else(|| StackError::new(Code::DockerRefused, "the engine does not tell the image's id"))?;
    let config = live.config.clone().unwrap_or_default();
    let labels = HashMap::from([(LABEL.to_owned(), identity.to_owned())]);
    let memory = i64::try_from(wanted.memory_bytes).unwrap_or(i64::MAX);
    let host_config = HostConfig {
        memory: Some(memory),
        // No swap beyond it: what the stack has in memory stays there.
        memory_swap: Some(memory),
        nano_cpus: Some((wanted.cpus * 1e9) as i64),
        network_mode: Some("none".to_owned()),
        mounts: Some(volumes(&config, spec).into_iter().map(|path| volume(path, &labels)).collect()),
        shm_size: live.host_config.as_ref().and_then(|host| host.shm_size),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(image),
        env: Some(environment(config.env.as_deref().unwrap_or_default(), password)),
        cmd: config.cmd,
        entrypoint: config.entrypoint,
        user: config.user,
        working_dir: config.working_dir,
        stop_signal: config.stop_signal,
        // We ask ourselves, and more often.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        labels: Some(labels),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    })
}

/// Where it writes what is to go away with it: its data, and the folder of the vault's root key.
fn volumes(config: &ContainerConfig, spec: &StackSpec) -> Vec<String> {
    let variables = config.env.as_deref().unwrap_or_default();
    let data = variables.iter().find_map(|variable| variable.strip_prefix("PGDATA="));
    let mut out = vec![data.unwrap_or(DATA).to_owned()];
    if let RootKey::At(path) = &spec.root_key
        && let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty())
        && !out[0].starts_with(folder)
    {
        out.push(folder.to_owned());
    }
    out
}

/// A volume without a name of its own, which the engine removes together with the container.
fn volume(path: String, labels: &HashMap<String, String>) -> Mount {
    Mount {
        target: Some(path),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            labels: Some(labels.clone()),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn environment(live: &[String], password: &str) -> Vec<String> {
    let shapes =
        |variable: &&String| variable.split_once('=').is_some_and(|(name, _)| SHAPING.contains(&name));
    let made_up = MADE_UP.iter().map(|name| format!("{name}={password}"));
    live.iter().filter(shapes).cloned().chain(made_up).collect()
}

/// Waits until the same server has answered twice.
async fn until_it_stays(
    docker: &Docker,
    stack: &DockerStack,
    id: &str,
    run: &str,
) -> Result<DockerServer, StackError> {
    let deadline = Instant::now() + STARTING;
    let mut seen: Option<String> = None;
    loop {
        let (started, why) = match stack.wait_for_server(run).await {
            Ok(server) => {
                let query = "SELECT to_json(pg_postmaster_start_time()::text)";
                let started = server.client.ask::<String>("template1", query).await.ok();
                if started.is_some() && started == seen {
                    return Ok(server);
                }
                (started, "it keeps restarting".to_owned())
            }
            Err(error) => (None, error.message),
        };
        seen = started;
        if Instant::now() > deadline || has_ended(docker, id).await? {
            let words = last_words(docker, id).await;
            let message = format!("the scratch server does not start: {why}; its last words: {words}");
            return Err(StackError::new(Code::DatabaseNotRunning, message));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn has_ended(docker: &Docker, id: &str) -> Result<bool, StackError> {
    let found = call("looking at the scratch container", docker.inspect_container(id, None)).await?;
    Ok(found.state.and_then(|state| state.running) != Some(true))
}

async fn last_words(docker: &Docker, id: &str) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LAST_LINES).build();
    let mut lines = docker.logs(id, Some(options));
    let mut out = Vec::new();
    while let Ok(Some(Ok(line))) = tokio::time::timeout(PAUSE, lines.next()).await {
        out.push(String::from_utf8_lossy(line.as_ref()).trim().to_owned());
    }
    if out.is_empty() { "none".to_owned() } else { out.join(" / ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 5] = [
        "POSTGRES_PASSWORD=live-secret",
        "PGPASSWORD=live-secret",
        "JWT_SECRET=live-secret",
        "POSTGRES_PASSWORD_FILE=/run/secrets/live-secret",
        "SOMETHING_OF_MINE=live-secret",
    ];

    fn live() -> ContainerInspectResponse {
        let variables = ["PGPORT=5433", "PGDATA=/data/pg", "JWT_EXP=3600"].iter().chain(&SECRETS);
        let config = ContainerConfig {
            env: Some(variables.map(|text| (*text).to_owned()).collect()),
            cmd: Some(vec!["postgres".into(), "-c".into(), "config_file=/x".into()]),
            entrypoint: Some(vec!["entry".into()]),
            image: Some("supabase/postgres:latest".into()),
            labels: Some(HashMap::from([("com.docker.compose.project".into(), "supabase".into())])),
            ..ContainerConfig::default()
        };
        let host_config = HostConfig {
            binds: Some(vec!["/srv/data:/data/pg".into()]),
            port_bindings: Some(HashMap::from([("5432/tcp".into(), None)])),
            shm_size: Some(1 << 28),
            ..HostConfig::default()
        };
        ContainerInspectResponse {
            image: Some("sha256:abc".into()),
            config: Some(config),
            host_config: Some(host_config),
            ..ContainerInspectResponse::default()
        }
    }

    fn made() -> ContainerCreateBody {
        let spec = StackSpec {
            project: "supabase".into(),
            service: "db".into(),
            container: None,
            user: "supabase_admin".into(),
            port: None,
            password: Some(Secret::new("live-secret".to_owned())),
            root_key: RootKey::At("/etc/postgresql-custom/pgsodium_root.key".into()),
            wait: Duration::ZERO,
            stall: Duration::ZERO,
            lock_wait: Duration::ZERO,
        };
        let wanted = ScratchSpec { memory_bytes: 1 << 30, cpus: 0.5 };
        body(&live(), &spec, "1234", "made-up", &wanted).expect("it has an image")
    }

    #[test]
    fn is_made_like_the_live_one() {
        let body = made();
        assert_eq!(body.image.as_deref(), Some("sha256:abc"), "by its id, which is never pulled");
        assert_eq!(body.entrypoint, Some(vec!["entry".into()]));
        assert_eq!(body.cmd.expect("a command").join(" "), "postgres -c config_file=/x");
        let variables = body.env.expect("variables");
        for wanted in ["PGPORT=5433", "PGDATA=/data/pg", "JWT_EXP=3600", "POSTGRES_PASSWORD=made-up"] {
            assert!(variables.iter().any(|variable| variable == wanted), "{wanted}: {variables:?}");
        }
    }

    #[test]
    fn shares_no_secret_no_mount_and_no_network_with_it() {
        let body = made();
        assert!(!format!("{body:?}").contains("live-secret"), "{body:?}");
        let host = body.host_config.expect("it has limits");
        assert_eq!((host.binds, host.port_bindings, host.network_mode), (None, None, Some("none".into())));
        assert_eq!(
            (host.memory, host.memory_swap, host.nano_cpus),
            (Some(1 << 30), Some(1 << 30), Some(500_000_000))
        );
        let mounts = host.mounts.expect("its own volumes");
        let targets: Vec<_> =
            mounts.iter().map(|mount| mount.target.as_deref().unwrap_or_default()).collect();
        assert_eq!(targets, ["/data/pg", "/etc/postgresql-custom"]);
        assert!(
            mounts.iter().all(|mount| mount.source.is_none()),
            "a volume with a name outlives the container"
        );
        assert_eq!(body.labels, Some(HashMap::from([(LABEL.to_owned(), "1234".to_owned())])));
    }
}
