//! Does every secret of a vault open with the key that was backed up?

use serde::Deserialize;

use super::VaultReport;
use crate::failure::Failure;
use crate::ports::Site;
use crate::restore::ask;

const IS_THERE: &str = "SELECT to_regclass('vault.decrypted_secrets') IS NOT NULL";

/// Opens each secret by itself, so that one that does not open hides no other. What it holds is looked at
/// and not told.
const OPEN: &str = "\
CREATE FUNCTION pg_temp.supakeep_open(wanted uuid) RETURNS text LANGUAGE plpgsql AS $open$
BEGIN
    PERFORM length(s.decrypted_secret) FROM vault.decrypted_secrets s WHERE s.id = wanted;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END
$open$;
SELECT json_build_object('secrets', count(*), 'closed', coalesce(json_agg(json_build_object(\
'name', coalesce(name, id::text), 'error', error) ORDER BY name, id) FILTER (WHERE error IS NOT NULL), '[]')) \
FROM (SELECT id, name, pg_temp.supakeep_open(id) AS error FROM vault.secrets) opened;
";

#[derive(Deserialize)]
struct Answer {
    secrets: u64,
    closed: Vec<Closed>,
}

#[derive(Deserialize)]
struct Closed {
    name: String,
    error: String,
}

/// Tries the vault of `database`, if it has one.
pub(super) async fn opens(database: &str, site: &dyn Site) -> Result<Option<VaultReport>, Failure> {
    if site.sql(database, IS_THERE).await?.trim() != "t" {
        return Ok(None);
    }
    let answer: Answer = ask(site, database, OPEN).await?;
    let closed = answer.closed.into_iter();
    let differences = closed.map(|Closed { name, error }| format!("secret {name} does not open: {error}"));
    Ok(Some(VaultReport {
        database: database.to_owned(),
        secrets: answer.secrets,
        differences: differences.collect(),
    }))
}
