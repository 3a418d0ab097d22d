//! Where the bytes of a dump come from, as often as they are wanted.

use std::sync::Arc;

use bytes::Bytes;
use supakeep_model::artifact::{Artifact, Encoding, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::Format;
use supakeep_model::manifest::{DatabaseRecord, Manifest};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::inspect::archive::ArchiveIndex;
use crate::inspect::select::{Contents, Index};
use crate::inspect::sql::PlainIndex;
use crate::ports::{Repository, Stored};
use crate::read_back::decoded;
use crate::restore::content::files;
use crate::stage::digest::Digest;

/// Bytes read and handed on at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait.
const WAITING_CHUNKS: usize = 4;

/// Opens a file, from its beginning.
pub type Open = Arc<dyn Fn(&str) -> Result<Stored, Failure> + Send + Sync>;

/// A dump of one database that can be read more than once.
#[derive(Clone)]
pub struct DumpSource {
    /// What kind of dump.
    pub format: Format,
    /// Its files; a folder's table of contents among them.
    pub files: Vec<SourceFile>,
    open: Open,
}

/// A file of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// What it is opened by.
    pub path: String,
    /// How it is compressed.
    pub encoding: Encoding,
    /// Its length as stored.
    pub bytes: u64,
    /// Its length before compression and the SHA-256 of that, where they are recorded.
    pub recorded: Option<(u64, String)>,
}

impl DumpSource {
    /// A dump that is not in a repository.
    pub fn new(format: Format, file: SourceFile, open: Open) -> DumpSource {
        DumpSource { format, files: vec![file], open }
    }

    /// What the backup holds of a database.
    pub fn of_backup(
        manifest: &Manifest,
        repository: Arc<dyn Repository>,
        database: &DatabaseRecord,
    ) -> Result<DumpSource, Failure> {
        let of_artifact = |artifact: &&Artifact| SourceFile {
            path: artifact.path.clone(),
            encoding: artifact.encoding,
            bytes: artifact.bytes,
            recorded: Some((artifact.source_bytes, artifact.source_sha256.clone())),
        };
        let files: Vec<_> = files(manifest, Part::Database, &database.name).iter().map(of_artifact).collect();
        if files.is_empty() {
            let message = format!("the backup has no dump of {}", database.name);
            return Err(Failure::new(Code::ManifestDamaged, message));
        }
        let id = manifest.head.id.clone();
        let open: Open = Arc::new(move |path| Ok(repository.open(&id, path)?));
        Ok(DumpSource { format: manifest.head.dump.format, files, open })
    }

    /// A file as it is stored.
    pub(super) fn stored(&self, file: &SourceFile) -> Result<Stored, Failure> {
        (self.open)(&file.path)
    }

    /// A file, decompressed.
    pub(super) fn decoded(&self, file: &SourceFile) -> Result<Stored, Failure> {
        Ok(decoded(self.stored(file)?, file.encoding))
    }

    /// How much of it is placed beside the server for `pg_restore`, in bytes.
    pub(super) fn placed_bytes(&self, contents: &Contents) -> u64 {
        match self.format {
            Format::Plain => 0,
            Format::Custom => contents.bytes,
            Format::Directory => self.files.iter().map(|file| file.bytes).sum(),
        }
    }

    /// The file that says what is where: the dump itself, or `toc.dat`.
    pub(super) fn main(&self) -> Result<&SourceFile, Failure> {
        let is_main =
            |file: &&SourceFile| self.format != Format::Directory || file.path.ends_with("/toc.dat");
        self.files
            .iter()
            .find(is_main)
            .ok_or_else(|| Failure::new(Code::ManifestDamaged, "the backup has no table of contents"))
    }

    /// What is enough of it to make what it defines: a folder's table of contents, else all of it.
    pub(super) fn definitions(&self) -> Result<DumpSource, Failure> {
        let files = vec![self.main()?.clone()];
        Ok(DumpSource { files, ..self.clone() })
    }

