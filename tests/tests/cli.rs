//! The binary on the command line, where no engine is needed: configuration, repository, output.

#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/repository.rs"]
mod repository;
#[path = "cli/shelf.rs"]
mod shelf;
#[path = "cli/trouble.rs"]
mod trouble;
