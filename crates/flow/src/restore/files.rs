//! Putting files back: those of the storage service, edge functions, configuration.
//!
//! Nothing is removed. A file that the backup does not have was made since, and stays: no row of the restored
//! database tells of it, and nobody is harmed.

mod compare;
mod holders;

use std::sync::Arc;

use serde::Serialize;
use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::manifest::Manifest;
use supakeep_model::parts::PartName;

use crate::backup::Ports;
use crate::failure::Failure;
use crate::folder::order::{PackOrder, Selection, Task, UnpackReport};
use crate::folder::{Open, Source, answer, index_of, select_from};
use crate::ports::{Access, Fed, Layout, Observer, Place, Porter, Repository, StorageLayout, Stored};
use crate::read_back::decoded;
use compare::compare_index;
pub use holders::check_parents;
pub(crate) use holders::{check_holders, holders};

/// A part of the files that is put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFiles {
    /// Which.
    pub part: PartName,
    /// Where it goes, for people.
    pub into: String,
    /// How many files, and their length, where that is known.
    pub files: Option<u64>,
    /// Their length.
    pub bytes: Option<u64>,
    /// How many backups hold them.
    pub backups: usize,
    /// Where it goes.
    #[serde(skip)]
    pub(crate) place: Place,
}

impl PlannedFiles {
    /// A part that goes to this place.
    pub fn new(part: PartName, manifest: &Manifest, place: Place) -> PlannedFiles {
        let storage = manifest.head.storage.as_ref().filter(|_| part == PartName::Storage);
        PlannedFiles {
            part,
            into: place.to_string(),
            files: storage.map(|storage| storage.files),
            bytes: storage.map(|storage| storage.bytes),
            backups: storage.map_or(1, |_| manifest.head.parents.len() + 1),
            place,
        }
    }
}

/// What became of files that were put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilesReport {
    /// Which.
    pub part: PartName,
    /// Files, and other names of them.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// What differs from what the backup recorded, of the first of them; only files of which there is an index are
    /// compared.
    pub differences: Vec<String>,
    /// How many differ.
    pub different: u64,
    /// How many are there that the backup does not have.
    pub others: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// The parts of a backup that are files.
pub fn file_parts(manifest: &Manifest) -> impl Iterator<Item = PartName> {
    let others = [PartName::Database, PartName::Volumes, PartName::Redis];
    manifest.head.parts.iter().copied().filter(move |part| !others.contains(part))
}

/// Where each of these parts goes; what stands in the way is told.
pub(crate) fn plan_files(
    parts: &[PartName],
    manifest: &Manifest,
    layout: &Layout,
) -> (Vec<PlannedFiles>, Vec<String>) {
    let (mut planned, mut problems) = (Vec::new(), Vec::new());
    for part in parts {
        if matches!(part, PartName::Volumes | PartName::Redis) {
            problems.push(format!("{part} cannot be restored with other parts: restore it by itself"));
            continue;
        }
        if !file_parts(manifest).any(|held| held == *part) {
            problems.push(format!("the backup has no {part}"));
            continue;
        }
        match (part, &layout.storage, &layout.folder) {
            (PartName::Storage, StorageLayout::Files { place, prefix }, _) => {
                let recorded = manifest.head.storage.as_ref().map(|storage| &storage.prefix);
                if recorded.is_some_and(|recorded| recorded != prefix) {
                    problems.push(format!(
                        "the storage service looks for its files below {prefix:?}, and the backup has them below {:?}",
                        recorded.map_or("", String::as_str)
                    ));
                }
                planned.push(PlannedFiles::new(*part, manifest, place.clone()));
            }
            (PartName::Storage, ..) => {
                problems.push("the stack has no storage service that keeps its files in a folder".to_owned());
            }
            (_, _, Some(place)) => planned.push(PlannedFiles::new(*part, manifest, place.clone())),
            (_, _, None) => problems.push(format!("the stack does not tell where its folder is, for {part}")),
        }
    }
    (planned, problems)
}

/// Finds where these parts go, and looks whether all that holds them is whole.
pub async fn plan_files_alone(
    parts: &[PartName],
    manifest: &Manifest,
    ports: &Ports,
) -> Result<Vec<PlannedFiles>, Failure> {
    let (planned, problems) = plan_files(parts, manifest, &ports.porters.layout().await?);
    super::plan::possible(&problems)?;
    check_holders(manifest, &planned, &*ports.repository).await?;
    Ok(planned)
}

