//! What a recovery would do, and what stands in its way; nothing is touched to find out but that the folder is made.

use serde::Serialize;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::parts::PartName;
use supakeep_model::recovery::RecoveryStep;

use super::{RecoverPorts, RecoverSpec, project};
use crate::failure::Failure;
use crate::ports::{ComposeProject, Home};
use crate::restore::file_parts;

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoverPlan {
    /// From which backup.
    pub backup: BackupId,
    /// The first step; the others are done.
    pub from: RecoveryStep,
    /// The image that the database had.
    pub image: String,
    /// The databases.
    pub databases: Vec<String>,
    /// The parts that are files.
    pub parts: Vec<PartName>,
    /// Why it cannot be done.
    pub problems: Vec<String>,
    /// What a person should know before saying yes.
    pub notes: Vec<String>,
    /// The project.
    #[serde(skip)]
    pub project: ComposeProject,
}

/// Looks at the backup, at the folder, and at what the engine has of such a stack.
pub async fn plan(spec: &RecoverSpec, ports: &RecoverPorts, resume: bool) -> Result<RecoverPlan, Failure> {
    ports.compose.is_there().await?;
    let head = &spec.manifest.head;
    let parts: Vec<_> = file_parts(&spec.manifest).collect();
    let mut problems = Vec::new();
    if !parts.contains(&PartName::Config) {
        problems.push("the backup has no compose files (its parts lack config): put the stack's folder in place by hand, start its database, and use `supakeep restore`".to_owned());
    }
    let project = project(spec).unwrap_or_else(|problem| {
        problems.push(problem);
        ComposeProject { name: head.stack.project.clone(), folder: spec.folder.clone(), files: Vec::new() }
    });
    let there = ports.home.prepare(&spec.folder)?;
    let begun = ports.home.recovery(&spec.folder)?;
    let from = match (&begun, resume) {
        (Some(begun), true) if begun.backup == head.id => begun.step,
        (Some(begun), true) => {
            problems.push(format!("a stack is being made there of {}, and not of {}", begun.backup, head.id));
            begun.step
        }
        (Some(begun), false) => {
            problems.push(format!("a stack is being made there of {} already: add --resume", begun.backup));
            begun.step
        }
        (None, true) => {
            problems
                .push(format!("no stack is being made in {}: leave --resume away", spec.folder.display()));
            RecoveryStep::Folder
        }
        (None, false) => RecoveryStep::Folder,
    };
    if begun.is_none() {
        problems.extend(occupied(spec, ports, &there).await?);
    }
    if spec.env.is_none() && !ports.home.has(&spec.folder.join(".env")) {
        problems.push(
            "the backup has .env without its secrets: say where the real one is with --env-file FILE"
                .to_owned(),
        );
    }
    let mut notes = Vec::new();
    for (part, lost) in [
        (
            PartName::Storage,
            "the files of Storage are not in the backup: its objects will answer with errors",
        ),
        (PartName::Functions, "edge functions are not in the backup"),
    ] {
        if !parts.contains(&part) {
            notes.push(lost.to_owned());
        }
    }
    if !head.is_good() {
        notes.push("the backup is not a good one: it is suspect, or its last verification failed".to_owned());
    }
    Ok(RecoverPlan {
        backup: head.id.clone(),
        from,
        image: head.stack.image.clone(),
        databases: spec.manifest.databases.iter().map(|database| database.name.clone()).collect(),
        parts,
        problems,
        notes,
        project,
    })
}

/// What is there of such a stack, or in its folder: none of it may be written over.
async fn occupied(
    spec: &RecoverSpec,
    ports: &RecoverPorts,
    there: &[String],
) -> Result<Vec<String>, Failure> {
    let mut out = Vec::new();
    if !there.is_empty() {
        let first: Vec<_> = there.iter().take(3).map(String::as_str).collect();
        out.push(format!("{} is not empty: {} is there", spec.folder.display(), first.join(", ")));
    }
    let remains = ports.compose.remains(&spec.manifest.head.stack.project).await?;
    if !remains.is_empty() {
        out.push(format!("the engine still has these of such a stack: {}", remains.join(", ")));
    }
    Ok(out)
}

impl RecoverPlan {
    /// The plan, if nothing stands in its way.
    pub fn possible(&self) -> Result<(), Failure> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Code::RecoverUnfit, self.problems.join("; ")))
    }

    /// Compose files in which a secret stood are kept as `….redacted`: a person has to write them.
    pub(super) fn compose_files_are_there(&self, spec: &RecoverSpec, home: &dyn Home) -> Result<(), Failure> {
        let missing =
            self.project.files.iter().map(|file| spec.folder.join(file)).find(|file| !home.has(file));
        let Some(missing) = missing else { return Ok(()) };
        let (file, folder) = (missing.display(), spec.folder.display());
        Err(Failure::new(
            Code::RecoverUnfit,
            format!(
                "{file} is not in the backup, or only as {file}.redacted, since a secret stood in it: write it, then \
                 `supakeep recover {} --into {folder} --resume`",
                self.backup
            ),
        ))
    }
}
