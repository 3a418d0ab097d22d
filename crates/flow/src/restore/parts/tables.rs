//! Tables, one or several: their rows replaced where they are there, made where they are not.

use std::collections::BTreeSet;

use super::live::Live;
use super::plan::names;
use super::rows::Proof;
use super::transaction::{Committed, Transaction};
use super::{PartKind, PartPlan, PartPorts, PartsReport, foreign_keys, list, unfit};
use crate::failure::Failure;
use crate::inspect::select::{Contents, Detail, Entry, Name, Relocation, Subject, quoted};

/// Which tables, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablesSpec {
    /// The database.
    pub database: String,
    /// The tables; of a partitioned one all partitions.
    pub tables: Vec<Name>,
    /// Into this schema instead of their own.
    pub into_schema: Option<String>,
}

/// What a restore of these tables would do.
pub async fn plan_tables(
    spec: &TablesSpec,
    ports: PartPorts<'_>,
    contents: &Contents,
) -> Result<PartPlan, Failure> {
    ports
        .bounded(async {
            let mut plan = PartPlan::new(PartKind::Tables, &spec.database);
            let looked = choose(spec, &ports, contents).await;
            if let Some(chosen) = plan.unless_unfit(looked)? {
                let made = chosen.missing.iter().map(|name| chosen.place(name)).collect();
                (plan.makes, plan.replaces) = (names(&made), names(&chosen.live.names()));
                plan.notes = chosen.notes;
            }
            Ok(plan)
        })
        .await
}

/// Restores tables of a dump that holds `contents`, in one transaction.
pub async fn restore_tables(
    spec: &TablesSpec,
    ports: PartPorts<'_>,
    contents: Contents,
) -> Result<PartsReport, Failure> {
    let committed = ports.bounded(tables(spec, &ports, contents)).await?;
    Ok(committed.finish(&ports, &spec.database).await)
}

/// What of the tables is there, and what is done about it.
struct Chosen<'c> {
    /// Those that are there, whose rows are replaced, and partitions of them that the dump does not have.
    live: Live,
    /// Those that are made, by their names in the dump.
    missing: BTreeSet<Name>,
    entries: Vec<&'c Entry>,
    /// Where tables are made under other names.
    relocation: Option<Relocation>,
    notes: Vec<String>,
}

impl Chosen<'_> {
    /// What a table of the dump is called where it goes.
    fn place(&self, name: &Name) -> Name {
        self.relocation.as_ref().map_or_else(|| name.clone(), |relocation| relocation.of(name))
    }

    /// What the dump says, as it is to be.
    fn moved(&self, text: &str) -> String {
        self.relocation.as_ref().map_or_else(|| text.to_owned(), |relocation| relocation.apply(text))
    }
}

async fn choose<'c>(
    spec: &TablesSpec,
    ports: &PartPorts<'_>,
    contents: &'c Contents,
) -> Result<Chosen<'c>, Failure> {
    let family = contents.family(&spec.tables).map_err(unfit)?;
    let chosen = match &spec.into_schema {
        Some(schema) => elsewhere(spec, ports, contents, family, schema).await?,
        None => in_place(spec, ports, contents, &family).await?,
    };
    Ok(chosen)
}

async fn tables(spec: &TablesSpec, ports: &PartPorts<'_>, contents: Contents) -> Result<Committed, Failure> {
    let chosen = choose(spec, ports, &contents).await?;
    ports.source.check(chosen.entries.iter().map(|entry| entry.id)).await?;
    let mut transaction = Transaction::begin(&contents.preamble);
    if let Some(schema) = &spec.into_schema {
        transaction.script.say(&format!("CREATE SCHEMA IF NOT EXISTS {};", quoted(schema)));
    }
    transaction.script.say(&chosen.live.empty());
    let made = made_by(&chosen.entries, &chosen.missing).iter().map(|name| chosen.place(name)).collect();
    put(&mut transaction, &chosen.entries, &made, |text| chosen.moved(text));
    transaction.script.say(&chosen.live.as_before());
    let is_made = |name: &Name| chosen.missing.contains(name);
    let (place, moved) = (|name: &Name| chosen.place(name), |text: &str| chosen.moved(text));
    let mut proof = Proof::of(&chosen.entries, ports.recorded, place, is_made, moved);
    transaction.commit(ports, &spec.database, &mut proof).await?;
    let report = PartsReport { tables: proof.reports(), violations: Vec::new(), notes: chosen.notes };
    if spec.into_schema.is_some() {
        // A copy has no foreign keys, and nobody needs to be told of it.
        return Ok(Committed { report, ..Committed::default() });
    }
    let (made, replaced) = (chosen.missing, chosen.live.names());
    Ok(Committed { report, made, replaced, contents })
}

