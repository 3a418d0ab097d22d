//! Whoever carries files between the stack's folders and us.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::repository::Stored;
use super::stack::{SourceStream, StackError};
use crate::folder::order::Task;
use crate::redact::RedactionKey;

/// What compose tells about the files that a stack was made from; paths are those of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeFiles {
    /// The stack's folder.
    pub working_dir: Option<String>,
    /// The compose files, in their order.
    pub config_files: Vec<String>,
    /// The files with variables, where they were named.
    pub environment_files: Vec<String>,
}

/// Where files are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A folder that supakeep itself sees.
    Here(PathBuf),
    /// A folder of the engine's host.
    Host(String),
    /// A volume, by its name.
    Volume(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Here(path) => write!(f, "{}", path.display()),
            Place::Host(path) => write!(f, "{path} on the host"),
            Place::Volume(name) => write!(f, "the volume {name}"),
        }
    }
}

/// Where the storage service keeps what it is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StorageLayout {
    /// The stack has no such service.
    #[default]
    Absent,
    /// In files.
    Files {
        /// The folder of the files.
        place: Place,
        /// What is in front of a bucket's name in the paths below it, such as `stub/stub/`.
        prefix: String,
    },
    /// In a bucket of a service that speaks S3.
    S3 {
        /// The bucket.
        bucket: String,
    },
    /// In files that are on no disk of the host: they are gone with the container.
    Unmounted {
        /// The folder in the container.
        path: String,
    },
}

/// Where the files of a stack are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The stack's folder; none where the stack does not tell.
    pub folder: Option<Place>,
    /// What compose tells of it.
    pub compose: ComposeFiles,
    /// The storage service.
    pub storage: StorageLayout,
}

/// What is to be done with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only read, and cannot be written to.
    Read,
    /// Files are put into it. A folder of the host, or a volume, that is not there is made.
    Write,
}

/// Finds the places of a stack, and sends porters there.
#[async_trait]
pub trait Porters: Send + Sync {
    /// What the stack's containers, running or not, tell of where its files are.
    async fn layout(&self) -> Result<Layout, StackError>;

    /// Sends a porter to all of these places. It is numbered by their order.
    async fn open(&self, places: &[Place], access: Access) -> Result<Box<dyn Porter>, StackError>;

    /// Removes what porters have left that died. The caller holds the lock of runs. Idempotent.
    async fn sweep(&self) -> Result<(), StackError>;
}

/// What a porter is fed.
pub struct Fed {
    /// The bytes.
    pub stored: Stored,
    /// How many they are; where nobody knows, they tell themselves where they end.
    pub bytes: Option<u64>,
}

/// Carries files of some places.
#[async_trait]
pub trait Porter: Send + Sync {
    /// Begins a task at a place. The stream is one of [`crate::folder::frames`]; dropping it ends the task.
    async fn start(
        &self,
        at: usize,
        task: &Task,
        key: Option<&RedactionKey>,
        fed: Option<Fed>,
    ) -> Result<Box<dyn SourceStream>, StackError>;

    /// Ends all tasks, and removes what the porter has left.
    async fn close(self: Box<Self>) -> Result<(), StackError>;
}
