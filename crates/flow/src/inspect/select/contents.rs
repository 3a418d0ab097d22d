//! What a dump holds, and what of it belongs together.

use std::collections::BTreeSet;
use std::ops::Range;

use super::entry::Entry;
use super::name::Name;
use super::subject::Subject;

/// The table of contents of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// The entries, in the dump's order.
    pub entries: Vec<Entry>,
    /// What is said before the first entry: settings such as the encoding.
    pub preamble: String,
    /// In a plain dump, what belongs to no entry and to all: settings, and the file's beginning and end.
    pub settings: Vec<Range<u64>>,
    /// Length of the whole, before compression.
    pub bytes: u64,
    /// The version of the `pg_dump` that made it, where the dump says so: `17.6 (Debian 17.6-1)`.
    pub dumped_by: String,
}

/// How much of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What makes it, and its rows.
    Everything,
    /// Rows and the values of its sequences.
    Rows,
}

/// What a database beside the live one does without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// The entries' numbers.
    pub ids: BTreeSet<i64>,
    /// How many definitions they have.
    pub definitions: u64,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Schemas that services, or the command line tool's migrations, make and change by themselves.
const SERVICE_SCHEMAS: [&str; 8] = [
    "_analytics",
    "_realtime",
    "_supavisor",
    "auth",
    "realtime",
    "storage",
    "supabase_functions",
    "supabase_migrations",
];
/// Tables of theirs by which they know which version a schema is at: their rows belong to the definitions
/// beside them.
const MIGRATIONS: [&str; 2] = ["schema_migrations", "migrations"];

impl Contents {
    /// Its tables.
    pub fn tables(&self) -> BTreeSet<&Name> {
        let of_kind = self.entries.iter().filter(|entry| matches!(entry.kind(), "TABLE" | "TABLE DATA"));
        of_kind
            .filter_map(|entry| match &entry.subject {
                Some(Subject::Relation(name)) => Some(name),
                _ => None,
            })
            .collect()
    }

    /// The tables that it has rows of. One that was empty is among them: it has an entry for its rows all the
    /// same, unless the dump was made without them.
    pub fn tables_with_rows(&self) -> BTreeSet<&Name> {
        self.relations("TABLE DATA").map(|(name, _)| name).collect()
    }

    /// Those of these tables that the dump was made without the rows of.
    pub fn without_rows_of(&self, tables: &BTreeSet<Name>) -> BTreeSet<Name> {
        let with_rows = self.tables_with_rows();
        let partitioned: BTreeSet<&Name> = self
            .relations("TABLE")
            .filter(|(_, entry)| entry.makes_a_partitioned_table())
            .map(|(name, _)| name)
            .collect();
        let is_without = |name: &&Name| !with_rows.contains(*name) && !partitioned.contains(*name);
        tables.iter().filter(is_without).cloned().collect()
    }

