//! What an import would do, and what stands in its way.

use serde::Serialize;
use supakeep_model::code::Code;
use supakeep_model::export::{TableRecord, Treatment};

use super::read::{ImportSource, Surveyed};
use super::target::Target;
use super::{ImportSpec, Mode};
use crate::failure::Failure;
use crate::inspect::select::Name;
use crate::ports::Site;

/// What an import would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportPlan {
    /// The file.
    pub source: String,
    /// Its rows.
    pub rows: u64,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// What becomes of the rows that are there.
    pub mode: Mode,
    /// The columns that are filled from the file.
    pub columns: Vec<String>,
    /// Columns of the table that the file does not fill: their default, NULL, or computed.
    pub left_to_the_table: Vec<String>,
    /// Sequences that are moved on.
    pub sequences: Vec<String>,
    /// What is exported before rows are removed or changed: this table, and with `cascade` those that refer to it.
    pub saved_first: Vec<String>,
    /// What stands in the way, a sentence each.
    pub problems: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(super) target: Option<Target>,
    #[serde(skip)]
    saved: Vec<Name>,
}

impl ImportPlan {
    /// An error if anything stands in the way.
    pub fn possible(&self) -> Result<(), Failure> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let message = format!("nothing was touched: {}", self.problems.join("; "));
        Err(Failure::new(Code::ImportUnfit, message))
    }

    /// The tables whose rows are removed or changed.
    pub fn touched(&self) -> &[Name] {
        &self.saved
    }
}

/// Looks at the table.
pub async fn plan_import(
    spec: &ImportSpec,
    source: &ImportSource,
    surveyed: &Surveyed,
    site: &dyn Site,
) -> Result<ImportPlan, Failure> {
    let facts = site.server().facts();
    if !facts.databases.contains(&spec.database) {
        let (wanted, there) = (&spec.database, facts.databases.join(", "));
        let message = format!("the server has no database {wanted}; it has {there}");
        return Err(Failure::new(Code::DatabaseMissing, message));
    }
    let looked = Target::look(site, &spec.database, &spec.table).await;
    let looked = looked.map_err(|failure| match failure.code {
        Code::TargetUnfit => Failure { code: Code::ImportUnfit, ..failure },
        _ => failure,
    });
    let mut plan = ImportPlan {
        source: source.name.clone(),
        rows: surveyed.rows,
        database: spec.database.clone(),
        table: spec.table.to_string(),
        mode: spec.mode,
        columns: Vec::new(),
        left_to_the_table: Vec::new(),
        sequences: Vec::new(),
        saved_first: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        target: None,
        saved: Vec::new(),
    };
    let Some(target) = looked? else {
        let what = format!(
            "there is no table {} in {}; a backup can make it: restore --table",
            spec.table, spec.database
        );
        plan.problems.push(what);
        return Ok(plan);
    };
    plan.fit_columns(spec, &target, surveyed);
    if let Some(record) = &source.record {
        plan.fit_record(spec, record);
    }
    plan.fit_mode(spec, &target);
    if target.has_deferrable_exclusion {
        let what = "it has a deferrable exclusion constraint, which an import cannot watch over";
        plan.problems.push(what.to_owned());
    }
    let moved = target.sequences.iter().filter(|sequence| plan.columns.contains(&sequence.column));
    plan.sequences = moved.map(|sequence| sequence.name.clone()).collect();
    plan.target = Some(target);
    Ok(plan)
}

impl ImportPlan {
    fn fit_columns(&mut self, spec: &ImportSpec, target: &Target, surveyed: &Surveyed) {
        let mut unknown = Vec::new();
        for name in &surveyed.columns {
            match target.facts.column(name) {
                None => unknown.push(name.as_str()),
                // The table computes it.
                Some(column) if column.generated => {}
                Some(_) => self.columns.push(name.clone()),
            }
        }
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            self.problems.push(format!("{} has no column {unknown}, which the file has", spec.table));
        }
        for column in &target.facts.columns {
            if self.columns.contains(&column.name) {
                continue;
            }
            self.left_to_the_table.push(column.name.clone());
            if !column.nullable && !column.has_default && !column.generated {
                let what =
                    format!("column {} takes no NULL, has no default, and is not in the file", column.name);
                self.problems.push(what);
            }
        }
        if surveyed.rows > 0
            && self.columns.is_empty()
            && !target.facts.columns.iter().all(|column| column.generated)
        {
            self.problems.push("the file has none of the table's columns".to_owned());
        }
    }

    /// What was done with columns when they were exported cannot be undone.
    fn fit_record(&mut self, spec: &ImportSpec, record: &TableRecord) {
        let told = |treatment| {
            let names: Vec<_> = record.treated(treatment).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        if let Some(hashed) = told(Treatment::Hashed) {
            let what = format!("hashed in the export: {hashed}; what was hashed cannot come back");
            self.lost(spec, format!("{what}, and hashes would be imported in its place"));
        }
        if let Some(left_out) = told(Treatment::LeftOut) {
            let what = format!("left out of the export: {left_out}");
            match spec.mode {
                Mode::Replace => {
                    self.lost(spec, format!("{what}; its values would be lost, and be NULL or a default"))
                }
                Mode::Append => self.notes.push(format!("{what}: NULL or a default in the new rows")),
                Mode::Upsert => self.notes.push(format!("{what}: as it is in rows that are there")),
            }
        }
        if let (Some(filter), Mode::Replace) = (&record.filter, spec.mode) {
            self.lost(spec, format!("only rows where {filter} were exported; all others would be lost"));
        }
    }

    fn lost(&mut self, spec: &ImportSpec, what: String) {
        if spec.accept_loss {
            self.notes.push(what);
        } else {
            self.problems.push(format!("{what} (--accept-loss goes on all the same)"));
        }
    }

    fn fit_mode(&mut self, spec: &ImportSpec, target: &Target) {
        if spec.cascade && spec.mode != Mode::Replace {
            self.problems.push("--cascade is for --mode replace".to_owned());
        }
        if spec.mode == Mode::Upsert {
            let key = &target.facts.primary_key;
            if key.is_empty() {
                self.problems.push(format!("{} has no primary key to find rows by", spec.table));
            }
            let missing: Vec<_> = key.iter().filter(|name| !self.columns.contains(name)).cloned().collect();
            if !missing.is_empty() {
                self.problems
                    .push(format!("the file has not all of the primary key: {}", missing.join(", ")));
            }
        }
        if spec.mode == Mode::Append {
            return;
        }
        self.saved.push(spec.table.clone());
        if spec.mode == Mode::Replace && !target.referring.is_empty() {
            let referring: Vec<_> = target.referring.iter().map(ToString::to_string).collect();
            let referring = referring.join(", ");
            if spec.cascade {
                self.saved.extend(target.referring.iter().cloned());
                self.notes.push(format!(
                    "the old rows are removed as DELETE does: what its foreign keys say happens to rows of {referring}"
                ));
            } else {
                self.notes.push(format!(
                    "rows of {referring} may refer to rows of this table: they stay, and if any refers to a row that is \
                     not in the file, nothing is changed"
                ));
            }
        }
        self.saved_first = self.saved.iter().map(ToString::to_string).collect();
    }
}
