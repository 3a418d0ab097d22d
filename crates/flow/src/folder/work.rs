//! The task of a porter, done by whoever sees the folder.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use supakeep_model::code::Code;

use super::frames::end;
use super::order::{Cleared, Job, Look, Looked, PackOrder, Task, UnpackReport};
use super::packer::pack;
use super::unpack::unpack;
use crate::ports::{FolderError, Folders, Names};
use crate::redact::RedactionKey;

/// A job's line is a path, an order and a key.
const LONGEST_JOB: u64 = 1 << 20;

/// Reads a job, does it, and answers in frames. An error is one of answering.
pub fn serve(folders: &dyn Folders, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    (&mut input).take(LONGEST_JOB).read_until(b'\n', &mut line)?;
    match Job::parse(line.trim_ascii_end()) {
        Ok(job) => work(folders, &job.root, &job.task, job.key.as_ref(), &mut input, output),
        Err(message) => end(output, &Err::<(), _>(FolderError::new(Code::Internal, message))),
    }?;
    output.flush()
}

/// Does a task at `root`.
pub(super) fn work(
    folders: &dyn Folders,
    root: &Path,
    task: &Task,
    key: Option<&RedactionKey>,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<()> {
    match task {
        Task::Look(wanted) => end(output, &look(folders, root, wanted)),
        Task::Pack(order) => {
            let packed = pack_known(folders, root, order, key, input, output);
            end(output, &packed)
        }
        Task::Unpack => end(output, &unpack_all(folders, root, input)),
        Task::Clear => end(output, &folders.clear(root).map(|entries| Cleared { entries })),
    }
}

fn look(folders: &dyn Folders, root: &Path, wanted: &Look) -> Result<Looked, FolderError> {
    let folder = folders.open(root)?;
    let path = &*wanted.path.0;
    let exists = path.is_empty() || folder.has(path);
    let mut is_empty = true;
    if path.is_empty() {
        folder.walk(Names::Each, &|_| true, &mut |_| {
            is_empty = false;
            false
        });
    }
    Ok(Looked { exists, is_empty })
}

fn pack_known(
    folders: &dyn Folders,
    root: &Path,
    order: &PackOrder,
    key: Option<&RedactionKey>,
    mut input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<(), FolderError> {
    let folder = folders.open(root)?;
    let is_fed = input.fill_buf().map(|bytes| !bytes.is_empty());
    let is_fed = is_fed.map_err(|error| FolderError::new(Code::StreamTruncated, error.to_string()))?;
    pack(&*folder, order, key, is_fed.then_some(&mut input as &mut dyn Read), output)
}

fn unpack_all(
    folders: &dyn Folders,
    root: &Path,
    mut input: &mut dyn BufRead,
) -> Result<UnpackReport, FolderError> {
    unpack(folders.open_to_fill(root)?, &mut input)
}
