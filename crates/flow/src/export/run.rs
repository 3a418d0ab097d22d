//! A run: connect, choose, copy each table in one snapshot, read back, commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::export::{
    ColumnRecord, ExportEvent, ExportManifest, ExportRun, ExportTotals, FORMAT, Holds, Identity, RowFormat,
    RowsSpec, TableRecord, Treatment,
};
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::{Build, Trigger};
use supakeep_model::naming::{backup_id, file_stem};
use supakeep_model::quantity::show_bytes;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::choose::{Chosen, columns, tables};
use super::describe::{ColumnFacts, describe, list};
use super::key::HashKey;
use super::render::{self, Rows};
use super::{difference, statement};
use crate::cancel::Limits;
use crate::failure::{Failure, io_code};
use crate::inspect::opaque::Opaque;
use crate::kill_point::kill_point;
use crate::pipeline::{self, FileReport, PipeSpec, Store};
use crate::ports::{Clock, ExportStaging, Exports, Observer, Repository, RunLock, Server, Snapshot, Stack};
use crate::read_back::read_back;
use crate::stage::decode::Codec;

/// How long ending a run's sessions on the server may take, after the run itself has failed.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(15);
/// The longest part of a file's name that tells which table it is of. A name may have 255 bytes in all.
const MOST_STEM: usize = 180;

/// What is to be exported, and why.
#[derive(Debug, Clone)]
pub struct ExportSpec {
    /// The configured export that it belongs to.
    pub export: Option<String>,
    /// What is in front of the time in its name.
    pub prefix: String,
    /// What started it.
    pub trigger: Trigger,
    /// Its slot.
    pub slot: Option<OffsetDateTime>,
    /// Which rows.
    pub rows: RowsSpec,
    /// The zone of the time in its name.
    pub zone: Zone,
    /// How many threads compress.
    pub encoders: usize,
    /// Space below which none is started.
    pub min_free_bytes: u64,
    /// The longest it may take.
    pub deadline: Duration,
    /// What makes it.
    pub build: Build,
}

/// What an export needs from outside.
#[derive(Clone)]
pub struct ExportPorts {
    /// The stack.
    pub stack: Arc<dyn Stack>,
    /// The repository, for its lock, its room and its key.
    pub repository: Arc<dyn Repository>,
    /// Where exports are.
    pub exports: Arc<dyn Exports>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who listens.
    pub observer: Arc<dyn Observer>,
}

/// A table, as a dry run shows it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PlannedTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The file.
    pub path: String,
    /// Its columns, and what is done with each.
    pub columns: Vec<ColumnRecord>,
    /// What is so of the rows that are exported.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// Rows, as the planner of the server believes; none where it knows nothing.
    pub estimated_rows: Option<u64>,
}

/// Makes an export. Everybody who listens is told how it ended. The lock is asked for as a proof that the caller holds it.
pub async fn export(
    spec: &ExportSpec,
    ports: &ExportPorts,
    _lock: &dyn RunLock,
    cancel: &CancellationToken,
) -> Result<ExportManifest, Failure> {
    let started = spec.zone.local(ports.clock.now());
    let catalog = ports.exports.catalog()?;
    let id = backup_id(&spec.prefix, started, |id| catalog.contains(id))
        .map_err(|message| Failure::new(Code::NameInvalid, message))?;
    ports
        .observer
        .observe(&RunEvent::Export(ExportEvent::Started { id: id.clone(), export: spec.export.clone() }));
    kill_point("export-started");
    let mut server = None;
    let limits = Limits::new(cancel.clone(), spec.deadline);
    let last = catalog.entries().find(|entry| spec.export.is_some() && entry.export == spec.export);
    let needed = spec.min_free_bytes.max(last.map_or(0, |entry| entry.totals.stored_bytes.saturating_mul(2)));
    let run = Run { spec, ports, id: &id, started };
    let made = limits.apply(run.make(&mut server, needed)).await;
    if made.is_err() {
        end_sessions(server.as_deref()).await;
    }
    let ended = |totals, warnings, error: Option<&Failure>| {
        let run = ExportRun {
            id: id.clone(),
            export: spec.export.clone(),
            started,
            duration_seconds: (ports.clock.now() - started).as_seconds_f64(),
            totals,
            warnings,
            error: error.map(Failure::record),
        };
        ports.observer.observe(&RunEvent::Export(ExportEvent::Ended(Box::new(run))));
    };
    match &made {
        Ok(manifest) => ended(manifest.totals, manifest.warnings.clone(), None),
        Err(failure) => ended(ExportTotals::default(), Vec::new(), Some(failure)),
    }
    made
}

