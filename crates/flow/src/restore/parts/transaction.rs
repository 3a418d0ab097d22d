//! A script as one transaction, and being certain that it was committed.
//!
//! psql that is cut off says nothing of a transaction that it left open: its exit code is 0. So the script
//! says a word after its COMMIT, and without that word nothing has happened.

use std::collections::BTreeSet;

use supakeep_model::code::Code;

use super::rows::Proof;
use super::script::Script;
use super::{PartPorts, PartsReport, foreign_keys};
use crate::failure::Failure;
use crate::inspect::select::{Contents, Name};

/// What psql says after the COMMIT.
const DONE: &str = "supakeep: committed";

/// How long a session may keep this one from a table.
const LOCK_SECONDS: u32 = 60;

/// A transaction whose statements fire no trigger, rule or event trigger of the usual kind, and leave the
/// rows of other tables alone.
pub(super) struct Transaction {
    pub(super) script: Script,
}

impl Transaction {
    /// Begins. `preamble` is what the dump says before anything else, such as its encoding.
    pub(super) fn begin(preamble: &str) -> Transaction {
        let mut script = Script::default();
        script.say("\\o /dev/null\nBEGIN;");
        script.say(preamble);
        script.say(&format!(
            "SET LOCAL session_replication_role = replica;\nSET LOCAL lock_timeout = '{LOCK_SECONDS}s';"
        ));
        Transaction { script }
    }

    /// Runs it in `database`, and reads the rows back before it ends.
    pub(super) async fn commit(
        mut self,
        ports: &PartPorts<'_>,
        database: &str,
        proof: &mut Proof,
    ) -> Result<(), Failure> {
        self.script.say("\\o");
        self.script.say(&proof.statements());
        self.script.say(&format!("COMMIT;\n\\warn {DONE}"));
        let input = self.script.into_input(ports.source)?;
        let mut output = |bytes: &[u8]| proof.push(bytes);
        let said = ports.site.psql_printing(database, input, ports.progress, &mut output).await?;
        if said.lines().any(|line| line == DONE) {
            return Ok(());
        }
        let message =
            format!("psql ended before the transaction did; nothing was changed. It said: {}", said.trim());
        Err(Failure::new(Code::RestoreFailed, message))
    }
}

/// What a transaction has done. Nothing that fails from here on undoes it.
#[derive(Default)]
pub(super) struct Committed {
    pub(super) report: PartsReport,
    /// The tables that it made.
    pub(super) made: BTreeSet<Name>,
    /// The tables whose rows it replaced.
    pub(super) replaced: BTreeSet<Name>,
    pub(super) contents: Contents,
}

impl Committed {
    /// Makes the foreign keys that come with new tables, and looks whether those hold that were there.
    pub(super) async fn finish(mut self, ports: &PartPorts<'_>, database: &str) -> PartsReport {
        let (made, replaced) = (&self.made, &self.replaced);
        let looking = async {
            if !made.is_empty() {
                // PostgREST knows of new tables when it is told, and does not mind being told twice.
                ports.site.sql(database, "NOTIFY pgrst, 'reload schema'").await?;
            }
            let mut violations = foreign_keys::make(ports.site, database, &self.contents, made).await?;
            violations.extend(foreign_keys::check(ports.site, database, replaced).await?);
            Ok(violations)
        };
        self.report.violations = ports.bounded(looking).await.unwrap_or_else(|failure| {
            vec![format!(
                "the tables are restored, but their foreign keys are not checked to the end: {failure}"
            )]
        });
        self.report
    }
}
