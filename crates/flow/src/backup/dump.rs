//! The files of a backup, one after the other.

use std::io::Write as _;

use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, Format, Scope};
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::fingerprint::Fingerprint;
use supakeep_model::manifest::DatabaseRecord;
use supakeep_model::naming::{create_file, dump_file, globals_file};

use super::draft::Draft;
use super::objects::{self, StagedRows};
use super::source::{Route, route};
use super::{BackupSpec, Ports, enter};
use crate::failure::{Failure, io_code};
use crate::inspect::Inspection;
use crate::inspect::archive::DirectoryArchive;
use crate::inspect::split::{Split, Whole};
use crate::inspect::sql::CreateStatements;
use crate::kill_point::kill_point;
use crate::pipeline::{self, PipeReport, PipeSpec, Store};
use crate::ports::{DatabaseFacts, DumpKind, DumpRequest, Server, Snapshot, SourceStream, Staging};
use crate::stage::decode::Codec;
use crate::stage::digest::Digest;
use crate::stage::encode::{BlockEncoder, encoding};
use crate::verify::inspector;

/// The root key's file in a backup, called as it is on the server.
const ROOT_KEY_FILE: &str = "pgsodium_root.key";

/// What every step needs.
pub(super) struct Dumping<'a> {
    pub(super) spec: &'a BackupSpec,
    pub(super) ports: &'a Ports,
    pub(super) server: &'a dyn Server,
}

/// A file that is to be made from a stream.
struct Wanted {
    path: String,
    part: Part,
    database: Option<String>,
    route: Route,
}

/// A file that is small enough to be made in memory.
struct Small {
    path: String,
    part: Part,
    database: Option<String>,
    compression: Compression,
}

