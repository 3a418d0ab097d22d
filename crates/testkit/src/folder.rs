//! A folder that is a handful of values.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supakeep_flow::ports::{
    Attributes, Content, Entry, EntryKind, Folder, FolderError, Found, Names, NewFolder, Owner, Seen,
};
use supakeep_model::code::Code;
use supakeep_model::file_index::path_order;

/// What is at a path.
#[derive(Debug, Clone)]
struct Node {
    is: Is,
    owner: Owner,
    modified: (i64, u32),
    changed: (i64, u32),
    attributes: Attributes,
}

#[derive(Debug, Clone)]
enum Is {
    Folder,
    Link(Vec<u8>),
    /// Another name of what is at a path.
    Same(Vec<u8>),
    /// Its bytes, and how many it was announced with.
    File(Vec<u8>, u64),
    Missed(String),
}

/// A folder, and whether it is there. Clones are the same folder.
#[derive(Clone, Default)]
pub struct ScriptedFolder {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Ticks with every change.
    now: i64,
    /// How many files were read.
    reads: usize,
}

impl ScriptedFolder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, path: &[u8], is: Is) {
        self.state().put(path, is);
    }

    /// A file, and the folders above it.
    #[must_use]
    pub fn with(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> ScriptedFolder {
        let length = content.as_ref().len() as u64;
        self.announcing(path, content, length)
    }

    /// A file whose length was another when it was opened.
    #[must_use]
    pub fn announcing(
        self,
        path: impl AsRef<[u8]>,
        content: impl AsRef<[u8]>,
        length: u64,
    ) -> ScriptedFolder {
        self.put(path.as_ref(), Is::File(content.as_ref().to_owned(), length));
        self
    }

    /// An extended attribute of what is at a path.
    ///
    /// # Panics
    ///
    /// When nothing is there.
    #[must_use]
    pub fn attributed(self, path: impl AsRef<[u8]>, name: &str, value: &str) -> ScriptedFolder {
        let mut state = self.state();
        state.now += 1;
        let changed = (state.now, 0);
        let node = state.nodes.get_mut(path.as_ref()).expect("something is there");
        node.attributes.insert(name.as_bytes().to_owned(), value.as_bytes().to_owned());
        node.changed = changed;
        drop(state);
        self
    }

    /// A symbolic link.
    #[must_use]
    pub fn linking(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> ScriptedFolder {
        self.put(path.as_ref(), Is::Link(target.as_ref().to_owned()));
        self
    }

    /// Something that cannot be read.
    #[must_use]
    pub fn missing(self, path: impl AsRef<[u8]>, reason: &str) -> ScriptedFolder {
        self.put(path.as_ref(), Is::Missed(reason.to_owned()));
        self
    }

    /// Changes a file, or makes one.
    pub fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let content = content.as_ref().to_owned();
        let length = content.len() as u64;
        self.put(path.as_ref(), Is::File(content, length));
    }

    /// Removes what is at a path.
    pub fn remove(&self, path: impl AsRef<[u8]>) {
        self.state().nodes.remove(path.as_ref());
    }

    /// Removes everything; tells how many entries were at its top.
    pub fn clear(&self) -> u64 {
        let nodes = std::mem::take(&mut self.state().nodes);
        nodes.keys().filter(|path| !path.contains(&b'/')).count() as u64
    }

    /// The files, by path, and their contents.
    pub fn files(&self) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let state = self.state();
        let files = state.nodes.iter().filter_map(|(path, node)| match &node.is {
            Is::File(content, _) => Some((text(path), text(content))),
            _ => None,
        });
        files.collect()
    }

    /// The extended attributes of what is at a path.
    pub fn attributes(&self, path: impl AsRef<[u8]>) -> Attributes {
        let state = self.state();
        state.nodes.get(path.as_ref()).map(|node| node.attributes.clone()).unwrap_or_default()
    }

    /// How many files were read since the last question.
    pub fn reads(&self) -> usize {
        std::mem::take(&mut self.state().reads)
    }

    /// As it is opened at `path`.
    pub(crate) fn opened(&self, path: &Path) -> Opened {
        Opened { folder: self.clone(), path: path.to_owned() }
    }
}