/// What everybody is told of a run that failed before it could begin.
pub fn failed_before(spec: &ExportSpec, failure: &Failure, now: OffsetDateTime) -> RunEvent {
    let started = spec.zone.local(now);
    let id = backup_id(&spec.prefix, started, |_| false).or_else(|_| backup_id("export", started, |_| false));
    RunEvent::Export(ExportEvent::Ended(Box::new(ExportRun {
        id: id.expect("a constant that is a valid prefix"),
        export: spec.export.clone(),
        started,
        duration_seconds: 0.0,
        totals: ExportTotals::default(),
        warnings: Vec::new(),
        error: Some(failure.record()),
    })))
}

/// What an export would come to.
pub async fn plan_export(
    spec: &ExportSpec,
    stack: &dyn Stack,
) -> Result<(Vec<PlannedTable>, Vec<String>), Failure> {
    let server = stack.connect("export-plan").await?;
    fits(spec, &*server)?;
    let mut snapshot = server.snapshot(&spec.rows.database).await?;
    let (chosen, notes) = choose(spec, &mut *snapshot).await?;
    snapshot.close().await?;
    let planned = |table: &Chosen| {
        let name = table.facts.name();
        PlannedTable {
            path: path(&name.schema, &name.name, spec.rows.format, spec.rows.compression),
            schema: name.schema,
            name: name.name,
            columns: records(table),
            filter: table.filter.clone(),
            // -1 where it was never counted.
            estimated_rows: (table.facts.estimated_rows >= 0.0).then_some(table.facts.estimated_rows as u64),
        }
    };
    Ok((chosen.iter().map(planned).collect(), notes))
}

struct Run<'a> {
    spec: &'a ExportSpec,
    ports: &'a ExportPorts,
    id: &'a BackupId,
    started: OffsetDateTime,
}

