//! Porters between folders that are values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use supakeep_flow::folder::NearPorter;
use supakeep_flow::folder::order::Task;
use supakeep_flow::ports::{
    Access, ComposeFiles, Fed, Folder, FolderError, Folders, Layout, NewFolder, Place, Porter, Porters,
    SourceStream, StackError, StorageLayout,
};
use supakeep_flow::redact::RedactionKey;
use supakeep_model::code::Code;

use crate::folder::ScriptedFolder;

/// Where the scripted storage service keeps its files.
const STORAGE: &str = "/var/lib/docker/volumes/storage";
/// Where the scripted stack's folder is.
const STACK: &str = "/opt/supabase/docker";

/// A stack's folder, its storage service's, and whether they can be reached. Clones are the same.
#[derive(Clone, Default)]
pub struct ScriptedPorters {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    folder: Option<ScriptedFolder>,
    storage: Option<ScriptedFolder>,
    volumes: BTreeMap<String, ScriptedFolder>,
    layout: Option<StorageLayout>,
    refused: Option<StackError>,
    open: usize,
    swept: usize,
}

impl ScriptedPorters {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stack with this folder.
    #[must_use]
    pub fn with_folder(self, folder: ScriptedFolder) -> ScriptedPorters {
        self.state().folder = Some(folder);
        self
    }

    /// A stack whose storage service has these files, below `stub/stub/`.
    #[must_use]
    pub fn with_storage(self, storage: ScriptedFolder) -> ScriptedPorters {
        self.state().storage = Some(storage);
        self
    }

    /// A volume with these files.
    #[must_use]
    pub fn with_volume(self, name: &str, folder: ScriptedFolder) -> ScriptedPorters {
        self.state().volumes.insert(name.to_owned(), folder);
        self
    }

    /// A stack whose storage service tells this.
    #[must_use]
    pub fn telling(self, layout: StorageLayout) -> ScriptedPorters {
        self.state().layout = Some(layout);
        self
    }

    /// No porter can be sent any more.
    pub fn refuse(&self, error: StackError) {
        self.state().refused = Some(error);
    }

    /// How many porters are open.
    pub fn open_ones(&self) -> usize {
        self.state().open
    }

    /// How often what was left of others was removed.
    pub fn swept(&self) -> usize {
        self.state().swept
    }
}

#[async_trait]
impl Porters for ScriptedPorters {
    async fn layout(&self) -> Result<Layout, StackError> {
        let state = self.state();
        let files =
            StorageLayout::Files { place: Place::Host(STORAGE.to_owned()), prefix: "stub/stub/".to_owned() };
        let storage = match (&state.layout, &state.storage) {
            (Some(layout), _) => layout.clone(),
            (None, Some(_)) => files,
            (None, None) => StorageLayout::Absent,
        };
        let compose = ComposeFiles {
            working_dir: Some(STACK.to_owned()),
            config_files: vec![format!("{STACK}/docker-compose.yml")],
            environment_files: vec![],
        };
        Ok(Layout { folder: state.folder.as_ref().map(|_| Place::Host(STACK.to_owned())), compose, storage })
    }

    async fn open(&self, places: &[Place], _access: Access) -> Result<Box<dyn Porter>, StackError> {
        if let Some(error) = &self.state().refused {
            return Err(error.clone());
        }
        let roots = places.iter().map(|place| match place {
            Place::Here(path) => path.clone(),
            Place::Host(path) | Place::Volume(path) => PathBuf::from(path),
        });
        let near = NearPorter::new(Arc::new(self.clone()), roots.collect());
        self.state().open += 1;
        Ok(Box::new(ScriptedPorter { near, porters: self.clone() }))
    }

    async fn sweep(&self) -> Result<(), StackError> {
        self.state().swept += 1;
        Ok(())
    }
}

impl ScriptedPorters {
    fn at(&self, path: &Path) -> Result<ScriptedFolder, FolderError> {
        let state = self.state();
        if let Some(volume) = path.to_str().and_then(|name| state.volumes.get(name)) {
            return Ok(volume.clone());
        }
        let found = if path == Path::new(STORAGE) { &state.storage } else { &state.folder };
        let gone = || FolderError::new(Code::FilesMissing, format!("{} is not there", path.display()));
        found.clone().ok_or_else(gone)
    }
}

impl Folders for ScriptedPorters {
    fn open(&self, path: &Path) -> Result<Box<dyn Folder>, FolderError> {
        Ok(Box::new(self.at(path)?.opened(path)))
    }

    fn open_to_fill(&self, path: &Path) -> Result<Box<dyn NewFolder>, FolderError> {
        Ok(Box::new(self.at(path)?.opened(path)))
    }

    fn clear(&self, path: &Path) -> Result<u64, FolderError> {
        Ok(self.at(path)?.clear())
    }
}

struct ScriptedPorter {
    near: NearPorter,
    porters: ScriptedPorters,
}

#[async_trait]
impl Porter for ScriptedPorter {
    async fn start(
        &self,
        at: usize,
        task: &Task,
        key: Option<&RedactionKey>,
        fed: Option<Fed>,
    ) -> Result<Box<dyn SourceStream>, StackError> {
        self.near.start(at, task, key, fed).await
    }

    async fn close(self: Box<Self>) -> Result<(), StackError> {
        Ok(())
    }
}

impl Drop for ScriptedPorter {
    fn drop(&mut self) {
        self.porters.state().open -= 1;
    }
}
