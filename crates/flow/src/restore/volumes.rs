//! Putting volumes back: made anew where they are gone, emptied where they are not, while nobody uses them.

use std::sync::Arc;

use serde::Serialize;
use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::manifest::Manifest;
use supakeep_model::volume::VolumeRecord;

use super::files::{opener, told};
use crate::backup::{Ports, name_of, refuse_data, users};
use crate::failure::Failure;
use crate::folder::answer;
use crate::folder::order::{Cleared, Task, UnpackReport};
use crate::kill_point::kill_point;
use crate::ports::{Access, Fed, Place, Porter, Service};
use crate::stopped::{start_again, stop_all};

/// A volume that is put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedVolume {
    /// Its name, or its path.
    pub name: String,
    /// Whether it is there; what is in it goes.
    pub exists: bool,
    /// Those that use it, and are stopped meanwhile.
    pub users: Vec<Service>,
    /// Files.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    #[serde(skip)]
    place: Place,
    #[serde(skip)]
    artifact: Artifact,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeReport {
    /// Its name, or its path.
    pub name: String,
    /// Files that were put there.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// How many entries at its top were removed before.
    pub removed: u64,
    /// What differs from what the backup recorded.
    pub differences: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What would be done: of the volumes that are named, or of all that the backup has. Nothing is touched.
pub async fn plan_volumes(
    names: &[String],
    manifest: &Manifest,
    ports: &Ports,
) -> Result<Vec<PlannedVolume>, Failure> {
    let mut planned: Vec<PlannedVolume> = Vec::new();
    let all = ports.containers.containers().await?;
    for record in chosen(names, manifest)? {
        let (place, exists) = if record.name.starts_with('/') {
            (Place::Host(record.name.clone()), true)
        } else {
            let found = ports.containers.find_volume(&record.name).await?;
            (Place::Volume(record.name.clone()), found.as_ref() == Some(&record.name))
        };
        refuse_data(&place, &all)?;
        let users = users(&place, &all);
        if let Some(spared) = users.iter().filter(|user| user.service.is_running).find_map(|user| user.spared)
        {
            let message =
                format!("{place} is used by {}, which runs, and is not stopped here", spared.as_str());
            return Err(Failure::new(Code::VolumeUnfit, message));
        }
        planned.push(PlannedVolume {
            name: record.name.clone(),
            exists,
            users: users.into_iter().map(|user| user.service.clone()).collect(),
            files: record.files,
            bytes: record.bytes,
            place,
            artifact: artifact(manifest, &record.name)?.clone(),
        });
    }
    Ok(planned)
}

/// The records that a person means: by a volume's name, with or without the project's in front, or by a path.
fn chosen<'a>(names: &[String], manifest: &'a Manifest) -> Result<Vec<&'a VolumeRecord>, Failure> {
    let head = &manifest.head;
    if head.volumes.is_empty() {
        return Err(Failure::new(Code::VolumeUnfit, format!("{} has no volumes", head.id)));
    }
    if names.is_empty() {
        return Ok(head.volumes.iter().collect());
    }
    let mut out: Vec<&VolumeRecord> = Vec::new();
    for name in names {
        let name = if name.len() > 1 { name.trim_end_matches('/') } else { name };
        let of_project = format!("{}_{name}", head.stack.project);
        let find = |wanted: &str| head.volumes.iter().find(|record| record.name == wanted);
        let Some(record) = find(name).or_else(|| find(&of_project)) else {
            let has: Vec<_> = head.volumes.iter().map(|record| record.name.as_str()).collect();
            let message = format!("{} has no volume {name}; it has {}", head.id, has.join(", "));
            return Err(Failure::new(Code::VolumeUnfit, message));
        };
        if !out.contains(&record) {
            out.push(record);
        }
    }
    Ok(out)
}

