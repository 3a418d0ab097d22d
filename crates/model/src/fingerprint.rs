//! What a dump contains, as numbers that do not depend on its order or its compression.
//!
//! For every table: rows, bytes, and a hash of the *multiset* of its rows: order does not count,
//! duplicates do. They are computed from the dump's own bytes as they pass, so they cost the database
//! nothing and belong exactly to the snapshot that was dumped. Two dumps with equal fingerprints hold
//! the same data; that is what a restore is compared by.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The sum, modulo 2^128, of a 128-bit hash (XXH3) of every member of a multiset. Written as 32
/// hexadecimal digits; the empty multiset is all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MultisetHash(u128);

impl MultisetHash {
    /// Adds a member by its hash.
    pub fn add(&mut self, member: u128) {
        self.0 = self.0.wrapping_add(member);
    }

    /// Adds every member of another multiset.
    pub fn merge(&mut self, other: MultisetHash) {
        self.add(other.0);
    }
}

impl fmt::Display for MultisetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for MultisetHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u128::from_str_radix(text, 16) {
            Ok(sum) if text.len() == 32 => Ok(MultisetHash(sum)),
            _ => Err(format!("{text:?} is not a fingerprint of 32 hexadecimal digits")),
        }
    }
}

impl From<MultisetHash> for String {
    fn from(hash: MultisetHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for MultisetHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePrint {
    /// The table's schema.
    pub schema: String,
    /// The table's name.
    pub name: String,
    /// How many rows.
    pub rows: u64,
    /// Their length as the dump writes them, line ends not counted.
    pub bytes: u64,
    /// Over the rows as the dump writes them.
    pub hash: MultisetHash,
    /// The partitioned table at the top, where this one is a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_of: Option<String>,
}

/// Where a sequence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencePrint {
    /// The sequence as the dump names it.
    pub name: String,
    /// The last value.
    pub value: i64,
    /// Whether `value` has been handed out.
    pub is_called: bool,
}

/// A multiset with its size: large objects, or the statements that define the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their length together.
    pub bytes: u64,
    /// Over the members.
    pub hash: MultisetHash,
}

impl Tally {
    /// Adds a member of `bytes` bytes by its hash.
    pub fn add(&mut self, bytes: u64, member: u128) {
        self.count += 1;
        self.bytes += bytes;
        self.hash.add(member);
    }

    /// Adds every member of another multiset.
    pub fn merge(&mut self, other: Tally) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.hash.merge(other.hash);
    }
}

/// How a dump wrote what was hashed: fingerprints compare only within one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// SQL text with COPY rows.
    Copy,
    /// SQL text with INSERT statements.
    Inserts,
    /// A pg_dump archive with COPY rows.
    Archive,
}

/// The fingerprint of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How the dump wrote what was hashed.
    pub dialect: Dialect,
    /// Definitions: every statement but rows, large objects and sequence values.
    pub schema: Tally,
    /// Large objects.
    pub large_objects: Tally,
    /// Sequence values, by name.
    pub sequences: Vec<SequencePrint>,
    /// Tables with rows in the dump, by schema and name.
    pub tables: Vec<TablePrint>,
}

