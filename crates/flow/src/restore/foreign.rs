//! A dump that supakeep did not make, as something that can be restored in place.
//!
//! It is kept in the repository for as long as it is being restored. So what was read to its end is what is
//! executed, and whoever finishes a restore that was interrupted has it again, also what came on standard
//! input. It gets a manifest of what can be known of it, and by that it is restored as a backup is.

mod fit;
mod read;

use std::io::Write as _;

use supakeep_model::artifact::{Artifact, Encoding, Part};
use supakeep_model::dump::{Compression, DumpSpec, Format, Scope};
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{DatabaseRecord, FORMAT, Manifest};
use supakeep_model::manifest_head::{Build, ManifestHead, Outcome, Proof, Totals, Trigger};
use supakeep_model::naming::{Kind, create_file};
use supakeep_model::parts::PartName;
use time::OffsetDateTime;

use super::content::{files, small};
use super::databases::names;
use super::sniff::sniff;
use crate::failure::{Failure, io_code};
use crate::inspect::select::{Contents, quoted};
use crate::inspect::sql::CreateStatements;
use crate::ports::{DumpKind, DumpRequest, Repository, Site, Snapshot, StackError, Staging};
use crate::stage::digest::{Digest, Digested};
use fit::{losses, problems};
use read::{Read, read};

/// The file in what is staged.
pub const DUMP: &str = "dump";

/// Which file, and what it is to replace.
#[derive(Debug, Clone)]
pub struct ForeignSpec<'a> {
    /// What it is called while it is kept.
    pub id: BackupId,
    /// What people call it.
    pub name: &'a str,
    /// The database that it replaces.
    pub database: &'a str,
    /// The restore that has left this database half. It knows how the database was made.
    pub half: Option<Manifest>,
    /// When this began.
    pub started: OffsetDateTime,
    /// Who does it.
    pub build: Build,
}

/// A file that can be restored.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// What is known of it, and how it is restored.
    pub manifest: Manifest,
    /// Why it cannot be restored.
    pub problems: Vec<String>,
    /// What a person should know before saying yes.
    pub notes: Vec<String>,
}

/// Whether this is the manifest of a file that supakeep did not make: a backup has roles.
pub fn is_foreign(manifest: &Manifest) -> bool {
    !manifest.artifacts.iter().any(|artifact| artifact.part == Part::Globals)
}

/// Reads the file [`DUMP`] that was staged to its end, finds out what can be known of it, and lends it to the
/// restore. Nothing of the stack is touched.
pub async fn take_in(
    spec: &ForeignSpec<'_>,
    staging: Box<dyn Staging>,
    site: &dyn Site,
    repository: &dyn Repository,
) -> Result<Foreign, Failure> {
    let (format, encoding) = sniff(spec.name, || Ok(staging.open(DUMP)?)).await?;
    let read = read(spec, &*staging, format, encoding).await?;
    let (record, create) = made(spec, site, repository).await?;
    let stored = (read.stored.bytes, read.stored.sha256.clone());
    let dump = artifact(DUMP.to_owned(), Part::Database, spec, encoding, stored, &read.source);
    let path = create_file(spec.database, Compression::None);
    let sum = write(&*staging, &path, &create)?;
    let create =
        artifact(path, Part::Create, spec, Encoding::Identity, (sum.bytes, sum.sha256.clone()), &sum);
    let manifest = Manifest {
        head: head(spec, site, format, &read),
        databases: vec![known(spec, record, &read.contents)],
        artifacts: vec![create, dump],
        server_settings: Vec::new(),
        messages: Vec::new(),
    };
    let problems = problems(&read.contents, site).await?;
    let notes = losses(spec, &read.contents, site).await?;
    staging.lend(&manifest)?;
    Ok(Foreign { manifest, problems, notes })
}

