//! The containers around the database: what they use, what is said on them, and stopping them for a while.

use async_trait::async_trait;
use supakeep_model::journal::StoppedService;
use supakeep_model::secret::Secret;

use super::porter::Place;
use super::site::Service;
use super::stack::{SourceStream, StackError};

/// Why a container is never stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spared {
    /// It is the database's, which is dumped while it runs.
    Database,
    /// It is supakeep's own, or what it reaches the engine by.
    Supakeep,
}

impl Spared {
    /// As it stands in a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Spared::Database => "the database's container",
            Spared::Supakeep => "supakeep, or what it reaches the engine by",
        }
    }
}

/// A program that is run in a container.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// It and its arguments. Nothing secret: every process list shows them.
    pub arguments: &'a [String],
    /// What it finds in its variable PGPASSWORD; it travels over standard input.
    pub password: Option<&'a Secret<String>>,
}

/// Something that a container has mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where, in the container.
    pub at: String,
    /// A volume, or a folder of the host.
    pub place: Place,
    /// Whether a running database server keeps its data there.
    pub is_data: bool,
}

/// What people have written on a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// `supakeep.stop-during-backup`: it is stopped with the users of cold volumes.
    pub stop_during_backup: bool,
    /// `supakeep.volume`: volumes that are to be kept, as the configuration would name them.
    pub volumes: Vec<String>,
    /// `supakeep.exec-before`: run in it before anything is stopped.
    pub exec_before: Option<String>,
    /// `supakeep.redis`: it is a Redis server that is to be kept.
    pub redis: bool,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// It as a service.
    pub service: Service,
    /// Whether it belongs to the stack.
    pub belongs: bool,
    /// Why it is never stopped; `None` where it may be.
    pub spared: Option<Spared>,
    /// What it has mounted.
    pub mounts: Vec<Mounted>,
    /// What is written on it.
    pub labels: Labels,
}

/// Asks about containers, stops and starts them, and runs programs in them.
#[async_trait]
pub trait Containers: Send + Sync {
    /// All of the engine, running or not.
    async fn containers(&self) -> Result<Vec<Container>, StackError>;

    /// The engine's name of the volume that a person calls so, with or without the project's name in front; `None`
    /// where there is no such volume.
    async fn find_volume(&self, name: &str) -> Result<Option<String>, StackError>;

    /// Makes a volume as compose would have. One that is there is fine.
    async fn make_volume(&self, name: &str) -> Result<(), StackError>;

    /// Stops a container, and waits for that. One that is stopped already is fine.
    async fn stop(&self, container: &StoppedService) -> Result<(), StackError>;

    /// Starts a container, and waits until it is well. One that runs already is fine.
    async fn start(&self, container: &StoppedService) -> Result<(), StackError>;

    /// Runs a program in a container and reads what it prints, which must be short.
    async fn run(&self, container: &StoppedService, program: Program<'_>) -> Result<String, StackError>;

    /// Runs a program in a container whose output is as long as it is.
    async fn read(
        &self,
        container: &StoppedService,
        program: Program<'_>,
    ) -> Result<Box<dyn SourceStream>, StackError>;
}
