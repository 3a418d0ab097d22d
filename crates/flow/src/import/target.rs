//! The table that rows go into.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::export::describe::{TableFacts, describe_query};
use crate::failure::Failure;
use crate::inspect::select::Name;
use crate::ports::Site;
use crate::restore::parts::live::Live;
use crate::restore::{ask, literal};

/// A sequence that belongs to a column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Sequence {
    pub(super) column: String,
    /// As SQL names it.
    pub(super) name: String,
    pub(super) descends: bool,
}

/// What else there is to know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Surroundings {
    sequences: Vec<Sequence>,
    /// Tables that refer to it, and those that refer to them.
    referring: Vec<(String, String)>,
    /// Unique constraints that are looked at when a transaction ends, by their columns: not by a session that fires no
    /// trigger.
    deferrable: Vec<Vec<String>>,
    has_deferrable_exclusion: bool,
}

/// A table that is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) facts: TableFacts,
    pub(super) live: Live,
    pub(super) sequences: Vec<Sequence>,
    pub(super) referring: Vec<Name>,
    pub(super) deferrable: Vec<Vec<String>>,
    pub(super) has_deferrable_exclusion: bool,
}

impl Target {
    /// Looks at it; nothing where there is no such table.
    pub(super) async fn look(
        site: &dyn Site,
        database: &str,
        table: &Name,
    ) -> Result<Option<Target>, Failure> {
        let names = BTreeSet::from([table.clone()]);
        let described: Vec<TableFacts> = ask(site, database, &describe_query(&names)).await?;
        let Some(facts) = described.into_iter().next() else { return Ok(None) };
        let live = Live::look(site, database, &names).await?;
        let around: Surroundings = ask(site, database, &surroundings(table)).await?;
        let referring = around.referring.into_iter().map(|(schema, name)| Name::new(schema, name)).collect();
        Ok(Some(Target {
            facts,
            live,
            sequences: around.sequences,
            referring,
            deferrable: around.deferrable,
            has_deferrable_exclusion: around.has_deferrable_exclusion,
        }))
    }
}

fn surroundings(table: &Name) -> String {
    let (schema, name) = (literal(&table.schema), literal(&table.name));
    let quoted = literal(&table.sql());
    format!(
        "WITH RECURSIVE target(oid) AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {name}), \
         referring(oid) AS (SELECT k.conrelid FROM pg_constraint k JOIN target ON k.confrelid = target.oid \
         WHERE k.contype = 'f' AND k.conrelid <> target.oid \
         UNION SELECT k.conrelid FROM pg_constraint k JOIN referring r ON k.confrelid = r.oid WHERE k.contype = 'f') \
         SELECT json_build_object(\
         'sequences', (SELECT coalesce(json_agg(json_build_object('column', owned.column, 'name', owned.name, \
         'descends', s.seqincrement < 0)), '[]') FROM (SELECT a.attname AS column, \
         pg_get_serial_sequence({quoted}, a.attname) AS name FROM pg_attribute a JOIN target ON a.attrelid = target.oid \
         WHERE a.attnum > 0 AND NOT a.attisdropped) owned JOIN pg_sequence s ON s.seqrelid = owned.name::regclass), \
         'referring', (SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname) ORDER BY n.nspname, c.relname), '[]') \
         FROM referring r JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT c.relispartition AND c.oid NOT IN (SELECT oid FROM target)), \
         'deferrable', (SELECT coalesce(json_agg((SELECT json_agg(a.attname ORDER BY part.place) \
         FROM unnest(k.conkey) WITH ORDINALITY part(number, place) \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.number)), '[]') \
         FROM pg_constraint k JOIN target ON k.conrelid = target.oid WHERE k.contype IN ('p', 'u') AND k.condeferrable), \
         'has_deferrable_exclusion', EXISTS (SELECT FROM pg_constraint k JOIN target ON k.conrelid = target.oid \
         WHERE k.contype = 'x' AND k.condeferrable))"
    )
}
