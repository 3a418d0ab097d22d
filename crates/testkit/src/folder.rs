//! A stack's folder that is a handful of values.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use supakeep_flow::ports::{
    ComposeFiles, Content, Entry, EntryKind, Folder, FolderError, Found, Owner, Seen, StackFolder,
};

/// What is at a path.
#[derive(Debug, Clone)]
enum Node {
    Folder,
    Link(Vec<u8>),
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
    is_hidden: bool,
    refused: Option<FolderError>,
}

impl ScriptedFolder {
    /// A folder that nobody sees.
    pub fn hidden() -> ScriptedFolder {
        let folder = ScriptedFolder::default();
        folder.change(|state| state.is_hidden = true);
        folder
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn put(&self, path: &[u8], node: Node) {
        self.change(|state| {
            let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            for end in ends {
                state.nodes.entry(path[..end].to_owned()).or_insert(Node::Folder);
            }
            state.nodes.insert(path.to_owned(), node);
        });
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
        self.put(path.as_ref(), Node::File(content.as_ref().to_owned(), length));
        self
    }

    /// A symbolic link.
    #[must_use]
    pub fn linking(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> ScriptedFolder {
        self.put(path.as_ref(), Node::Link(target.as_ref().to_owned()));
        self
    }

    /// Something that cannot be read.
    #[must_use]
    pub fn missing(self, path: impl AsRef<[u8]>, reason: &str) -> ScriptedFolder {
        self.put(path.as_ref(), Node::Missed(reason.to_owned()));
        self
    }

    /// Opening it fails so.
    pub fn refuse(&self, error: FolderError) {
        self.change(|state| state.refused = Some(error));
    }
}

impl StackFolder for ScriptedFolder {
    fn find(&self, _compose: &ComposeFiles) -> Result<Option<Box<dyn Folder>>, FolderError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match &state.refused {
            Some(error) => Err(error.clone()),
            None if state.is_hidden => Ok(None),
            None => Ok(Some(Box::new(state))),
        }
    }
}

impl Folder for State {
    fn path(&self) -> &Path {
        Path::new("/stack")
    }

    fn has(&self, path: &[u8]) -> bool {
        self.nodes.contains_key(path)
    }

    fn walk(&self, wants: &dyn Fn(&Seen<'_>) -> bool, visit: &mut dyn FnMut(Found<'_>) -> bool) {
        let mut passed_over: Option<&[u8]> = None;
        for (path, node) in &self.nodes {
            let is_inside = passed_over
                .and_then(|folder| path.strip_prefix(folder))
                .is_some_and(|rest| rest.starts_with(b"/"));
            let (kind, bytes) = match node {
                Node::Folder => (EntryKind::Folder, 0),
                Node::Link(_) => (EntryKind::Link, 0),
                Node::File(_, bytes) => (EntryKind::File, *bytes),
                Node::Missed(_) => (EntryKind::File, 0),
            };
            if is_inside {
                continue;
            }
            if !wants(&Seen { path, kind, bytes }) {
                passed_over = Some(path);
                continue;
            }
            if !give(path, node, visit) {
                return;
            }
        }
    }
}

fn give(path: &[u8], node: &Node, visit: &mut dyn FnMut(Found<'_>) -> bool) -> bool {
    let owner = |mode| Owner { mode, user: 1_000, group: 1_000 };
    let entry = |mode, content| {
        Found::Entry(Entry { path, owner: owner(mode), modified: (1_700_000_000, 0), content })
    };
    match node {
        Node::Folder => visit(entry(0o755, Content::Folder)),
        Node::Link(target) => visit(entry(0o777, Content::Link(target))),
        Node::File(content, bytes) => {
            let content = Content::File { bytes: *bytes, read: &mut Cursor::new(content) };
            visit(entry(0o644, content))
        }
        Node::Missed(reason) => visit(Found::Missed { path, reason: reason.clone() }),
    }
}