async fn in_place<'c>(
    spec: &TablesSpec,
    ports: &PartPorts<'_>,
    contents: &'c Contents,
    family: &BTreeSet<Name>,
) -> Result<Chosen<'c>, Failure> {
    let live = Live::look(ports.site, &spec.database, family).await?;
    let there = live.names();
    let existing: BTreeSet<Name> = family.intersection(&there).cloned().collect();
    let missing: BTreeSet<Name> = family.difference(&there).cloned().collect();
    let with_rows = contents.tables_with_rows();
    let kept: BTreeSet<Name> =
        live.plain().filter(|name| existing.contains(name) && !with_rows.contains(name)).collect();
    if !kept.is_empty() {
        // Emptied they would be, and stay so.
        return Err(unfit(format!(
            "the backup has no rows of {}, which is there: nothing was touched. `--into-schema` makes it beside as it was",
            list(&kept)
        )));
    }
    let entries = in_order(contents, &existing, &missing)?;
    let mut notes = notes(&missing, &there, family);
    notes.extend(made_empty(contents, &missing));
    Ok(Chosen { live, missing, entries, relocation: None, notes })
}

/// What is said of tables that come back without rows.
fn made_empty(contents: &Contents, missing: &BTreeSet<Name>) -> Option<String> {
    let empty = contents.without_rows_of(missing);
    (!empty.is_empty())
        .then(|| format!("the backup has no rows of these, they are made empty: {}", list(&empty)))
}

fn notes(missing: &BTreeSet<Name>, there: &BTreeSet<Name>, family: &BTreeSet<Name>) -> Vec<String> {
    let mut notes = Vec::new();
    if !missing.is_empty() {
        notes.push(
            "views and functions that had been dropped with a table are not made again: `--into` a new database shows what they were"
                .to_owned(),
        );
    }
    let emptied: BTreeSet<Name> = there.difference(family).cloned().collect();
    if !emptied.is_empty() {
        notes.push(format!("partitions that the backup does not have are emptied: {}", list(&emptied)));
    }
    notes
}

/// What is put into the database, in an order that works: a new partition of a table that is there is attached when
/// it has its indexes, which it then shares instead of getting others.
fn in_order<'a>(
    contents: &'a Contents,
    existing: &BTreeSet<Name>,
    missing: &BTreeSet<Name>,
) -> Result<Vec<&'a Entry>, Failure> {
    let of_existing: BTreeSet<i64> =
        contents.of_tables(existing, Detail::Rows).iter().map(|entry| entry.id).collect();
    let of_missing: BTreeSet<i64> =
        contents.of_tables(missing, Detail::Everything).iter().map(|entry| entry.id).collect();
    let without_definition = missing.iter().find(|table| {
        !contents.entries.iter().any(|entry| {
            entry.kind() == "TABLE"
                && matches!(&entry.subject, Some(Subject::Relation(name)) if name == *table)
        })
    });
    if let Some(table) = without_definition {
        return Err(unfit(format!(
            "{table} is not there, and the backup holds rows without definitions: nothing was touched"
        )));
    }
    // Indexes of partitions whose parent is there find their place by themselves.
    let is_shared = |entry: &Entry| match &entry.subject {
        Some(Subject::Partition { parent, .. }) => !missing.contains(parent),
        _ => false,
    };
    let attached_later: BTreeSet<&Name> = contents
        .partitions()
        .filter(|(parent, child)| missing.contains(child) && !missing.contains(parent))
        .map(|(_, child)| child)
        .collect();
    let finds_its_place = |entry: &Entry| match &entry.subject {
        Some(Subject::PartOfPart { child, .. }) => {
            part_of(contents, child).is_some_and(|table| attached_later.contains(table))
        }
        _ => false,
    };
    let mut entries: Vec<&Entry> = contents
        .entries
        .iter()
        .filter(|entry| of_existing.contains(&entry.id) || of_missing.contains(&entry.id))
        .filter(|entry| !finds_its_place(entry) && !foreign_keys::is_comment_on(contents, entry))
        .collect();
    // Grants come last: before them everything has exactly its owner's rights. Sorting is stable.
    entries.sort_by_key(|entry| (entry.kind() == "ACL", is_shared(entry)));
    Ok(entries)
}

fn part_of<'a>(contents: &'a Contents, index: &Name) -> Option<&'a Name> {
    contents.entries.iter().find_map(|entry| match &entry.subject {
        Some(Subject::Part { part, table }) if part == index => Some(table),
        _ => None,
    })
}

/// The tables and sequences that these entries make.
fn made_by(entries: &[&Entry], missing: &BTreeSet<Name>) -> BTreeSet<Name> {
    let made = entries.iter().filter_map(|entry| match (&entry.subject, entry.kind()) {
        (Some(Subject::Relation(name)), "TABLE") if missing.contains(name) => Some(name.clone()),
        (Some(Subject::Relation(name) | Subject::Part { part: name, .. }), "SEQUENCE") => Some(name.clone()),
        _ => None,
    });
    made.collect()
}

