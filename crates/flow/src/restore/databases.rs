//! Dropping, making and filling databases.

use std::time::Duration;

use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{DatabaseRecord, Manifest};

use super::content::{files, restore_content, small};
use crate::failure::Failure;
use crate::inspect::sql::{name_after, statements};
use crate::kill_point::kill_point;
use crate::ports::{Elevation, Input, Observer, OnError, Repository, Site};

/// Who owns event triggers on Supabase, which only superusers may.
const OWNER: &str = "postgres";
/// Settings that belong to a stack's own `.env`.
const OWN_SETTINGS: &str = "app.settings.";
/// Tries to drop a database whose last session or slot is still going.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text as SQL writes it.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Makes `postgres` a superuser for a while, where there is one that is none. It cannot log in meanwhile.
async fn elevate(site: &dyn Site) -> Result<Option<Box<dyn Elevation>>, Failure> {
    let query = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{OWNER}' AND NOT rolsuper");
    let is_wanted = site.sql("template1", &query).await?.trim() == "1";
    Ok(if is_wanted { Some(site.elevate(OWNER).await?) } else { None })
}

/// The same right, taken back by ourselves: after a failure nobody is sure of anything.
pub(super) async fn lower(site: &dyn Site) {
    let statement = format!(
        "SELECT format('ALTER ROLE %I NOSUPERUSER LOGIN', rolname) FROM pg_roles \
         WHERE rolname = '{OWNER}' AND rolsuper AND rolname <> current_user \\gexec\n"
    );
    if let Err(error) = site.sql("template1", &statement).await {
        tracing::error!(code = %error.code, "check whether the role {OWNER} is a superuser: {error}");
    }
}

/// What is needed to make a database again.
pub(crate) struct Making<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) repository: &'a dyn Repository,
    pub(crate) site: &'a dyn Site,
    pub(crate) observer: &'a dyn Observer,
    /// What was saved of the stack before.
    pub(crate) safety: Option<&'a BackupId>,
    pub(crate) jobs: usize,
}

