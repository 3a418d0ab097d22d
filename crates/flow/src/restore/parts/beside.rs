//! A database beside the live one: the same content under another name, for looking at it, or for copying out
//! of it what was lost.

use std::collections::BTreeSet;

use supakeep_model::code::Code;
use supakeep_model::dump::{DumpSpec, Format, Scope};
use supakeep_model::fingerprint::Fingerprint;
use supakeep_model::manifest::DatabaseRecord;
use supakeep_model::quantity::show_bytes;

use super::script::Script;
use super::{DumpSource, PartKind, PartPlan, PartPorts, SourceFile};
use crate::failure::Failure;
use crate::inspect::select::{Contents, Entry, LeftOut, Name, Subject, quoted};
use crate::ports::{ArchiveRestore, OnError, Placed, Site};
use crate::restore::compare::fingerprint;
use crate::restore::content::{ARCHIVE, in_archive};
use crate::restore::plan::{self, MARGIN_BYTES};
use crate::restore::{ask, literal};

/// What psql says when it has read everything.
const DONE: &str = "supakeep: read to the end";
/// How long dropping a database that could not be filled may take.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(300);

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

/// What making the database would do.
pub async fn plan_beside(
    spec: &BesideSpec,
    ports: PartPorts<'_>,
    contents: &Contents,
) -> Result<PartPlan, Failure> {
    ports
        .bounded(async {
            let mut plan = PartPlan::new(PartKind::Database, &spec.name);
            plan.makes.push(spec.name.clone());
            plan.problems = problems(spec, &ports, contents).await?;
            plan.notes = contents.left_out_beside().notes;
            let holds_no_rows = spec.dump.as_ref().is_some_and(|dump| dump.scope == Scope::Schema);
            if holds_no_rows && spec.leave == Leave::Nothing {
                plan.notes.push("the backup holds definitions without rows".to_owned());
            }
            Ok(plan)
        })
        .await
}

/// Makes the database and fills it with a dump that holds `contents`; if anything fails it is gone again.
pub async fn restore_beside(
    spec: &BesideSpec,
    ports: PartPorts<'_>,
    contents: &Contents,
) -> Result<BesideReport, Failure> {
    ports.check(contents).await?;
    ports.bounded(async { plan::possible(&problems(spec, &ports, contents).await?) }).await?;
    if let Err(failure) = ports.bounded(create(spec, ports.site)).await {
        // Ended in the middle of it, nobody knows whether it was made; refused, it was not.
        if matches!(failure.code, Code::Cancelled | Code::DeadlineExceeded) {
            drop(spec, ports.site).await;
        }
        return Err(failure);
    }
    let filled = ports.bounded(fill(spec, &ports, contents)).await;
    if filled.is_err() {
        drop(spec, ports.site).await;
    }
    filled
}

async fn drop(spec: &BesideSpec, site: &dyn Site) {
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&spec.name));
    let message = match tokio::time::timeout(CLEAN_UP, site.sql("template1", &statement)).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it takes too long".to_owned(),
    };
    tracing::error!("the database {} is half filled and cannot be dropped: {message}", spec.name);
}

/// Why it cannot be made.
async fn problems(
    spec: &BesideSpec,
    ports: &PartPorts<'_>,
    contents: &Contents,
) -> Result<Vec<String>, Failure> {
    let site = ports.site;
    let mut out = Vec::new();
    let query = format!("SELECT to_json(count(*)) FROM pg_database WHERE datname = {}", literal(&spec.name));
    if ask::<u64>(site, "template1", &query).await? > 0 {
        out.push(format!("the database {} is there already: nothing was touched", spec.name));
    }
    if spec.dump.as_ref().is_some_and(|dump| dump.scope == Scope::Data) {
        out.push(
            "the backup holds rows without definitions: a database cannot be made of it, nothing was touched"
                .to_owned(),
        );
    }
    let rows_bytes = match (&spec.record, spec.leave) {
        (Some(record), Leave::Nothing) => record.size_bytes,
        _ => 0,
    };
    let (free, needed) = (site.free_bytes().await?, rows_bytes + MARGIN_BYTES);
    if free < needed {
        out.push(format!(
            "the database's disk has {} free; {} are needed: nothing was touched",
            show_bytes(free),
            show_bytes(needed)
        ));
    }
    out.extend(plan::too_little_to_place(site, ports.source.placed_bytes(contents)).await?);
    Ok(out)
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
    let kept = |entry: &&Entry| !out.contains(&entry.id);
    let wrappers: Vec<&Entry> =
        contents.entries.iter().filter(kept).filter(|entry| entry.makes_a_wrapper()).collect();
    let late: Vec<&Entry> =
        contents.entries.iter().filter(kept).filter(|entry| entry.is_about_event_triggers()).collect();
    out.extend(wrappers.iter().chain(&late).map(|entry| entry.id));
    match ports.source.format {
        Format::Plain => plain(spec, ports, contents, &out, &wrappers).await?,
        Format::Custom | Format::Directory => archive(spec, ports, contents, &out, &wrappers).await?,
    }
    if !late.is_empty() {
        ports.site.sql(&spec.name, &as_superusers(&late)).await?;
    }
    ports.site.sql(&spec.name, "ANALYZE").await?;
    let mut report = compare(spec, ports, contents, &left_out).await?;
    report.notes.extend(left_out.notes);
    Ok(report)
}

