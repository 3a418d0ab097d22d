//! A drill of a sample: all definitions and roles, and the rows of some tables.
//!
//! It shows week after week what a whole drill shows at once, for a fraction of its time and room. What it leaves
//! out it names, and its result is kept apart from that of a whole drill.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::drill_sample::{Sample, SampleSpec, TableId, choose};
use supakeep_model::event::Phase;
use supakeep_model::fingerprint::{Fingerprint, Tally};
use supakeep_model::manifest::{DatabaseRecord, Manifest};

use super::Run;
use crate::cancel::Limits;
use crate::failure::Failure;
use crate::inspect::select::{Contents, Name};
use crate::kill_point::kill_point;
use crate::ports::{Scratch, Site};
use crate::restore::parts::{DumpSource, PartPorts, restore_definitions, restore_rows};
use crate::restore::{
    DatabaseReport, Making, as_superuser, fingerprint, open_database, own_settings, restore_globals,
};
use crate::verify::verify;

/// How much room rows take beside their text in a dump: heads, pages that are not full, indexes.
const ROOM_PER_BYTE: u64 = 3;

/// A table of the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampledTable {
    /// Which.
    #[serde(flatten)]
    pub table: TableId,
    /// How many rows the backup recorded.
    pub rows: u64,
}

/// What was sampled, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampleReport {
    /// What was asked for.
    pub size: String,
    /// Whose turn it was, from 1.
    pub turn: usize,
    /// After so many turns every table has had its own.
    pub turns: usize,
    /// The tables.
    pub tables: Vec<SampledTable>,
    /// How many tables the backup has rows of.
    pub of_tables: u64,
    /// What this drill says nothing of, a sentence each.
    pub left_out: Vec<String>,
}

/// A table's record with the database that it is in.
fn recorded(manifest: &Manifest) -> impl Iterator<Item = (TableId, u64, u64)> {
    let prints =
        manifest.databases.iter().filter_map(|database| Some((database, database.fingerprint.as_ref()?)));
    prints.flat_map(|(database, print)| {
        print.tables.iter().map(|table| {
            let (schema, name) = (table.schema.clone(), table.name.clone());
            (TableId { database: database.name.clone(), schema, name }, table.rows, table.bytes)
        })
    })
}

impl SampleReport {
    /// Chooses from the tables that the backup recorded. `checks` is how many of one's own are not made.
    pub(super) fn choose(spec: SampleSpec, manifest: &Manifest, checks: usize) -> SampleReport {
        let all: Vec<_> = recorded(manifest).collect();
        let Sample { tables, turn, turns } =
            choose(spec, all.iter().map(|(table, ..)| table.clone()).collect());
        let chosen: BTreeSet<TableId> = tables.into_iter().collect();
        let of_tables = all.len() as u64;
        let of_it = all.into_iter().map(|(table, rows, _)| SampledTable { table, rows });
        let (tables, others): (Vec<_>, Vec<_>) = of_it.partition(|sampled| chosen.contains(&sampled.table));
        let left_out = left_out(&others, manifest, checks);
        SampleReport { size: spec.size.to_string(), turn, turns, tables, of_tables, left_out }
    }

    fn of_database(&self, database: &str) -> BTreeSet<Name> {
        let of_it = self.tables.iter().filter(|sampled| sampled.table.database == database);
        of_it.map(|sampled| Name::new(sampled.table.schema.clone(), sampled.table.name.clone())).collect()
    }
}

fn left_out(others: &[SampledTable], manifest: &Manifest, checks: usize) -> Vec<String> {
    let mut out = Vec::new();
    if !others.is_empty() {
        let rows: u64 = others.iter().map(|table| table.rows).sum();
        out.push(format!("the rows of {} other tables ({rows} rows)", others.len()));
    }
    let prints = manifest.databases.iter().filter_map(|database| database.fingerprint.as_ref());
    let objects: u64 = prints.map(|print| print.large_objects.count).sum();
    if objects > 0 {
        out.push(format!("the content of {objects} large objects"));
    }
    out.push("whether the secrets of the vault open".to_owned());
    out.push("whether materialized views can be filled, and foreign keys hold".to_owned());
    if checks > 0 {
        out.push(format!("your own checks ({checks})"));
    }
    out
}

/// The dump of a database, read once.
struct Dump<'a> {
    record: &'a DatabaseRecord,
    source: DumpSource,
    contents: Contents,
    tables: BTreeSet<Name>,
}

