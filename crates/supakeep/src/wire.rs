//! The one place where real ports are built.

use std::path::PathBuf;
use std::sync::Arc;

use bollard::Docker;
use supakeep_docker::{
    DockerContainers, DockerPorters, DockerSites, DockerStack, RootKey, StackSpec, connect, own_project,
};
use supakeep_flow::backup::{CommitOf, Ports};
use supakeep_flow::cycle::Retention;
use supakeep_flow::drill::{DrillPorts, DrillSpec};
use supakeep_flow::export::{ExportPorts, ExportSpec};
use supakeep_flow::ports::{Clock, Exports, Observer, Repository, StackError};
use supakeep_flow::recipe::Recipe;
use supakeep_flow::restore::RestorePorts;
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::drill_sample::SampleSpec;
use supakeep_model::export::RowsSpec;
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::{Build, Trigger};
use supakeep_store::{LocalExports, LocalRepository};

use crate::args::Global;
use crate::clock::SystemClock;
use crate::config::{Loaded, Settings, Sources, load};
use crate::failure::CommandError;
use crate::git;
use crate::porters::StackPorters;

/// Where the configuration is unless the command line says otherwise.
const CONFIG_FILE: &str = "/etc/supakeep/supakeep.toml";
/// The longest a backup by hand may take; whoever waits for it can end it.
const MANUAL_DEADLINE: Duration = Duration::hours(24);

/// Whose containers are those of somebody who only looks.
const LOOKING: &str = "look";

/// Reads the configuration as the command line and the environment say.
pub(crate) fn load_configuration(global: &Global) -> Result<Loaded, CommandError> {
    let sources = Sources {
        file: global.config.clone(),
        default_file: PathBuf::from(CONFIG_FILE),
        environment: environment()?,
    };
    Ok(load(&sources, SystemClock.now())?)
}

/// The environment as text. What is none is somebody else's, unless the name is one of ours.
fn environment() -> Result<Vec<(String, String)>, CommandError> {
    let mut out = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => out.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with("SUPAKEEP_") => {
                let message = format!("the environment variable {name} is not UTF-8");
                return Err(CommandError::new(Code::ConfigInvalid, message));
            }
            _ => {}
        }
    }
    Ok(out)
}

/// What this program is.
pub(crate) fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: option_env!("SUPAKEEP_REVISION").unwrap_or("unknown").to_owned(),
    }
}

/// Everything a command needs, built from the configuration.
pub(crate) struct Wire {
    /// The configuration.
    pub(crate) settings: Settings,
    /// The engine, or why `DOCKER_HOST` names none: only what needs it fails by it.
    engine: Result<Docker, StackError>,
    /// The stack's name: its project, or its container.
    pub(crate) stack_name: String,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// The repository.
    pub(crate) repository: Arc<LocalRepository>,
    /// The exports beside the backups.
    pub(crate) exports: Arc<LocalExports>,
}

