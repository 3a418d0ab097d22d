//! Verification: the stored files of a backup are read again and compared with what its manifest
//! recorded when they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use supakeep_model::artifact::{Artifact, Member, Part};
use supakeep_model::dump::Format;
use supakeep_model::fingerprint::Fingerprint;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::Proof;
use tokio::time::Instant;

use crate::failure::{io_code, is_of_the_reader};
use crate::inspect::archive::{Contents, CustomArchive, LargeObject, Rows};
use crate::inspect::file_index::FileIndex;
use crate::inspect::opaque::Opaque;
use crate::inspect::rdb::Rdb;
use crate::inspect::sql::PlainDump;
use crate::inspect::tarball::Tarball;
use crate::inspect::{EntriesTally, FilesTally, Inspect};
use crate::ports::{Clock, StoreError, Stored};
use crate::read_back::read_back;

/// What is read with to look into a file of this part.
pub fn inspector(part: Part, format: Format, member: Option<&Member>) -> Box<dyn Inspect> {
    match (part, format, member) {
        (Part::Globals, ..) => Box::new(PlainDump::of_globals()),
        (Part::Create, ..) => Box::new(PlainDump::of_create_statements()),
        (Part::Database, Format::Plain, _) => Box::new(PlainDump::of_database()),
        (Part::Database, Format::Custom, _) => Box::new(CustomArchive::default()),
        (Part::Database, Format::Directory, Some(Member::Contents)) => Box::new(Contents::default()),
        (Part::Database, Format::Directory, Some(Member::Rows { schema, name })) => {
            Box::new(Rows::new(schema, name))
        }
        (Part::Database, Format::Directory, Some(Member::LargeObject { oid })) => {
            Box::new(LargeObject::new(*oid))
        }
        (Part::Database, Format::Directory, Some(Member::LargeObjects) | None) | (Part::RootKey, ..) => {
            Box::new(Opaque)
        }
        (Part::Storage | Part::Functions | Part::Config, ..) => Box::new(Tarball::default()),
        (Part::Volume, ..) => Box::new(Tarball::counting()),
        (Part::Redis, ..) => Box::new(Rdb::default()),
        (Part::StorageIndex, ..) => Box::new(FileIndex::default()),
    }
}

/// Reads every file that `manifest` names, through `open`, and compares sizes, SHA-256 as stored and
/// as decompressed, the dump's own end, and its fingerprint. `progress` is told how many of the stored
/// bytes have been read.
///
/// # Errors
///
/// When a file cannot be read for a reason that says nothing about it: then nothing is proven either way.
pub async fn verify(
    manifest: &Manifest,
    open: impl Fn(&Artifact) -> Result<Stored, StoreError>,
    clock: &dyn Clock,
    progress: impl Fn(u64),
) -> Result<Proof, StoreError> {
    let began = Instant::now();
    let mut differences = Vec::new();
    let mut read_bytes = 0;
    let mut databases = Databases::default();
    for artifact in &manifest.artifacts {
        let found = match open(artifact) {
            Ok(stored) => verify_file(manifest, artifact, stored, &mut databases).await?,
            Err(error) if is_of_the_reader(error.code) => return Err(error),
            Err(error) => vec![error.message],
        };
        if let (false, Some(database)) = (found.is_empty(), &artifact.database) {
            databases.broken.insert(database);
        }
        differences.extend(found.into_iter().map(|difference| format!("{}: {difference}", artifact.path)));
        read_bytes += artifact.bytes;
        progress(read_bytes);
    }
    differences.extend(databases.differences(manifest));
    if manifest.artifacts.is_empty() {
        differences.push("the manifest names no file".to_owned());
    }
    let duration: Duration = began.elapsed();
    Ok(Proof {
        at: clock.now(),
        ok: differences.is_empty(),
        duration_seconds: duration.as_secs_f64(),
        differences,
    })
}

/// What the files of each database hold together.
#[derive(Default)]
struct Databases<'a> {
    found: BTreeMap<&'a str, Fingerprint>,
    /// Those with a file that cannot be read or is not what was written, which has been told already.
    broken: BTreeSet<&'a str>,
}

