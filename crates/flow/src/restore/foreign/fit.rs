//! What can be known before a file is restored: what it needs and the server does not have, and what is
//! there and not in it.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::ForeignSpec;
use crate::failure::Failure;
use crate::inspect::select::{Contents, Name};
use crate::ports::Site;
use crate::restore::ask::ask;
use crate::restore::databases::names;
use crate::restore::literal;
use crate::restore::plan::major;

/// The most tables that are named.
const MOST_NAMES: usize = 10;

/// Tables of people and services: neither the server's own nor an extension's.
const TABLES: &str = "SELECT coalesce(json_agg(json_build_array(nspname, relname) ORDER BY nspname, relname), '[]') \
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
WHERE relkind IN ('r', 'p') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' \
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

#[derive(Debug, Deserialize)]
struct Lacking {
    missing_roles: Vec<String>,
    missing_extensions: Vec<String>,
}

/// Why it would fail in the middle, with the old database gone already.
pub(super) async fn problems(contents: &Contents, site: &dyn Site) -> Result<Vec<String>, Failure> {
    let entries = &contents.entries;
    let owners: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry.header.owner.as_str())
        .filter(|owner| !matches!(*owner, "" | "-"))
        .collect();
    let extensions = entries.iter().filter(|entry| entry.kind() == "EXTENSION");
    let extensions: BTreeSet<&str> = extensions.map(|entry| entry.header.name.as_str()).collect();
    let query = format!(
        "SELECT json_build_object('missing_roles', ({}), 'missing_extensions', ({}))",
        missing(&owners, "SELECT rolname FROM pg_roles"),
        missing(&extensions, "SELECT name FROM pg_available_extensions")
    );
    let lacking: Lacking = ask(site, "template1", &query).await?;
    let mut out = Vec::new();
    for (what, names) in [("roles", lacking.missing_roles), ("extensions", lacking.missing_extensions)] {
        if !names.is_empty() {
            out.push(format!("the file needs {what} that the server does not have: {}", names.join(", ")));
        }
    }
    out.extend(newer(&contents.dumped_by, &site.server().facts().record.server_version));
    Ok(out)
}

/// Those of the names that the query `there` does not find.
fn missing(names: &BTreeSet<&str>, there: &str) -> String {
    let names: Vec<_> = names.iter().map(|name| literal(name)).collect();
    format!(
        "SELECT coalesce(json_agg(wanted ORDER BY wanted), '[]') FROM unnest(ARRAY[{}]::text[]) AS wanted \
         WHERE wanted NOT IN ({there})",
        names.join(", ")
    )
}

/// What a newer pg_dump has written an older server's programs cannot read to its end.
fn newer(dumped_by: &str, server_version: &str) -> Option<String> {
    let number = |version: &str| major(version).parse::<u32>().ok();
    (number(dumped_by)? > number(server_version)?).then(|| {
        format!("the file was made by pg_dump {dumped_by}, and the server is PostgreSQL {server_version}")
    })
}

/// Tables that are there and that the file does not have: a dump of one schema is no dump of the database.
pub(super) async fn losses(
    spec: &ForeignSpec<'_>,
    contents: &Contents,
    site: &dyn Site,
) -> Result<Vec<String>, Failure> {
    if spec.half.is_some() || !names(site).await?.contains(spec.database) {
        return Ok(Vec::new());
    }
    let there: Vec<(String, String)> = ask(site, spec.database, TABLES).await?;
    let there = there.iter().map(|(schema, name)| Name::new(schema, name));
    let kept = contents.tables();
    let lost: Vec<_> = there.filter(|name| !kept.contains(name)).collect();
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let shown: Vec<_> = lost.iter().take(MOST_NAMES).map(|name| name.to_string()).collect();
    let more = if lost.len() > shown.len() { ", …" } else { "" };
    Ok(vec![format!(
        "WILL BE LOST: {} tables that are there and that the file does not have: {}{more}",
        lost.len(),
        shown.join(", ")
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_major_version_is_too_new() {
        assert_eq!(newer("15.8 (Debian 15.8-1)", "15.6"), None);
        assert_eq!(newer("14.1", "15.6"), None);
        assert_eq!(newer("", "15.6"), None, "nothing is known");
        let said = newer("17.6 (Debian 17.6-1)", "15.6").expect("it is newer");
        assert!(said.contains("pg_dump 17.6"), "{said}");
    }

    #[test]
    fn names_are_asked_for_as_text() {
        let query = missing(&BTreeSet::from(["o'brien", "a"]), "SELECT 1");
        assert!(query.contains("ARRAY['a', 'o''brien']::text[]"), "{query}");
    }
}
