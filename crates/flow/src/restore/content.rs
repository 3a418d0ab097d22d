//! From the files of a backup into a database.

use bytes::Bytes;
use futures_util::stream;
use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::{Format, Rows};
use supakeep_model::event::RunEvent;
use supakeep_model::manifest::{DatabaseRecord, Manifest};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::sections::Whole;
use super::{fan, sections};
use crate::failure::Failure;
use crate::inspect::archive::MAX_KEPT_BYTES;
use crate::ports::{ArchiveRestore, Input, Observer, OnError, OnProgress, Placed, Repository, Site, Stored};
use crate::read_back::decoded;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait for the server.
const WAITING_CHUNKS: usize = 4;
/// The longest text that is read into memory: roles, or the statements that create a database.
const MAX_SMALL: u64 = 64 << 20;

/// A file of the backup, decompressed.
pub(super) fn open(
    manifest: &Manifest,
    repository: &dyn Repository,
    artifact: &Artifact,
) -> Result<Input, Failure> {
    let stored = repository.open(&manifest.head.id, &artifact.path)?;
    Ok(Input { stored: ahead(decoded(stored, artifact.encoding)), bytes: artifact.source_bytes })
}

/// A small file as text.
pub(crate) async fn small(
    manifest: &Manifest,
    repository: &dyn Repository,
    artifact: &Artifact,
) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = open(manifest, repository, artifact)?.stored.take(MAX_SMALL).read_to_end(&mut bytes).await;
    read.map_err(|error| Failure::new(Code::RepositoryIo, format!("reading {}: {error}", artifact.path)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The files of this part of a database.
pub(crate) fn files<'a>(manifest: &'a Manifest, part: Part, database: &'a str) -> Vec<&'a Artifact> {
    let of_it = |file: &&Artifact| file.part == part && file.database.as_deref() == Some(database);
    manifest.artifacts.iter().filter(of_it).collect()
}

/// How much of a database's dump is placed beside the server, in bytes: an archive is, as `pg_restore` reads it, but for
/// the rows of one that is taken apart.
pub(crate) fn archive_bytes(manifest: &Manifest, database: &DatabaseRecord, jobs: usize) -> u64 {
    let files = files(manifest, Part::Database, &database.name);
    match manifest.head.dump.format {
        Format::Plain => 0,
        Format::Custom => match apart(manifest, database, jobs) {
            Some(others) => others,
            None => files.iter().map(|file| file.source_bytes).sum(),
        },
        Format::Directory => files.iter().map(|file| file.bytes).sum(),
    }
}

/// Whether an archive is worth being taken apart and can be: how many bytes of it are not rows.
fn apart(manifest: &Manifest, database: &DatabaseRecord, jobs: usize) -> Option<u64> {
    let held = database.fingerprint.as_ref()?;
    let rows = held.tables.iter().map(|table| table.bytes).sum();
    let others = held.large_objects.bytes;
    let possible = manifest.head.dump.rows == Rows::Copy && others <= MAX_KEPT_BYTES;
    (possible && fan::is_worth(rows, jobs)).then_some(others + held.schema.bytes)
}

/// Reads ahead in a task of its own, so that decompression and the server work side by side.
fn ahead(mut stored: Stored) -> Stored {
    let (chunks, incoming) = mpsc::channel::<std::io::Result<Bytes>>(WAITING_CHUNKS);
    tokio::spawn(async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let mut ended = false;
            while chunk.len() < CHUNK && !ended {
                match stored.read_buf(&mut chunk).await {
                    Ok(length) => ended = length == 0,
                    Err(error) => {
                        // A reader that is gone wants to know nothing.
                        let _ = chunks.send(Err(error)).await;
                        return;
                    }
                }
            }
            if chunk.is_empty() || chunks.send(Ok(chunk.into())).await.is_err() {
                return;
            }
        }
    });
    let pull =
        |mut incoming: mpsc::Receiver<_>| async { incoming.recv().await.map(|chunk| (chunk, incoming)) };
    Box::new(StreamReader::new(Box::pin(stream::unfold(incoming, pull))))
}

/// Restores what the backup holds of `database` into the database `target`, which is there and empty.
/// Any error ends it.
pub async fn restore_content(
    manifest: &Manifest,
    repository: &dyn Repository,
    database: &DatabaseRecord,
    target: &str,
    jobs: usize,
    site: &dyn Site,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let id = manifest.head.id.clone();
    let progress = |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
    let first = dump(manifest, database)?;
    match manifest.head.dump.format {
        Format::Plain => {
            let input = open(manifest, repository, first)?;
            if fan::is_worth(input.bytes, jobs) {
                return fan::fill(site, target, input.stored, jobs, &progress).await;
            }
            site.psql(target, input, OnError::Stop, &progress).await?;
        }
        Format::Custom => {
            let restored = custom(manifest, repository, database, target, jobs, site, &progress).await;
            cleared(site, restored).await?;
        }
        Format::Directory => {
            // pg_restore decompresses these files itself.
            let stored = |file: &'_ Artifact| {
                let (id, path) = (manifest.head.id.clone(), file.path.clone());
                let open = Box::new(move || Ok(repository.open(&id, &path)?));
                Placed { name: in_archive(&file.path), bytes: file.bytes, open }
            };
            let files = files(manifest, Part::Database, &database.name);
            let placed = site.place(files.iter().map(|file| stored(file)).collect(), &progress).await;
            let restored = match placed {
                Ok(()) => from_archive(site, target, jobs).await,
                Err(error) => Err(error.into()),
            };
            cleared(site, restored).await?;
        }
    }
    Ok(())
}

/// How an archive is called where it is placed.
pub(super) const ARCHIVE: &str = "archive";

/// How a file of a folder is called where it is placed, `postgres.dir/3412.dat.gz` for example: the name of a
/// database can be longer than others can be told.
pub(super) fn in_archive(path: &str) -> String {
    let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
    format!("{ARCHIVE}/{name}")
}

async fn from_archive(site: &dyn Site, target: &str, jobs: usize) -> Result<(), Failure> {
    let wanted = ArchiveRestore { archive: ARCHIVE.to_owned(), jobs, ..ArchiveRestore::default() };
    Ok(site.pg_restore(target, &wanted).await.map(drop)?)
}

/// What was placed goes, whatever came of it.
async fn cleared(site: &dyn Site, restored: Result<(), Failure>) -> Result<(), Failure> {
    let cleared = site.clear().await;
    restored?;
    Ok(cleared?)
}

/// The file of a database's dump; the first of a folder.
fn dump<'a>(manifest: &'a Manifest, database: &'a DatabaseRecord) -> Result<&'a Artifact, Failure> {
    files(manifest, Part::Database, &database.name).first().copied().ok_or_else(|| {
        Failure::new(Code::ManifestDamaged, format!("the backup has no dump of {}", database.name))
    })
}

async fn custom(
    manifest: &Manifest,
    repository: &dyn Repository,
    database: &DatabaseRecord,
    target: &str,
    jobs: usize,
    site: &dyn Site,
    progress: OnProgress<'_>,
) -> Result<(), Failure> {
    let file = dump(manifest, database)?;
    let again = || Box::new(move || Ok(open(manifest, repository, file)?.stored));
    let bytes = file.source_bytes;
    if apart(manifest, database, jobs).is_some() {
        let whole = Whole { archive: open(manifest, repository, file)?.stored, bytes, again: again() };
        if sections::restore(site, target, whole, jobs, progress).await? {
            return Ok(());
        }
    }
    site.place(vec![Placed { name: ARCHIVE.to_owned(), bytes, open: again() }], progress).await?;
    from_archive(site, target, jobs).await
}
