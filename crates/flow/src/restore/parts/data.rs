//! All rows and sequence values of a backup, into tables that are there.

use std::collections::BTreeSet;

use super::live::Live;
use super::plan::names;
use super::rows::Proof;
use super::transaction::{Committed, Transaction};
use super::{PartKind, PartPlan, PartPorts, PartsReport, list, unfit};
use crate::failure::Failure;
use crate::inspect::select::{Contents, Entry, Name, Subject};

/// What a restore of all rows would do.
pub async fn plan_data(
    database: &str,
    ports: PartPorts<'_>,
    contents: &Contents,
) -> Result<PartPlan, Failure> {
    ports
        .bounded(async {
            let mut plan = PartPlan::new(PartKind::Data, database);
            let looked = choose(database, &ports, contents).await;
            if let Some(chosen) = plan.unless_unfit(looked)? {
                (plan.replaces, plan.notes) = (names(&chosen.live.names()), chosen.notes);
            }
            Ok(plan)
        })
        .await
}

/// Replaces the rows of every table that the dump has rows of, in one transaction. Tables that the dump does
/// not have stay as they are.
pub async fn restore_data(
    database: &str,
    ports: PartPorts<'_>,
    contents: &Contents,
) -> Result<PartsReport, Failure> {
    let committed = ports.bounded(data(database, &ports, contents)).await?;
    Ok(committed.finish(&ports, database).await)
}

/// What is replaced, and by what.
struct Chosen<'c> {
    live: Live,
    entries: Vec<&'c Entry>,
    notes: Vec<String>,
}

async fn choose<'c>(
    database: &str,
    ports: &PartPorts<'_>,
    contents: &'c Contents,
) -> Result<Chosen<'c>, Failure> {
    let mut entries = contents.data();
    entries.retain(|entry| matches!(entry.kind(), "TABLE DATA" | "SEQUENCE SET"));
    let tables: BTreeSet<Name> = entries
        .iter()
        .filter(|entry| entry.kind() == "TABLE DATA")
        .filter_map(|entry| match &entry.subject {
            Some(Subject::Relation(name)) => Some(name.clone()),
            _ => None,
        })
        .collect();
    if tables.is_empty() {
        return Err(unfit("the backup has no rows: nothing was touched"));
    }
    let live = Live::look(ports.site, database, &tables).await?;
    let missing: BTreeSet<Name> = tables.difference(&live.names()).cloned().collect();
    if !missing.is_empty() {
        return Err(unfit(format!(
            "tables of the backup are not there: {}; nothing was touched. `--table` makes them",
            list(&missing)
        )));
    }
    let mut notes = vec![
        "the versions of the services' own schemas (schema_migrations and the like) stay as they are; large objects too".to_owned(),
    ];
    let all = contents.tables().into_iter().cloned().collect();
    let without: BTreeSet<Name> = contents.without_rows_of(&all);
    if !without.is_empty() {
        notes.push(format!("the backup has no rows of these, they stay as they are: {}", list(&without)));
    }
    Ok(Chosen { live, entries, notes })
}

async fn data(database: &str, ports: &PartPorts<'_>, contents: &Contents) -> Result<Committed, Failure> {
    let Chosen { live, entries, notes } = choose(database, ports, contents).await?;
    ports.source.check(entries.iter().map(|entry| entry.id)).await?;
    let mut transaction = Transaction::begin(&contents.preamble);
    transaction.script.say(&live.empty());
    for entry in &entries {
        if entry.statements.starts_with("COPY ") || entry.kind() == "SEQUENCE SET" {
            transaction.script.say(entry.statements.trim_end());
        }
        transaction.script.data(entry);
    }
    transaction.script.say(&live.as_before());
    let mut proof = Proof::of(&entries, ports.recorded, Name::clone, |_| false, |text| text.to_owned());
    transaction.commit(ports, database, &mut proof).await?;
    let report = PartsReport { tables: proof.reports(), violations: Vec::new(), notes };
    Ok(Committed { report, replaced: live.names(), ..Committed::default() })
}