    /// In a folder, the file with the rows of an entry.
    pub(super) fn rows(&self, dump_id: i64) -> Option<&SourceFile> {
        self.files.iter().find(|file| entry_of(&file.path) == Some(dump_id))
    }

    /// Reads the dump from its beginning to its end: what is in it, and whether it is what was written.
    pub async fn survey(&self) -> Result<Contents, Failure> {
        let index: Box<dyn Index> = match self.format {
            Format::Plain => Box::<PlainIndex>::default(),
            Format::Custom => Box::new(ArchiveIndex::of_file()),
            Format::Directory => Box::new(ArchiveIndex::of_folder()),
        };
        let mut contents = self.read(self.main()?, Some(index)).await?;
        if self.format == Format::Directory {
            for entry in &mut contents.entries {
                let file = self.rows(entry.id).and_then(|file| file.recorded.as_ref());
                entry.data_bytes = file.map_or(0, |(bytes, _)| *bytes);
            }
        }
        Ok(contents)
    }

    /// Reads the files of these entries, where they have files of their own, and compares them with what
    /// was recorded.
    pub async fn check(&self, entries: impl Iterator<Item = i64>) -> Result<(), Failure> {
        for file in entries.filter_map(|id| self.rows(id)) {
            self.read(file, None).await?;
        }
        Ok(())
    }

    async fn read(&self, file: &SourceFile, index: Option<Box<dyn Index>>) -> Result<Contents, Failure> {
        // What supakeep wrote itself is not what was written; what somebody else gave is not whole.
        let code = if file.recorded.is_some() { Code::VerifyFailed } else { Code::DumpIncomplete };
        let unreadable =
            |error: std::io::Error| Failure::new(code, format!("{} cannot be read: {error}", file.path));
        let mut reader = self.decoded(file)?;
        let (chunks, incoming) = mpsc::channel::<Bytes>(WAITING_CHUNKS);
        let looking = tokio::task::spawn_blocking(move || look(incoming, index));
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            while chunk.len() < CHUNK {
                if reader.read_buf(&mut chunk).await.map_err(unreadable)? == 0 {
                    break;
                }
            }
            // A receiver that is gone has found a fault, and says so itself.
            if chunk.is_empty() || chunks.send(chunk.into()).await.is_err() {
                break;
            }
        }
        drop(chunks);
        let looked = looking.await.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        let (bytes, sha256, contents) = looked.map_err(|failure| failure.while_doing(&file.path))?;
        match &file.recorded {
            Some(recorded) if *recorded != (bytes, sha256) => {
                let message = format!("{} is not what was written: nothing was touched", file.path);
                Err(Failure::new(Code::VerifyFailed, message))
            }
            _ => Ok(contents),
        }
    }
}

/// The entry whose rows are in the file `postgres/3412.dat.gz`.
fn entry_of(path: &str) -> Option<i64> {
    let (number, suffix) = path.rsplit('/').next()?.split_once('.')?;
    suffix.starts_with("dat").then(|| number.parse().ok())?
}

fn look(
    mut incoming: mpsc::Receiver<Bytes>,
    mut index: Option<Box<dyn Index>>,
) -> Result<(u64, String, Contents), Failure> {
    let mut digest = Digest::default();
    while let Some(chunk) = incoming.blocking_recv() {
        digest.push(&chunk);
        if let Some(index) = &mut index {
            index.push(&chunk)?;
        }
    }
    let contents = index.map(|index| index.finish()).transpose()?.unwrap_or_default();
    let sum = digest.finish();
    Ok((sum.bytes, sum.sha256, contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_file_with_the_entrys_number() {
        assert_eq!(entry_of("postgres/3412.dat.gz"), Some(3412));
        assert_eq!(entry_of("postgres/3412.dat"), Some(3412));
        for other in
            ["postgres/toc.dat", "postgres/blob_990001.dat.gz", "postgres/blobs_12.toc", "postgres.sql.gz"]
        {
            assert_eq!(entry_of(other), None, "{other}");
        }
    }
}