/// Writes the entries into the transaction, `moved` as they are to be.
fn put(
    transaction: &mut Transaction,
    entries: &[&Entry],
    made: &BTreeSet<Name>,
    moved: impl Fn(&str) -> String,
) {
    let script = &mut transaction.script;
    let mut grants_follow = !made.is_empty();
    for entry in entries {
        if entry.kind() == "ACL" && std::mem::take(&mut grants_follow) {
            script.say(&without_grants(made));
        }
        let is_copy = entry.kind() == "TABLE DATA";
        // INSERT statements are all among the data.
        if !is_copy || entry.statements.starts_with("COPY ") {
            script.say(moved(&entry.statements).trim_end());
        }
        if is_copy && entry.data_bytes == 0 && !entry.statements.starts_with("INSERT ") {
            script.say("\\.");
        }
        script.data(entry);
        if let Some(owner) = owner(entry) {
            script.say(moved(&owner).trim_end());
        }
    }
    if grants_follow {
        script.say(&without_grants(made));
    }
}

/// Who owns what an archive's entry makes; a plain dump says it itself.
fn owner(entry: &Entry) -> Option<String> {
    let owner = Some(&entry.header.owner).filter(|owner| entry.owner_is_apart && !owner.is_empty())?;
    let (kind, name) = match (&entry.subject, entry.kind()) {
        (Some(Subject::Relation(name)), "TABLE") => ("TABLE", name),
        // That of an identity column goes with its table.
        (Some(Subject::Relation(name)), "SEQUENCE") => ("SEQUENCE", name),
        (Some(Subject::Part { part, .. }), "STATISTICS") => ("STATISTICS", part),
        _ => return None,
    };
    Some(format!("ALTER {kind} {} OWNER TO {};", name.sql(), quoted(owner)))
}

/// Takes the rights back that default privileges gave to what was just made: a dump's grants count from none.
fn without_grants(made: &BTreeSet<Name>) -> String {
    format!(
        "DO $supakeep$ DECLARE one record; BEGIN FOR one IN \
         SELECT DISTINCT c.oid::regclass AS relation, c.relkind AS kind, a.grantee FROM {} \
         JOIN pg_namespace n ON n.nspname = wanted.schema \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name, aclexplode(c.relacl) a \
         WHERE a.grantee <> c.relowner LOOP \
         EXECUTE format('REVOKE ALL ON %s %s FROM %s', CASE one.kind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, \
         one.relation, CASE one.grantee WHEN 0 THEN 'PUBLIC' ELSE one.grantee::regrole::text END); END LOOP; END $supakeep$;",
        super::live::values(made)
    )
}

/// What a copy of a table has: nothing that acts on other tables or tells anybody of its rows.
const OF_A_COPY: [&str; 15] = [
    "TABLE",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "DEFAULT",
    "TABLE DATA",
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TABLE ATTACH",
    "STATISTICS",
    "ROW SECURITY",
    "POLICY",
    "COMMENT",
];

async fn elsewhere<'c>(
    spec: &TablesSpec,
    ports: &PartPorts<'_>,
    contents: &'c Contents,
    family: BTreeSet<Name>,
    schema: &str,
) -> Result<Chosen<'c>, Failure> {
    let relocation = Relocation::new(contents, &family, schema);
    let moved: BTreeSet<Name> = family.iter().map(|name| relocation.of(name)).collect();
    if moved.len() < family.len() {
        return Err(unfit(
            "two of the tables have the same name in different schemas: restore them one by one",
        ));
    }
    let there = Live::look(ports.site, &spec.database, &moved).await?.names();
    if !there.is_empty() {
        return Err(unfit(format!("{} is there already: nothing was touched", list(&there))));
    }
    let mut entries = in_order(contents, &BTreeSet::new(), &family)?;
    entries.retain(|entry| {
        let is_foreign =
            matches!(&entry.subject, Some(Subject::Partition { parent, .. }) if !family.contains(parent));
        OF_A_COPY.contains(&entry.kind()) && !is_foreign && !is_of_trigger(entry)
    });
    let mut notes = vec![
        "the copy has rows, defaults, indexes, checks and policies; no foreign keys, triggers, rules, grants and publications"
            .to_owned(),
    ];
    notes.extend(made_empty(contents, &family));
    Ok(Chosen { live: Live::default(), missing: family, entries, relocation: Some(relocation), notes })
}

/// Comments on what a copy does not have.
fn is_of_trigger(entry: &Entry) -> bool {
    entry.kind() == "COMMENT"
        && ["COMMENT ON TRIGGER ", "COMMENT ON RULE ", "COMMENT ON CONSTRAINT "]
            .iter()
            .any(|begin| entry.statements.starts_with(begin))
}
