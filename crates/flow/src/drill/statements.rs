//! Roles, and what makes a database, compared statement by statement with the backup's own.

use std::collections::BTreeMap;

use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::manifest::{DatabaseRecord, Manifest};

use super::RolesReport;
use crate::failure::Failure;
use crate::inspect::sql::{CreateStatements, name_after, statements};
use crate::ports::{DumpKind, DumpRequest, Repository, Site};
use crate::restore::{SERVICE_ROLES, ask, files, is_own_setting, small, without_password};

/// The longest dump of roles that is read into memory.
const MAX_GLOBALS: usize = 64 << 20;

/// A statement as it is compared, and how often it occurs.
type Bag = BTreeMap<String, usize>;

fn bag(text: &str, canonical: impl Fn(String) -> Option<String>) -> Bag {
    let mut out = Bag::new();
    for statement in statements(text) {
        let statement = String::from_utf8_lossy(&statement).trim().to_owned();
        if let Some(statement) = canonical(statement) {
            *out.entry(statement).or_default() += 1;
        }
    }
    out
}

/// What `this` has more of than `other`.
fn beyond(this: &Bag, other: &Bag) -> Vec<String> {
    let more = |(statement, count): &(&String, &usize)| other.get(*statement).copied().unwrap_or(0) < **count;
    this.iter().filter(more).map(|(statement, _)| statement.clone()).collect()
}

/// Compares roles, memberships and settings of roles. The passwords of a stack's own services are its own.
pub(super) async fn roles(
    manifest: &Manifest,
    repository: &dyn Repository,
    site: &dyn Site,
) -> Result<RolesReport, Failure> {
    let artifact = manifest.artifacts.iter().find(|artifact| artifact.part == Part::Globals);
    let artifact =
        artifact.ok_or_else(|| Failure::new(Code::ManifestDamaged, "the backup has no file with roles"))?;
    let own: Vec<String> = ask(site, "template1", SERVICE_ROLES).await?;
    let canonical = |statement: String| {
        let is_own = name_after(&statement, "ALTER ROLE ").is_some_and(|role| own.contains(&role));
        Some(if is_own { without_password(&statement) } else { statement })
    };
    let recorded = bag(&small(manifest, repository, artifact).await?, canonical);
    let found = bag(&dumped_roles(site).await?, canonical);
    let shown = |statement: String| without_password(&statement);
    let differences = beyond(&recorded, &found).into_iter().map(|what| format!("not there: {}", shown(what)));
    Ok(RolesReport {
        statements: recorded.values().sum::<usize>() as u64,
        differences: differences.collect(),
        beyond: beyond(&found, &recorded).into_iter().map(shown).collect(),
    })
}

async fn dumped_roles(site: &dyn Site) -> Result<String, Failure> {
    let mut stream = site.server().globals().await?;
    let mut out = Vec::new();
    while let Some(bytes) = stream.next().await? {
        if out.len() + bytes.len() > MAX_GLOBALS {
            return Err(Failure::new(Code::StreamCorrupt, "the dump of roles is too long to be one"));
        }
        out.extend_from_slice(&bytes);
    }
    stream.finish().await?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Compares owner, locale, grants and settings of a database, in both directions, but for the settings
/// that belong to a stack's own `.env`.
pub(super) async fn of_database(
    manifest: &Manifest,
    database: &DatabaseRecord,
    repository: &dyn Repository,
    site: &dyn Site,
) -> Result<Vec<String>, Failure> {
    let Some(file) = files(manifest, Part::Create, &database.name).first().copied() else {
        return Ok(Vec::new());
    };
    let canonical = |statement: String| (!is_own_setting(&statement)).then_some(statement);
    let recorded = bag(&small(manifest, repository, file).await?, canonical);
    let found = bag(&made_by(manifest, &database.name, site).await?, canonical);
    let missing = beyond(&recorded, &found).into_iter().map(|what| format!("not there: {what}"));
    let added = beyond(&found, &recorded).into_iter().map(|what| format!("not in the record: {what}"));
    Ok(missing.chain(added).collect())
}

async fn made_by(manifest: &Manifest, database: &str, site: &dyn Site) -> Result<String, Failure> {
    let mut snapshot = site.server().snapshot(database).await?;
    let spec = &manifest.head.dump;
    let request = DumpRequest { spec, kind: DumpKind::Create, source_compression: Compression::None };
    let mut stream = snapshot.dump(request).await?;
    let mut picked = CreateStatements::default();
    while let Some(bytes) = stream.next().await? {
        picked.push(&bytes)?;
    }
    stream.finish().await?;
    snapshot.close().await?;
    Ok(String::from_utf8_lossy(&picked.finish(database)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Bag {
        bag(text, Some)
    }

    #[test]
    fn order_does_not_count_and_what_is_missing_is_named() {
        let recorded = of("CREATE ROLE a;\nCREATE ROLE b;\nGRANT a TO b;\n");
        assert_eq!(
            beyond(&recorded, &of("GRANT a TO b;\nCREATE ROLE b;\n\nCREATE ROLE a;")),
            Vec::<String>::new()
        );
        assert_eq!(beyond(&recorded, &of("CREATE ROLE b;\nCREATE ROLE a;")), ["GRANT a TO b;"]);
    }

    #[test]
    fn two_of_one_kind_are_not_one() {
        assert_eq!(beyond(&of("GRANT a TO b;GRANT a TO b;"), &of("GRANT a TO b;")), ["GRANT a TO b;"]);
    }
}
