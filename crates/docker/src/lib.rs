//! A Supabase stack through the Docker API: found by its labels, dumped by its own PostgreSQL tools.

mod arguments;
mod check;
mod connect;
mod containers;
mod discover;
mod elevation;
mod error;
mod exec;
mod facts;
#[cfg(test)]
mod fake;
mod feed;
mod layout;
mod own_container;
mod own_program;
mod porter;
mod porters;
mod project;
mod psql;
mod remains;
mod scratch;
mod server;
mod services;
mod session;
mod site;
mod sites;
mod snapshot;
mod stack;
mod tail;
mod tar;
mod trailer;
mod verdict;

pub use check::{Checked, Finding, check};
pub use connect::connect;
pub use containers::DockerContainers;
pub use own_container::own_project;
pub use porters::DockerPorters;
pub use project::project_remains;
pub use sites::DockerSites;
pub use stack::{DockerStack, RootKey, StackSpec};
