//! Restoring a large custom archive section by section.
//!
//! `pg_restore -j` wants the whole archive as a file beside the server, and begins when the last byte is there.
//! But definitions need only the table of contents: they are restored first, the rows go to several sessions as they
//! are read from the backup (see [`super::fan`]), and indexes and constraints are left to `pg_restore -j` again.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use supakeep_model::code::Code;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::io::StreamReader;

use super::content::ARCHIVE;
use super::fan;
use crate::failure::Failure;
use crate::inspect::InspectError;
use crate::inspect::archive::{Rest, Sections};
use crate::kill_point::kill_point;
use crate::ports::{ArchiveRestore, OnProgress, OpenOnce, Placed, Site, Stored};

/// Bytes read at a time: they may be ten times as many when they are decompressed.
const CHUNK: usize = 64 * 1024;
/// Pieces of the script that may wait for the server.
const WAITING: usize = 4;

/// An archive that is restored.
pub(super) struct Whole<'a> {
    /// Reads it, decompressed.
    pub(super) archive: Stored,
    /// Its length.
    pub(super) bytes: u64,
    /// Opens it once more.
    pub(super) again: OpenOnce<'a>,
}

/// Fills `database` from an archive. `false` if it has to be restored in one piece, and nothing has been done.
pub(super) async fn restore(
    site: &dyn Site,
    database: &str,
    whole: Whole<'_>,
    jobs: usize,
    progress: OnProgress<'_>,
) -> Result<bool, Failure> {
    let Whole { mut archive, bytes, again } = whole;
    let mut sections = Sections::default();
    let mut script = Vec::new();
    while sections.contents().is_none() {
        if !read(&mut archive, &mut sections, &mut script).await.map_err(unreadable)? {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    if !sections.are_possible() {
        return Ok(false);
    }
    let contents = sections.contents().unwrap_or_default().to_vec();
    place(site, contents, progress).await?;
    let of = |entries, is_before_rows| ArchiveRestore {
        archive: ARCHIVE.to_owned(),
        jobs,
        entries,
        is_before_rows,
    };
    site.pg_restore(database, &of(Vec::new(), true)).await?;
    kill_point("restore-definitions");
    let (script, rest) = go_on(archive, sections, script);
    fan::fill(site, database, script, jobs, progress).await?;
    kill_point("restore-rows");
    let rest = rest.await.map_err(|error| unreadable(io::Error::other(error)))?.map_err(unreadable)?;
    match rest.archive {
        Some(archive) => place(site, archive, &|_| {}).await?,
        None => site.place(vec![Placed { name: ARCHIVE.to_owned(), bytes, open: again }], progress).await?,
    }
    // Without any it would take all of them.
    if !rest.others.is_empty() {
        site.pg_restore(database, &of(rest.others, false)).await?;
    }
    Ok(true)
}

async fn place(site: &dyn Site, archive: Vec<u8>, progress: OnProgress<'_>) -> Result<(), Failure> {
    let bytes = archive.len() as u64;
    let open = Box::new(move || Ok(Box::new(io::Cursor::new(archive)) as Stored));
    Ok(site.place(vec![Placed { name: ARCHIVE.to_owned(), bytes, open }], progress).await?)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Code::RepositoryIo, format!("reading the archive: {error}"))
}

/// Takes the next piece apart. `false` at the end.
async fn read(archive: &mut Stored, sections: &mut Sections, script: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let length = archive.read_buf(&mut chunk).await?;
    sections.push(&chunk, script).map_err(damaged)?;
    Ok(length > 0)
}

fn damaged(error: InspectError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Reads on in a task of its own. The rows as they come, and what is left in the end.
fn go_on(
    mut archive: Stored,
    mut sections: Sections,
    begun: Vec<u8>,
) -> (Stored, JoinHandle<io::Result<Rest>>) {
    let (pieces, incoming) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    let reading = tokio::spawn(async move {
        let mut script = begun;
        loop {
            if !script.is_empty() && pieces.send(Ok(std::mem::take(&mut script).into())).await.is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            match read(&mut archive, &mut sections, &mut script).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // Whoever reads must not take this for the end.
                    let _ = pieces.send(Err(io::Error::new(error.kind(), error.to_string()))).await;
                    return Err(error);
                }
            }
        }
        let rest = sections.finish().map_err(damaged);
        if let Err(error) = &rest {
            let _ = pieces.send(Err(io::Error::new(error.kind(), error.to_string()))).await;
        }
        rest
    });
    let pull =
        |mut incoming: mpsc::Receiver<_>| async { incoming.recv().await.map(|piece| (piece, incoming)) };
    (Box::new(StreamReader::new(Box::pin(stream::unfold(incoming, pull)))), reading)
}
