//! Reading the rows back that were just restored, before the transaction ends.
//!
//! After it somebody may write; inside it nobody can have.

use supakeep_model::fingerprint::{Dialect, Fingerprint, MultisetHash};

use super::TableReport;
use crate::inspect::select::{Entry, Name, Subject};
use crate::inspect::sql::CopyRows;

/// A table whose rows are read back.
struct Expected {
    name: Name,
    /// The statement that the dump loads them with.
    statement: String,
    made: bool,
    /// Rows and their hash as recorded; the hash only where the backup holds COPY rows.
    recorded: Option<(u64, Option<MultisetHash>)>,
}

/// The tables to be read back, and what has been read.
pub(super) struct Proof {
    expected: Vec<Expected>,
    read: Vec<CopyRows>,
    current: CopyRows,
}

impl Proof {
    /// For the tables of these entries, which are then called as `placed` says. `made` tells of a table whether
    /// it is a new one.
    pub(super) fn of(
        entries: &[&Entry],
        recorded: Option<&Fingerprint>,
        placed: impl Fn(&Name) -> Name,
        made: impl Fn(&Name) -> bool,
        statement: impl Fn(&str) -> String,
    ) -> Proof {
        let mut expected: Vec<Expected> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind() == "TABLE DATA") {
            let Some(Subject::Relation(name)) = &entry.subject else { continue };
            expected.push(Expected {
                name: placed(name),
                statement: back(&statement(&entry.statements), &placed(name)),
                made: made(name),
                recorded: recorded.and_then(|print| of_record(print, name)),
            });
        }
        Proof { expected, read: Vec::new(), current: CopyRows::default() }
    }

    /// Statements that print all rows of each table, each ended by the mark that ends rows in a dump.
    pub(super) fn statements(&self) -> String {
        let each = self.expected.iter().map(|table| format!("{}\n\\echo '\\\\.'\n", table.statement));
        // As pg_dump reads them, so that they are written the same.
        format!(
            "SET LOCAL datestyle = ISO;\nSET LOCAL intervalstyle = postgres;\nSET LOCAL extra_float_digits = 3;\n{}",
            each.collect::<String>()
        )
    }

    /// Takes what the statements print.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(taken) = self.current.feed(bytes) {
            self.read.push(std::mem::take(&mut self.current));
            bytes = &bytes[taken..];
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// What was found.
    pub(super) fn reports(self) -> Vec<TableReport> {
        let mut read = self.read.into_iter();
        self.expected
            .into_iter()
            .map(|table| {
                let (rows, difference) = match read.next() {
                    Some(found) => (found.rows, difference(table.recorded, &found)),
                    None => (0, Some("its rows could not be read back".to_owned())),
                };
                TableReport { name: table.name, made: table.made, rows, difference }
            })
            .collect()
    }
}

fn of_record(print: &Fingerprint, name: &Name) -> Option<(u64, Option<MultisetHash>)> {
    let table = print.tables.iter().find(|table| table.schema == name.schema && table.name == name.name)?;
    Some((table.rows, (print.dialect != Dialect::Inserts).then_some(table.hash)))
}

fn difference(recorded: Option<(u64, Option<MultisetHash>)>, found: &CopyRows) -> Option<String> {
    let (rows, hash) = recorded?;
    if rows != found.rows {
        return Some(format!("{rows} rows recorded, {} found", found.rows));
    }
    hash.filter(|hash| *hash != found.hash).map(|_| format!("{rows} rows, but their content differs"))
}

/// The statement that writes what `load` reads.
fn back(load: &str, table: &Name) -> String {
    match load.trim_end().strip_suffix(" FROM stdin;") {
        Some(copy) => format!("{copy} TO stdout;"),
        None => format!("COPY {} TO stdout;", table.sql()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded_is_written_back_column_by_column() {
        let name = Name::new("public", "t");
        assert_eq!(
            back("COPY public.t (a, \"b;\") FROM stdin;\n", &name),
            "COPY public.t (a, \"b;\") TO stdout;"
        );
        assert_eq!(back("INSERT INTO public.t VALUES (1);\n", &name), "COPY \"public\".\"t\" TO stdout;");
    }

    #[test]
    fn tables_follow_one_another_whatever_the_chunks() {
        for chunk in 1..9 {
            let mut proof = Proof { expected: Vec::new(), read: Vec::new(), current: CopyRows::default() };
            for part in b"1\n2\n\\.\n\\.\n3\n\\.\n".chunks(chunk) {
                proof.push(part);
            }
            let rows: Vec<_> = proof.read.iter().map(|read| read.rows).collect();
            assert_eq!(rows, [2, 0, 1], "chunks of {chunk}");
        }
    }
}
