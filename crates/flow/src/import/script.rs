//! The statements around the rows: one transaction, which looks at what it has done before it ends.
//!
//! It runs as a session that fires no trigger (`session_replication_role = replica`), so that rows come back as they were
//! and a table that others refer to can be replaced. What such a session does not look at either is looked at here, before
//! the COMMIT: foreign keys of the table and to it, and unique constraints that are deferrable.

use super::plan::ImportPlan;
use super::target::{Sequence, Target};
use super::{ImportSpec, Mode};
use crate::export::SETTINGS;
use crate::inspect::select::quoted;
use crate::restore::literal;
use crate::restore::parts::live::orphan_queries;

/// What psql says after the COMMIT.
pub(super) const DONE: &str = "supakeep: imported";
/// How long a session may keep this one from the table.
const LOCK_SECONDS: u32 = 60;
/// Where rows are before they go into a table that has some of them.
const STAGED: &str = "pg_temp.supakeep_import";

/// What comes before the rows, and after them.
pub(super) struct Frame {
    pub(super) before: String,
    pub(super) after: String,
}

/// The frame of `rows` rows into the table of the plan.
pub(super) fn frame(spec: &ImportSpec, plan: &ImportPlan, target: &Target, is_ours: bool) -> Frame {
    let itself = target.facts.itself();
    // Rows that were there before a check was made come back whatever it says; new ones have to pass it.
    let comes_back = is_ours && spec.mode == Mode::Replace;
    let live = if comes_back { target.live.clone() } else { target.live.clone().checked() };
    let mut before =
        format!("\\o /dev/null\nBEGIN;\n{SETTINGS}SET LOCAL lock_timeout = '{LOCK_SECONDS}s';\n");
    if spec.mode == Mode::Replace && spec.cascade {
        before
            .push_str(&format!("LOCK TABLE {itself} IN SHARE ROW EXCLUSIVE MODE;\nDELETE FROM {itself};\n"));
    }
    before.push_str("SET LOCAL session_replication_role = replica;\n");
    before.push_str(&if spec.mode == Mode::Replace { live.empty() } else { live.let_in() });
    before.push_str(&format!(
        "SELECT set_config('supakeep.before', (SELECT count(*) FROM {itself})::text, true);\n"
    ));
    let columns: Vec<_> = plan.columns.iter().map(|name| quoted(name)).collect();
    let list = columns.join(", ");
    let into = match spec.mode {
        Mode::Upsert => {
            before.push_str(&format!(
                "CREATE TEMPORARY TABLE supakeep_import ON COMMIT DROP AS SELECT {list} FROM {itself} WITH NO DATA;\n"
            ));
            STAGED.to_owned()
        }
        _ => spec.table.sql(),
    };
    // A table of no columns, or of computed ones alone, takes no list.
    let named = if list.is_empty() { String::new() } else { format!(" ({list})") };
    before.push_str(&format!("COPY {into}{named} FROM stdin;\n"));
    let mut after = "\\.\n".to_owned();
    if spec.mode == Mode::Upsert {
        after.push_str(&upsert(spec, plan, target, &list));
    }
    after.push_str(&counted(spec, plan, target));
    after.push_str(&looked_at(target));
    after.push_str(&live.as_before());
    let moved = target.sequences.iter().filter(|sequence| plan.columns.contains(&sequence.column));
    moved.for_each(|sequence| after.push_str(&moved_on(sequence, &itself)));
    after.push_str(&format!("COMMIT;\n\\warn {DONE}\n\\q\n"));
    Frame { before, after }
}

