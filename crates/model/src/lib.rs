//! Pure data and decisions: what a backup is, when it is due, what may be removed.
//!
//! Nothing in this crate reads a clock, a file, the environment or a random number. Whatever depends
//! on them gets them as an argument, which is why every decision here can be tested as a table.

pub mod artifact;
pub mod catalog;
pub mod code;
pub mod cron;
pub mod drill_clock;
pub mod drill_sample;
pub mod dump;
pub mod event;
pub mod export;
pub mod file_index;
pub mod fingerprint;
pub mod gate;
pub mod health;
pub mod id;
pub mod journal;
pub mod keep;
pub mod manifest;
pub mod manifest_head;
pub mod naming;
pub mod parts;
pub mod planner;
pub mod preset;
pub mod profile;
pub mod quantity;
pub mod recovery;
pub mod retention;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
pub mod schedule;
pub mod secret;
pub mod view;
pub mod volume;
pub mod zone;

pub use time::{Duration, OffsetDateTime};
