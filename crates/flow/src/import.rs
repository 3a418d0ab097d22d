//! Rows of an export, or of a file like one, back into a table.
//!
//! The file is read twice: first to its end, with nothing touched, to know that it is what was written, that every row is
//! one, and how many there are; then into the table, in one transaction that counts what is there before it ends. Both
//! formats become what `COPY … FROM STDIN` reads, so PostgreSQL itself says which row and which column it refuses.

mod convert;
mod literal;
mod plan;
mod read;
mod run;
mod script;
mod target;

pub use plan::{ImportPlan, plan_import};
pub use read::{ImportSource, OpenAgain, Surveyed, survey};
pub use run::{ImportReport, import};

#[cfg(test)]
pub(crate) use literal::copy_field;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::inspect::select::Name;

/// What becomes of the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// They stay.
    #[default]
    Append,
    /// They are removed first.
    Replace,
    /// Those with the primary key of a row in the file are changed.
    Upsert,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Append => "append",
            Mode::Replace => "replace",
            Mode::Upsert => "upsert",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "append" => Ok(Mode::Append),
            "replace" => Ok(Mode::Replace),
            "upsert" => Ok(Mode::Upsert),
            other => Err(format!("`{other}` is none of append, replace, upsert")),
        }
    }
}

/// What is imported where.
#[derive(Debug, Clone)]
pub struct ImportSpec {
    /// The database.
    pub database: String,
    /// The table.
    pub table: Name,
    /// What becomes of the rows that are there.
    pub mode: Mode,
    /// Whether rows that refer to removed ones may go with them.
    pub cascade: bool,
    /// Whether hashes may be imported, and columns be missing.
    pub accept_loss: bool,
}