impl Making<'_> {
    /// Replaces one database after the other while `postgres` is a superuser, which it never stays.
    /// `enter` is told which one begins; those that are filled stay `closed`.
    pub(crate) async fn replace_all<'d>(
        &self,
        databases: impl Iterator<Item = &'d DatabaseRecord> + Send,
        enter: impl Fn(&str) + Send + Sync,
        closed: &mut Vec<Closed>,
    ) -> Result<(), Failure> {
        let elevation = elevate(self.site).await?;
        let mut restored = Ok(());
        for database in databases {
            enter(&database.name);
            match self.replace(database).await {
                Ok(filled) => closed.push(filled),
                Err(failure) => {
                    restored = Err(failure);
                    break;
                }
            }
            kill_point("restore-database");
        }
        // On every path.
        let lowered = match elevation {
            Some(elevation) => elevation.end().await.map_err(Failure::from),
            None => Ok(()),
        };
        restored.and(lowered)
    }

    /// Drops the database if it is there, makes it and fills it. It stays closed.
    async fn replace(&self, database: &DatabaseRecord) -> Result<Closed, Failure> {
        let own = self.own_settings(&database.name).await?;
        self.drop(&database.name).await?;
        kill_point("restore-dropped");
        self.create(database, &own).await?;
        // Whoever reaches the server from elsewhere stays out until all is there and was compared. The
        // limit does not hold for superusers, and that is us.
        let limit = self.connection_limit(&database.name).await?;
        let close = format!("ALTER DATABASE {} CONNECTION LIMIT 0", quoted(&database.name));
        self.site.sql("template1", &close).await?;
        kill_point("restore-created");
        self.fill(database).await?;
        Ok(Closed { database: database.name.clone(), limit })
    }

    async fn fill(&self, database: &DatabaseRecord) -> Result<(), Failure> {
        let Making { manifest, repository, site, observer, jobs, .. } = *self;
        restore_content(manifest, repository, database, &database.name, jobs, site, observer).await
    }

    async fn connection_limit(&self, database: &str) -> Result<i64, Failure> {
        let query = format!("SELECT datconnlimit FROM pg_database WHERE datname = {}", literal(database));
        let answer = self.site.sql("template1", &query).await?;
        Ok(answer.trim().parse().unwrap_or(-1))
    }

    /// The settings of the database as it is, or as the safety backup has them, that stay the stack's own.
    async fn own_settings(&self, database: &str) -> Result<Vec<String>, Failure> {
        if let Some(id) = self.safety {
            let saved = self.repository.manifest(id)?;
            let file = files(&saved, Part::Create, database).first().copied().cloned();
            return match file {
                Some(file) => Ok(settings(&small(&saved, self.repository, &file).await?)),
                None => Ok(Vec::new()),
            };
        }
        let query = format!(
            "SELECT format('ALTER DATABASE %I SET %I TO %L;', datname, split_part(setting, '=', 1), \
             substr(setting, strpos(setting, '=') + 1)) FROM pg_db_role_setting s \
             JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) AS setting \
             WHERE setrole = 0 AND datname = {} AND setting LIKE '{OWN_SETTINGS}%'",
            literal(database)
        );
        Ok(self.site.sql("template1", &query).await?.lines().map(str::to_owned).collect())
    }

    async fn drop(&self, database: &str) -> Result<(), Failure> {
        let there = format!("SELECT count(*) FROM pg_database WHERE datname = {}", literal(database));
        if self.site.sql("template1", &there).await?.trim() == "0" {
            return Ok(());
        }
        // Nobody comes in again between the drop of the last session and the drop of the database.
        let shut = format!("ALTER DATABASE {} CONNECTION LIMIT 0", quoted(database));
        self.site.sql("template1", &shut).await?;
        let statement = format!(
            "{}DROP DATABASE IF EXISTS {} WITH (FORCE);\n",
            clear_the_way(database),
            quoted(database)
        );
        let mut tries = 1;
        loop {
            // Subscriptions can be dropped only from inside.
            let outcome = match self.site.sql(database, DROP_SUBSCRIPTIONS).await {
                Ok(_) => self.site.sql("template1", &statement).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => return Ok(()),
                Err(error) if tries == TRIES => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn create(&self, database: &DatabaseRecord, own: &[String]) -> Result<(), Failure> {
        let file = files(self.manifest, Part::Create, &database.name).first().copied();
        let file = file.ok_or_else(|| {
            let what = format!("the backup does not say how the database {} is made", database.name);
            Failure::new(Code::ManifestDamaged, what)
        })?;
        let text = small(self.manifest, self.repository, file).await?;
        let mut script = without_settings(&text, own);
        own.iter().for_each(|statement| script.extend([statement, "\n"]));
        let bytes = script.len() as u64;
        let input = Input { stored: Box::new(std::io::Cursor::new(script.into_bytes())), bytes };
        self.site.psql("template1", input, OnError::Stop, &|_| {}).await?;
        Ok(())
    }
}

/// A database that takes nobody but superusers.
pub(crate) struct Closed {
    database: String,
    /// How many it took before, as the backup has it.
    limit: i64,
}

impl Closed {
    /// Lets others in again.
    pub(crate) async fn open(&self, site: &dyn Site) -> Result<(), Failure> {
        let Closed { database, limit } = self;
        let open = format!("ALTER DATABASE {} CONNECTION LIMIT {limit}", quoted(database));
        site.sql("template1", &open).await?;
        Ok(())
    }
}

/// Makes a database beside the others, with the encoding and locale of the backup's, and owned by the same
/// role.
pub async fn fill_new_database(
    manifest: &Manifest,
    repository: &dyn Repository,
    database: &DatabaseRecord,
    name: &str,
    jobs: usize,
    site: &dyn Site,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let create = format!(
        "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        quoted(name),
        quoted(&database.owner),
        literal(&database.encoding),
        literal(&database.collate),
        literal(&database.ctype)
    );
    site.sql("template1", &create).await?;
    restore_content(manifest, repository, database, name, jobs, site, observer).await
}

/// The slot is the other side's: it stays there, and this side never connects again.
const DROP_SUBSCRIPTIONS: &str = "\
SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname) FROM pg_subscription \
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \\gexec
SELECT format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname) FROM pg_subscription \
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \\gexec
SELECT format('DROP SUBSCRIPTION %I', subname) FROM pg_subscription \
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \\gexec
";

/// What keeps a database from being dropped besides sessions.
fn clear_the_way(database: &str) -> String {
    let name = literal(database);
    format!(
        "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots \
         WHERE database = {name} AND NOT active;\n\
         SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = {name} \\gexec\n"
    )
}

/// The stack's own settings among the statements that create a database.
fn settings(create: &str) -> Vec<String> {
    let text = |statement: Vec<u8>| String::from_utf8_lossy(&statement).into_owned();
    statements(create).into_iter().map(text).filter(|statement| own_setting(statement).is_some()).collect()
}

/// Whether a statement sets something that belongs to a stack's own `.env`.
pub(crate) fn is_own_setting(statement: &str) -> bool {
    own_setting(statement).is_some()
}

/// The name of the stack's own setting that a statement sets.
fn own_setting(statement: &str) -> Option<String> {
    let (_, setting) = statement.strip_prefix("ALTER DATABASE ")?.split_once(" SET ")?;
    name_after(setting, "").filter(|name| name.starts_with(OWN_SETTINGS))
}

/// The statements, without those that set what `own` sets.
fn without_settings(create: &str, own: &[String]) -> String {
    let kept: Vec<_> = own.iter().filter_map(|statement| own_setting(statement)).collect();
    let mut out = String::with_capacity(create.len());
    for statement in statements(create) {
        let statement = String::from_utf8_lossy(&statement).into_owned();
        if own_setting(&statement).is_none_or(|name| !kept.contains(&name)) {
            out.extend([statement.as_str(), "\n"]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = "CREATE DATABASE postgres WITH TEMPLATE = template0;\n\
ALTER DATABASE postgres SET \"app.settings.jwt_secret\" TO 'old';\n\
ALTER DATABASE postgres SET \"app.settings.jwt_exp\" TO '3600';\n\
ALTER DATABASE postgres SET search_path TO 'x', 'app.settings.y';\n";

    #[test]
    fn a_stack_keeps_its_own_settings() {
        let own = vec!["ALTER DATABASE postgres SET \"app.settings.jwt_secret\" TO 'new';".to_owned()];
        let script = without_settings(CREATE, &own);
        assert!(
            !script.contains("'old'") && script.contains("jwt_exp") && script.contains("search_path"),
            "{script}"
        );
        assert_eq!(settings(CREATE).len(), 2);
    }

    #[test]
    fn names_and_texts_are_nothing_but_that() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
