//! Reading a backup's files again, and noting in its manifest what came of it.

use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{ManifestHead, Proof};

use crate::backup::link;
use crate::cancel::Limits;
use crate::failure::Failure;
use crate::ports::{Clock, Repository, StoreError};
use crate::verify::verify;

/// What came of reading a backup again.
#[derive(Debug)]
pub struct Reread {
    /// Its record, with the new result in it.
    pub head: ManifestHead,
    /// The result.
    pub proof: Proof,
    /// Why the result could not be noted, if it could not.
    pub unnoted: Option<StoreError>,
    /// Why the links to the latest backups could not be set, if they could not.
    pub unlinked: Option<Failure>,
}

/// Reads the files of a backup again. A full or read-only disk is no reason not to say what was found; but
/// what is to be accepted (`accept`, of a suspect one) is either noted, or an error.
pub async fn reread(
    id: &BackupId,
    accept: bool,
    repository: &dyn Repository,
    clock: &dyn Clock,
    limits: &Limits,
) -> Result<Reread, Failure> {
    let mut manifest = repository.manifest(id)?;
    let proof = {
        let open = |artifact: &supakeep_model::artifact::Artifact| repository.open(id, &artifact.path);
        let check = verify(&manifest, open, clock, |_| {});
        limits.apply(async { Ok(check.await?) }).await?
    };
    let now = clock.now();
    let note = |manifest: &mut Manifest| {
        manifest.head.verified = Some(proof.clone());
        if let Some(suspicion) = manifest.head.suspicion.as_mut().filter(|_| accept && proof.ok) {
            suspicion.accepted_at = Some(now);
        }
    };
    let unnoted = match repository.update(id, &mut { note }) {
        Ok(noted) => {
            manifest = noted;
            None
        }
        // Files that are missing since the whole backup was removed meanwhile are not damaged.
        Err(error) if accept || error.code == Code::BackupNotFound => return Err(error.into()),
        Err(error) => {
            note(&mut manifest);
            Some(error)
        }
    };
    // What is good may have changed, and with it what `latest` means. A run in progress sees to that itself.
    let unlinked = repository.lock().ok().and_then(|_lock| link(repository, now).err());
    Ok(Reread { head: manifest.head, proof, unnoted, unlinked })
}
