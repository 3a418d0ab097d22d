//! What a profile asks pg_dump for, and how its files are stored.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The archive format of a database's dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// SQL text: `gunzip -c … | psql`.
    #[default]
    Plain,
    /// pg_dump's custom archive: `pg_restore`.
    Custom,
    /// pg_dump's directory archive: `pg_restore -j`.
    Directory,
}

/// What of a database is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Definitions and rows.
    #[default]
    Full,
    /// Definitions only.
    Schema,
    /// Rows, large objects and sequence values only.
    Data,
}

/// How rows are written in a plain dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rows {
    /// `COPY … FROM stdin`: the fastest to restore.
    #[default]
    Copy,
    /// `INSERT INTO t VALUES (…)`.
    Inserts,
    /// `INSERT INTO t (a, b) VALUES (…)`.
    ColumnInserts,
}

/// How the bytes of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 1 to 9.
    Gzip(u8),
    /// Zstandard, level 1 to 19.
    Zstd(u8),
}

impl Compression {
    /// What is appended to a file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip(_) => ".gz",
            Compression::Zstd(_) => ".zst",
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Compression::Gzip(6)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Gzip(level) => write!(f, "gzip:{level}"),
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a compression; write gzip:1 to gzip:9, zstd:1 to zstd:19 or none");
        let (name, level) = match text.trim().split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u8>().map_err(|_| wrong())?)),
            None => (text.trim(), None),
        };
        match (name, level) {
            ("none", None) => Ok(Compression::None),
            ("gzip", None) => Ok(Compression::Gzip(6)),
            ("gzip", Some(level @ 1..=9)) => Ok(Compression::Gzip(level)),
            ("zstd", None) => Ok(Compression::Zstd(3)),
            ("zstd", Some(level @ 1..=19)) => Ok(Compression::Zstd(level)),
            _ => Err(wrong()),
        }
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> String {
        compression.to_string()
    }
}

impl TryFrom<String> for Compression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

macro_rules! words {
    ($type:ident: $($variant:ident $word:literal),*) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word,)* })
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($type::$variant),)*
                    _ => Err(format!("`{text}` is none of {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

words!(Format: Plain "plain", Custom "custom", Directory "directory");
words!(Scope: Full "full", Schema "schema", Data "data");
words!(Rows: Copy "copy", Inserts "inserts", ColumnInserts "column-inserts");

/// What a profile asks for, of every database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DumpSpec {
    /// The archive format.
    pub format: Format,
    /// What is dumped.
    pub scope: Scope,
    /// How the files are compressed.
    pub compression: Compression,
    /// How rows are written; only plain dumps have a choice.
    #[serde(default)]
    pub rows: Rows,
    /// Tables whose definition is dumped but not their rows, as pg_dump patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_table_data: Vec<String>,
}

impl DumpSpec {
    /// What is contradictory in this specification, if anything.
    pub fn contradiction(&self) -> Option<String> {
        if self.rows != Rows::Copy && self.format != Format::Plain {
            return Some(format!(
                "rows = \"{}\" needs format = \"plain\": an archive always holds COPY rows",
                self.rows
            ));
        }
        if self.rows != Rows::Copy && self.scope == Scope::Schema {
            return Some(format!("rows = \"{}\" with scope = \"schema\": there are no rows", self.rows));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_round_trips_and_has_defaults() {
        for text in ["none", "gzip:1", "gzip:9", "zstd:1", "zstd:19"] {
            assert_eq!(text.parse::<Compression>().map(|c| c.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("gzip".parse(), Ok(Compression::Gzip(6)));
        assert_eq!("zstd".parse(), Ok(Compression::Zstd(3)));
        for wrong in ["", "gzip:0", "gzip:10", "zstd:20", "zstd:-1", "none:1", "lz4", "gzip:six"] {
            assert!(wrong.parse::<Compression>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn inserts_need_a_plain_dump_with_rows() {
        let spec = |format, scope| DumpSpec { format, scope, rows: Rows::Inserts, ..DumpSpec::default() };
        assert_eq!(spec(Format::Plain, Scope::Full).contradiction(), None);
        assert!(spec(Format::Custom, Scope::Full).contradiction().is_some());
        assert!(spec(Format::Plain, Scope::Schema).contradiction().is_some());
    }
}
