//! One run from end to end: backup, verify, restore, drill, prune. And the ports through which it reaches a stack and
//! a repository.

pub mod backup;
pub mod cancel;
pub mod cycle;
pub mod drill;
pub mod export;
pub mod failure;
pub mod folder;
pub mod import;
pub mod inspect;
pub mod kill_point;
mod pax;
pub mod pipeline;
pub mod ports;
pub mod prune;
pub mod read_back;
pub mod recipe;
pub mod recover;
pub mod redact;
pub mod redis;
pub mod reread;
pub mod restore;
pub mod stage;
pub mod stopped;
pub mod verify;
