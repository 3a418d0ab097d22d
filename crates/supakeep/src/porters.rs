//! Porters for a stack: supakeep itself where it sees a folder, a container where it does not.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use supakeep_docker::DockerPorters;
use supakeep_flow::folder::NearPorter;
use supakeep_flow::folder::order::Task;
use supakeep_flow::ports::{
    Access, Fed, Layout, Place, Porter, Porters, SourceStream, StackError, StorageLayout,
};
use supakeep_flow::redact::RedactionKey;
use supakeep_folder::LocalFolders;

/// Where the stack's folder is seen if somebody has mounted it.
const MOUNT: &str = "/stack";

/// Finds the files of a stack, and sends whoever sees them.
pub(crate) struct StackPorters {
    /// Those of the engine.
    pub(crate) docker: DockerPorters,
    /// The stack's folder as supakeep sees it, where the configuration says so.
    pub(crate) folder: Option<PathBuf>,
    /// The storage service's folder likewise.
    pub(crate) storage_folder: Option<PathBuf>,
}

#[async_trait]
impl Porters for StackPorters {
    async fn layout(&self) -> Result<Layout, StackError> {
        let mut layout = self.docker.layout().await?;
        let mounted = || {
            let mount = PathBuf::from(MOUNT);
            mount.is_dir().then_some(mount)
        };
        // A disk that does not answer keeps nobody else.
        let mounted = tokio::task::spawn_blocking(mounted).await.unwrap_or_default();
        if let Some(folder) = self.folder.clone().or(mounted) {
            layout.folder = Some(Place::Here(folder));
        }
        if let Some(folder) = self.storage_folder.clone() {
            let prefix = match layout.storage {
                StorageLayout::Files { prefix, .. } => prefix,
                _ => String::new(),
            };
            layout.storage = StorageLayout::Files { place: Place::Here(folder), prefix };
        }
        Ok(layout)
    }

    async fn open(&self, places: &[Place], access: Access) -> Result<Box<dyn Porter>, StackError> {
        let mut out = StackPorter {
            near: NearPorter::new(Arc::new(LocalFolders), Vec::new()),
            far: None,
            places: Vec::new(),
        };
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for place in places {
            match place {
                Place::Here(path) => {
                    out.places.push(Whose::Near(near.len()));
                    near.push(path.clone());
                }
                Place::Host(_) | Place::Volume(_) => {
                    out.places.push(Whose::Far(far.len()));
                    far.push(place.clone());
                }
            }
        }
        out.near = NearPorter::new(Arc::new(LocalFolders), near);
        if !far.is_empty() {
            out.far = Some(self.docker.open(&far, access).await?);
        }
        Ok(Box::new(out))
    }

    async fn sweep(&self) -> Result<(), StackError> {
        self.docker.sweep().await
    }
}

/// Who carries the files of a place, and its number there.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Near(usize),
    Far(usize),
}

struct StackPorter {
    near: NearPorter,
    far: Option<Box<dyn Porter>>,
    places: Vec<Whose>,
}

#[async_trait]
impl Porter for StackPorter {
    async fn start(
        &self,
        at: usize,
        task: &Task,
        key: Option<&RedactionKey>,
        fed: Option<Fed>,
    ) -> Result<Box<dyn SourceStream>, StackError> {
        match (self.places[at], &self.far) {
            (Whose::Far(at), Some(far)) => far.start(at, task, key, fed).await,
            (Whose::Near(at) | Whose::Far(at), _) => self.near.start(at, task, key, fed).await,
        }
    }

    async fn close(self: Box<Self>) -> Result<(), StackError> {
        match self.far {
            Some(far) => far.close().await,
            None => Ok(()),
        }
    }
}