impl Dumping<'_> {
    pub(super) async fn globals(&self, draft: &mut Draft, staging: &mut dyn Staging) -> Result<(), Failure> {
        enter(self.ports, &draft.head.id, Phase::Globals, "", None);
        let stream = self.server.globals().await?;
        let path = globals_file(self.spec.dump.compression);
        let wanted = Wanted { path, part: Part::Globals, database: None, route: self.uncompressed() };
        self.file(draft, staging, wanted, stream).await?;
        Ok(())
    }

    pub(super) async fn database(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        database: &str,
        wants_objects: bool,
    ) -> Result<Option<StagedRows>, Failure> {
        let mut snapshot = self.server.snapshot(database).await?;
        let facts = snapshot.facts().clone();
        enter(self.ports, &draft.head.id, Phase::Database, database, Some(facts.record.size_bytes));
        let inspection = self.contents(draft, staging, &mut *snapshot, &facts).await?;
        let mut rows = None;
        if wants_objects && facts.has_objects {
            match objects::stage(&mut *snapshot, staging).await? {
                Ok(staged) => rows = Some(staged),
                Err(error) => draft
                    .head
                    .warnings
                    .push(format!("storage.objects could not be compared with the files: {error}")),
            }
        }
        snapshot.close().await?;
        draft.vault_secrets += facts.vault_secrets;
        draft.databases.push(record(facts, inspection.fingerprint));
        Ok(rows)
    }

    async fn contents(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        snapshot: &mut dyn Snapshot,
        facts: &DatabaseFacts,
    ) -> Result<Inspection, Failure> {
        let spec = &self.spec.dump;
        if spec.scope != Scope::Data {
            self.create_statements(draft, staging, snapshot, facts).await?;
        }
        let route = route(spec, self.spec.transport, self.server.facts())?;
        let request = DumpRequest { spec, kind: DumpKind::Content, source_compression: route.source };
        let stream = snapshot.dump(request).await?;
        let path = dump_file(&facts.record.name, spec.format, route.file);
        let database = Some(facts.record.name.clone());
        let wanted = Wanted { path, part: Part::Database, database, route };
        Ok(self.file(draft, staging, wanted, stream).await?.inspection)
    }

    async fn create_statements(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        snapshot: &mut dyn Snapshot,
        facts: &DatabaseFacts,
    ) -> Result<(), Failure> {
        if facts.record.name.contains(['\n', '\r']) {
            // pg_dump refuses: it would have to write the name into a `\\connect` line.
            let name = facts.record.name.escape_debug();
            draft
                .head
                .warnings
                .push(format!("database {name}: no CREATE DATABASE statement, its name has a line end"));
            return Ok(());
        }
        let compression = self.spec.dump.compression;
        let path = create_file(&facts.record.name, compression);
        let spec = &self.spec.dump;
        let request = DumpRequest { spec, kind: DumpKind::Create, source_compression: Compression::None };
        let mut stream = snapshot.dump(request).await?;
        let mut statements = CreateStatements::default();
        while let Some(bytes) = stream.next().await.map_err(|error| noted(draft, &path, error.into()))? {
            statements.push(&bytes)?;
        }
        let stderr = stream.finish().await.map_err(|error| noted(draft, &path, error.into()))?;
        draft.note(&path, stderr);
        let script = statements.finish(&facts.record.name)?;
        let small =
            Small { path, part: Part::Create, database: Some(facts.record.name.clone()), compression };
        self.small_file(draft, staging, small, &script)
    }

    /// The vault's root key, as it is: compressing 64 characters gains nothing, and at three in the
    /// morning it is good to be able to read them.
    pub(super) async fn root_key(&self, draft: &mut Draft, staging: &mut dyn Staging) -> Result<(), Failure> {
        enter(self.ports, &draft.head.id, Phase::RootKey, "", None);
        let Some(key) = self.server.root_key().await? else {
            return self.without_root_key(draft);
        };
        let path = ROOT_KEY_FILE.to_owned();
        let small = Small { path, part: Part::RootKey, database: None, compression: Compression::None };
        self.small_file(draft, staging, small, key.expose())
    }

    fn small_file(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        small: Small,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let Small { path, part, database, compression } = small;
        let mut file = staging.files().create(&path)?;
        let encoded = BlockEncoder::new(compression).and_then(|mut encoder| encoder.encode(bytes.to_vec()));
        let written = encoded.and_then(|encoded| file.write_all(&encoded).map(|()| encoded));
        let encoded = written
            .and_then(|encoded| file.sync().map(|()| encoded))
            .map_err(|error| Failure::new(io_code(&error), format!("cannot write {path}: {error}")))?;
        let (source, stored) = (Digest::of(bytes), Digest::of(&encoded));
        draft.artifacts.push(Artifact {
            path,
            part,
            database,
            of: None,
            member: None,
            bytes: stored.bytes,
            sha256: stored.sha256,
            source_bytes: source.bytes,
            source_sha256: source.sha256,
            encoding: encoding(compression),
        });
        Ok(())
    }

    fn without_root_key(&self, draft: &mut Draft) -> Result<(), Failure> {
        let secrets = draft.vault_secrets;
        if secrets > 0 && self.spec.root_key_required {
            return Err(Failure::new(
                Code::RootKeyUnreadable,
                format!(
                    "the vault holds {secrets} secrets, but there is no root key at stack.root_key: they could never be read again"
                ),
            ));
        }
        if secrets > 0 {
            draft
                .head
                .warnings
                .push(format!("the vault's {secrets} secrets are in this backup, their root key is not"));
        }
        Ok(())
    }

    /// Small files are not worth a route of their own.
    fn uncompressed(&self) -> Route {
        let compression = self.spec.dump.compression;
        Route {
            source: Compression::None,
            codec: Codec::Identity,
            store: Store::Encode(compression),
            file: compression,
        }
    }

    async fn file(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        wanted: Wanted,
        stream: Box<dyn SourceStream>,
    ) -> Result<PipeReport, Failure> {
        let Wanted { path, part, database, route } = wanted;
        let format = self.spec.dump.format;
        let split: Box<dyn Split> = if part == Part::Database && format == Format::Directory {
            Box::new(DirectoryArchive::new(path.clone(), route.file))
        } else {
            Box::new(Whole { path: path.clone(), inspect: inspector(part, format, None) })
        };
        let (codec, store, encoders) = (route.codec, route.store, self.spec.encoders);
        let spec = PipeSpec { codec, store, encoders, split };
        let (observer, id) = (self.ports.observer.clone(), draft.head.id.clone());
        let progress =
            move |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
        kill_point("backup-file-created");
        let report = pipeline::run(stream, staging.files(), spec, progress)
            .await
            .map_err(|failure| noted(draft, &path, failure))?;
        kill_point("backup-file-written");
        draft.note(&path, report.stderr.clone());
        draft.artifacts.extend(report.files.iter().map(|file| Artifact {
            path: file.path.clone(),
            part,
            database: database.clone(),
            of: None,
            member: file.member.clone(),
            bytes: file.stored.bytes,
            sha256: file.stored.sha256.clone(),
            source_bytes: file.source.bytes,
            source_sha256: file.source.sha256.clone(),
            encoding: if store == Store::PassThrough { encoding(route.file) } else { file.encoding },
        }));
        Ok(report)
    }
}

/// The failure of the file at `path`; what the program said stays in the run's record.
fn noted(draft: &mut Draft, path: &str, failure: Failure) -> Failure {
    draft.note(path, failure.stderr.clone());
    failure.while_doing(path)
}

fn record(facts: DatabaseFacts, mut fingerprint: Option<Fingerprint>) -> DatabaseRecord {
    for table in fingerprint.iter_mut().flat_map(|print| &mut print.tables) {
        let name = (table.schema.clone(), table.name.clone());
        table.partition_of = facts.partitions.get(&name).cloned();
    }
    DatabaseRecord { fingerprint, ..facts.record }
}
