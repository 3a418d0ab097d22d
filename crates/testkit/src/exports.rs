//! Exports in memory.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supakeep_flow::ports::{ExportStaging, Exports, StagedFile, StagedFiles, StoreError, Stored};
use supakeep_model::code::Code;
use supakeep_model::export::{ExportCatalog, ExportManifest};
use supakeep_model::id::BackupId;

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

#[derive(Default)]
struct State {
    made: BTreeMap<BackupId, (ExportManifest, Files)>,
    /// How many were begun and neither committed nor dropped.
    open: usize,
    /// Whether nothing can be removed.
    sticks: bool,
}

/// Keeps exports in memory. Clones are the same.
#[derive(Clone, Default)]
pub struct MemoryExports(Arc<Mutex<State>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryExports {
    /// With these, without files.
    pub fn with(manifests: impl IntoIterator<Item = ExportManifest>) -> MemoryExports {
        let exports = MemoryExports::default();
        let made = manifests.into_iter().map(|manifest| (manifest.id.clone(), (manifest, Files::default())));
        lock(&exports.0).made.extend(made);
        exports
    }

    /// The ids of all of them.
    pub fn ids(&self) -> Vec<String> {
        lock(&self.0).made.keys().map(ToString::to_string).collect()
    }

    /// How many are half-made.
    pub fn half_made(&self) -> usize {
        lock(&self.0).open
    }

    /// Nothing can be removed from now on.
    pub fn stick(&self) {
        lock(&self.0).sticks = true;
    }

    /// A file, as it is stored.
    pub fn file(&self, id: &str, path: &str) -> Vec<u8> {
        let id: BackupId = id.parse().expect("a valid id");
        let state = lock(&self.0);
        let (_, files) = state.made.get(&id).expect("an export");
        lock(files).get(path).expect("a file of it").clone()
    }

    /// Changes a file, behind everybody's back.
    pub fn tamper(&self, id: &str, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let id: BackupId = id.parse().expect("a valid id");
        let state = lock(&self.0);
        let (_, files) = state.made.get(&id).expect("an export");
        change(lock(files).get_mut(path).expect("a file of it"));
    }
}

fn open(files: &Files, path: &str) -> Result<Stored, StoreError> {
    let found = lock(files).get(path).cloned();
    let missing = || StoreError::new(Code::RepositoryMissing, format!("there is no {path}"));
    Ok(Box::new(std::io::Cursor::new(found.ok_or_else(missing)?)))
}

impl Exports for MemoryExports {
    fn catalog(&self) -> Result<ExportCatalog, StoreError> {
        let state = lock(&self.0);
        let made = state.made.values().map(|(manifest, _)| Arc::new(manifest.clone()));
        Ok(ExportCatalog::new(made.collect(), vec![]))
    }

    fn stage(&self, id: &BackupId) -> Result<Box<dyn ExportStaging>, StoreError> {
        lock(&self.0).open += 1;
        Ok(Box::new(MemoryStaging { all: self.clone(), id: id.clone(), files: Files::default() }))
    }

    fn open(&self, id: &BackupId, path: &str) -> Result<Stored, StoreError> {
        let state = lock(&self.0);
        let missing = || StoreError::new(Code::ExportNotFound, format!("there is no export {id}"));
        let (_, files) = state.made.get(id).ok_or_else(missing)?;
        open(files, path)
    }

    fn remove(&self, id: &BackupId) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        if state.sticks {
            return Err(StoreError::new(Code::RepositoryReadOnly, format!("cannot remove {id}")));
        }
        let missing = || StoreError::new(Code::ExportNotFound, format!("there is no export {id}"));
        state.made.remove(id).map(|_| ()).ok_or_else(missing)
    }
}

struct MemoryStaging {
    all: MemoryExports,
    id: BackupId,
    files: Files,
}

impl Drop for MemoryStaging {
    fn drop(&mut self) {
        lock(&self.all.0).open -= 1;
    }
}

impl ExportStaging for MemoryStaging {
    fn files(&self) -> Arc<dyn StagedFiles> {
        Arc::new(MemoryFiles(Arc::clone(&self.files)))
    }

    fn open(&self, path: &str) -> Result<Stored, StoreError> {
        open(&self.files, path)
    }

    fn commit(self: Box<Self>, manifest: &ExportManifest) -> Result<(), StoreError> {
        let files = Arc::clone(&self.files);
        lock(&self.all.0).made.insert(self.id.clone(), (manifest.clone(), files));
        Ok(())
    }
}

struct MemoryFiles(Files);

impl StagedFiles for MemoryFiles {
    fn create(&self, path: &str) -> Result<Box<dyn StagedFile>, StoreError> {
        lock(&self.0).insert(path.to_owned(), Vec::new());
        Ok(Box::new(MemoryFile { files: Arc::clone(&self.0), path: path.to_owned() }))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        lock(&self.0).remove(path);
        Ok(())
    }
}

struct MemoryFile {
    files: Files,
    path: String,
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.files).entry(self.path.clone()).or_default().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl StagedFile for MemoryFile {
    fn sync(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lets a stack's database have the table `public.configs (id, email, body)` with three rows, to be exported. The address
/// `secret@example.org` is in two of them.
pub fn with_configs(stack: &crate::ScriptedStack) {
    let column = |name: &str, sql_type: &str, shape: &str| {
        serde_json::json!({"name": name, "type": sql_type, "nullable": name != "id", "identity": "", "generated": false,
            "has_default": false, "shape": shape, "padded": false})
    };
    let columns =
        [column("id", "integer", "value"), column("email", "text", "text"), column("body", "jsonb", "json")];
    let listed = serde_json::json!([
        {"schema": "public", "name": "configs", "kind": "r", "is_partition": false},
        {"schema": "public", "name": "seen", "kind": "v", "is_partition": false},
    ]);
    let described = serde_json::json!([{"schema": "public", "name": "configs", "kind": "r", "estimated_rows": 3.0,
        "primary_key": ["id"], "columns": columns}]);
    stack.answer("'is_partition'", listed);
    stack.answer("'estimated_rows'", described);
    let rows = "1\tsecret@example.org\t{\"a\": 1}\n2\tsecret@example.org\tnull\n3\t\\N\t\\N\n";
    stack.set_print("COPY (SELECT", crate::Script::of(rows));
}
