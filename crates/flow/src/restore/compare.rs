//! Is what is there now what the backup recorded?

use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, DumpSpec, Format};
use supakeep_model::fingerprint::Fingerprint;
use supakeep_model::manifest::{DatabaseRecord, Manifest};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::inspect::Inspect;
use crate::ports::{DumpKind, DumpRequest, Server, SourceStream};
use crate::stage::decode::{Codec, PushDecoder};
use crate::verify::inspector;

/// Chunks that may wait for the inspector.
const WAITING_CHUNKS: usize = 4;

/// A database that was restored, compared with the backup's record.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DatabaseReport {
    /// Its name.
    pub name: String,
    /// Tables that have rows in the dump.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// What differs, a sentence each.
    pub differences: Vec<String>,
}

/// Dumps the database once more, into nothing but its fingerprint, and compares.
pub async fn compare_database(
    manifest: &Manifest,
    recorded: &DatabaseRecord,
    server: &dyn Server,
) -> Result<DatabaseReport, Failure> {
    let found = fingerprint(server, &recorded.name, &manifest.head.dump).await?;
    let differences = match &recorded.fingerprint {
        Some(expected) => expected.differences(&found),
        None => other_count(manifest.head.totals.rows, found.rows()).into_iter().collect(),
    };
    let (tables, rows) = (found.tables.len() as u64, found.rows());
    Ok(DatabaseReport { name: recorded.name.clone(), tables, rows, differences })
}

/// A dump that somebody else made tells how many rows it has, and not how each of them reads when this
/// server writes it.
fn other_count(in_the_file: u64, found: u64) -> Option<String> {
    (in_the_file != found).then(|| format!("the file has {in_the_file} rows, the database {found}"))
}

/// The fingerprint of a database as a dump that is made so would have it.
pub async fn fingerprint(
    server: &dyn Server,
    database: &str,
    dump: &DumpSpec,
) -> Result<Fingerprint, Failure> {
    // A directory is made of a custom archive.
    let format = if dump.format == Format::Directory { Format::Custom } else { dump.format };
    let spec = DumpSpec { format, ..dump.clone() };
    let source_compression = if server.facts().dumps_zstd { Compression::Zstd(1) } else { Compression::None };
    let codec = match (format, source_compression) {
        (Format::Plain, Compression::Zstd(_)) => Codec::Zstd,
        // An archive is compressed inside.
        _ => Codec::Identity,
    };
    let mut snapshot = server.snapshot(database).await?;
    let request = DumpRequest { spec: &spec, kind: DumpKind::Content, source_compression };
    let stream = snapshot.dump(request).await?;
    let found = inspect(stream, codec, inspector(Part::Database, format, None)).await?;
    snapshot.close().await?;
    found.ok_or_else(|| Failure::new(Code::Internal, "a dump without a fingerprint"))
}

async fn inspect(
    mut stream: Box<dyn SourceStream>,
    codec: Codec,
    inspect: Box<dyn Inspect>,
) -> Result<Option<Fingerprint>, Failure> {
    let (chunks, incoming) = mpsc::channel::<bytes::Bytes>(WAITING_CHUNKS);
    let looking = tokio::task::spawn_blocking(move || look(incoming, codec, inspect));
    while let Some(chunk) = stream.next().await? {
        // Whoever looks has found a fault, and says so itself.
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    let looked = looking.await.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    stream.finish().await?;
    looked
}

fn look(
    mut incoming: mpsc::Receiver<bytes::Bytes>,
    codec: Codec,
    mut inspect: Box<dyn Inspect>,
) -> Result<Option<Fingerprint>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::new(Code::StreamCorrupt, format!("what the server sent: {error}"));
    let mut decoder = PushDecoder::new(codec).map_err(unreadable)?;
    while let Some(chunk) = incoming.blocking_recv() {
        decoder
            .push(&chunk, |bytes| inspect.push(bytes).map_err(std::io::Error::other))
            .map_err(unreadable)?;
    }
    decoder.finish().map_err(unreadable)?;
    Ok(inspect.finish()?.fingerprint)
}
