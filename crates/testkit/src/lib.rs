//! Scripted ports, fault injection and the conformance suite; for tests alone.
//!
//! The ports of `supakeep-flow` are played by values: a stack whose answers are written down
//! beforehand, a repository in memory, a clock that stands still. A decorator makes any repository
//! fail at a given call, and one suite says what every repository has to do.

#[doc(hidden)]
pub mod conformance;

mod archive;
mod clock;
mod containers;
mod dump;
mod exports;
mod faulty;
mod folder;
mod memory;
mod porters;
mod recorder;
mod script;
mod site;
mod specs;
mod stack;
mod trial;

pub use archive::{ArchiveCodec, archive};
pub use clock::TestClock;
pub use containers::ScriptedContainers;
pub use dump::{Database, GLOBALS, Table};
pub use exports::{MemoryExports, with_configs};
pub use faulty::{Fault, FaultyRepository, Operation};
pub use folder::ScriptedFolder;
pub use memory::MemoryRepository;
pub use porters::ScriptedPorters;
pub use recorder::Recorder;
pub use script::{Script, Step};
pub use site::{ScriptedSite, SiteDatabase, SiteFault, SiteOperation, SiteSession};
pub use specs::{START, failed_head, manifest, profile, recipe, unfinished};
pub use stack::{Call, ScriptedStack};
pub use supakeep_model::sample::head;
pub use trial::Trial;