fn artifact<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a Artifact, Failure> {
    let is_it = |artifact: &&Artifact| artifact.part == Part::Volume && artifact.of.as_deref() == Some(name);
    manifest.artifacts.iter().find(is_it).ok_or_else(|| {
        let message = format!("{} names no file of the volume {name}", manifest.head.id);
        Failure::new(Code::ManifestDamaged, message)
    })
}

/// Puts volumes back. The caller holds the lock, and calls [`start_again`] where this does not come back.
pub async fn restore_volumes(
    manifest: &Manifest,
    planned: &[PlannedVolume],
    ports: &Ports,
) -> Result<Vec<VolumeReport>, Failure> {
    let mut services: Vec<Service> = Vec::new();
    for service in planned.iter().flat_map(|one| &one.users) {
        if !services.iter().any(|known| known.id == service.id) {
            services.push(service.clone());
        }
    }
    let (repository, containers) = (&*ports.repository, &*ports.containers);
    enter(manifest, ports, Phase::StopServices, "", None);
    let reason = format!("a restore of volumes of {}", manifest.head.id);
    let stopped = stop_all(&reason, &services, repository, containers).await;
    let restored = match stopped {
        Ok(()) => {
            kill_point("restore-volumes-stopped");
            fill(manifest, planned, ports).await
        }
        Err(failure) => Err(failure),
    };
    enter(manifest, ports, Phase::StartServices, "", None);
    let started = start_again(repository, containers).await;
    let reports = restored?;
    started?;
    Ok(reports)
}

async fn fill(
    manifest: &Manifest,
    planned: &[PlannedVolume],
    ports: &Ports,
) -> Result<Vec<VolumeReport>, Failure> {
    for one in planned.iter().filter(|one| !one.exists) {
        ports.containers.make_volume(&one.name).await?;
    }
    ports.porters.sweep().await?;
    let places: Vec<_> = planned.iter().map(|one| one.place.clone()).collect();
    let porter = ports.porters.open(&places, Access::Write).await?;
    let mut reports = Vec::new();
    for (at, one) in planned.iter().enumerate() {
        let report = fill_one(manifest, one, at, &*porter, ports).await;
        reports.push(report.map_err(|failure| {
            failure.while_doing(format!("{}, WHICH IS HALF RESTORED", name_of(&one.place)))
        })?);
    }
    porter.close().await?;
    Ok(reports)
}

async fn fill_one(
    manifest: &Manifest,
    planned: &PlannedVolume,
    at: usize,
    porter: &dyn Porter,
    ports: &Ports,
) -> Result<VolumeReport, Failure> {
    enter(manifest, ports, Phase::RestoreFiles, &planned.name, Some(planned.bytes));
    let stored = opener(manifest, &planned.artifact, &ports.repository)()?;
    let stored = told(stored, manifest, Arc::clone(&ports.observer));
    let cleared: Cleared =
        answer(porter.start(at, &Task::Clear, None, None).await?, &mut |_, _| Ok(())).await?;
    let fed = Some(Fed { stored, bytes: None });
    let unpacked: UnpackReport =
        answer(porter.start(at, &Task::Unpack, None, fed).await?, &mut |_, _| Ok(())).await?;
    let mut differences = Vec::new();
    if (unpacked.files, unpacked.bytes) != (planned.files, planned.bytes) {
        differences.push(format!(
            "{}: {} files of {} bytes were recorded, and {} of {} restored",
            planned.name, planned.files, planned.bytes, unpacked.files, unpacked.bytes
        ));
    }
    Ok(VolumeReport {
        name: planned.name.clone(),
        files: unpacked.files,
        bytes: unpacked.bytes,
        removed: cleared.entries,
        differences,
        notes: unpacked.notes,
    })
}

fn enter(manifest: &Manifest, ports: &Ports, phase: Phase, subject: &str, bytes: Option<u64>) {
    ports.observer.observe(&RunEvent::Entered {
        id: manifest.head.id.clone(),
        phase,
        subject: subject.to_owned(),
        expected_bytes: bytes,
    });
}
