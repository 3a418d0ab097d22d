//! The harness of the tests that need a Docker Engine: stacks, empty clusters, and the binary.
//!
//! Everything it makes carries the label `supakeep.test`, and goes away with the value that made it;
//! the two shared stacks stay for the next test binary, and `tests/run` removes them.

mod cluster;
mod command;
mod daemon;
mod keeper;
mod resident;
mod stack;
pub mod storage_files;
mod tamper;
mod wait;

pub use cluster::EmptyCluster;
pub use command::{Ended, docker, run, spawn, without_starting};
pub use daemon::Daemon;
pub use keeper::Keeper;
pub use stack::{Pg, Stack};
pub use tamper::{tamper, tamper_text};
pub use wait::{eventually, wait_for};
