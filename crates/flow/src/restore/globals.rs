//! Roles and the vault's root key.

use std::collections::BTreeSet;

use serde::Deserialize;
use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::manifest::Manifest;
use supakeep_model::secret::Secret;
use tokio::io::AsyncReadExt as _;

use super::ask::ask;
use super::content::{open, small};
use crate::failure::Failure;
use crate::inspect::sql::{name_after, statements};
use crate::ports::{Input, OnError, Repository, Site};

/// Which roles the services of a stack log in with: their passwords belong to the stack's `.env`, so a
/// stack keeps its own.
pub(crate) const SERVICE_ROLES: &str = "SELECT coalesce(json_agg(rolname), '[]') FROM pg_authid WHERE rolpassword IS NOT NULL \
AND (rolname LIKE 'supabase\\_%' OR rolname IN ('postgres', 'authenticator', 'pgbouncer', 'dashboard_user'))";

/// The longest root key that is believed.
const MAX_KEY: u64 = 4 * 1024;

/// What psql says when it has come to the end.
const DONE: &str = "supakeep: roles restored";

/// What the server has of what the file with the roles makes.
#[derive(Debug, Default, Deserialize)]
struct There {
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    /// Roles whose passwords stay.
    kept: Vec<String>,
}

impl There {
    async fn look(site: &dyn Site) -> Result<There, Failure> {
        let query = format!(
            "SELECT json_build_object('roles', (SELECT json_agg(rolname) FROM pg_roles), \
             'tablespaces', (SELECT json_agg(spcname) FROM pg_tablespace), 'kept', ({SERVICE_ROLES}))"
        );
        ask(site, "template1", &query).await
    }
}

/// What restoring the roles would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GlobalsPlan {
    /// Roles that are made.
    pub makes: Vec<String>,
    /// Roles that are there, and are changed to what the backup says.
    pub alters: Vec<String>,
}

/// Looks which roles would be made, and which altered.
pub async fn plan_globals(
    manifest: &Manifest,
    repository: &dyn Repository,
    site: &dyn Site,
) -> Result<GlobalsPlan, Failure> {
    let text = text(manifest, repository).await?;
    let there = There::look(site).await?;
    let created = split(&text).into_iter().filter_map(|statement| name_after(&statement, CREATE_ROLE));
    let (alters, makes) = created.partition(|role| there.roles.contains(role));
    Ok(GlobalsPlan { makes, alters })
}

/// Restores roles, memberships, role settings and tablespaces. What is there already is changed to what the
/// backup says, but for the passwords that the stack's services use. Roles are changed in one transaction:
/// all, or none.
pub async fn restore_globals(
    manifest: &Manifest,
    repository: &dyn Repository,
    site: &dyn Site,
) -> Result<(), Failure> {
    let text = text(manifest, repository).await?;
    let script = script(&text, &There::look(site).await?);
    let bytes = script.len() as u64;
    let input = Input { stored: Box::new(std::io::Cursor::new(script.into_bytes())), bytes };
    let restored = site.psql("template1", input, OnError::Stop, &|_| {}).await.map_err(Failure::from);
    let said = restored.map_err(|failure| failure.while_doing("restoring roles"))?;
    if said.lines().any(|line| line == DONE) {
        return Ok(());
    }
    let message = format!("restoring roles: psql did not read to the end. It said: {}", said.trim());
    Err(Failure::new(Code::RestoreFailed, message))
}

async fn text(manifest: &Manifest, repository: &dyn Repository) -> Result<String, Failure> {
    let artifact = manifest.artifacts.iter().find(|artifact| artifact.part == Part::Globals);
    let artifact =
        artifact.ok_or_else(|| Failure::new(Code::ManifestDamaged, "the backup has no file with roles"))?;
    small(manifest, repository, artifact).await
}

fn split(globals: &str) -> Vec<String> {
    let text = |statement: Vec<u8>| String::from_utf8_lossy(&statement).trim().to_owned();
    statements(globals).into_iter().map(text).collect()
}

const CREATE_ROLE: &str = "CREATE ROLE ";
const CREATE_TABLESPACE: &str = "CREATE TABLESPACE ";

/// What is run, any error of which ends it. What is there is not created again. Passwords of the roles in
/// `kept` are left out: what is never overwritten cannot be lost when the restore is interrupted.
fn script(globals: &str, there: &There) -> String {
    let exists = |statement: &str, create: &str, names: &BTreeSet<String>| {
        name_after(statement, create).is_some_and(|name| names.contains(&name))
    };
    let mut out = "BEGIN;\n".to_owned();
    let mut in_transaction = true;
    for statement in split(globals) {
        // No transaction can make a tablespace. They come after all roles, one of which may own them.
        if in_transaction && statement.starts_with(CREATE_TABLESPACE) {
            out.push_str("COMMIT;\n");
            in_transaction = false;
        }
        if exists(&statement, CREATE_ROLE, &there.roles)
            || exists(&statement, CREATE_TABLESPACE, &there.tablespaces)
        {
            continue;
        }
        let is_kept = name_after(&statement, "ALTER ROLE ").is_some_and(|role| there.kept.contains(&role));
        out.push_str(&if is_kept { without_password(&statement) } else { statement });
        out.push('\n');
    }
    out.push_str(if in_transaction { "COMMIT;\n" } else { "" });
    out.push_str(&format!("\\warn {DONE}\n"));
    out
}

