//! Parts of a backup that are files of the stack's folder: each becomes one tar archive.
//!
//! A thread walks through the folder and packs what it meets; the archive goes through the same pipeline as
//! a dump. Nothing that is wrong with one file ends the walk: it is told, and the others are kept.

mod choose;
mod notes;
mod pack;
mod packer;
mod stream;

use std::sync::Arc;

use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::parts::{PartName, Parts, Wish};
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::ports::{ComposeFiles, Folder, FolderError, SourceStream, StackFolder};
use crate::redact::RedactionKey;
use choose::{Choice, FUNCTIONS};
use stream::FolderStream;

/// The parts that are files.
const OF_FOLDER: [PartName; 2] = [PartName::Functions, PartName::Config];

/// The folder of a backup that is being made, and which parts are made of it.
pub(crate) struct FolderParts {
    folder: Option<Arc<dyn Folder>>,
    /// What is made.
    pub(crate) parts: Vec<PartName>,
    /// What a person should know of what is not.
    pub(crate) notes: Vec<String>,
}

/// An archive that is being packed.
pub(crate) struct Packing {
    /// Its bytes.
    pub(crate) stream: Box<dyn SourceStream>,
    /// What a person should know of it, once the stream has ended.
    pub(crate) notes: oneshot::Receiver<Vec<String>>,
}

/// Looks for the folder, and finds out which of the parts that are wanted can be made of it.
pub fn possible(
    parts: &Parts,
    finder: &dyn StackFolder,
    compose: &ComposeFiles,
) -> Result<(Vec<PartName>, Vec<String>), Failure> {
    let found = find(parts, finder, compose)?;
    Ok((found.parts, found.notes))
}

pub(crate) fn find(
    parts: &Parts,
    finder: &dyn StackFolder,
    compose: &ComposeFiles,
) -> Result<FolderParts, Failure> {
    let wanted: Vec<_> = OF_FOLDER.into_iter().filter(|part| parts.wish(*part) != Wish::No).collect();
    let mut out = FolderParts { folder: None, parts: Vec::new(), notes: Vec::new() };
    if wanted.is_empty() {
        return Ok(out);
    }
    let is_required = wanted.iter().any(|part| parts.wish(*part) == Wish::Required);
    let folder = match finder.find(compose) {
        Ok(Some(folder)) => folder,
        Err(error) if is_required => return Err(error.into()),
        Ok(None) if is_required => {
            return Err(missing(format!(
                "the stack's folder{} is not to be seen from here",
                on_host(compose)
            )));
        }
        Ok(None) => {
            out.notes.push(format!(
                "functions and config are not in this backup: the stack's folder{} is not mounted at /stack",
                on_host(compose)
            ));
            return Ok(out);
        }
        Err(error) => {
            out.notes.push(format!("functions and config are not in this backup: {error}"));
            return Ok(out);
        }
    };
    for part in wanted {
        if part != PartName::Functions || folder.has(FUNCTIONS) {
            out.parts.push(part);
        } else if parts.wish(part) == Wish::Required {
            return Err(missing(format!("there is no volumes/functions in {}", folder.path().display())));
        }
    }
    out.folder = Some(Arc::from(folder));
    Ok(out)
}

fn missing(message: String) -> Failure {
    Failure::new(Code::StackFolderMissing, message)
}

fn on_host(compose: &ComposeFiles) -> String {
    compose.working_dir.as_ref().map(|folder| format!(" ({folder} on the host)")).unwrap_or_default()
}

impl FolderParts {
    /// Begins to pack a part.
    pub(crate) fn pack(
        &self,
        part: PartName,
        compose: &ComposeFiles,
        key: RedactionKey,
    ) -> Result<Packing, Failure> {
        let folder =
            self.folder.clone().ok_or_else(|| missing("the stack's folder is not open".to_owned()))?;
        let choice = Choice::of(part, compose);
        let (report, notes) = oneshot::channel();
        let stream = FolderStream::start(move |out| {
            let (ended, notes) = packer::pack(&*folder, &choice, &key, out);
            // Nobody waits where the run was cancelled.
            let _ = report.send(notes);
            ended
        });
        let stream = stream
            .map_err(|error| Failure::new(Code::Internal, format!("cannot start a thread: {error}")))?;
        Ok(Packing { stream: Box::new(stream), notes })
    }
}

/// The word of a manifest for a part that is files.
pub(crate) fn kind(part: PartName) -> Part {
    match part {
        PartName::Functions => Part::Functions,
        PartName::Config => Part::Config,
        PartName::Database => Part::Database,
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Failure {
        Failure::new(error.code, error.message)
    }
}
