//! A database beside the live one: the same content under another name, for looking at it, or for copying out
//! of it what was lost.

use std::collections::BTreeSet;

use supakeep_model::code::Code;
use supakeep_model::dump::{DumpSpec, Format};
use supakeep_model::fingerprint::Fingerprint;
use supakeep_model::manifest::DatabaseRecord;
use supakeep_model::quantity::show_bytes;

use super::script::Script;
use super::{PartPorts, unfit};
use crate::failure::Failure;
use crate::inspect::select::{Contents, Entry, LeftOut, Subject};
use crate::ports::{ArchiveRestore, Input, OnError, Placed, Site};
use crate::restore::compare::fingerprint;
use crate::restore::databases::{literal, quoted};

/// What psql says when it has read everything.
const DONE: &str = "supakeep: read to the end";
/// Room for indexes being built and for the write-ahead log, beside the data itself.
const MARGIN_BYTES: u64 = 256 << 20;

/// What of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// All of it.
    Nothing,
    /// Definitions only.
    Rows,
}

/// Which database is made.
#[derive(Debug, Clone, PartialEq)]
pub struct BesideSpec {
    /// Its name.
    pub name: String,
    /// What is known of the one that was backed up.
    pub record: Option<DatabaseRecord>,
    /// How the backup was dumped, to compare with it.
    pub dump: Option<DumpSpec>,
    /// What is left away.
    pub leave: Leave,
    /// How many jobs work side by side where the format allows it.
    pub jobs: usize,
}

