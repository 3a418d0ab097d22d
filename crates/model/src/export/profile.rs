//! What is exported, when, and how long it stays: `[[exports]]`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::Duration;

use super::pattern::{ColumnPattern, TablePattern};
use crate::dump::Compression;
use crate::keep::KeepPolicy;
use crate::profile::Profile;
use crate::schedule::Schedule;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowFormat {
    /// A JSON object a line.
    #[default]
    Jsonl,
    /// Comma-separated, with a header, as PostgreSQL writes and reads it.
    Csv,
}

impl RowFormat {
    /// Its name, which is also how its files end.
    pub fn as_str(self) -> &'static str {
        match self {
            RowFormat::Jsonl => "jsonl",
            RowFormat::Csv => "csv",
        }
    }
}

impl fmt::Display for RowFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RowFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<RowFormat, String> {
        match text {
            "jsonl" => Ok(RowFormat::Jsonl),
            "csv" => Ok(RowFormat::Csv),
            other => Err(format!("`{other}` is neither jsonl nor csv")),
        }
    }
}

/// Which rows, and how they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct RowsSpec {
    /// The database.
    pub database: String,
    /// The tables.
    pub tables: Vec<TablePattern>,
    /// Of these only what one of these means, where any is named.
    pub only: Vec<TablePattern>,
    /// How rows are written.
    pub format: RowFormat,
    /// How files are compressed.
    pub compression: Compression,
    /// Columns that are left out.
    pub exclude: Vec<ColumnPattern>,
    /// Columns of which a keyed hash is written instead.
    pub hash: Vec<ColumnPattern>,
    /// For some tables, what is so of the rows that are exported: an SQL expression.
    pub filters: BTreeMap<TablePattern, String>,
}

impl RowsSpec {
    /// The database that people mean on Supabase.
    pub const DATABASE: &str = "postgres";
    /// How files are compressed, by default.
    pub const COMPRESSION: Compression = Compression::Zstd(3);

    /// All rows and columns of these tables.
    pub fn of(tables: Vec<TablePattern>) -> RowsSpec {
        RowsSpec {
            database: RowsSpec::DATABASE.to_owned(),
            tables,
            only: Vec::new(),
            format: RowFormat::default(),
            compression: RowsSpec::COMPRESSION,
            exclude: Vec::new(),
            hash: Vec::new(),
            filters: BTreeMap::new(),
        }
    }
}

/// An export as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportProfile {
    /// Its name.
    pub name: String,
    /// Which rows.
    pub rows: RowsSpec,
    /// How long its exports stay.
    pub keep: KeepPolicy,
    /// When it is due; only by hand where there is none.
    pub schedule: Option<Schedule>,
    /// The age at which the newest is overdue, where it is not computed from the schedule.
    pub max_age: Option<Duration>,
    /// Whether a slot that was missed is made up for.
    pub catch_up: bool,
    /// How often a failed run is tried again within its slot.
    pub retries: u32,
    /// The pause before the first retry.
    pub retry_delay: Duration,
    /// The longest a run may take.
    pub deadline: Duration,
}

impl ExportProfile {
    /// The longest a run may take, by default.
    pub const DEADLINE: Duration = Duration::hours(2);

    /// When it is due, in the terms of a backup's profile; the same planner decides.
    pub fn timing(&self) -> Option<Profile> {
        let schedule = self.schedule.clone()?;
        Some(Profile {
            keep: self.keep,
            max_age: self.max_age,
            catch_up: self.catch_up,
            retries: self.retries,
            retry_delay: self.retry_delay,
            deadline: self.deadline,
            ..Profile::new(&self.name, schedule)
        })
    }
}
