//! The parts of a backup that are files of the stack.

use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::manifest_head::StorageRecord;
use supakeep_model::naming::{archive_file, index_file};
use supakeep_model::parts::{PartName, Parts, Wish};

use super::aside::{ArchiveStream, Aside};
use super::draft::Draft;
use super::dump::Dumping;
use super::objects::{StagedRows, compare};
use super::{StorageSpec, enter, known};
use crate::failure::Failure;
use crate::folder::order::{PackOrder, Selection, Task};
use crate::folder::{FUNCTIONS, look};
use crate::inspect::split::Whole;
use crate::inspect::{EntriesTally, FilesTally};
use crate::kill_point::kill_point;
use crate::pipeline::{self, PipeSpec, Store};
use crate::ports::{Access, Fed, Layout, Place, Porter, Porters, Staging, StorageLayout};
use crate::stage::decode::Codec;
use crate::verify::inspector;

/// The parts that are files.
const OF_FILES: [PartName; 3] = [PartName::Storage, PartName::Functions, PartName::Config];

/// A part that will be packed, and the number of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Planned {
    part: PartName,
    at: usize,
}

/// Which files a backup will hold, and who packs them.
#[derive(Default)]
pub(super) struct FilesPlan {
    porter: Option<Box<dyn Porter>>,
    planned: Vec<Planned>,
    layout: Layout,
    /// What a person should know of what is not packed.
    pub(super) notes: Vec<String>,
}

/// Finds out which of the parts that are wanted can be packed, and what a person should know of the others.
pub async fn possible_files(
    parts: &Parts,
    porters: &dyn Porters,
) -> Result<(Vec<PartName>, Vec<String>), Failure> {
    let plan = plan(parts, porters).await?;
    let found = plan.planned.iter().map(|planned| planned.part).collect();
    if let Some(porter) = plan.porter {
        porter.close().await?;
    }
    Ok((found, plan.notes))
}

/// Looks for the files, before a dump that may take hours: what is wanted and not there is a failure.
pub(super) async fn plan(parts: &Parts, porters: &dyn Porters) -> Result<FilesPlan, Failure> {
    let wanted: Vec<_> = OF_FILES.into_iter().filter(|part| parts.wish(*part) != Wish::No).collect();
    if wanted.is_empty() {
        return Ok(FilesPlan::default());
    }
    let is_required = wanted.iter().any(|part| parts.wish(*part) == Wish::Required);
    match look_for(parts, porters, &wanted).await {
        Err(failure) if is_required => Err(failure),
        Err(failure) => {
            let names: Vec<_> = wanted.iter().map(|part| part.as_str()).collect();
            let note = format!("{} are not in this backup: {failure}", names.join(", "));
            Ok(FilesPlan { notes: vec![note], ..FilesPlan::default() })
        }
        found => found,
    }
}

async fn look_for(parts: &Parts, porters: &dyn Porters, wanted: &[PartName]) -> Result<FilesPlan, Failure> {
    let mut plan = FilesPlan { layout: porters.layout().await?, ..FilesPlan::default() };
    let mut found = Vec::new();
    for part in wanted {
        match place(*part, &plan.layout) {
            Ok(place) => found.push((*part, place.clone())),
            Err(why) => lacks(parts, *part, why, &mut plan.notes)?,
        }
    }
    if found.is_empty() {
        return Ok(plan);
    }
    let (planned, mut places) = numbered(&found);
    plan.planned = planned;
    let porter = match porters.open(&places, Access::Read).await {
        Ok(porter) => porter,
        Err(error) => {
            // Whoever makes no container for us does not keep us from what we see ourselves.
            let (near, far): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|(_, place)| matches!(place, Place::Here(_)));
            for (part, _) in far {
                if parts.wish(part) == Wish::Required || near.is_empty() {
                    return Err(error.into());
                }
                lacks(parts, part, Some(error.to_string()), &mut plan.notes)?;
            }
            (plan.planned, places) = numbered(&near);
            porters.open(&places, Access::Read).await?
        }
    };
    if let Some(functions) = plan.planned.iter().position(|planned| planned.part == PartName::Functions) {
        let at = plan.planned[functions].at;
        if !look(&*porter, at, FUNCTIONS).await?.exists {
            plan.planned.remove(functions);
            let why = (parts.wish(PartName::Functions) == Wish::Required)
                .then(|| format!("there is no volumes/functions in {}", places[at]));
            lacks(parts, PartName::Functions, why, &mut plan.notes)?;
        }
    }
    plan.porter = Some(porter);
    Ok(plan)
}

