//! Restoring parts of a backup: tables, rows, a database beside the live one.
//!
//! No service is stopped, and what was not asked for is not touched. What replaces something does so in one
//! transaction: either all of it is there afterwards, or everything is as it was.

mod beside;
mod data;
mod foreign_keys;
pub(crate) mod live;
mod plan;
mod rows;
mod sample;
mod script;
mod source;
mod tables;
mod transaction;

use std::collections::BTreeSet;

use supakeep_model::code::Code;
use supakeep_model::fingerprint::Fingerprint;

use crate::cancel::Limits;
use crate::failure::Failure;
use crate::inspect::select::{Contents, Name};
use crate::ports::{OnProgress, Site};
pub use beside::{BesideReport, BesideSpec, Leave, plan_beside, restore_beside};
pub use data::{plan_data, restore_data};
pub use plan::{PartKind, PartPlan};
pub(crate) use sample::{restore_definitions, restore_rows};
pub use source::{DumpSource, Open, SourceFile};
pub use tables::{TablesSpec, plan_tables, restore_tables};

/// What every restore of a part is given.
#[derive(Clone, Copy)]
pub struct PartPorts<'a> {
    /// Where it goes.
    pub site: &'a dyn Site,
    /// Where it comes from.
    pub source: &'a DumpSource,
    /// What the backup recorded of the database, where it is a backup.
    pub recorded: Option<&'a Fingerprint>,
    /// Is told how far it is.
    pub progress: OnProgress<'a>,
    /// What ends it early.
    pub limits: &'a Limits,
}

impl PartPorts<'_> {
    /// Reads the dump from its beginning to its end: what is in it, and whether it is what was written.
    pub async fn survey(&self) -> Result<Contents, Failure> {
        self.bounded(self.source.survey()).await
    }

    /// Reads the files that a folder holds beside its table of contents, and compares them with what was
    /// recorded.
    pub async fn check(&self, contents: &Contents) -> Result<(), Failure> {
        self.bounded(self.source.check(contents.entries.iter().map(|entry| entry.id))).await
    }

    /// Runs `work` within the limits. If it fails nothing of it goes on running on the server.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let done = self.limits.apply(work).await;
        if done.is_err() {
            let ended = [self.site.server().terminate().await.map(|_| ()), self.site.clear().await];
            for error in ended.into_iter().filter_map(Result::err) {
                tracing::warn!(code = %error.code, "cleaning up after a restore that failed: {error}");
            }
        }
        done
    }
}

/// A table that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Where it is now.
    pub name: Name,
    /// Whether it was made; else its rows were replaced.
    pub made: bool,
    /// How many rows it had when they were all there.
    pub rows: u64,
    /// What differs from the backup's record.
    pub difference: Option<String>,
}

/// What became of a restore of tables or rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartsReport {
    /// The tables that have rows of their own.
    pub tables: Vec<TableReport>,
    /// Foreign keys that do not hold: the rows beside these are of another time.
    pub violations: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl PartsReport {
    /// What is not as the backup recorded it, a sentence each.
    pub fn differences(&self) -> Vec<String> {
        let tables = self.tables.iter().filter_map(|table| {
            table.difference.as_ref().map(|difference| format!("table {}: {difference}", table.name))
        });
        tables.chain(self.violations.iter().cloned()).collect()
    }
}

/// A part that was asked for and cannot be restored.
fn unfit(message: impl Into<String>) -> Failure {
    Failure::new(Code::TargetUnfit, message)
}

/// Names, for people.
fn list(names: &BTreeSet<Name>) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}
