//! The parts of a backup that are files of the stack's folder.

use std::sync::Arc;

use supakeep_model::artifact::Artifact;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::naming::archive_file;
use supakeep_model::parts::PartName;

use super::draft::Draft;
use super::dump::Dumping;
use super::{BackupSpec, Ports, enter};
use crate::failure::Failure;
use crate::folder::{self, FolderParts};
use crate::inspect::split::Whole;
use crate::pipeline::{self, PipeSpec, Store};
use crate::ports::{ServerFacts, Staging};
use crate::stage::decode::Codec;
use crate::verify::inspector;

/// Looks for the folder, which may be on a disk that does not answer.
pub(super) async fn find(
    spec: &BackupSpec,
    ports: &Ports,
    facts: &ServerFacts,
) -> Result<FolderParts, Failure> {
    let (parts, finder, compose) = (spec.parts.clone(), Arc::clone(&ports.folder), facts.compose.clone());
    let found = tokio::task::spawn_blocking(move || folder::find(&parts, &*finder, &compose)).await;
    found.unwrap_or_else(|error| {
        Err(Failure::new(Code::Internal, format!("cannot look for the folder: {error}")))
    })
}

impl Dumping<'_> {
    pub(super) async fn files(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        folder: &FolderParts,
    ) -> Result<(), Failure> {
        for part in &folder.parts {
            enter(self.ports, &draft.head.id, Phase::Folder, part.as_str(), None);
            self.archive(draft, staging, folder, *part).await?;
            draft.head.parts.push(*part);
        }
        Ok(())
    }

    async fn archive(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        folder: &FolderParts,
        name: PartName,
    ) -> Result<(), Failure> {
        let key = self.ports.repository.redaction_key()?;
        let packing = folder.pack(name, &self.server.facts().compose, key)?;
        let compression = self.spec.dump.compression;
        let (path, part) = (archive_file(name, compression), folder::kind(name));
        let inspect = inspector(part, self.spec.dump.format, None);
        let split = Box::new(Whole { path: path.clone(), inspect });
        let (store, encoders) = (Store::Encode(compression), self.spec.encoders);
        let spec = PipeSpec { codec: Codec::Identity, store, encoders, split };
        let (observer, id) = (self.ports.observer.clone(), draft.head.id.clone());
        let progress =
            move |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
        let report = pipeline::run(packing.stream, staging.files(), spec, progress)
            .await
            .map_err(|failure| failure.while_doing(&path))?;
        // It was sent before the stream ended.
        draft.head.warnings.extend(packing.notes.await.unwrap_or_default());
        draft.artifacts.extend(report.files.into_iter().map(|file| Artifact {
            path: file.path,
            part,
            database: None,
            member: None,
            bytes: file.stored.bytes,
            sha256: file.stored.sha256,
            source_bytes: file.source.bytes,
            source_sha256: file.source.sha256,
            encoding: file.encoding,
        }));
        Ok(())
    }
}