impl Run<'_> {
    async fn make(
        &self,
        server_slot: &mut Option<Box<dyn Server>>,
        needed_bytes: u64,
    ) -> Result<ExportManifest, Failure> {
        let Run { spec, ports, .. } = *self;
        if let Some(journal) = ports.repository.journal()? {
            let message = format!("the restore of {} has not ended", journal.backup);
            return Err(Failure::new(Code::RestoreUnfinished, message));
        }
        check_space(&*ports.repository, needed_bytes)?;
        self.enter(Phase::Connect, "", None);
        let connected = ports.stack.connect(self.id.as_str()).await?;
        let server = &**server_slot.insert(connected);
        fits(spec, server)?;
        server.terminate().await?;
        let mut snapshot = server.snapshot(&spec.rows.database).await?;
        let snapshot_at = snapshot.facts().record.snapshot_at;
        let (chosen, warnings) = choose(spec, &mut *snapshot).await?;
        let key = HashKey::of(&ports.repository.redaction_key()?);
        let staging = ports.exports.stage(self.id)?;
        let mut records = Vec::with_capacity(chosen.len());
        for table in &chosen {
            records.push(self.table(&mut *snapshot, &*staging, table, &key).await?);
        }
        snapshot.close().await?;
        kill_point("export-copied");
        self.verify(&records, &*staging).await?;
        let is_hashed = records.iter().any(|table| table.treated(Treatment::Hashed).next().is_some());
        let finished = spec.zone.local(ports.clock.now());
        let manifest = ExportManifest {
            format: FORMAT,
            holds: Holds::Export,
            id: self.id.clone(),
            export: spec.export.clone(),
            trigger: spec.trigger,
            slot: spec.slot,
            started: self.started,
            finished,
            duration_seconds: (finished - self.started).as_seconds_f64(),
            database: spec.rows.database.clone(),
            snapshot_at,
            rows: spec.rows.format,
            compression: spec.rows.compression,
            hash: is_hashed.then(|| key.record()),
            totals: totals(&records),
            stack: server.facts().record.clone(),
            supakeep: spec.build.clone(),
            warnings,
            tables: records,
        };
        self.enter(Phase::Commit, "", None);
        staging.commit(&manifest)?;
        kill_point("export-committed");
        Ok(manifest)
    }

    fn enter(&self, phase: Phase, subject: &str, expected_bytes: Option<u64>) {
        let (id, subject) = (self.id.clone(), subject.to_owned());
        self.ports.observer.observe(&RunEvent::Entered { id, phase, subject, expected_bytes });
    }

    async fn table(
        &self,
        snapshot: &mut dyn Snapshot,
        staging: &dyn ExportStaging,
        table: &Chosen,
        key: &HashKey,
    ) -> Result<TableRecord, Failure> {
        let name = table.facts.name();
        self.enter(Phase::ExportTable, &name.to_string().escape_debug().to_string(), None);
        let RowsSpec { format, compression, .. } = self.spec.rows;
        let of_table = |failure: Failure| of_query(failure).while_doing(&name);
        let stream = snapshot
            .print(&statement::copy(table, format))
            .await
            .map_err(|error| of_table(Failure::from(error)))?;
        let path = path(&name.schema, &name.name, format, compression);
        let rows = Arc::new(AtomicU64::new(0));
        let split = Rows::new(path, render::columns(table), format, key.clone(), Arc::clone(&rows));
        let (observer, id) = (Arc::clone(&self.ports.observer), self.id.clone());
        let progress =
            move |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
        let spec = PipeSpec {
            codec: Codec::Identity,
            store: Store::Encode(compression),
            encoders: self.spec.encoders,
            split: Box::new(split),
        };
        let report = pipeline::run(stream, staging.files(), spec, progress).await.map_err(of_table)?;
        kill_point("export-file-written");
        let [file] = <[FileReport; 1]>::try_from(report.files)
            .map_err(|_| Failure::new(Code::Internal, "a table became more than one file"))?;
        Ok(TableRecord {
            schema: name.schema,
            name: name.name,
            columns: records(table),
            primary_key: table.facts.primary_key.clone(),
            filter: table.filter.clone(),
            path: file.path,
            rows: rows.load(Ordering::Relaxed),
            bytes: file.stored.bytes,
            sha256: file.stored.sha256,
            source_bytes: file.source.bytes,
            source_sha256: file.source.sha256,
            encoding: file.encoding,
        })
    }

    /// Reads every file again: what is committed is on the disk as it was written.
    async fn verify(&self, tables: &[TableRecord], staging: &dyn ExportStaging) -> Result<(), Failure> {
        self.enter(Phase::Verify, "", Some(totals(tables).stored_bytes));
        for table in tables {
            let stored = staging.open(&table.path)?;
            let unreadable = |error: std::io::Error| {
                Failure::new(io_code(&error), format!("cannot read {}: {error}", table.path))
            };
            let found = read_back(stored, table.encoding, Box::new(Opaque)).await.map_err(unreadable)?;
            if let Some(difference) = difference(table, &found) {
                return Err(Failure::new(Code::VerifyFailed, difference));
            }
        }
        Ok(())
    }
}

async fn choose(
    spec: &ExportSpec,
    snapshot: &mut dyn Snapshot,
) -> Result<(Vec<Chosen>, Vec<String>), Failure> {
    if snapshot.facts().record.encoding == "SQL_ASCII" {
        let message = "its encoding is SQL_ASCII: nobody knows what characters its bytes are";
        return Err(Failure::new(Code::ExportUnfit, message).while_doing(&spec.rows.database));
    }
    let listed = tables(&spec.rows, &list(snapshot).await?)?;
    let described = describe(snapshot, &listed).await?;
    if described.len() != listed.len() {
        return Err(Failure::new(Code::ExportUnfit, "a table was dropped while the export began"));
    }
    let (chosen, notes) = columns(&spec.rows, described)?;
    let mut paths = BTreeMap::new();
    for table in &chosen {
        let name = table.facts.name();
        let path = path(&name.schema, &name.name, spec.rows.format, spec.rows.compression);
        if let Some(other) = paths.insert(path, name.clone()) {
            return Err(Failure::new(Code::Internal, format!("{name} and {other} have the same file")));
        }
    }
    Ok((chosen, notes))
}

