//! `supakeep porter`: one task at a folder, for a supakeep elsewhere that asks and listens. Nobody types it.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use supakeep_flow::folder::serve;
use supakeep_folder::LocalFolders;
use supakeep_model::code::Code;

use super::Outcome;
use crate::failure::CommandError;

/// Bytes written at a time.
const BUFFER: usize = 128 * 1024;

pub(crate) fn run() -> Outcome {
    let mut output = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let served = serve(&LocalFolders, &mut io::stdin().lock(), &mut output).and_then(|()| output.flush());
    match served {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(CommandError::new(Code::Internal, format!("cannot answer: {error}"))),
    }
}