fn upsert(spec: &ImportSpec, plan: &ImportPlan, target: &Target, list: &str) -> String {
    let key: Vec<_> = target.facts.primary_key.iter().map(|name| quoted(name)).collect();
    // PostgreSQL lets nobody change a column that is always its own.
    let is_changed = |name: &&String| {
        let is_own = target.facts.column(name).is_some_and(|column| column.identity == "a");
        !target.facts.primary_key.contains(name) && !is_own
    };
    let changes: Vec<_> = plan
        .columns
        .iter()
        .filter(is_changed)
        .map(|name| format!("{0} = EXCLUDED.{0}", quoted(name)))
        .collect();
    let action =
        if changes.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", changes.join(", ")) };
    format!(
        "INSERT INTO {} ({list}) OVERRIDING SYSTEM VALUE SELECT {list} FROM {STAGED} ON CONFLICT ({}) DO {action};\n",
        spec.table.sql(),
        key.join(", ")
    )
}

/// A block of statements. Names are people's choice, and one could hold what ends it.
fn block(body: &str) -> String {
    let mut tag = "$supakeep$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, 'x');
    }
    format!("DO {tag} DECLARE found text; query text; BEGIN {body} END {tag};\n")
}

/// An error unless there are as many rows as there should be.
fn counted(spec: &ImportSpec, plan: &ImportPlan, target: &Target) -> String {
    let (itself, rows) = (target.facts.itself(), plan.rows);
    let (count, expected) = match spec.mode {
        Mode::Append | Mode::Replace => (
            format!("(SELECT count(*) FROM {itself})"),
            format!("current_setting('supakeep.before')::bigint + {rows}"),
        ),
        Mode::Upsert => {
            let key: Vec<_> = target.facts.primary_key.iter().map(|name| quoted(name)).collect();
            let key = key.join(", ");
            (format!("(SELECT count(*) FROM {itself} there JOIN {STAGED} USING ({key}))"), rows.to_string())
        }
    };
    block(&format!(
        "IF {count} <> {expected} THEN RAISE EXCEPTION 'the table holds % rows of the import, % were expected', \
         {count}, {expected}; END IF;"
    ))
}

/// An error where a foreign key does not hold, or a key is there twice.
fn looked_at(target: &Target) -> String {
    let names = target.live.names();
    let mut out = block(&format!(
        "FOR query IN {} LOOP EXECUTE query INTO found; IF found IS NOT NULL THEN RAISE EXCEPTION '%', found; END IF; END LOOP;",
        orphan_queries(&names)
    ));
    for key in &target.deferrable {
        let columns: Vec<_> = key.iter().map(|name| quoted(name)).collect();
        let columns = columns.join(", ");
        let given: Vec<_> = key.iter().map(|name| format!("{} IS NOT NULL", quoted(name))).collect();
        let message = literal(&format!("duplicate key in ({columns})"));
        out.push_str(&block(&format!(
            "IF EXISTS (SELECT FROM {} WHERE {} GROUP BY {columns} HAVING count(*) > 1) THEN RAISE EXCEPTION '%', {message}; END IF;",
            target.facts.itself(),
            given.join(" AND ")
        )));
    }
    out
}

/// Moves a sequence on to where the rows are, and never back: others may have taken numbers since.
fn moved_on(sequence: &Sequence, itself: &str) -> String {
    let Sequence { column, name, descends } = sequence;
    let (outermost, beyond) = if *descends { ("min", "<") } else { ("max", ">") };
    format!(
        "SELECT setval({}, rows.value) FROM (SELECT {outermost}({}) AS value FROM {itself}) rows, {name} here \
         WHERE rows.value {beyond} here.last_value OR (rows.value = here.last_value AND NOT here.is_called);\n",
        literal(name),
        quoted(column)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_a_block() {
        let body = "SELECT 1 AS \"$supakeep$; DROP TABLE x; $xsupakeep$\";";
        assert_eq!(
            block(body),
            format!("DO $xxsupakeep$ DECLARE found text; query text; BEGIN {body} END $xxsupakeep$;\n")
        );
    }

    #[test]
    fn a_sequence_is_moved_in_its_own_direction() {
        let of = |descends| {
            moved_on(&Sequence { column: "id".into(), name: "public.s".into(), descends }, "public.t")
        };
        assert!(of(false).contains("max(\"id\")") && of(false).contains("value > here.last_value"));
        assert!(of(true).contains("min(\"id\")") && of(true).contains("value < here.last_value"));
    }
}
