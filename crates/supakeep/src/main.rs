//! supakeep: the backup container for self-hosted Supabase.

mod args;
mod clock;
mod command;
mod compose;
mod config;
mod failure;
mod git;
mod logging;
mod output;
mod porters;
mod progress;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(&cli.global);
    match command::run(cli, output) {
        Ok(exit) => exit,
        Err(error) => {
            if output.json && !error.has_result {
                output.json(&error.json());
            }
            eprintln!("{error}");
            error.exit()
        }
    }
}