impl BesideSpec {
    /// A database of which nothing is known but the dump.
    pub fn unknown(name: &str, leave: Leave, jobs: usize) -> BesideSpec {
        BesideSpec { name: name.to_owned(), record: None, dump: None, leave, jobs }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BesideReport {
    /// Tables that have rows in the dump.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// What differs from the backup's record, a sentence each.
    pub differences: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Makes the database and fills it; if anything fails it is gone again.
pub async fn restore_beside(spec: &BesideSpec, ports: PartPorts<'_>) -> Result<BesideReport, Failure> {
    let contents = ports
        .bounded(async {
            let contents = ports.source.survey().await?;
            ports.source.check(contents.entries.iter().map(|entry| entry.id)).await?;
            refuse(spec, ports.site).await?;
            Ok(contents)
        })
        .await?;
    create(spec, ports.site).await?;
    let filled = ports.bounded(fill(spec, &ports, &contents)).await;
    if filled.is_err() {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&spec.name));
        if let Err(error) = ports.site.sql("template1", &statement).await {
            tracing::error!(code = %error.code, "the database {} is half filled and cannot be dropped: {error}", spec.name);
        }
    }
    filled
}

async fn refuse(spec: &BesideSpec, site: &dyn Site) -> Result<(), Failure> {
    let query = format!("SELECT count(*) FROM pg_database WHERE datname = {}", literal(&spec.name));
    if site.sql("template1", &query).await?.trim() != "0" {
        return Err(unfit(format!("the database {} is there already: nothing was touched", spec.name)));
    }
    let rows_bytes = match (&spec.record, spec.leave) {
        (Some(record), Leave::Nothing) => record.size_bytes,
        _ => 0,
    };
    let (free, needed) = (site.free_bytes().await?, rows_bytes + MARGIN_BYTES);
    if free < needed {
        return Err(unfit(format!(
            "the database's disk has {} free; {} are needed",
            show_bytes(free),
            show_bytes(needed)
        )));
    }
    Ok(())
}

async fn create(spec: &BesideSpec, site: &dyn Site) -> Result<(), Failure> {
    let mut statement = format!("CREATE DATABASE {} TEMPLATE template0", quoted(&spec.name));
    if let Some(record) = &spec.record {
        statement.push_str(&format!(
            " OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            quoted(&record.owner),
            literal(&record.encoding),
            literal(&record.collate),
            literal(&record.ctype)
        ));
    }
    site.sql("template1", &statement).await?;
    Ok(())
}

async fn fill(
    spec: &BesideSpec,
    ports: &PartPorts<'_>,
    contents: &Contents,
) -> Result<BesideReport, Failure> {
    let left_out = contents.left_out_beside();
    let mut out = left_out.ids.clone();
    if spec.leave == Leave::Rows {
        out.extend(contents.without_rows());
    }
    let late: Vec<&Entry> = contents
        .entries
        .iter()
        .filter(|entry| entry.is_about_event_triggers() && !out.contains(&entry.id))
        .collect();
    out.extend(late.iter().map(|entry| entry.id));
    match ports.source.format {
        Format::Plain => plain(spec, ports, contents, &out).await?,
        Format::Custom | Format::Directory => archive(spec, ports, contents, &out).await?,
    }
    event_triggers(spec, ports.site, &late).await?;
    ports.site.sql(&spec.name, "ANALYZE").await?;
    let mut report = compare(spec, ports, contents, &left_out).await?;
    report.notes.extend(left_out.notes);
    Ok(report)
}

async fn plain(
    spec: &BesideSpec,
    ports: &PartPorts<'_>,
    contents: &Contents,
    out: &BTreeSet<i64>,
) -> Result<(), Failure> {
    let mut script = Script::default();
    script.ranges(contents.extents_without(out));
    script.say(&format!("\n\\warn {DONE}"));
    let input = script.into_input(ports.source)?;
    let said = ports.site.psql(&spec.name, input, OnError::Stop, ports.progress).await?;
    if said.lines().any(|line| line == DONE) {
        return Ok(());
    }
    let message = format!("psql did not read to the end. It said: {}", said.trim());
    Err(Failure::new(Code::RestoreFailed, message))
}

async fn archive(
    spec: &BesideSpec,
    ports: &PartPorts<'_>,
    contents: &Contents,
    out: &BTreeSet<i64>,
) -> Result<(), Failure> {
    let source = ports.source;
    let is_folder = source.format == Format::Directory;
    let mut placed = Vec::new();
    for file in &source.files {
        let name = if is_folder { file.path.clone() } else { "archive".to_owned() };
        // pg_restore opens the files of a folder by itself; it takes a file only as it was.
        let (stored, bytes) = match &file.recorded {
            Some((bytes, _)) if !is_folder => (source.decoded(file)?, *bytes),
            _ if is_folder => (source.stored(file)?, file.bytes),
            _ => (source.decoded(file)?, contents.bytes),
        };
        placed.push(Placed { name, input: Input { stored, bytes } });
    }
    let archive = if is_folder {
        source.main()?.path.split('/').next().unwrap_or_default().to_owned()
    } else {
        "archive".to_owned()
    };
    let entries = contents.entries.iter().map(|entry| entry.id).filter(|id| !out.contains(id)).collect();
    let wanted = ArchiveRestore { archive, jobs: spec.jobs, entries, single_transaction: false };
    ports.site.place(placed, ports.progress).await?;
    let restored = ports.site.pg_restore(&spec.name, &wanted).await;
    let cleared = ports.site.clear().await;
    restored?;
    Ok(cleared?)
}

/// Event triggers may belong to a role that is no superuser any more, to which PostgreSQL gives none. It is one
/// inside of this transaction, which nobody else ever sees.
async fn event_triggers(spec: &BesideSpec, site: &dyn Site, late: &[&Entry]) -> Result<(), Failure> {
    if late.is_empty() {
        return Ok(());
    }
    let owners: BTreeSet<String> = late.iter().map(|entry| literal(&entry.header.owner)).collect();
    let owners: Vec<_> = owners.into_iter().collect();
    let raise =
        |to: &str| format!("SELECT format('ALTER ROLE %I {to}', rolname) FROM supakeep_raised \\gexec\n");
    let mut script = format!(
        "BEGIN;\nSET LOCAL session_replication_role = replica;\n\
         CREATE TEMPORARY TABLE supakeep_raised ON COMMIT DROP AS \
         SELECT rolname FROM pg_roles WHERE rolname IN ({}) AND NOT rolsuper;\n",
        owners.join(", ")
    );
    script.push_str(&raise("SUPERUSER"));
    for entry in late {
        script.push_str(&entry.statements);
        if entry.owner_is_apart && entry.kind() == "EVENT TRIGGER" {
            let (trigger, owner) = (quoted(&entry.header.name), quoted(&entry.header.owner));
            script.push_str(&format!("\nALTER EVENT TRIGGER {trigger} OWNER TO {owner};\n"));
        }
    }
    script.push_str(&raise("NOSUPERUSER"));
    script.push_str("COMMIT;\n");
    site.sql(&spec.name, &script).await?;
    Ok(())
}

async fn compare(
    spec: &BesideSpec,
    ports: &PartPorts<'_>,
    contents: &Contents,
    left_out: &LeftOut,
) -> Result<BesideReport, Failure> {
    let (Some(recorded), Some(dump)) = (ports.recorded, &spec.dump) else {
        return Ok(BesideReport::default());
    };
    let found = fingerprint(ports.site.server(), &spec.name, dump).await?;
    let differences = match spec.leave {
        Leave::Nothing => differences(recorded, &found, contents, left_out),
        Leave::Rows if found.rows() > 0 => vec![format!("{} rows, where none should be", found.rows())],
        Leave::Rows => Vec::new(),
    };
    Ok(BesideReport { tables: found.tables.len() as u64, rows: found.rows(), differences, notes: Vec::new() })
}

/// Compares with the record, but for what was left out on purpose.
fn differences(
    recorded: &Fingerprint,
    found: &Fingerprint,
    contents: &Contents,
    left_out: &LeftOut,
) -> Vec<String> {
    let mut expected = recorded.clone();
    for entry in contents.entries.iter().filter(|entry| left_out.ids.contains(&entry.id)) {
        let Some(Subject::Relation(name)) = &entry.subject else { continue };
        expected.tables.retain(|table| (&table.schema, &table.name) != (&name.schema, &name.name));
        expected
            .sequences
            .retain(|sequence| crate::inspect::select::Name::of_sql(&sequence.name).as_ref() != Some(name));
    }
    let mut out = Vec::new();
    if !left_out.ids.is_empty() && expected.dialect == found.dialect {
        // Which statements were left out is known, and so is how many are left; not what their sum would be.
        let wanted = expected.schema.count.saturating_sub(left_out.definitions);
        if wanted != found.schema.count {
            out.push(format!("definitions: {wanted} expected, {} found", found.schema.count));
        }
        expected.schema = found.schema;
    }
    out.extend(expected.differences(found));
    out
}
