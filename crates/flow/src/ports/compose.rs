//! Docker Compose, and the folder that it works in.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use supakeep_model::recovery::Recovery;

use super::stack::StackError;
use crate::ports::FolderError;

/// A compose project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeProject {
    /// Its name.
    pub name: String,
    /// Its folder, which is at the same path for the engine's host.
    pub folder: PathBuf,
    /// Its compose files, below the folder, in their order.
    pub files: Vec<PathBuf>,
}

/// Makes and starts what compose files say.
#[async_trait]
pub trait Compose: Send + Sync {
    /// An error where there is no compose.
    async fn is_there(&self) -> Result<(), StackError>;

    /// Containers and volumes that a project of this name has, by name.
    async fn remains(&self, project: &str) -> Result<Vec<String>, StackError>;

    /// Makes containers, volumes and networks, and starts nothing. Idempotent.
    async fn create(&self, project: &ComposeProject) -> Result<(), StackError>;

    /// Starts services, and what they wait for; all where none is named. Idempotent.
    async fn up(&self, project: &ComposeProject, services: &[&str]) -> Result<(), StackError>;
}

/// The folder of a stack that is being made. All calls are synchronous.
pub trait Home: Send + Sync {
    /// Makes the folder where it is missing. What is in it already, by name; nothing of our own.
    fn prepare(&self, folder: &Path) -> Result<Vec<String>, FolderError>;

    /// How far the stack is that is being made there, if one is.
    fn recovery(&self, folder: &Path) -> Result<Option<Recovery>, FolderError>;

    /// Writes that down, or removes it. On the disk when it returns.
    fn set_recovery(&self, folder: &Path, recovery: Option<&Recovery>) -> Result<(), FolderError>;

    /// Writes a file that only its owner may read.
    fn write(&self, file: &Path, content: &[u8]) -> Result<(), FolderError>;

    /// Whether a file is there.
    fn has(&self, file: &Path) -> bool;
}
