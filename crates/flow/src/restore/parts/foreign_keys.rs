//! Foreign keys of tables that were restored, and to them.
//!
//! The rows beside a restored table are of another time. A table that comes back must not be refused for that,
//! so foreign keys come after its rows, each by itself, and those that do not hold are told.

use std::collections::BTreeSet;

use supakeep_model::code::Code;

use super::live::{constraints, orphans};
use crate::failure::Failure;
use crate::inspect::select::{Contents, Entry, Name, Subject};
use crate::inspect::sql::{name_after, statements};
use crate::ports::Site;

/// What is tried, without a trigger or event trigger being fired by it.
const QUIET: &str = "SET session_replication_role = replica;\nSET lock_timeout = '60s';\nSET check_function_bodies = false;\n";

/// Makes the foreign keys of the tables that were made, and those of other tables to them which went with the
/// tables that were there before. Returns what could not be made.
pub(super) async fn make(
    site: &dyn Site,
    database: &str,
    contents: &Contents,
    made: &BTreeSet<Name>,
) -> Result<Vec<String>, Failure> {
    let mut wanted = contents.foreign_keys_of(made);
    wanted.extend(contents.foreign_keys_to(made));
    let tables: BTreeSet<Name> = wanted.iter().filter_map(|entry| table(entry).cloned()).collect();
    let there = constraints(site, database, &tables).await?;
    let mut violations = Vec::new();
    for entry in wanted {
        let Some(keys) = table(entry).and_then(|table| there.get(table)) else { continue };
        if constraint(&entry.statements).is_some_and(|name| keys.contains(&name)) {
            continue;
        }
        let comment = comment(contents, entry);
        match site.sql(database, &format!("{QUIET}{}{comment}", entry.statements)).await {
            Ok(_) => {}
            Err(error) if error.code == Code::RestoreFailed => {
                violations.push(format!("{} was not made: {}", entry.title(), error.message.trim()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(violations)
}

/// Which foreign keys of these tables, or to them, do not hold.
pub(super) async fn check(
    site: &dyn Site,
    database: &str,
    replaced: &BTreeSet<Name>,
) -> Result<Vec<String>, Failure> {
    if replaced.is_empty() {
        return Ok(Vec::new());
    }
    let found = site.sql(database, &orphans(replaced)).await?;
    Ok(found.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// What is said of the foreign key.
fn comment(contents: &Contents, key: &Entry) -> String {
    let is_about = |entry: &&Entry| {
        comments_on(entry).is_some()
            && comments_on(entry) == constraint(&key.statements)
            && matches!(&entry.subject, Some(Subject::Relation(name)) if Some(name) == table(key))
    };
    contents.entries.iter().filter(is_about).map(|entry| format!("\n{}", entry.statements)).collect()
}

/// The constraint that an entry comments on.
fn comments_on(entry: &Entry) -> Option<String> {
    name_after(&entry.statements, "COMMENT ON CONSTRAINT ").filter(|_| entry.kind() == "COMMENT")
}

/// Whether the entry says something of a foreign key of these.
pub(super) fn is_comment_on(contents: &Contents, entry: &Entry) -> bool {
    comments_on(entry).is_some_and(|name| {
        contents.entries.iter().any(|key| {
            constraint(&key.statements).as_ref() == Some(&name)
                && matches!((table(key), &entry.subject), (Some(table), Some(Subject::Relation(of))) if table == of)
        })
    })
}

fn table(entry: &Entry) -> Option<&Name> {
    match &entry.subject {
        Some(Subject::ForeignKey { table, .. }) => Some(table),
        _ => None,
    }
}

/// The constraint's name, in `ALTER TABLE … ADD CONSTRAINT name FOREIGN KEY`.
fn constraint(text: &str) -> Option<String> {
    let statement = statements(text).into_iter().next()?;
    let statement = String::from_utf8_lossy(&statement).into_owned();
    let at = statement.find("\n    ADD CONSTRAINT ")?;
    name_after(&statement[at..], "\n    ADD CONSTRAINT ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_has_its_name_from_the_statement() {
        let text = "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT \"a ADD CONSTRAINT \"\"b\" FOREIGN KEY (x) REFERENCES public.r(id);\n";
        assert_eq!(constraint(text).as_deref(), Some("a ADD CONSTRAINT \"b"));
    }
}