    fn relations<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a Name, &'a Entry)> {
        self.entries.iter().filter(move |entry| entry.kind() == kind).filter_map(|entry| {
            match &entry.subject {
                Some(Subject::Relation(name)) => Some((name, entry)),
                _ => None,
            }
        })
    }

    /// The tables that are meant, with all partitions of those that are partitioned. An error names
    /// those that the dump does not have.
    pub fn family(&self, wanted: &[Name]) -> Result<BTreeSet<Name>, String> {
        let there = self.tables();
        let missing: Vec<_> = wanted.iter().filter(|name| !there.contains(name)).collect();
        if let Some(first) = missing.first() {
            let alike = there.iter().find(|name| {
                name.name.to_lowercase() == first.name.to_lowercase() || name.name == first.name
            });
            let hint = alike.map(|name| format!("; it has {}", name.sql())).unwrap_or_default();
            let names: Vec<_> = missing.iter().map(|name| name.sql()).collect();
            return Err(format!("the backup has no table {}{hint}", names.join(", ")));
        }
        let mut family: BTreeSet<Name> = wanted.iter().cloned().collect();
        loop {
            let more: Vec<_> = self
                .partitions()
                .filter(|(parent, child)| family.contains(parent) && !family.contains(child))
                .map(|(_, child)| child.clone())
                .collect();
            if more.is_empty() {
                return Ok(family);
            }
            family.extend(more);
        }
    }

    /// Every partition, after its parent.
    pub fn partitions(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.entries.iter().filter_map(|entry| match &entry.subject {
            Some(Subject::Partition { parent, child }) => Some((parent, child)),
            _ => None,
        })
    }

    /// The entries of these tables, in the dump's order. Foreign keys are not among them.
    pub fn of_tables(&self, family: &BTreeSet<Name>, detail: Detail) -> Vec<&Entry> {
        let sequences = self.sequences(family);
        let mut parts: BTreeSet<&Name> = sequences.iter().copied().collect();
        parts.extend(self.entries.iter().filter_map(|entry| match &entry.subject {
            Some(Subject::Part { part, table }) if family.contains(table) => Some(part),
            _ => None,
        }));
        let belongs = |entry: &&Entry| match (&entry.subject, entry.kind()) {
            (Some(Subject::Relation(table)), "TABLE DATA") => family.contains(table),
            (Some(Subject::Relation(sequence)), "SEQUENCE SET") => sequences.contains(sequence),
            _ if detail == Detail::Rows => false,
            (Some(Subject::Relation(name)), _) => family.contains(name) || parts.contains(name),
            (Some(Subject::Part { table, .. } | Subject::OwnedBy { table, .. }), _) => family.contains(table),
            (Some(Subject::Partition { child, .. }), _) => family.contains(child),
            (Some(Subject::PartOfPart { child, .. }), _) => parts.contains(child),
            (Some(Subject::ForeignKey { .. }) | None, _) => false,
        };
        self.entries.iter().filter(belongs).collect()
    }

    /// The sequences that go with these tables.
    pub fn sequences(&self, family: &BTreeSet<Name>) -> BTreeSet<&Name> {
        let of_it = |entry: &'_ Entry| entry.kind() == "SEQUENCE" || entry.kind() == "SEQUENCE OWNED BY";
        self.entries
            .iter()
            .filter(|entry| of_it(entry))
            .filter_map(|entry| match &entry.subject {
                Some(Subject::OwnedBy { sequence: part, table } | Subject::Part { part, table })
                    if family.contains(table) =>
                {
                    Some(part)
                }
                _ => None,
            })
            .collect()
    }

    /// The foreign keys that these tables have.
    pub fn foreign_keys_of(&self, family: &BTreeSet<Name>) -> Vec<&Entry> {
        self.foreign_keys(|table, _| family.contains(table))
    }

    /// The foreign keys of other tables that refer to these.
    pub fn foreign_keys_to(&self, family: &BTreeSet<Name>) -> Vec<&Entry> {
        self.foreign_keys(|table, references| !family.contains(table) && family.contains(references))
    }

    fn foreign_keys(&self, wanted: impl Fn(&Name, &Name) -> bool) -> Vec<&Entry> {
        let is_wanted = |entry: &&Entry| match &entry.subject {
            Some(Subject::ForeignKey { table, references }) => wanted(table, references),
            _ => false,
        };
        self.entries.iter().filter(is_wanted).collect()
    }

    /// Rows, sequence values and large objects. What tells a service which version its own schema has is
    /// left out.
    pub fn data(&self) -> Vec<&Entry> {
        let is_data = |entry: &&Entry| match entry.kind() {
            "TABLE DATA" => !matches!(&entry.subject, Some(Subject::Relation(name)) if is_migrations(name)),
            "SEQUENCE SET" => true,
            _ => is_large_object(entry),
        };
        self.entries.iter().filter(is_data).collect()
    }

    /// What only one database of a server can hold, or what would do harm in a second one.
    pub fn left_out_beside(&self) -> LeftOut {
        let mut out = LeftOut::default();
        let has_cron = self.entries.iter().any(is_pg_cron);
        let (mut cron, mut subscriptions) = (false, false);
        for entry in &self.entries {
            let (is_cron, is_subscription) = (has_cron && is_of_cron(entry), is_of_subscription(entry));
            cron |= is_cron;
            subscriptions |= is_subscription;
            if is_cron || is_subscription || is_of_the_database(entry) {
                out.ids.insert(entry.id);
                out.definitions += entry.definitions;
            }
        }
        if cron {
            out.notes.push(
                "pg_cron and its jobs are left out: they can be in one database of a server only".to_owned(),
            );
        }
        if subscriptions {
            out.notes.push("subscriptions are left out: two would take from one slot".to_owned());
        }
        out
    }

    /// Everything but definitions.
    pub fn without_rows(&self) -> BTreeSet<i64> {
        let is_data = |entry: &&Entry| {
            matches!(entry.kind(), "TABLE DATA" | "SEQUENCE SET" | "MATERIALIZED VIEW DATA")
                || is_large_object(entry)
        };
        self.entries.iter().filter(is_data).map(|entry| entry.id).collect()
    }

    /// Where the bytes of a plain dump are without the entries in `out`, in order and joined.
    pub fn extents_without(&self, out: &BTreeSet<i64>) -> Vec<Range<u64>> {
        let kept = self.entries.iter().filter(|entry| !out.contains(&entry.id));
        let mut extents: Vec<_> =
            kept.flat_map(|entry| entry.extents.clone()).chain(self.settings.clone()).collect();
        extents.sort_by_key(|extent| extent.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for extent in extents {
            match joined.last_mut() {
                Some(last) if last.end == extent.start => last.end = extent.end,
                _ => joined.push(extent),
            }
        }
        joined
    }
}