pub(super) async fn plain(
    spec: &BesideSpec,
    ports: &PartPorts<'_>,
    contents: &Contents,
    out: &BTreeSet<i64>,
    wrappers: &[&Entry],
) -> Result<(), Failure> {
    let mut script = Script::default();
    let mut extents = contents.extents_without(out);
    for wrapper in wrappers {
        let at = wrapper.extents.first().map_or(0, |extent| extent.start);
        let after = extents.split_off(extents.partition_point(|extent| extent.start < at));
        script.ranges(std::mem::replace(&mut extents, after));
        script.say(&format!("\n{}", as_superusers(&[wrapper])));
    }
    script.ranges(extents);
    script.say(&format!("\n\\warn {DONE}"));
    let input = script.into_input(ports.source)?;
    let said = ports.site.psql(&spec.name, input, OnError::Stop, ports.progress).await?;
    if said.lines().any(|line| line == DONE) {
        return Ok(());
    }
    let message = format!("psql did not read to the end. It said: {}", said.trim());
    Err(Failure::new(Code::RestoreFailed, message))
}

pub(super) async fn archive(
    spec: &BesideSpec,
    ports: &PartPorts<'_>,
    contents: &Contents,
    out: &BTreeSet<i64>,
    wrappers: &[&Entry],
) -> Result<(), Failure> {
    ports.site.place(placed(ports.source, contents)?, ports.progress).await?;
    let restored = from_archive(spec, ports.site, contents, out, wrappers).await;
    let cleared = ports.site.clear().await;
    restored?;
    Ok(cleared?)
}

/// The archive as it is put beside the server. `pg_restore` decompresses the files of a folder by itself; it takes
/// a single file only as it was.
fn placed<'a>(source: &'a DumpSource, contents: &Contents) -> Result<Vec<Placed<'a>>, Failure> {
    if source.format == Format::Directory {
        let stored = |file: &'a SourceFile| {
            let open = Box::new(move || source.stored(file));
            Placed { name: in_archive(&file.path), bytes: file.bytes, open }
        };
        return Ok(source.files.iter().map(stored).collect());
    }
    let file = source.main()?;
    let bytes = file.recorded.as_ref().map_or(contents.bytes, |(bytes, _)| *bytes);
    Ok(vec![Placed { name: ARCHIVE.to_owned(), bytes, open: Box::new(move || source.decoded(file)) }])
}

/// In as many steps as there are foreign-data wrappers among the entries, which are made in between.
async fn from_archive(
    spec: &BesideSpec,
    site: &dyn Site,
    contents: &Contents,
    out: &BTreeSet<i64>,
    wrappers: &[&Entry],
) -> Result<(), Failure> {
    let apart: BTreeSet<i64> = wrappers.iter().map(|wrapper| wrapper.id).collect();
    // What stands before a wrapper may be what it needs, what comes after it may need it.
    for step in contents.entries.split_inclusive(|entry| apart.contains(&entry.id)) {
        let entries: Vec<i64> = step.iter().map(|entry| entry.id).filter(|id| !out.contains(id)).collect();
        // An empty list would be all of them.
        if !entries.is_empty() {
            let wanted = ArchiveRestore {
                archive: ARCHIVE.to_owned(),
                jobs: spec.jobs,
                entries,
                is_before_rows: false,
            };
            site.pg_restore(&spec.name, &wanted).await?;
        }
        if let Some(wrapper) = step.last().filter(|entry| apart.contains(&entry.id)) {
            site.sql(&spec.name, &as_superusers(&[wrapper])).await?;
        }
    }
    Ok(())
}

/// Makes entries whose owner PostgreSQL wants to be a superuser: event triggers and foreign-data wrappers. It may
/// be none any more, and then is one inside of this transaction, which nobody else ever sees.
fn as_superusers(entries: &[&Entry]) -> String {
    let owners: BTreeSet<String> = entries.iter().map(|entry| literal(&entry.header.owner)).collect();
    let owners: Vec<_> = owners.into_iter().collect();
    // A dump that begins with \restrict lets psql take no \gexec before its end.
    let raise = |to: &str| {
        format!(
            "DO $supakeep$ DECLARE role name; BEGIN FOR role IN SELECT rolname FROM pg_temp.supakeep_raised LOOP \
             EXECUTE pg_catalog.format('ALTER ROLE %I {to}', role); END LOOP; END $supakeep$;\n"
        )
    };
    let mut script = format!(
        "BEGIN;\nSET LOCAL session_replication_role = replica;\n\
         CREATE TEMPORARY TABLE supakeep_raised ON COMMIT DROP AS \
         SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ({}) AND NOT rolsuper;\n",
        owners.join(", ")
    );
    script.push_str(&raise("SUPERUSER"));
    for entry in entries {
        script.push_str(&entry.statements);
        if entry.owner_is_apart && matches!(entry.kind(), "EVENT TRIGGER" | "FOREIGN DATA WRAPPER") {
            let (kind, name, owner) = (entry.kind(), quoted(&entry.header.name), quoted(&entry.header.owner));
            script.push_str(&format!("\nALTER {kind} {name} OWNER TO {owner};\n"));
        }
    }
    script.push_str(&raise("NOSUPERUSER"));
    script.push_str("COMMIT;\n");
    script
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
        expected.sequences.retain(|sequence| Name::of_sql(&sequence.name).as_ref() != Some(name));
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
