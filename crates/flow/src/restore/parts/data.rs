//! All rows and sequence values of a backup, into tables that are there.

use std::collections::BTreeSet;

use super::live::Live;
use super::rows::Proof;
use super::transaction::{Committed, Transaction};
use super::{PartPorts, PartsReport, list, unfit};
use crate::failure::Failure;
use crate::inspect::select::{Entry, Name, Subject};

/// Replaces the rows of every table that the dump has rows of, in one transaction. Tables that the dump does
/// not have stay as they are.
pub async fn restore_data(database: &str, ports: PartPorts<'_>) -> Result<PartsReport, Failure> {
    let committed = ports.bounded(data(database, &ports)).await?;
    Ok(committed.finish(&ports, database).await)
}

async fn data(database: &str, ports: &PartPorts<'_>) -> Result<Committed, Failure> {
    let contents = ports.source.survey().await?;
    let entries: Vec<&Entry> = contents
        .data()
        .into_iter()
        .filter(|entry| matches!(entry.kind(), "TABLE DATA" | "SEQUENCE SET"))
        .collect();
    let tables: BTreeSet<Name> = entries
        .iter()
        .filter(|entry| entry.kind() == "TABLE DATA")
        .filter_map(|entry| match &entry.subject {
            Some(Subject::Relation(name)) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let live = Live::look(ports.site, database, &tables).await?;
    let there = live.names();
    let missing: BTreeSet<Name> = tables.difference(&there).cloned().collect();
    if !missing.is_empty() {
        return Err(unfit(format!(
            "tables of the backup are not there: {}; nothing was touched. `--table` makes them",
            list(&missing)
        )));
    }
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
    let notes = vec![
        "the versions of the services' own schemas (schema_migrations and the like) stay as they are; large objects too".to_owned(),
    ];
    let report = PartsReport { tables: proof.reports(), violations: Vec::new(), notes };
    Ok(Committed { report, replaced: there, ..Committed::default() })
}
