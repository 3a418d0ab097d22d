//! All definitions of a database, and the rows of some of its tables, into a database that was just made.
//!
//! The definitions come first, and in them foreign keys, which hold as long as there are no rows. The rows
//! come after them without a word to any foreign key or trigger: what they refer to is not there.

use std::collections::BTreeSet;

use supakeep_model::dump::Format;

use super::live::{Live, values};
use super::rows::Proof;
use super::transaction::Transaction;
use super::{BesideSpec, Leave, PartPorts, beside};
use crate::failure::Failure;
use crate::inspect::select::{Contents, Entry, Name, Subject};

/// Makes what the dump defines, sequences with their values among it. A materialized view is not filled, since
/// what it reads is not there, and counts as filled, since its definition says so.
pub(crate) async fn restore_definitions(
    database: &str,
    ports: &PartPorts<'_>,
    contents: &Contents,
    jobs: usize,
) -> Result<(), Failure> {
    let spec = BesideSpec::unknown(database, Leave::Rows, jobs);
    let out = content(contents);
    let source = ports.source.definitions()?;
    let ports = PartPorts { source: &source, ..*ports };
    match source.format {
        Format::Plain => beside::plain(&spec, &ports, contents, &out, &[]).await?,
        Format::Custom | Format::Directory => beside::archive(&spec, &ports, contents, &out, &[]).await?,
    }
    let filled = filled_views(contents);
    if !filled.is_empty() {
        ports.site.sql(database, &call_filled(&filled)).await?;
    }
    Ok(())
}

/// Rows of tables, the bytes of large objects, and what fills materialized views. That a large object is
/// there, and whose it is, are definitions.
fn content(contents: &Contents) -> BTreeSet<i64> {
    let is_content =
        |entry: &&Entry| matches!(entry.kind(), "TABLE DATA" | "BLOBS" | "MATERIALIZED VIEW DATA");
    contents.entries.iter().filter(is_content).map(|entry| entry.id).collect()
}

fn filled_views(contents: &Contents) -> BTreeSet<Name> {
    let views = contents.entries.iter().filter(|entry| entry.kind() == "MATERIALIZED VIEW DATA");
    views.map(|entry| Name::new(entry.header.schema.clone(), entry.header.name.clone())).collect()
}

/// In the header of an entry a line end of a name is a blank.
fn call_filled(views: &BTreeSet<Name>) -> String {
    format!(
        "UPDATE pg_class SET relispopulated = true FROM pg_namespace n, {} \
         WHERE relkind = 'm' AND n.oid = relnamespace AND translate(n.nspname, E'\\n\\r', '  ') = wanted.schema \
         AND translate(relname, E'\\n\\r', '  ') = wanted.name",
        values(views)
    )
}

/// Puts the rows of `tables` beside what is in them already.
pub(crate) async fn restore_rows(
    database: &str,
    ports: &PartPorts<'_>,
    contents: &Contents,
    tables: &BTreeSet<Name>,
) -> Result<(), Failure> {
    let entries = rows_of(contents, tables);
    if entries.is_empty() {
        return Ok(());
    }
    ports.source.check(entries.iter().map(|entry| entry.id)).await?;
    let live = Live::look(ports.site, database, tables).await?;
    let mut transaction = Transaction::begin(&contents.preamble);
    transaction.script.say(&live.let_in());
    for entry in &entries {
        let is_copy = entry.statements.starts_with("COPY ");
        if is_copy {
            transaction.script.say(entry.statements.trim_end());
        }
        if is_copy && entry.data_bytes == 0 {
            transaction.script.say("\\.");
        }
        transaction.script.data(entry);
    }
    transaction.script.say(&live.as_before());
    // They are compared later, together with the definitions.
    let mut nothing = Proof::of(&[], None, Name::clone, |_| false, str::to_owned);
    transaction.commit(ports, database, &mut nothing).await
}

fn rows_of<'c>(contents: &'c Contents, tables: &BTreeSet<Name>) -> Vec<&'c Entry> {
    let is_wanted = |entry: &&Entry| {
        entry.kind() == "TABLE DATA"
            && matches!(&entry.subject, Some(Subject::Relation(name)) if tables.contains(name))
    };
    contents.entries.iter().filter(is_wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::select::Header;

    fn entry(id: i64, kind: &str, name: &str) -> Entry {
        let header =
            Header { kind: kind.into(), name: name.into(), schema: "public".into(), ..Header::default() };
        let subject = (kind == "TABLE DATA").then(|| Subject::Relation(Name::new("public", name)));
        Entry { id, header, subject, ..Entry::default() }
    }

    fn contents() -> Contents {
        let kinds = [
            "TABLE",
            "SEQUENCE SET",
            "TABLE DATA",
            "BLOB METADATA",
            "BLOBS",
            "FK CONSTRAINT",
            "MATERIALIZED VIEW DATA",
        ];
        let entries = kinds.iter().zip(1..).map(|(kind, id)| entry(id, kind, &format!("n{id}"))).collect();
        Contents { entries, ..Contents::default() }
    }

    #[test]
    fn only_content_is_left_out() {
        assert_eq!(content(&contents()), BTreeSet::from([3, 5, 7]));
    }

    #[test]
    fn only_the_rows_of_the_sample_are_taken() {
        let ids = |name: &str| {
            let tables = BTreeSet::from([Name::new("public", name)]);
            rows_of(&contents(), &tables).iter().map(|entry| entry.id).collect::<Vec<_>>()
        };
        assert_eq!((ids("n3"), ids("n1")), (vec![3], vec![]));
    }

    #[test]
    fn views_that_were_filled_count_as_filled() {
        let views = filled_views(&contents());
        assert_eq!(views, BTreeSet::from([Name::new("public", "n7")]));
        assert!(call_filled(&views).contains("(VALUES ('public', 'n7')) AS wanted(schema, name)"));
    }
}
