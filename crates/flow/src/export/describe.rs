//! What tables there are, and what a table is made of.

use std::collections::BTreeSet;

use serde::Deserialize;
use supakeep_model::code::Code;

use crate::failure::Failure;
use crate::inspect::select::{Name, quoted};
use crate::ports::Snapshot;
use crate::restore::literal;

/// The longest part of an answer that an error shows.
const SHOWN: usize = 200;

/// A relation that has rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Listed {
    schema: String,
    name: String,
    /// `pg_class.relkind`.
    pub(super) kind: char,
    /// Whether its rows are also those of another table.
    pub(super) is_partition: bool,
}

impl Listed {
    pub(super) fn name(&self) -> Name {
        Name::new(self.schema.clone(), self.name.clone())
    }
}

/// How a value is best written as JSON without losing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// A number, a truth value, a date or a time: PostgreSQL's own JSON of it is exact.
    Value,
    /// An array of what has exact JSON.
    Array,
    /// It is JSON.
    Json,
    /// Anything else, as PostgreSQL writes it.
    Text,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ColumnFacts {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) sql_type: String,
    pub(crate) nullable: bool,
    /// `pg_attribute.attidentity`: `a`, `d` or nothing.
    pub(crate) identity: String,
    pub(crate) generated: bool,
    /// Whether the table fills it by itself.
    pub(crate) has_default: bool,
    pub(crate) shape: Shape,
    /// Whether it is filled up with blanks, which say nothing.
    pub(crate) padded: bool,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct TableFacts {
    schema: String,
    name: String,
    /// `pg_class.relkind`.
    pub(crate) kind: char,
    /// What the planner believes; negative where it knows nothing.
    pub(crate) estimated_rows: f64,
    pub(crate) primary_key: Vec<String>,
    pub(crate) columns: Vec<ColumnFacts>,
}

impl TableFacts {
    pub(crate) fn name(&self) -> Name {
        Name::new(self.schema.clone(), self.name.clone())
    }

    /// As a statement names it: with its partitions, and without tables that inherit from it, whose rows are theirs.
    pub(crate) fn itself(&self) -> String {
        let only = if self.kind == 'r' { "ONLY " } else { "" };
        format!("{only}{}", self.name().sql())
    }

    pub(crate) fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Everything that has rows, PostgreSQL's own tables apart.
const LIST: &str = "SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'kind', c.relkind, \
'is_partition', c.relispartition) ORDER BY n.nspname, c.relname), '[]') \
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND c.relpersistence <> 't' \
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%';";

/// What these tables are made of. The type behind a domain decides how a value is written. An array is written as one of
/// JSON only where each element has exact JSON: not of JSON itself, whose null is another than SQL's, nor of a type with
/// an opinion of its own about JSON (hstore), nor of rows.
pub(crate) fn describe_query(names: &BTreeSet<Name>) -> String {
    let rows: Vec<_> =
        names.iter().map(|name| format!("({}, {})", literal(&name.schema), literal(&name.name))).collect();
    format!(
        "SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'kind', c.relkind, \
         'estimated_rows', c.reltuples, \
         'primary_key', (SELECT coalesce(json_agg(a.attname ORDER BY part.place), '[]') FROM pg_constraint k \
         CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY part(number, place) \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.number \
         WHERE k.conrelid = c.oid AND k.contype = 'p'), \
         'columns', (SELECT coalesce(json_agg(json_build_object('name', a.attname, \
         'type', format_type(a.atttypid, a.atttypmod), 'nullable', NOT a.attnotnull, 'identity', a.attidentity::text, \
         'generated', a.attgenerated <> '', \
         'has_default', a.atthasdef OR a.attidentity <> '' OR own.typdefault IS NOT NULL, \
         'padded', base.oid = 'bpchar'::regtype, \
         'shape', CASE WHEN base.oid IN ('json'::regtype, 'jsonb'::regtype) THEN 'json' \
         WHEN base.oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'float4'::regtype, \
         'float8'::regtype, 'numeric'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN 'value' \
         WHEN element.typtype IN ('b', 'e', 'r', 'm') AND element.typdelim = ',' \
         AND element.oid NOT IN ('json'::regtype, 'jsonb'::regtype) AND NOT EXISTS (SELECT FROM pg_cast \
         WHERE castsource = element.oid AND casttarget = 'json'::regtype AND castmethod = 'f') THEN 'array' \
         ELSE 'text' END) ORDER BY a.attnum), '[]') \
         FROM pg_attribute a JOIN pg_type own ON own.oid = a.atttypid CROSS JOIN LATERAL (\
         WITH RECURSIVE chain(oid, kind, next) AS (SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid = a.atttypid \
         UNION ALL SELECT t.oid, t.typtype, t.typbasetype FROM chain JOIN pg_type t ON t.oid = chain.next WHERE chain.kind = 'd') \
         SELECT chain.oid FROM chain WHERE chain.kind <> 'd') base \
         LEFT JOIN pg_type element ON element.typarray = base.oid \
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) ORDER BY n.nspname, c.relname), '[]') \
         FROM (VALUES {}) AS wanted(schema, name) JOIN pg_namespace n ON n.nspname = wanted.schema \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name",
        rows.join(", ")
    )
}

/// What the snapshot's session answers, as this type.
async fn ask<T: for<'a> Deserialize<'a>>(snapshot: &mut dyn Snapshot, query: &str) -> Result<T, Failure> {
    let answer = snapshot.ask(query).await?;
    serde_json::from_str(&answer).map_err(|error| {
        let shown: String = answer.chars().take(SHOWN).collect();
        Failure::new(Code::DatabaseRefused, format!("psql's answer makes no sense ({error}): {shown}"))
    })
}

/// What there is.
pub(super) async fn list(snapshot: &mut dyn Snapshot) -> Result<Vec<Listed>, Failure> {
    ask(snapshot, LIST).await
}

/// Describes tables that nobody can change any more until the snapshot ends: as pg_dump does, they are locked first.
pub(super) async fn describe(
    snapshot: &mut dyn Snapshot,
    tables: &[Listed],
) -> Result<Vec<TableFacts>, Failure> {
    let names: BTreeSet<Name> = tables.iter().map(Listed::name).collect();
    // A materialized view cannot be locked so; it can only be replaced as a whole.
    let locked: Vec<_> =
        tables.iter().filter(|table| table.kind != 'm').map(|table| table.name().sql()).collect();
    let lock = if locked.is_empty() {
        String::new()
    } else {
        format!("LOCK TABLE {} IN ACCESS SHARE MODE;\n", locked.join(", "))
    };
    ask(snapshot, &format!("{lock}{};", describe_query(&names))).await
}

/// A column as a statement names it, of the table that is called `t` there.
pub(super) fn of_t(column: &str) -> String {
    format!("t.{}", quoted(column))
}
