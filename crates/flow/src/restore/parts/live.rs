//! What of the tables that are restored is there already.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use supakeep_model::code::Code;

use crate::failure::Failure;
use crate::inspect::select::{Name, quoted};
use crate::ports::Site;
use crate::restore::{ask, literal};

/// A table that is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct LiveTable {
    schema: String,
    name: String,
    /// `pg_class.relkind`.
    kind: char,
    /// Triggers that fire whatever the session's role is, with their mode.
    triggers: Vec<(String, char)>,
    /// Checks that rows may fail which are older than them: name, definition and comment.
    unchecked: Vec<(String, String, Option<String>)>,
    /// Whether rows of tables beside these refer to it.
    is_referenced: bool,
}

impl LiveTable {
    /// Its name.
    pub(super) fn name(&self) -> Name {
        Name::new(self.schema.clone(), self.name.clone())
    }

    fn is_partitioned(&self) -> bool {
        self.kind == 'p'
    }

    /// As a statement names it: with its partitions, and without tables that inherit from it.
    fn itself(&self) -> String {
        let only = if self.is_partitioned() { "" } else { "ONLY " };
        format!("{only}{}", self.name().sql())
    }
}

/// The tables that are there, of those that are restored, and partitions of them that the backup does not have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Live {
    pub(super) tables: Vec<LiveTable>,
}

impl Live {
    /// Looks for these tables and all their partitions.
    pub(crate) async fn look(
        site: &dyn Site,
        database: &str,
        family: &BTreeSet<Name>,
    ) -> Result<Live, Failure> {
        let tables: Vec<LiveTable> = ask(site, database, &query(family)).await?;
        if let Some(other) = tables.iter().find(|table| !matches!(table.kind, 'r' | 'p')) {
            let message = format!("{} is there and is no table: nothing was touched", other.name());
            return Err(Failure::new(Code::TargetUnfit, message));
        }
        Ok(Live { tables })
    }

    /// The same, and rows have to pass every check that new ones have to.
    pub(crate) fn checked(mut self) -> Live {
        self.tables.iter_mut().for_each(|table| table.unchecked.clear());
        self
    }

    /// Their names.
    pub(crate) fn names(&self) -> BTreeSet<Name> {
        self.tables.iter().map(LiveTable::name).collect()
    }

    /// Those that have rows of their own.
    pub(super) fn plain(&self) -> impl Iterator<Item = Name> {
        self.tables.iter().filter(|table| !table.is_partitioned()).map(LiveTable::name)
    }

    fn all(&self) -> Vec<String> {
        self.tables.iter().map(LiveTable::itself).collect()
    }

    /// Statements that let rows in without a word to any trigger, and again those that were there before a check.
    pub(crate) fn let_in(&self) -> String {
        if self.tables.is_empty() {
            return String::new();
        }
        let all = self.all();
        let mut out = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE;\n", all.join(", "));
        for table in &self.tables {
            for (trigger, _) in &table.triggers {
                out.push_str(&format!(
                    "ALTER TABLE {} DISABLE TRIGGER {};\n",
                    table.itself(),
                    quoted(trigger)
                ));
            }
            for (check, _, _) in &table.unchecked {
                out.push_str(&format!(
                    "ALTER TABLE {} DROP CONSTRAINT {};\n",
                    table.name().sql(),
                    quoted(check)
                ));
            }
        }
        out
    }

    /// The same, and they empty the tables without a word to any foreign key.
    pub(crate) fn empty(&self) -> String {
        if self.tables.is_empty() {
            return String::new();
        }
        let (all, mut out) = (self.all(), self.let_in());
        if self.tables.iter().any(|table| table.is_referenced) {
            // A table that others refer to cannot be truncated without them.
            all.iter().for_each(|table| out.push_str(&format!("DELETE FROM {table};\n")));
        } else {
            out.push_str(&format!("TRUNCATE {};\n", all.join(", ")));
        }
        out
    }

    /// Statements that bring back what [`Live::let_in`] has switched off.
    pub(crate) fn as_before(&self) -> String {
        let mut out = String::new();
        for table in &self.tables {
            for (trigger, mode) in &table.triggers {
                let mode = if *mode == 'A' { "ALWAYS" } else { "REPLICA" };
                let (table, trigger) = (table.itself(), quoted(trigger));
                out.push_str(&format!("ALTER TABLE {table} ENABLE {mode} TRIGGER {trigger};\n"));
            }
            for (check, definition, comment) in &table.unchecked {
                let (table, check) = (table.name().sql(), quoted(check));
                out.push_str(&format!("ALTER TABLE {table} ADD CONSTRAINT {check} {definition};\n"));
                if let Some(comment) = comment {
                    let comment = literal(comment);
                    out.push_str(&format!("COMMENT ON CONSTRAINT {check} ON {table} IS {comment};\n"));
                }
            }
        }
        out
    }
}