/// The places of parts, each once, and which part is where.
fn numbered(found: &[(PartName, Place)]) -> (Vec<Planned>, Vec<Place>) {
    let mut places: Vec<Place> = Vec::new();
    let mut planned = Vec::new();
    for (part, place) in found {
        let at = places.iter().position(|known| known == place).unwrap_or(places.len());
        if at == places.len() {
            places.push(place.clone());
        }
        planned.push(Planned { part: *part, at });
    }
    (planned, places)
}

/// A part cannot be packed: `why` is `None` where the stack simply has no such thing.
fn lacks(parts: &Parts, part: PartName, why: Option<String>, notes: &mut Vec<String>) -> Result<(), Failure> {
    if parts.wish(part) == Wish::Required {
        let why = why.unwrap_or_else(|| format!("the stack has no {part}"));
        return Err(Failure::new(Code::FilesMissing, why));
    }
    notes.extend(why.map(|why| format!("{part} is not in this backup: {why}")));
    Ok(())
}

/// Where the files of a part are, or why there are none.
fn place(part: PartName, layout: &Layout) -> Result<&Place, Option<String>> {
    match (part, &layout.storage) {
        (PartName::Storage, StorageLayout::Files { place, .. }) => Ok(place),
        (PartName::Storage, StorageLayout::Absent) => Err(None),
        (PartName::Storage, StorageLayout::S3 { bucket }) => Err(Some(format!(
            "the storage service keeps its files in the bucket {bucket}, which has to be copied by itself"
        ))),
        (PartName::Storage, StorageLayout::Unmounted { path }) => Err(Some(format!(
            "the storage service keeps its files in {path} of its container, which is no volume: THEY ARE GONE WITH THE CONTAINER"
        ))),
        _ => layout
            .folder
            .as_ref()
            .ok_or_else(|| Some("the stack does not tell where its folder is".to_owned())),
    }
}

/// The word of a manifest for a part that is files.
fn kind(part: PartName) -> Part {
    match part {
        PartName::Storage => Part::Storage,
        PartName::Functions => Part::Functions,
        PartName::Config => Part::Config,
        // They are none of `OF_FILES`.
        PartName::Volumes => Part::Volume,
        PartName::Redis => Part::Redis,
        PartName::Database => Part::Database,
    }
}

impl FilesPlan {
    fn has(&self, part: PartName) -> bool {
        self.planned.iter().any(|planned| planned.part == part)
    }

    /// What is in front of a bucket's name, where the storage service's files are packed.
    pub(super) fn storage_prefix(&self) -> Option<&str> {
        match &self.layout.storage {
            StorageLayout::Files { prefix, .. } if self.has(PartName::Storage) => Some(prefix),
            _ => None,
        }
    }

    fn selection(&self, part: PartName) -> Selection {
        match part {
            PartName::Storage => Selection::Storage,
            PartName::Functions => Selection::Functions,
            _ => Selection::Config(self.layout.compose.clone()),
        }
    }

    /// Ends the porter.
    pub(super) async fn close(&mut self) -> Result<(), Failure> {
        match self.porter.take() {
            Some(porter) => Ok(porter.close().await?),
            None => Ok(()),
        }
    }
}

/// What was packed.
pub(super) struct Packed {
    pub(super) aside: Aside,
    pub(super) entries: EntriesTally,
    tally: Option<FilesTally>,
}

/// An archive that a porter is to make, and where it goes.
pub(super) struct Packing<'a> {
    pub(super) porter: &'a dyn Porter,
    /// The number of the place.
    pub(super) at: usize,
    pub(super) order: PackOrder,
    pub(super) fed: Option<Fed>,
    /// The file in the backup.
    pub(super) path: String,
    pub(super) part: Part,
    pub(super) of: Option<String>,
    /// The file of its index.
    pub(super) index: Option<String>,
    pub(super) compression: Compression,
}