/// How the database is made again: as it is now, but for its content.
async fn made(
    spec: &ForeignSpec<'_>,
    site: &dyn Site,
    repository: &dyn Repository,
) -> Result<(DatabaseRecord, Vec<u8>), Failure> {
    if let Some(half) = &spec.half
        && let Some(record) = half.database(spec.database)
        && let Some(file) = files(half, Part::Create, spec.database).first()
    {
        return Ok((record.clone(), small(half, repository, file).await?.into_bytes()));
    }
    let is_there = names(site).await?.contains(spec.database);
    let of = if is_there { spec.database } else { "template1" };
    let asking = |error: StackError| {
        Failure::from(error).while_doing(format!("asking how the database {} is made", spec.database))
    };
    let mut snapshot = site.server().snapshot(of).await.map_err(asking)?;
    let record = snapshot.facts().record.clone();
    let create = if is_there {
        statements(&mut *snapshot, spec.database).await?
    } else {
        format!("CREATE DATABASE {} WITH TEMPLATE = template0;\n", quoted(spec.database)).into_bytes()
    };
    snapshot.close().await.map_err(asking)?;
    Ok((record, create))
}

async fn statements(snapshot: &mut dyn Snapshot, database: &str) -> Result<Vec<u8>, Failure> {
    let spec = DumpSpec::default();
    let request = DumpRequest { spec: &spec, kind: DumpKind::Create, source_compression: Compression::None };
    let mut stream = snapshot.dump(request).await?;
    let mut statements = CreateStatements::default();
    while let Some(bytes) = stream.next().await? {
        statements.push(&bytes)?;
    }
    stream.finish().await?;
    Ok(statements.finish(database)?)
}

fn write(staging: &dyn Staging, path: &str, bytes: &[u8]) -> Result<Digested, Failure> {
    let mut file = staging.files().create(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync());
    written.map_err(|error| Failure::new(io_code(&error), format!("cannot write {path}: {error}")))?;
    Ok(Digest::of(bytes))
}

fn artifact(
    path: String,
    part: Part,
    spec: &ForeignSpec<'_>,
    encoding: Encoding,
    (bytes, sha256): (u64, String),
    source: &Digested,
) -> Artifact {
    Artifact {
        path,
        part,
        database: Some(spec.database.to_owned()),
        of: None,
        member: None,
        bytes,
        sha256,
        source_bytes: source.bytes,
        source_sha256: source.sha256.clone(),
        encoding,
    }
}

/// Of its size only that of its rows is known, and nothing to compare with.
fn known(spec: &ForeignSpec<'_>, record: DatabaseRecord, contents: &Contents) -> DatabaseRecord {
    DatabaseRecord {
        name: spec.database.to_owned(),
        size_bytes: contents.entries.iter().map(|entry| entry.data_bytes).sum(),
        extensions: Vec::new(),
        fingerprint: None,
        ..record
    }
}

fn head(spec: &ForeignSpec<'_>, site: &dyn Site, format: Format, read: &Read) -> ManifestHead {
    let proof = Proof { at: spec.started, ok: true, duration_seconds: 0.0, differences: Vec::new() };
    ManifestHead {
        format: FORMAT,
        id: spec.id.clone(),
        profile: None,
        kind: Kind::Manual,
        trigger: Trigger::Manual,
        label: None,
        slot: None,
        outcome: Outcome::Complete,
        error: None,
        suspicion: None,
        started: spec.started,
        finished: spec.started,
        duration_seconds: 0.0,
        totals: Totals {
            stored_bytes: read.stored.bytes,
            source_bytes: read.source.bytes,
            databases: 1,
            tables: read.tables,
            rows: read.rows,
        },
        // It has been read to its end.
        verified: Some(proof),
        drilled: None,
        sampled: None,
        copies: Vec::new(),
        parents: Vec::new(),
        volumes: Vec::new(),
        redis: Vec::new(),
        storage: None,
        parts: vec![PartName::Database],
        dump: DumpSpec { format, scope: scope(&read.contents), ..DumpSpec::default() },
        // Which server it comes from does not matter: passwords and settings are this one's.
        stack: site.server().facts().record.clone(),
        supakeep: spec.build.clone(),
        warnings: Vec::new(),
    }
}

fn scope(contents: &Contents) -> Scope {
    let data = contents.without_rows();
    if !data.is_empty() && data.len() == contents.entries.len() {
        Scope::Data
    } else if data.is_empty() && !contents.tables().is_empty() {
        Scope::Schema
    } else {
        Scope::Full
    }
}
