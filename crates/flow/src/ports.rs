//! What a run needs from outside: a stack to dump, the folder it was made from, a site to restore into, a repository to write
//! to, a clock, and somebody who listens.

mod clock;
mod folder;
mod observer;
mod repository;
mod site;
mod stack;

pub use clock::Clock;
pub use folder::{
    ComposeFiles, Content, Entry, EntryKind, Folder, FolderError, Found, Owner, Seen, StackFolder,
};
pub use observer::{Observer, Silent};
pub use repository::{
    FailedFiles, Repository, RunLock, Space, StagedFile, StagedFiles, Staging, StoreError, Stored,
};
pub use site::{
    ArchiveRestore, Elevation, Input, OnError, OnOutput, OnProgress, OpenOnce, Placed, Room, Scratch,
    ScratchSpec, Section, Service, Site, Sites,
};
pub use stack::{
    DatabaseFacts, DumpKind, DumpRequest, Server, ServerFacts, Snapshot, SourceStream, Stack, StackError,
};