impl<'a> Run<'a> {
    /// Drills a sample.
    pub(super) async fn sample(
        &mut self,
        sample: &SampleReport,
        scratch: &mut Option<Box<dyn Scratch>>,
        limits: &Limits,
    ) -> Result<(), Failure> {
        if !self.small_files_are_right().await? {
            return Ok(());
        }
        let dumps = self.survey(sample).await?;
        let site = self.make(scratch).await?;
        self.prepare(site, &with_room_for(self.manifest, sample)).await?;
        self.enter(Phase::RestoreGlobals, "");
        restore_globals(self.manifest, &*self.ports.repository, site).await?;
        self.restore_sample(&dumps, site, limits).await?;
        kill_point("drill-restored");
        for dump in &dumps {
            self.enter(Phase::Compare, &dump.record.name);
            let compared = compare(self.manifest, dump, site).await?;
            self.compared(dump.record, compared, site).await?;
        }
        self.compare_roles(site).await
    }

    /// Roles, root key, and what makes the databases. The dumps themselves are compared as they are read.
    async fn small_files_are_right(&mut self) -> Result<bool, Failure> {
        self.enter(Phase::Verify, "");
        let mut manifest = self.manifest.clone();
        manifest.databases.clear();
        manifest.artifacts.retain(|artifact| artifact.part != Part::Database);
        let open = |artifact: &Artifact| self.ports.repository.open(&self.spec.backup, &artifact.path);
        let proof = verify(&manifest, open, &*self.ports.clock, |_| {}).await?;
        let differences = proof.differences.iter().map(|difference| format!("files: {difference}"));
        self.report.differences.extend(differences);
        Ok(proof.ok)
    }

    /// Reads what is where in each dump; of one that is a folder, its table of contents.
    async fn survey(&mut self, sample: &SampleReport) -> Result<Vec<Dump<'a>>, Failure> {
        let mut dumps = Vec::new();
        for record in &self.manifest.databases {
            self.enter(Phase::Verify, &record.name);
            let source = DumpSource::of_backup(self.manifest, Arc::clone(&self.ports.repository), record)?;
            let contents = source.survey().await?;
            dumps.push(Dump { record, source, contents, tables: sample.of_database(&record.name) });
        }
        Ok(dumps)
    }

    async fn restore_sample(
        &mut self,
        dumps: &[Dump<'_>],
        site: &dyn Site,
        limits: &Limits,
    ) -> Result<(), Failure> {
        let (manifest, repository) = (self.manifest, &*self.ports.repository);
        let making =
            Making { manifest, repository, site, observer: &*self.ports.observer, jobs: self.spec.jobs };
        let replacing = async {
            let mut closed = Vec::new();
            for dump in dumps {
                self.enter(Phase::RestoreDatabase, &dump.record.name);
                let own = own_settings(&dump.record.name, site).await?;
                closed.push(making.replace_empty(dump.record, &own).await?);
                self.fill(dump, site, limits).await?;
            }
            Ok(closed)
        };
        for database in as_superuser(site, replacing).await? {
            open_database(&database, site).await?;
        }
        Ok(())
    }

    async fn fill(&self, dump: &Dump<'_>, site: &dyn Site, limits: &Limits) -> Result<(), Failure> {
        let progress = |source_bytes| self.progress(source_bytes);
        let Dump { record, source, contents, tables } = dump;
        let ports = PartPorts { site, source, recorded: None, progress: &progress, limits };
        restore_definitions(&record.name, &ports, contents, self.spec.jobs).await?;
        restore_rows(&record.name, &ports, contents, tables).await
    }
}

/// The manifest of a backup that needs as much room as the sample does.
fn with_room_for(manifest: &Manifest, sample: &SampleReport) -> Manifest {
    let chosen: BTreeSet<&TableId> = sample.tables.iter().map(|sampled| &sampled.table).collect();
    let mut out = manifest.clone();
    for database in &mut out.databases {
        let of_it = recorded(manifest)
            .filter(|(table, ..)| table.database == database.name && chosen.contains(table));
        let bytes: u64 = of_it.map(|(_, _, bytes)| bytes).sum();
        database.size_bytes = database.size_bytes.min(bytes.saturating_mul(ROOM_PER_BYTE));
    }
    out
}

/// Dumps the database once more, and compares everything but what was left out.
async fn compare(manifest: &Manifest, dump: &Dump<'_>, site: &dyn Site) -> Result<DatabaseReport, Failure> {
    let mut report =
        DatabaseReport { name: dump.record.name.clone(), tables: 0, rows: 0, differences: Vec::new() };
    let Some(expected) = &dump.record.fingerprint else { return Ok(report) };
    let found = fingerprint(site.server(), &dump.record.name, &manifest.head.dump).await?;
    let found = only(&found, &dump.tables);
    report.tables = found.tables.len() as u64;
    report.rows = found.rows();
    report.differences = only(expected, &dump.tables).differences(&found);
    Ok(report)
}

/// Of a fingerprint, what a sample compares: definitions, sequences, and these tables.
fn only(print: &Fingerprint, tables: &BTreeSet<Name>) -> Fingerprint {
    let mut out = Fingerprint { large_objects: Tally::default(), ..print.clone() };
    out.tables.retain(|table| tables.contains(&Name::new(table.schema.clone(), table.name.clone())));
    out
}
