//! `supakeep completions` and `supakeep man`

use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;
use supakeep_model::code::Code;

use super::Outcome;
use crate::args::Cli;
use crate::failure::CommandError;

pub(crate) fn completions(shell: clap_complete::Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Cli::command(), "supakeep", &mut io::stdout());
    ExitCode::SUCCESS
}

pub(crate) fn man() -> Outcome {
    clap_mangen::Man::new(Cli::command()).render(&mut io::stdout()).map_err(|error| {
        CommandError::new(Code::Internal, format!("cannot print the manual page: {error}"))
    })?;
    Ok(ExitCode::SUCCESS)
}
