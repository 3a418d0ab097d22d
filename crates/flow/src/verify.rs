//! Verification: the stored files of a backup are read again and compared with what its manifest
//! recorded when they were written.

use std::time::Duration;

use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::dump::Format;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::Proof;
use tokio::time::Instant;

use crate::inspect::archive::CustomArchive;
use crate::inspect::opaque::Opaque;
use crate::inspect::sql::PlainDump;
use crate::inspect::{Inspect, Inspection};
use crate::ports::{Clock, StoreError, Stored};
use crate::read_back::read_back;

/// What is read with to look into a file of this part.
pub fn inspector(part: Part, format: Format) -> Box<dyn Inspect> {
    match (part, format) {
        (Part::Globals, _) => Box::new(PlainDump::of_globals()),
        (Part::Create, _) => Box::new(PlainDump::of_create_statements()),
        (Part::Database, Format::Plain) => Box::new(PlainDump::of_database()),
        (Part::Database, Format::Custom) => Box::new(CustomArchive::default()),
        (Part::Database, Format::Directory) | (Part::RootKey, _) => Box::new(Opaque),
    }
}

/// Reads every file that `manifest` names, through `open`, and compares sizes, SHA-256 as stored and
/// as decompressed, the dump's own end, and its fingerprint. `progress` is told how many of the stored
/// bytes have been read.
pub async fn verify(
    manifest: &Manifest,
    open: impl Fn(&Artifact) -> Result<Stored, StoreError>,
    clock: &dyn Clock,
    progress: impl Fn(u64),
) -> Proof {
    let began = Instant::now();
    let mut differences = Vec::new();
    let mut read_bytes = 0;
    for artifact in &manifest.artifacts {
        let found = match open(artifact) {
            Ok(stored) => verify_file(manifest, artifact, stored).await,
            Err(error) => vec![error.message],
        };
        differences.extend(found.into_iter().map(|difference| format!("{}: {difference}", artifact.path)));
        read_bytes += artifact.bytes;
        progress(read_bytes);
    }
    if manifest.artifacts.is_empty() {
        differences.push("the manifest names no file".to_owned());
    }
    let duration: Duration = began.elapsed();
    Proof {
        at: clock.now(),
        ok: differences.is_empty(),
        duration_seconds: duration.as_secs_f64(),
        differences,
    }
}

async fn verify_file(manifest: &Manifest, artifact: &Artifact, stored: Stored) -> Vec<String> {
    let inspector = inspector(artifact.part, manifest.head.dump.format);
    let found = match read_back(stored, artifact.encoding, inspector).await {
        Ok(found) => found,
        Err(error) => return vec![format!("it cannot be read: {error}")],
    };
    let mut out = Vec::new();
    compare(&mut out, "", (artifact.bytes, &artifact.sha256), (found.stored.bytes, &found.stored.sha256));
    match found.content {
        Err(error) => out.push(error.to_string()),
        Ok((source, inspection)) => {
            let recorded = (artifact.source_bytes, &artifact.source_sha256);
            compare(&mut out, " before compression", recorded, (source.bytes, &source.sha256));
            out.extend(fingerprint_differences(manifest, artifact, &inspection));
        }
    }
    out
}

fn compare(out: &mut Vec<String>, what: &str, recorded: (u64, &String), found: (u64, &String)) {
    if recorded.0 != found.0 {
        out.push(format!("{} bytes{what} recorded, {} found", recorded.0, found.0));
    } else if recorded.1 != found.1 {
        out.push(format!("its {} bytes{what} are not those that were written (SHA-256 differs)", found.0));
    }
}

/// The record has partitions noted in it, which a dump's text does not tell; everything else is equal.
fn fingerprint_differences(manifest: &Manifest, artifact: &Artifact, inspection: &Inspection) -> Vec<String> {
    let recorded = artifact
        .database
        .as_deref()
        .and_then(|name| manifest.database(name))
        .and_then(|database| database.fingerprint.as_ref());
    match (artifact.part, recorded, &inspection.fingerprint) {
        (Part::Database, Some(recorded), Some(found)) => recorded.differences(found),
        _ => Vec::new(),
    }
}