impl<'a> Databases<'a> {
    fn add(&mut self, database: &'a str, print: Fingerprint) {
        let dialect = print.dialect;
        self.found.entry(database).or_insert_with(|| Fingerprint::empty(dialect)).merge(print);
    }

    /// The record has partitions noted in it, which a dump does not tell; everything else is equal.
    fn differences(&self, manifest: &Manifest) -> Vec<String> {
        let mut out = Vec::new();
        for database in &manifest.databases {
            let name = database.name.escape_debug();
            match (&database.fingerprint, self.found.get(database.name.as_str())) {
                _ if self.broken.contains(database.name.as_str()) => {}
                (Some(recorded), Some(found)) => {
                    let differences = recorded.differences(found);
                    out.extend(differences.into_iter().map(|difference| format!("{name}: {difference}")));
                }
                (Some(_), None) => out.push(format!("{name}: no file holds its dump")),
                (None, _) => {}
            }
        }
        out
    }
}

async fn verify_file<'a>(
    manifest: &Manifest,
    artifact: &'a Artifact,
    stored: Stored,
    databases: &mut Databases<'a>,
) -> Result<Vec<String>, StoreError> {
    let inspector = inspector(artifact.part, manifest.head.dump.format, artifact.member.as_ref());
    let found = match read_back(stored, artifact.encoding, inspector).await {
        Ok(found) => found,
        Err(error) if is_of_the_reader(io_code(&error)) => {
            return Err(StoreError::new(io_code(&error), format!("{}: {error}", artifact.path)));
        }
        Err(error) => return Ok(vec![format!("it cannot be read: {error}")]),
    };
    let mut out = Vec::new();
    compare(&mut out, "", (artifact.bytes, &artifact.sha256), (found.stored.bytes, &found.stored.sha256));
    match found.content {
        Err(error) => out.push(error.to_string()),
        Ok((source, inspection)) => {
            let recorded = (artifact.source_bytes, &artifact.source_sha256);
            compare(&mut out, " before compression", recorded, (source.bytes, &source.sha256));
            if let (Part::Database, Some(database), Some(print)) =
                (artifact.part, &artifact.database, inspection.fingerprint)
            {
                databases.add(database, print);
            }
            if let Some(tally) = inspection.entries {
                out.extend(entries_differ(manifest, artifact, tally));
            }
            if let Some(tally) = inspection.files {
                out.extend(files_differ(manifest, &tally));
            }
        }
    }
    Ok(out)
}

/// How the sums of a volume's archive differ from what was recorded.
fn entries_differ(manifest: &Manifest, artifact: &Artifact, found: EntriesTally) -> Option<String> {
    let records = &manifest.head.volumes;
    let recorded = records.iter().find(|record| Some(&record.name) == artifact.of.as_ref());
    let is_equal = recorded.is_some_and(|record| (record.files, record.bytes) == (found.files, found.bytes));
    (!is_equal)
        .then(|| format!("{} files of {} bytes, which is not what was recorded", found.files, found.bytes))
}

/// How the sums of an index differ from what was recorded.
fn files_differ(manifest: &Manifest, found: &FilesTally) -> Option<String> {
    let head = &manifest.head;
    let recorded = head.storage.as_ref().map(|storage| FilesTally {
        files: storage.files,
        bytes: storage.bytes,
        new_files: storage.new_files,
        new_bytes: storage.new_bytes,
        parents: head.parents.clone(),
    });
    let is_equal = recorded.as_ref() == Some(found);
    (!is_equal).then(|| "the index of files is not the one that was recorded".to_owned())
}

fn compare(out: &mut Vec<String>, what: &str, recorded: (u64, &String), found: (u64, &String)) {
    if recorded.0 != found.0 {
        out.push(format!("{} bytes{what} recorded, {} found", recorded.0, found.0));
    } else if recorded.1 != found.1 {
        out.push(format!("its {} bytes{what} are not those that were written (SHA-256 differs)", found.0));
    }
}
