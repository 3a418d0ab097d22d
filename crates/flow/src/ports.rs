//! What a run needs from outside: a stack to dump, porters for its files, a site to restore into, a repository to write
//! to, a clock, and somebody who listens.

mod clock;
mod compose;
mod containers;
mod exports;
mod folder;
mod observer;
mod porter;
mod repository;
mod site;
mod stack;

pub use clock::Clock;
pub use compose::{Compose, ComposeProject, Home};
pub use containers::{Container, Containers, Labels, Mounted, Program, Spared};
pub use exports::{ExportStaging, Exports};
pub use folder::{
    Attributes, Content, Entry, EntryKind, Folder, FolderError, Folders, Found, Names, NewFolder, Owner, Seen,
};
pub use observer::{Observer, Silent};
pub use porter::{Access, ComposeFiles, Fed, Layout, Place, Porter, Porters, StorageLayout};
pub use repository::{
    FailedFiles, Repository, RunLock, Space, StagedFile, StagedFiles, Staging, StoreError, Stored,
};
pub use site::{
    ArchiveRestore, Elevation, Input, OnError, OnOutput, OnProgress, OpenOnce, Placed, Room, Scratch,
    ScratchSpec, Service, Site, Sites,
};
pub use stack::{
    DatabaseFacts, DumpKind, DumpRequest, Server, ServerFacts, Snapshot, SourceStream, Stack, StackError,
};