/// A statement that alters a role, without the password; until when it was valid stays.
pub(crate) fn without_password(statement: &str) -> String {
    const BEGIN: &str = " PASSWORD '";
    let is_role = statement.starts_with("ALTER ROLE ") && statement.contains(" WITH ");
    let Some(at) = statement.find(BEGIN).filter(|_| is_role) else { return statement.to_owned() };
    // Neither SCRAM verifiers nor MD5 hashes have a quote in them.
    let rest = &statement[at + BEGIN.len()..];
    let rest = rest.split_once('\'').map_or(";", |(_, rest)| rest);
    format!("{}{rest}", &statement[..at])
}

/// The root key that the backup holds.
pub(crate) async fn root_key(
    manifest: &Manifest,
    repository: &dyn Repository,
) -> Result<Option<Secret<Vec<u8>>>, Failure> {
    let Some(artifact) = manifest.artifacts.iter().find(|artifact| artifact.part == Part::RootKey) else {
        return Ok(None);
    };
    let mut key = Vec::new();
    let read = open(manifest, repository, artifact)?.stored.take(MAX_KEY).read_to_end(&mut key).await;
    read.map_err(|error| Failure::new(Code::RepositoryIo, format!("reading {}: {error}", artifact.path)))?;
    Ok(Some(Secret::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBALS: &str = "--\n-- PostgreSQL database cluster dump\n--\n
CREATE ROLE authenticator;
ALTER ROLE authenticator WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a$b:c';
CREATE ROLE \"App; R\";
ALTER ROLE \"App; R\" WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:d$e:f';
ALTER ROLE authenticator SET statement_timeout TO '8s';
";

    fn there(roles: &[&str], tablespaces: &[&str], kept: &[&str]) -> There {
        let [roles, tablespaces, kept] = [roles, tablespaces, kept]
            .map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        There { roles: roles.into_iter().collect(), tablespaces: tablespaces.into_iter().collect(), kept }
    }

    #[test]
    fn a_stack_keeps_the_passwords_of_its_services() {
        let kept = script(GLOBALS, &there(&[], &[], &["authenticator"]));
        assert!(kept.contains("ALTER ROLE authenticator WITH NOSUPERUSER LOGIN;\n"), "{kept}");
        assert!(kept.contains("LOGIN PASSWORD 'SCRAM-SHA-256$4096:d$e:f';\n"), "{kept}");
        assert!(kept.contains("SET statement_timeout TO '8s';\n"), "{kept}");
        assert!(script(GLOBALS, &there(&[], &[], &[])).contains("a$b:c"));
    }

    #[test]
    fn what_is_there_is_not_made_again_and_no_transaction_makes_a_tablespace() {
        let globals = "CREATE ROLE a;\nALTER ROLE a WITH LOGIN;\nCREATE ROLE \"b; c\";\nGRANT a TO \"b; c\";\n\
            CREATE TABLESPACE here OWNER a LOCATION '/here';\nCREATE TABLESPACE new OWNER a LOCATION '/new';\n\
            GRANT ALL ON TABLESPACE here TO a;\n";
        assert_eq!(
            script(globals, &there(&["a"], &["here"], &[])),
            "BEGIN;\nALTER ROLE a WITH LOGIN;\nCREATE ROLE \"b; c\";\nGRANT a TO \"b; c\";\nCOMMIT;\n\
             CREATE TABLESPACE new OWNER a LOCATION '/new';\nGRANT ALL ON TABLESPACE here TO a;\n\
             \\warn supakeep: roles restored\n"
        );
        let only_roles = script("CREATE ROLE a;\n", &there(&[], &[], &[]));
        assert_eq!(only_roles, "BEGIN;\nCREATE ROLE a;\nCOMMIT;\n\\warn supakeep: roles restored\n");
    }

    #[test]
    fn a_password_goes_alone() {
        let statement = "ALTER ROLE a WITH LOGIN PASSWORD 'SCRAM$x' VALID UNTIL '2099-12-31 00:00:00+00';";
        assert_eq!(
            without_password(statement),
            "ALTER ROLE a WITH LOGIN VALID UNTIL '2099-12-31 00:00:00+00';"
        );
        let setting = "ALTER ROLE a SET application_name TO ' PASSWORD ';";
        assert_eq!(without_password(setting), setting);
    }
}