/// Puts files back, and compares them with what was recorded.
pub async fn restore_files(
    manifest: &Manifest,
    planned: &[PlannedFiles],
    ports: &Ports,
) -> Result<Vec<FilesReport>, Failure> {
    if planned.is_empty() {
        return Ok(Vec::new());
    }
    let mut places: Vec<Place> = Vec::new();
    for one in planned {
        if !places.contains(&one.place) {
            places.push(one.place.clone());
        }
    }
    ports.porters.sweep().await?;
    let porter = ports.porters.open(&places, Access::Write).await?;
    let mut reports = Vec::new();
    for one in planned {
        let at = places.iter().position(|place| *place == one.place).unwrap_or_default();
        reports.push(restore_part(manifest, one, at, &*porter, ports).await?);
    }
    porter.close().await?;
    Ok(reports)
}

async fn restore_part(
    manifest: &Manifest,
    planned: &PlannedFiles,
    at: usize,
    porter: &dyn Porter,
    ports: &Ports,
) -> Result<FilesReport, Failure> {
    let part = planned.part;
    enter(manifest, &*ports.observer, Phase::RestoreFiles, part, planned.bytes);
    let archive = archive(manifest, part, &ports.repository).await?;
    let stored = told(archive, manifest, Arc::clone(&ports.observer));
    let stream = porter.start(at, &Task::Unpack, None, Some(Fed { stored, bytes: None })).await?;
    let unpacked: UnpackReport =
        answer(stream, &mut |_, _| Ok(())).await.map_err(|error| Failure::from(error).while_doing(part))?;
    let mut report = FilesReport {
        part,
        files: unpacked.files,
        bytes: unpacked.bytes,
        differences: Vec::new(),
        different: 0,
        others: 0,
        notes: unpacked.notes,
    };
    if let Some(index) = index(manifest, part) {
        enter(manifest, &*ports.observer, Phase::Compare, part, planned.bytes);
        let order = PackOrder {
            index_of: Some(manifest.head.id.clone()),
            only_index: true,
            ..PackOrder::archive(Selection::Storage)
        };
        let found = index_of(porter.start(at, &Task::Pack(order), None, None).await?);
        let recorded = opener(manifest, index, &ports.repository)()?;
        compare_index(recorded, found, &mut report).await?;
    }
    Ok(report)
}

fn enter(manifest: &Manifest, observer: &dyn Observer, phase: Phase, part: PartName, bytes: Option<u64>) {
    observer.observe(&RunEvent::Entered {
        id: manifest.head.id.clone(),
        phase,
        subject: part.to_string(),
        expected_bytes: bytes,
    });
}

/// The archive, with progress told as it is read.
pub(super) fn told(archive: Stored, manifest: &Manifest, observer: Arc<dyn Observer>) -> Stored {
    let id = manifest.head.id.clone();
    let mut source_bytes = 0;
    Box::new(tokio_util::io::InspectReader::new(archive, move |bytes| {
        source_bytes += bytes.len() as u64;
        observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
    }))
}

fn artifact(manifest: &Manifest, part: Part) -> Result<&Artifact, Failure> {
    let found = manifest.artifacts.iter().find(|artifact| artifact.part == part);
    found.ok_or_else(|| {
        let message = format!("{} names no file of {part:?}", manifest.head.id);
        Failure::new(Code::ManifestDamaged, message)
    })
}

/// The index of a part, where it has one.
fn index(manifest: &Manifest, part: PartName) -> Option<&Artifact> {
    artifact(manifest, Part::StorageIndex).ok().filter(|_| part == PartName::Storage)
}

/// Opens a file of a backup, decompressed, when its turn has come.
pub(super) fn opener(manifest: &Manifest, artifact: &Artifact, repository: &Arc<dyn Repository>) -> Open {
    let (id, path, encoding) = (manifest.head.id.clone(), artifact.path.clone(), artifact.encoding);
    let repository = Arc::clone(repository);
    Box::new(move || Ok(decoded(repository.open(&id, &path)?, encoding)))
}

/// One archive of all that is put back, whichever backups hold it.
async fn archive(
    manifest: &Manifest,
    part: PartName,
    repository: &Arc<dyn Repository>,
) -> Result<Stored, Failure> {
    match part {
        PartName::Functions => opener(manifest, artifact(manifest, Part::Functions)?, repository)(),
        PartName::Config => opener(manifest, artifact(manifest, Part::Config)?, repository)(),
        PartName::Database | PartName::Volumes | PartName::Redis => {
            Err(Failure::new(Code::Internal, format!("{part} is no archive of files")))
        }
        PartName::Storage => {
            let index = artifact(manifest, Part::StorageIndex)?;
            let mut sources = Vec::new();
            // The oldest first: what is newer is put over it.
            for holder in holders(manifest, index, &**repository).await?.into_iter().rev() {
                let held = repository.manifest(&holder.id)?;
                sources.push(Source {
                    index: opener(manifest, index, repository),
                    held_by: holder.number,
                    archive: opener(&held, artifact(&held, Part::Storage)?, repository),
                });
            }
            select_from(sources)
                .map_err(|error| Failure::new(Code::Internal, format!("cannot start a thread: {error}")))
        }
    }
}