impl Fingerprint {
    /// The fingerprint of nothing.
    pub fn empty(dialect: Dialect) -> Fingerprint {
        Fingerprint {
            dialect,
            schema: Tally::default(),
            large_objects: Tally::default(),
            sequences: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Adds what another file of the same dump holds.
    pub fn merge(&mut self, other: Fingerprint) {
        self.schema.merge(other.schema);
        self.large_objects.merge(other.large_objects);
        self.sequences.extend(other.sequences);
        self.tables.extend(other.tables);
    }

    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// What differs between the recorded fingerprint (`self`) and one that was `found`, a sentence
    /// each; empty when they are equal. Dialects that hash different text compare only what they
    /// have in common.
    pub fn differences(&self, found: &Fingerprint) -> Vec<String> {
        let mut out = Vec::new();
        let rows_comparable = (self.dialect == Dialect::Inserts) == (found.dialect == Dialect::Inserts);
        if self.dialect == found.dialect {
            differ(&mut out, "definitions", &self.schema, &found.schema);
            differ(&mut out, "large objects", &self.large_objects, &found.large_objects);
        } else if self.large_objects.count != found.large_objects.count {
            out.push(format!(
                "large objects: {} recorded, {} found",
                self.large_objects.count, found.large_objects.count
            ));
        }
        self.table_differences(found, rows_comparable, &mut out);
        let key = |sequence: &SequencePrint| (sequence.name.clone(), (sequence.value, sequence.is_called));
        let recorded: BTreeMap<_, _> = self.sequences.iter().map(key).collect();
        let present: BTreeMap<_, _> = found.sequences.iter().map(key).collect();
        for (name, (value, _)) in &recorded {
            match present.get(name) {
                None => out.push(format!("sequence {name}: missing")),
                Some((other, _)) if recorded[name] != present[name] => {
                    out.push(format!("sequence {name}: {value} recorded, {other} found"));
                }
                Some(_) => {}
            }
        }
        out.extend(
            present
                .keys()
                .filter(|name| !recorded.contains_key(*name))
                .map(|name| format!("sequence {name}: not in the record")),
        );
        out
    }

    fn table_differences(&self, found: &Fingerprint, rows_comparable: bool, out: &mut Vec<String>) {
        let recorded = by_name(&self.tables);
        let present = by_name(&found.tables);
        for (name, table) in &recorded {
            let Some(other) = present.get(name) else {
                out.push(format!("table {}: missing ({} rows recorded)", show(name), table.rows));
                continue;
            };
            if table.rows != other.rows {
                out.push(format!("table {}: {} rows recorded, {} found", show(name), table.rows, other.rows));
            } else if rows_comparable && (table.hash, table.bytes) != (other.hash, other.bytes) {
                out.push(format!("table {}: {} rows, but their content differs", show(name), table.rows));
            }
        }
        out.extend(present.iter().filter(|(name, _)| !recorded.contains_key(*name)).map(|(name, table)| {
            format!("table {}: not in the record ({} rows found)", show(name), table.rows)
        }));
    }
}

fn by_name(tables: &[TablePrint]) -> BTreeMap<(&str, &str), &TablePrint> {
    tables.iter().map(|table| ((table.schema.as_str(), table.name.as_str()), table)).collect()
}

fn show((schema, name): &(&str, &str)) -> String {
    format!("{schema}.{name}")
}

fn differ(out: &mut Vec<String>, what: &str, recorded: &Tally, found: &Tally) {
    if recorded.count != found.count {
        out.push(format!("{what}: {} recorded, {} found", recorded.count, found.count));
    } else if recorded != found {
        out.push(format!("{what}: {} of them, but their content differs", recorded.count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(tables: &[(&str, u64, u128)]) -> Fingerprint {
        let tables = tables
            .iter()
            .map(|&(name, rows, sum)| TablePrint {
                schema: "public".into(),
                name: name.into(),
                rows,
                bytes: rows * 10,
                hash: MultisetHash(sum),
                partition_of: None,
            })
            .collect();
        Fingerprint {
            dialect: Dialect::Copy,
            schema: Tally::default(),
            large_objects: Tally::default(),
            sequences: vec![SequencePrint { name: "public.s".into(), value: 3, is_called: true }],
            tables,
        }
    }

    #[test]
    fn order_does_not_count_and_duplicates_do() {
        let sum = |members: &[u128]| {
            let mut hash = MultisetHash::default();
            members.iter().for_each(|&member| hash.add(member));
            hash
        };
        assert_eq!(sum(&[1, 2, u128::MAX]), sum(&[u128::MAX, 1, 2]));
        assert_ne!(sum(&[7, 7]), sum(&[7]));
    }

    #[test]
    fn round_trips_as_hexadecimal() {
        let hash = MultisetHash(0xabc);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("abc".parse::<MultisetHash>().is_err());
    }

    #[test]
    fn names_every_difference() {
        let recorded = print(&[("a", 1, 1), ("b", 2, 2), ("c", 3, 3)]);
        assert_eq!(recorded.differences(&recorded), Vec::<String>::new());
        let mut found = print(&[("a", 1, 9), ("b", 1, 2), ("d", 4, 4)]);
        found.sequences[0].value = 4;
        assert_eq!(
            recorded.differences(&found),
            [
                "table public.a: 1 rows, but their content differs",
                "table public.b: 2 rows recorded, 1 found",
                "table public.c: missing (3 rows recorded)",
                "table public.d: not in the record (4 rows found)",
                "sequence public.s: 3 recorded, 4 found",
            ]
        );
    }

    #[test]
    fn compares_only_what_two_dialects_have_in_common() {
        let recorded = print(&[("a", 1, 1)]);
        let mut found = print(&[("a", 1, 9)]);
        found.dialect = Dialect::Inserts;
        found.schema.add(5, 5);
        assert_eq!(recorded.differences(&found), Vec::<String>::new());
    }
}