impl State {
    fn put(&mut self, path: &[u8], is: Is) {
        self.now += 1;
        let node = |is, mode| Node {
            is,
            owner: Owner { mode, user: 1_000, group: 1_000 },
            modified: (1_700_000_000 + self.now, 0),
            changed: (self.now, 0),
            attributes: Attributes::new(),
        };
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends {
            self.nodes.entry(path[..end].to_owned()).or_insert_with(|| node(Is::Folder, 0o755));
        }
        let mode = if matches!(is, Is::Link(_)) { 0o777 } else { 0o644 };
        self.nodes.insert(path.to_owned(), node(is, mode));
    }
}

/// A folder that is open.
pub(crate) struct Opened {
    folder: ScriptedFolder,
    path: PathBuf,
}

impl Folder for Opened {
    fn path(&self) -> &Path {
        &self.path
    }

    fn has(&self, path: &[u8]) -> bool {
        self.folder.state().nodes.contains_key(path)
    }

    fn walk(
        &self,
        _names: Names,
        wants: &dyn Fn(&Seen<'_>) -> bool,
        visit: &mut dyn FnMut(Found<'_>) -> bool,
    ) {
        let mut nodes: Vec<_> = self.folder.state().nodes.clone().into_iter().collect();
        let is_folder = |node: &Node| matches!(node.is, Is::Folder);
        nodes.sort_by(|(a, a_node), (b, b_node)| path_order((a, is_folder(a_node)), (b, is_folder(b_node))));
        let mut passed_over: Option<&[u8]> = None;
        for (path, node) in &nodes {
            let is_inside = passed_over
                .and_then(|folder| path.strip_prefix(folder))
                .is_some_and(|rest| rest.starts_with(b"/"));
            let (kind, bytes) = match &node.is {
                Is::Folder => (EntryKind::Folder, 0),
                Is::Link(_) => (EntryKind::Link, 0),
                Is::File(_, bytes) => (EntryKind::File, *bytes),
                Is::Missed(_) | Is::Same(_) => (EntryKind::File, 0),
            };
            if is_inside {
                continue;
            }
            if !wants(&Seen { path, kind, bytes }) {
                passed_over = Some(path);
                continue;
            }
            if !self.give(path, node, visit) {
                return;
            }
        }
    }
}

impl Opened {
    fn give(&self, path: &[u8], node: &Node, visit: &mut dyn FnMut(Found<'_>) -> bool) -> bool {
        let Node { is, owner, modified, changed, attributes } = node;
        let (owner, modified, changed) = (*owner, *modified, *changed);
        let entry = |content| Found::Entry(Entry { path, owner, modified, changed, attributes, content });
        match is {
            Is::Folder => visit(entry(Content::Folder)),
            Is::Link(target) => visit(entry(Content::Link(target))),
            Is::Same(first) => visit(entry(Content::Same(first))),
            Is::File(content, bytes) => {
                let mut read =
                    Counted { folder: &self.folder, content: Cursor::new(content), is_read: false };
                visit(entry(Content::File { bytes: *bytes, read: &mut read }))
            }
            Is::Missed(reason) => visit(Found::Missed { path, reason: reason.clone() }),
        }
    }
}

/// Counts a file as read with its first byte.
struct Counted<'a> {
    folder: &'a ScriptedFolder,
    content: Cursor<&'a Vec<u8>>,
    is_read: bool,
}

impl std::io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !std::mem::replace(&mut self.is_read, true) {
            self.folder.state().reads += 1;
        }
        self.content.read(buffer)
    }
}

impl NewFolder for Opened {
    fn add(&mut self, entry: Entry<'_>) -> Result<Vec<String>, FolderError> {
        let is = match entry.content {
            Content::Folder => Is::Folder,
            Content::Link(target) => Is::Link(target.to_owned()),
            Content::Same(first) => Is::Same(first.to_owned()),
            Content::File { bytes, read } => {
                let mut content = Vec::new();
                read.take(bytes)
                    .read_to_end(&mut content)
                    .map_err(|error| FolderError::new(Code::RepositoryIo, error.to_string()))?;
                Is::File(content, bytes)
            }
        };
        let mut state = self.folder.state();
        state.put(entry.path, is);
        let node = state.nodes.get_mut(entry.path).expect("it was put there");
        (node.owner, node.modified, node.attributes) =
            (entry.owner, entry.modified, entry.attributes.clone());
        Ok(Vec::new())
    }

    fn finish(self: Box<Self>) -> Result<(), FolderError> {
        Ok(())
    }
}