/// The tables as rows of SQL.
pub(super) fn values(names: &BTreeSet<Name>) -> String {
    let rows: Vec<_> =
        names.iter().map(|name| format!("({}, {})", literal(&name.schema), literal(&name.name))).collect();
    format!("(VALUES {}) AS wanted(schema, name)", rows.join(", "))
}

/// `found` is the tables that are there, with their partitions.
fn found(names: &BTreeSet<Name>) -> String {
    format!(
        "WITH named AS (SELECT c.oid FROM {} JOIN pg_namespace n ON n.nspname = wanted.schema \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name), \
         found AS (SELECT oid FROM named UNION \
         SELECT tree.relid FROM named, LATERAL pg_partition_tree(named.oid) tree WHERE tree.relid IS NOT NULL)",
        values(names)
    )
}

fn query(names: &BTreeSet<Name>) -> String {
    format!(
        "{} SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'kind', c.relkind, \
         'triggers', (SELECT coalesce(json_agg(json_build_array(tgname, tgenabled) ORDER BY tgname), '[]') FROM pg_trigger \
         WHERE tgrelid = c.oid AND NOT tgisinternal AND tgparentid = 0 AND tgenabled IN ('A', 'R')), \
         'unchecked', (SELECT coalesce(json_agg(json_build_array(conname, pg_get_constraintdef(oid), \
         obj_description(oid, 'pg_constraint')) ORDER BY conname), '[]') FROM pg_constraint \
         WHERE conrelid = c.oid AND contype = 'c' AND NOT convalidated AND coninhcount = 0), \
         'is_referenced', EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = c.oid \
         AND conrelid NOT IN (SELECT oid FROM found))) ORDER BY n.nspname, c.relname), '[]') \
         FROM found JOIN pg_class c ON c.oid = found.oid JOIN pg_namespace n ON n.oid = c.relnamespace",
        found(names)
    )
}

/// For each foreign key of these tables or to them, a query that counts the rows which refer to nothing; run
/// at once by psql.
pub(super) fn orphans(names: &BTreeSet<Name>) -> String {
    format!("SET search_path = '';\n{} \\gexec\n", orphan_queries(names))
}

/// The query that makes them; each answers with a line, or with nothing where the foreign key holds. It compares with the
/// operator of the foreign key itself.
pub(crate) fn orphan_queries(names: &BTreeSet<Name>) -> String {
    format!(
        "{} SELECT format('SELECT %L || count(*) FROM %s c WHERE %s AND NOT EXISTS \
         (SELECT FROM %s p WHERE %s) HAVING count(*) > 0', \
         format('%s of %s refers to %s: rows that refer to nothing: ', quote_ident(k.conname), k.conrelid::regclass, k.confrelid::regclass), \
         k.conrelid::regclass, string_agg(format('c.%I IS NOT NULL', a.attname), ' AND '), k.confrelid::regclass, \
         string_agg(format('p.%I OPERATOR(%I.%s) c.%I', b.attname, s.nspname, o.oprname, a.attname), ' AND ')) \
         FROM pg_constraint k, unnest(k.conkey, k.confkey, k.conpfeqop) AS part(child, parent, operator) \
         JOIN pg_operator o ON o.oid = part.operator JOIN pg_namespace s ON s.oid = o.oprnamespace, \
         pg_attribute a, pg_attribute b \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND k.convalidated \
         AND (k.conrelid IN (SELECT oid FROM found) OR k.confrelid IN (SELECT oid FROM found)) \
         AND a.attrelid = k.conrelid AND a.attnum = part.child \
         AND b.attrelid = k.confrelid AND b.attnum = part.parent \
         GROUP BY k.oid, k.conname, k.conrelid, k.confrelid",
        found(names)
    )
}

/// By name, which of these foreign keys the server has, as `schema.table` and the constraint.
pub(super) async fn constraints(
    site: &dyn Site,
    database: &str,
    tables: &BTreeSet<Name>,
) -> Result<BTreeMap<Name, Vec<String>>, Failure> {
    if tables.is_empty() {
        return Ok(BTreeMap::new());
    }
    let query = format!(
        "SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname, \
         (SELECT coalesce(json_agg(conname), '[]') FROM pg_constraint WHERE conrelid = c.oid))), '[]') \
         FROM {} JOIN pg_namespace n ON n.nspname = wanted.schema \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name",
        values(tables)
    );
    let rows: Vec<(String, String, Vec<String>)> = ask(site, database, &query).await?;
    Ok(rows.into_iter().map(|(schema, name, keys)| (Name::new(schema, name), keys)).collect())
}
