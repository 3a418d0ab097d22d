//! Roles and the vault's root key.

use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::manifest::Manifest;
use supakeep_model::secret::Secret;
use tokio::io::AsyncReadExt as _;

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

/// Restores roles, memberships and role settings. Roles that are there already are changed to what the
/// backup says, but for the passwords that the stack's services use.
pub async fn restore_globals(
    manifest: &Manifest,
    repository: &dyn Repository,
    site: &dyn Site,
) -> Result<(), Failure> {
    let artifact = manifest
        .artifacts
        .iter()
        .find(|artifact| artifact.part == Part::Globals)
        .ok_or_else(|| Failure::new(Code::ManifestDamaged, "the backup has no file with roles"))?;
    let text = small(manifest, repository, artifact).await?;
    let kept: Vec<String> = serde_json::from_str(site.sql("template1", SERVICE_ROLES).await?.trim())
        .map_err(|error| {
            Failure::new(Code::DatabaseRefused, format!("psql's answer makes no sense: {error}"))
        })?;
    let script = without_passwords(&text, &kept);
    let bytes = script.len() as u64;
    let input = Input { stored: Box::new(std::io::Cursor::new(script.into_bytes())), bytes };
    let said = site.psql("template1", input, OnError::GoOn, &|_| {}).await?;
    let fatal: Vec<_> = said.lines().filter(|line| is_fatal(line)).collect();
    if fatal.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::RestoreFailed, format!("restoring roles: {}", fatal.join(" / "))))
}

/// Every role is created and then altered; that it is there already is expected.
fn is_fatal(line: &str) -> bool {
    line.contains("ERROR:  ") && !(line.contains("ERROR:  role \"") && line.ends_with("\" already exists"))
        || line.contains("FATAL:  ")
        || line.contains("PANIC:  ")
}

/// The statements, without the passwords of the roles in `kept`: what is never overwritten cannot be lost
/// when the restore is interrupted.
fn without_passwords(globals: &str, kept: &[String]) -> String {
    let mut out = String::with_capacity(globals.len());
    for statement in statements(globals) {
        let statement = String::from_utf8_lossy(&statement).into_owned();
        let is_kept = name_after(&statement, "ALTER ROLE ").is_some_and(|role| kept.contains(&role));
        if is_kept {
            out.push_str(&without_password(&statement));
        } else {
            out.push_str(&statement);
        }
        out.push('\n');
    }
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

    #[test]
    fn a_stack_keeps_the_passwords_of_its_services() {
        let script = without_passwords(GLOBALS, &["authenticator".into()]);
        assert!(script.contains("ALTER ROLE authenticator WITH NOSUPERUSER LOGIN;\n"), "{script}");
        assert!(script.contains("LOGIN PASSWORD 'SCRAM-SHA-256$4096:d$e:f';\n"), "{script}");
        assert!(script.contains("SET statement_timeout TO '8s';\n"), "{script}");
        assert!(without_passwords(GLOBALS, &[]).contains("a$b:c"));
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

    #[test]
    fn only_roles_that_are_there_already_are_expected() {
        assert!(!is_fatal("psql:<stdin>:3: ERROR:  role \"anon\" already exists"));
        assert!(is_fatal("psql:<stdin>:3: ERROR:  role \"anon\" does not exist"));
        assert!(is_fatal("psql:<stdin>:3: ERROR:  permission denied"));
        assert!(!is_fatal("psql:<stdin>:3: NOTICE:  not a superuser"));
    }
}