/// What PostgreSQL says of a filter that makes no sense is the filter's fault.
fn of_query(failure: Failure) -> Failure {
    let code = if failure.code == Code::DumpFailed { Code::ExportUnfit } else { failure.code };
    Failure { code, ..failure }
}

fn fits(spec: &ExportSpec, server: &dyn Server) -> Result<(), Failure> {
    let facts = server.facts();
    if !facts.is_superuser {
        let message = "stack.user is not a superuser: rows that it may not see would be missing";
        return Err(Failure::new(Code::PrivilegesMissing, message));
    }
    if facts.databases.contains(&spec.rows.database) {
        return Ok(());
    }
    let (wanted, there) = (&spec.rows.database, facts.databases.join(", "));
    Err(Failure::new(Code::DatabaseMissing, format!("the server has no database {wanted}; it has {there}")))
}

fn check_space(repository: &dyn Repository, needed_bytes: u64) -> Result<(), Failure> {
    let free_bytes = repository.space()?.free_bytes;
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    let (free, needed) = (show_bytes(free_bytes), show_bytes(needed_bytes));
    let wanted = "repository.min_free, or twice the last export";
    Err(Failure::new(
        Code::SpaceLow,
        format!("{free} are free in the repository; {needed} are wanted ({wanted})"),
    ))
}

fn totals(tables: &[TableRecord]) -> ExportTotals {
    ExportTotals {
        tables: tables.len() as u64,
        rows: tables.iter().map(|table| table.rows).sum(),
        stored_bytes: tables.iter().map(|table| table.bytes).sum(),
        source_bytes: tables.iter().map(|table| table.source_bytes).sum(),
    }
}

fn records(table: &Chosen) -> Vec<ColumnRecord> {
    let record = |(column, treatment): (&ColumnFacts, &Treatment)| ColumnRecord {
        name: column.name.clone(),
        sql_type: column.sql_type.clone(),
        treatment: *treatment,
        nullable: column.nullable,
        identity: match column.identity.as_str() {
            "a" => Some(Identity::Always),
            "d" => Some(Identity::ByDefault),
            _ => None,
        },
        generated: column.generated,
    };
    table.facts.columns.iter().zip(&table.treatments).map(record).collect()
}

/// The file of a table: `public.orders.jsonl.zst`. No two tables have the same: what is cut short ends with a hash.
fn path(schema: &str, name: &str, format: RowFormat, compression: Compression) -> String {
    let mut stem = format!("{}.{}", file_stem(schema), file_stem(name));
    if stem.len() > MOST_STEM {
        let hash = hex::encode(Sha256::digest(stem.as_bytes()));
        stem.truncate(MOST_STEM);
        stem = format!("{stem}~{}", &hash[..16]);
    }
    format!("{stem}.{format}{}", compression.suffix())
}

async fn end_sessions(server: Option<&dyn Server>) {
    let Some(server) = server else { return };
    match tokio::time::timeout(CLEAN_UP, server.terminate()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::warn!(code = %error.code, "cannot end the export's sessions on the server: {error}");
        }
        Err(_) => tracing::warn!("ending the export's sessions takes too long; the next run will do it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_table_and_no_name_is_too_long() {
        let of = |schema: &str, name: &str| path(schema, name, RowFormat::Jsonl, Compression::Zstd(3));
        assert_eq!(of("public", "customer_configs"), "public.customer_configs.jsonl.zst");
        assert_eq!(of("public", "../../etc/passwd"), "public.%2E%2E%2F%2E%2E%2Fetc%2Fpasswd.jsonl.zst");
        assert_ne!(of("a.b", "c"), of("a", "b.c"));
        let (long, other) = ("é".repeat(31), format!("{}e", "é".repeat(31)));
        assert!(of(&long, &long).len() < 255 && of(&long, &long) != of(&long, &other));
    }
}