impl Dumping<'_> {
    pub(super) async fn files(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        plan: &mut FilesPlan,
        rows: Option<StagedRows>,
    ) -> Result<(), Failure> {
        let mut rows = rows;
        for planned in plan.planned.clone() {
            enter(self.ports, &draft.head.id, Phase::Files, planned.part.as_str(), None);
            if planned.part == PartName::Storage {
                self.storage(draft, staging, plan, planned, rows.take()).await?;
            } else {
                let order = PackOrder::archive(plan.selection(planned.part));
                let compression = self.spec.dump.compression;
                let packed = self.archive(draft, staging, plan, planned, order, compression, None).await?;
                draft.head.warnings.extend(packed.aside.notes);
            }
            draft.head.parts.push(planned.part);
        }
        plan.close().await
    }

    async fn storage(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        plan: &FilesPlan,
        planned: Planned,
        rows: Option<StagedRows>,
    ) -> Result<(), Failure> {
        let StorageSpec { compression, full_every } = self.spec.storage;
        let prefix = plan.storage_prefix().unwrap_or_default().to_owned();
        let known = known::find(&*self.ports.repository, &prefix, full_every, draft.head.started).await?;
        draft.head.warnings.extend(known.note);
        let (fed, increments) = match known.index {
            Some(index) => {
                (Some(Fed { stored: index.stored, bytes: Some(index.bytes) }), index.increments + 1)
            }
            None => (None, 0),
        };
        let index_of = Some(draft.head.id.clone());
        let order = PackOrder { index_of, ..PackOrder::archive(plan.selection(PartName::Storage)) };
        let packed = self.archive(draft, staging, plan, planned, order, compression, fed).await?;
        draft.head.warnings.extend(packed.aside.notes);
        let tally = packed.tally.unwrap_or_default();
        draft.head.parents.clone_from(&tally.parents);
        let mut record = StorageRecord {
            prefix,
            files: tally.files,
            bytes: tally.bytes,
            new_files: tally.new_files,
            new_bytes: tally.new_bytes,
            // What needs nobody is whole, whatever it was compared with.
            increments: if tally.parents.is_empty() { 0 } else { increments },
            objects: None,
        };
        if let Some(rows) = rows {
            let (objects, note) =
                compare(rows, staging, &index_file(PartName::Storage), &record.prefix).await?;
            draft.head.warnings.extend(note);
            record.objects = Some(objects);
        }
        draft.head.storage = Some(record);
        kill_point("backup-files-packed");
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "each is one thing, and there is one caller for each kind")]
    async fn archive(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        plan: &FilesPlan,
        planned: Planned,
        order: PackOrder,
        compression: Compression,
        fed: Option<Fed>,
    ) -> Result<Packed, Failure> {
        let Some(porter) = &plan.porter else {
            return Err(Failure::new(Code::Internal, "there is no porter"));
        };
        let index = order.index_of.is_some().then(|| index_file(planned.part));
        let (path, part) = (archive_file(planned.part, compression), kind(planned.part));
        let packing = Packing {
            porter: &**porter,
            at: planned.at,
            order,
            fed,
            path,
            part,
            of: None,
            index,
            compression,
        };
        self.pack(draft, staging, packing).await
    }

    /// Has an archive made, and notes its files.
    pub(super) async fn pack(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        packing: Packing<'_>,
    ) -> Result<Packed, Failure> {
        let Packing { porter, at, order, fed, path, part, of, index, compression } = packing;
        let key = self.ports.repository.redaction_key()?;
        let begun = porter.start(at, &Task::Pack(order), Some(&key), fed).await;
        let stream = begun.map_err(|error| Failure::from(error).while_doing(&path))?;
        let (stream, aside) = ArchiveStream::new(stream, staging.files(), index)?;
        let inspect = inspector(part, self.spec.dump.format, None);
        let split = Box::new(Whole { path: path.clone(), inspect });
        let (store, encoders) = (Store::Encode(compression), self.spec.encoders);
        let spec = PipeSpec { codec: Codec::Identity, store, encoders, split };
        let (observer, id) = (self.ports.observer.clone(), draft.head.id.clone());
        let progress =
            move |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
        kill_point("backup-files-begun");
        let report = pipeline::run(Box::new(stream), staging.files(), spec, progress)
            .await
            .map_err(|failure| failure.while_doing(&path))?;
        draft.artifacts.extend(report.files.into_iter().map(|file| Artifact {
            path: file.path,
            part,
            database: None,
            of: of.clone(),
            member: None,
            bytes: file.stored.bytes,
            sha256: file.stored.sha256,
            source_bytes: file.source.bytes,
            source_sha256: file.source.sha256,
            encoding: file.encoding,
        }));
        // It was sent before the stream ended.
        let mut aside = aside.await.map_err(|_| Failure::new(Code::Internal, "the stream has no end"))?;
        let tally = match aside.index.take() {
            Some((artifact, tally)) => {
                draft.artifacts.push(artifact);
                Some(tally)
            }
            None => None,
        };
        Ok(Packed { aside, entries: report.inspection.entries.unwrap_or_default(), tally })
    }
}