fn is_migrations(name: &Name) -> bool {
    SERVICE_SCHEMAS.contains(&name.schema.as_str()) && MIGRATIONS.contains(&name.name.as_str())
}

/// Large objects, and what is said of them.
pub(crate) fn is_large_object(entry: &Entry) -> bool {
    match entry.kind() {
        "BLOB" | "BLOBS" | "BLOB METADATA" => true,
        "ACL" | "COMMENT" | "SECURITY LABEL" => entry.header.name.starts_with("LARGE OBJECT"),
        _ => false,
    }
}

fn is_pg_cron(entry: &Entry) -> bool {
    entry.kind() == "EXTENSION" && entry.header.name == "pg_cron"
}

fn is_of_cron(entry: &Entry) -> bool {
    let header = &entry.header;
    header.schema == "cron"
        || is_pg_cron(entry)
        || match header.kind.as_str() {
            "SCHEMA" => header.name == "cron",
            "ACL" | "COMMENT" | "SECURITY LABEL" => {
                header.schema.is_empty()
                    && matches!(header.name.as_str(), "EXTENSION pg_cron" | "SCHEMA cron")
            }
            _ => false,
        }
}

/// What is said of the database itself, which an archive has and a plain dump has not.
fn is_of_the_database(entry: &Entry) -> bool {
    let header = &entry.header;
    matches!(header.kind.as_str(), "ACL" | "COMMENT" | "SECURITY LABEL")
        && header.schema.is_empty()
        && header.name.starts_with("DATABASE ")
}

fn is_of_subscription(entry: &Entry) -> bool {
    let header = &entry.header;
    match header.kind.as_str() {
        "SUBSCRIPTION" | "SUBSCRIPTION TABLE" => true,
        "COMMENT" | "SECURITY LABEL" => header.name.starts_with("SUBSCRIPTION "),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::select::Header;

    fn entry(kind: &str, schema: &str, name: &str, statements: &str) -> Entry {
        let header = Header { kind: kind.to_owned(), ..Header::default() };
        let subject = Some(Subject::Relation(Name::new(schema, name)));
        Entry { header, subject, statements: statements.to_owned(), ..Entry::default() }
    }

    #[test]
    fn what_services_know_their_versions_by_is_no_data() {
        let rows = |schema: &str, name: &str| entry("TABLE DATA", schema, name, "");
        let kept = [rows("public", "migrations"), rows("public", "schema_migrations"), rows("auth", "users")];
        let left_out = [
            rows("auth", "schema_migrations"),
            rows("storage", "migrations"),
            rows("realtime", "schema_migrations"),
            rows("_realtime", "schema_migrations"),
            rows("_analytics", "schema_migrations"),
            rows("_supavisor", "schema_migrations"),
            rows("supabase_functions", "migrations"),
            rows("supabase_migrations", "schema_migrations"),
        ];
        let entries = kept.iter().chain(&left_out).cloned().collect();
        let contents = Contents { entries, ..Contents::default() };
        assert_eq!(contents.data(), kept.iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_table_without_an_entry_for_its_rows_was_dumped_without_them() {
        let tables = ["empty", "excluded", "parts"].map(|name| Name::new("public", name));
        let parts = "CREATE TABLE public.parts (\n    id integer\n)\nPARTITION BY LIST (id);\n";
        let entries = vec![
            entry("TABLE", "public", "empty", "CREATE TABLE public.empty (\n);\n"),
            entry("TABLE", "public", "excluded", "CREATE TABLE public.excluded (\n);\n"),
            entry("TABLE", "public", "parts", parts),
            entry("TABLE DATA", "public", "empty", "COPY public.empty FROM stdin;\n"),
        ];
        let contents = Contents { entries, ..Contents::default() };
        let without = contents.without_rows_of(&tables.iter().cloned().collect());
        assert_eq!(without, BTreeSet::from([tables[1].clone()]));
    }
}
