//! A file from outside, or standard input, kept in the repository for a while.
//!
//! There, and not in a temporary folder: it is the disk that is meant for dumps and whose room is watched, and
//! what is on it survives supakeep's container, so that a restore which was interrupted can be finished.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use supakeep_flow::failure::{Failure, io_code};
use supakeep_flow::ports::{Repository as _, Staging};
use supakeep_flow::restore::DUMP;
use supakeep_model::code::Code;
use supakeep_model::quantity::show_bytes;
use tokio::io::AsyncReadExt as _;

use crate::command::Context;
use crate::failure::CommandError;

/// Bytes read and written at a time.
const CHUNK: usize = 256 * 1024;
/// How often it is asked whether there is room for more, in bytes.
const ROOM_EVERY: u64 = 64 << 20;

pub(in crate::command) fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

/// What people call it.
pub(in crate::command) fn name(file: &Path) -> String {
    if is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

pub(in crate::command) fn text(file: &Path) -> Result<String, CommandError> {
    let text = file.to_str().map(str::to_owned);
    text.ok_or_else(|| CommandError::new(Code::UsageInvalid, "the file's name is not UTF-8"))
}

pub(in crate::command) fn open_file(path: &Path) -> Result<File, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(Code::UsageInvalid, format!("{} cannot be read: {error}", path.display()))
    };
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is no file")));
    }
    Ok(file)
}

/// Writes the file, or standard input, into what is staged, as [`DUMP`].
pub(in crate::command) async fn keep(
    context: &Context,
    staging: &dyn Staging,
    file: &Path,
) -> Result<(), CommandError> {
    let failed = |doing: &str, error: std::io::Error| {
        CommandError::new(io_code(&error), format!("{doing} {}: {error}", name(file)))
    };
    let (from, length) = opened(file)?;
    room(context, length)?;
    let mut from = tokio::fs::File::from_std(from);
    let mut kept = staging.files().create(DUMP)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut unasked = 0;
    loop {
        chunk.clear();
        let read = context.unless_cancelled(from.read_buf(&mut chunk)).await?;
        let length = read.map_err(|error| failed("reading", error))? as u64;
        if length == 0 {
            return kept.sync().map_err(|error| failed("keeping", error));
        }
        kept.write_all(&chunk).map_err(|error| failed("keeping", error))?;
        unasked += length;
        if unasked >= ROOM_EVERY {
            room(context, 0)?;
            unasked = 0;
        }
    }
}

/// What there is to read, and its length where that is known.
fn opened(file: &Path) -> Result<(File, u64), CommandError> {
    let unreadable = |error: std::io::Error| {
        CommandError::new(Code::UsageInvalid, format!("{} cannot be read: {error}", name(file)))
    };
    if is_standard_input(file) {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?;
        return Ok((stdin.into(), 0));
    }
    let opened = open_file(file)?;
    let length = opened.metadata().map_err(unreadable)?.len();
    Ok((opened, length))
}

/// The backups' disk keeps the room that is kept for backups.
fn room(context: &Context, wanted: u64) -> Result<(), CommandError> {
    let free = context.wire.repository.space()?.free_bytes;
    let needed = wanted.saturating_add(context.wire.settings.repository.min_free_bytes);
    if free >= needed {
        return Ok(());
    }
    let message = format!(
        "the file is kept in the repository while it is restored: {} are free there, {} are wanted (its length and repository.min_free)",
        show_bytes(free),
        show_bytes(needed)
    );
    Err(CommandError::new(Code::SpaceLow, message))
}
