//! What a person wants to be so in a restored database.

use supakeep_model::code::Code;

use super::CheckReport;
use crate::failure::Failure;
use crate::ports::Site;

/// A question, and the right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// What it is called in reports.
    pub name: String,
    /// Where it is asked.
    pub database: String,
    /// What is asked.
    pub sql: String,
    /// What psql prints then, without headers, columns separated by `|`; blanks around it do not count.
    pub expect: String,
}

/// Asks. A statement that fails is a wrong answer.
pub(super) async fn run(check: &CheckSpec, site: &dyn Site) -> Result<CheckReport, Failure> {
    let found = match site.sql_as_configured(&check.database, &check.sql).await {
        Ok(answer) => Ok(answer.trim().to_owned()),
        Err(error) if is_wrong(error.code) => Err(error.message),
        Err(error) => return Err(error.into()),
    };
    let ok = found.as_deref() == Ok(check.expect.trim());
    let found = found.unwrap_or_else(|message| message);
    let CheckSpec { name, database, expect, .. } = check.clone();
    Ok(CheckReport { name, database, expect, found, ok })
}

/// Whether an error is the answer to the question: the statement failed, or its database is not there.
fn is_wrong(code: Code) -> bool {
    matches!(code, Code::RestoreFailed | Code::DatabaseRefused | Code::DatabaseMissing)
}
