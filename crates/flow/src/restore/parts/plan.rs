//! What the restore of a part would do, found out without touching anything.

use std::collections::BTreeSet;

use serde::Serialize;
use supakeep_model::code::Code;

use crate::failure::Failure;
use crate::inspect::select::Name;

/// What is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// Tables.
    Tables,
    /// The rows of all tables.
    Data,
    /// Roles.
    Roles,
    /// A database beside the live one.
    Database,
}

/// What a restore of a part would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartPlan {
    /// What is restored.
    pub part: PartKind,
    /// The database that it goes into; empty for roles, which belong to none.
    pub database: String,
    /// What is there and is replaced: tables by their rows, roles by what they may.
    pub replaces: Vec<String>,
    /// What is made.
    pub makes: Vec<String>,
    /// Why it cannot be done.
    pub problems: Vec<String>,
    /// What a person should know before saying yes.
    pub notes: Vec<String>,
}

impl PartPlan {
    /// A plan that does nothing.
    pub fn new(part: PartKind, database: &str) -> PartPlan {
        PartPlan {
            part,
            database: database.to_owned(),
            replaces: Vec::new(),
            makes: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The plan, if nothing stands in its way.
    pub fn possible(&self) -> Result<(), Failure> {
        crate::restore::plan::possible(&self.problems)
    }

    /// Takes what stands in the way as a part of the plan; anything else is an error of finding out.
    pub(super) fn unless_unfit<T>(&mut self, found: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.code == Code::TargetUnfit => {
                self.problems.push(failure.message);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Names, one by one.
pub(super) fn names(names: &BTreeSet<Name>) -> Vec<String> {
    names.iter().map(Name::to_string).collect()
}