impl Wire {
    /// Builds the ports. Docker is asked only where nothing else says which stack is meant, so that
    /// backups can be listed and looked at while it is down: whoever `looks_only` may then mean the one
    /// stack that the repository has.
    pub(crate) async fn build(settings: Settings, looks_only: bool) -> Result<Wire, CommandError> {
        let engine = connect(settings.docker_host.as_deref());
        let stack_name = stack_name(&settings, &engine, looks_only).await?;
        let mut settings = settings;
        if settings.stack.project.is_empty() {
            settings.stack.project.clone_from(&stack_name);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let holder = format!("process {} on {}", std::process::id(), hostname());
        let repository =
            LocalRepository::new(&settings.repository.path, &stack_name, &holder, Arc::clone(&clock));
        let exports = Arc::new(LocalExports::new(&settings.repository.path, &stack_name));
        Ok(Wire { settings, engine, stack_name, clock, repository: Arc::new(repository), exports })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> Result<Docker, CommandError> {
        Ok(self.engine.clone()?)
    }

    /// The ports of a run. The repository is made ready: its identity names the run on the server.
    pub(crate) fn ports(&self, observer: Arc<dyn Observer>) -> Result<Ports, CommandError> {
        self.repository.prepare()?;
        let stack = DockerStack::new(self.engine()?, self.stack_spec(), &self.repository.identity()?);
        Ok(Ports {
            stack: Arc::new(stack),
            porters: Arc::new(self.porters()?),
            containers: Arc::new(self.containers()?),
            repository: Arc::clone(&self.repository) as Arc<dyn Repository>,
            clock: Arc::clone(&self.clock),
            observer,
        })
    }

    /// The containers around the database.
    pub(crate) fn containers(&self) -> Result<DockerContainers, CommandError> {
        Ok(DockerContainers::new(self.engine()?, self.stack_spec(), self.settings.docker_host.as_deref()))
    }

    /// Whoever carries the stack's files.
    pub(crate) fn porters(&self) -> Result<StackPorters, CommandError> {
        let folders = self.settings.folders.clone();
        // Who only looks may do so before the repository is there.
        let identity = self.repository.identity().unwrap_or_else(|_| LOOKING.to_owned());
        let docker = DockerPorters::new(self.engine()?, self.stack_spec(), &identity);
        Ok(StackPorters { docker, folder: folders.stack, storage_folder: folders.storage })
    }

    /// The stack for somebody who only looks.
    pub(crate) fn looking(&self) -> Result<DockerStack, CommandError> {
        Ok(DockerStack::looking(self.engine()?, self.stack_spec()))
    }

    /// The ports of a restore.
    pub(crate) fn restore_ports(&self, observer: Arc<dyn Observer>) -> Result<RestorePorts, CommandError> {
        let backup = self.ports(observer)?;
        let sites = self.sites()?;
        Ok(RestorePorts { backup, sites: Arc::new(sites) })
    }

    /// The ports of a drill.
    pub(crate) fn drill_ports(&self, observer: Arc<dyn Observer>) -> Result<DrillPorts, CommandError> {
        self.repository.prepare()?;
        let sites = self.sites()?;
        Ok(DrillPorts {
            repository: Arc::clone(&self.repository) as Arc<dyn Repository>,
            sites: Arc::new(sites),
            clock: Arc::clone(&self.clock),
            observer,
        })
    }

    fn sites(&self) -> Result<DockerSites, CommandError> {
        let (engine, identity) = (self.engine()?, self.repository.identity()?);
        Ok(DockerSites::new(engine, self.stack_spec(), &identity, self.settings.docker_host.as_deref()))
    }

    /// The ports of an export.
    pub(crate) fn export_ports(&self, observer: Arc<dyn Observer>) -> Result<ExportPorts, CommandError> {
        let Ports { stack, repository, clock, observer, .. } = self.ports(observer)?;
        let exports = Arc::clone(&self.exports) as Arc<dyn Exports>;
        Ok(ExportPorts { stack, repository, exports, clock, observer })
    }

    /// An export of these rows, as the configuration says.
    pub(crate) fn export_spec(&self, prefix: &str, rows: RowsSpec) -> ExportSpec {
        let settings = &self.settings;
        ExportSpec {
            export: None,
            prefix: prefix.to_owned(),
            trigger: Trigger::Manual,
            slot: None,
            rows,
            zone: settings.zone.clone(),
            encoders: settings.encoders,
            min_free_bytes: settings.repository.min_free_bytes,
            deadline: MANUAL_DEADLINE,
            build: build(),
        }
    }

    /// A drill of `backup`, or of a sample of it, as the configuration says.
    pub(crate) fn drill_spec(&self, backup: BackupId, sample: Option<SampleSpec>) -> DrillSpec {
        let settings = &self.settings.drill;
        DrillSpec {
            backup,
            sample,
            scratch: settings.scratch,
            // More jobs than cores wait for one another.
            jobs: (settings.scratch.cpus.ceil() as usize).max(1),
            checks: settings.checks.clone(),
            deadline: settings.deadline,
        }
    }

    /// Which stack, and how to talk to it.
    pub(crate) fn stack_spec(&self) -> StackSpec {
        self.settings.stack.clone()
    }

    /// What all backups of the stack have in common.
    pub(crate) fn recipe(&self) -> Recipe {
        let settings = &self.settings;
        let stack_folder = settings.folders.stack.clone();
        Recipe {
            zone: settings.zone.clone(),
            databases: settings.databases.clone(),
            parts: settings.parts.clone(),
            storage: settings.storage,
            volumes: settings.volumes.clone(),
            redis: settings.redis.clone(),
            transport: settings.transport,
            encoders: settings.encoders,
            min_free_bytes: settings.repository.min_free_bytes,
            root_key_required: settings.stack.root_key != RootKey::None,
            commit: CommitOf::new(move || stack_folder.as_deref().and_then(git::commit)),
            build: build(),
            dump: settings.dump.clone(),
            deadline: MANUAL_DEADLINE,
        }
    }

    /// What retention goes by.
    pub(crate) fn retention(&self) -> Retention {
        Retention::of(&self.settings.profiles, &self.settings.zone)
    }
}

/// The configured project or container; else the project that supakeep runs in; else the one stack that
/// the repository has.
async fn stack_name(
    settings: &Settings,
    engine: &Result<Docker, StackError>,
    looks_only: bool,
) -> Result<String, CommandError> {
    if !settings.stack.project.is_empty() {
        return Ok(settings.stack.project.clone());
    }
    if let Some(container) = &settings.stack.container {
        return Ok(container.clone());
    }
    let own = match engine {
        Ok(docker) => own_project(docker).await,
        Err(error) => Err(error.clone()),
    };
    if let Ok(Some(project)) = own {
        return Ok(project);
    }
    match (LocalRepository::stacks(&settings.repository.path).as_slice(), own) {
        ([one], Ok(_)) => Ok(one.clone()),
        ([one], Err(_)) if looks_only => Ok(one.clone()),
        (_, Err(error)) => Err(error.into()),
        (found, Ok(_)) => {
            let there = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            let message = format!(
                "stack.project is not set, and supakeep's own compose project could not be found out; stacks in the repository: {there}"
            );
            Err(CommandError::new(Code::StackNotFound, message))
        }
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
