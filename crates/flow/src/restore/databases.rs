//! Dropping, making and filling databases.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::dump::Format;
use supakeep_model::journal::ClosedDatabase;
use supakeep_model::manifest::{DatabaseRecord, Manifest};

use super::content::{files, restore_content, small};
use super::creation::{Creation, OWN_SETTINGS};
use crate::failure::Failure;
use crate::inspect::select::quoted;
use crate::kill_point::kill_point;
use crate::ports::{Input, Observer, OnError, Repository, Site};

/// Tries to drop a database whose last session or slot is still going.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);
/// The connection limit of a database whose drop was interrupted: it can be dropped and nothing else.
const INVALID: &str = "-2";

/// Text as SQL writes it.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// What is needed to make a database again.
pub(crate) struct Making<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) repository: &'a dyn Repository,
    pub(crate) site: &'a dyn Site,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) jobs: usize,
}

impl Making<'_> {
    /// Drops the database if it is there, makes it with the stack's `own` settings and fills it. Nobody but
    /// superusers gets in until it is opened: that includes us, and nobody who reaches the server from
    /// elsewhere.
    pub(crate) async fn replace(
        &self,
        database: &DatabaseRecord,
        own: &[String],
    ) -> Result<ClosedDatabase, Failure> {
        let closed = self.replace_empty(database, own).await?;
        let Making { manifest, repository, site, observer, jobs } = *self;
        restore_content(manifest, repository, database, &database.name, jobs, site, observer).await?;
        kill_point("restore-database");
        Ok(closed)
    }

    /// The same, and leaves it empty.
    pub(crate) async fn replace_empty(
        &self,
        database: &DatabaseRecord,
        own: &[String],
    ) -> Result<ClosedDatabase, Failure> {
        drop_database(&database.name, self.site).await?;
        kill_point("restore-dropped");
        let limit = self.create(database, own).await?;
        kill_point("restore-created");
        Ok(ClosedDatabase { name: database.name.clone(), limit })
    }

    async fn create(&self, database: &DatabaseRecord, own: &[String]) -> Result<i64, Failure> {
        let file = files(self.manifest, Part::Create, &database.name).first().copied();
        let file = file.ok_or_else(|| {
            let what = format!("the backup does not say how the database {} is made", database.name);
            Failure::new(Code::ManifestDamaged, what)
        })?;
        let Creation { script, limit } =
            Creation::new(&small(self.manifest, self.repository, file).await?, own);
        let bytes = script.len() as u64;
        let input = Input { stored: Box::new(std::io::Cursor::new(script.into_bytes())), bytes };
        self.site.psql("template1", input, OnError::Stop, &|_| {}).await?;
        Ok(limit)
    }
}

/// How many bytes it takes to fill a database, as far as they are counted on their way.
pub(super) fn content_bytes(manifest: &Manifest, database: &str) -> u64 {
    let files = files(manifest, Part::Database, database).into_iter();
    match manifest.head.dump.format {
        // Its files go as they are stored.
        Format::Directory => files.map(|file| file.bytes).sum(),
        _ => files.map(|file| file.source_bytes).sum(),
    }
}

/// Lets others in again.
pub(crate) async fn open_database(closed: &ClosedDatabase, site: &dyn Site) -> Result<(), Failure> {
    let ClosedDatabase { name, limit } = closed;
    site.sql("template1", &format!("ALTER DATABASE {} CONNECTION LIMIT {limit}", quoted(name))).await?;
    Ok(())
}

/// The server's databases but for its templates.
pub(super) async fn names(site: &dyn Site) -> Result<BTreeSet<String>, Failure> {
    let query = "SELECT coalesce(json_agg(datname), '[]') FROM pg_database WHERE NOT datistemplate";
    serde_json::from_str(site.sql("template1", query).await?.trim()).map_err(|error| {
        Failure::new(Code::DatabaseRefused, format!("psql's answer makes no sense: {error}"))
    })
}

/// The settings of a database that stay the stack's own, as statements.
pub(crate) async fn own_settings(database: &str, site: &dyn Site) -> Result<Vec<String>, Failure> {
    let query = format!(
        "SELECT format('ALTER DATABASE %I SET %I TO %L;', datname, split_part(setting, '=', 1), \
         substr(setting, strpos(setting, '=') + 1)) FROM pg_db_role_setting s \
         JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) AS setting \
         WHERE setrole = 0 AND datname = {} AND setting LIKE '{OWN_SETTINGS}%'",
        literal(database)
    );
    Ok(site.sql("template1", &query).await?.lines().map(str::to_owned).collect())
}

/// Drops a database if it is there, also one that nobody can connect to.
pub(super) async fn drop_database(database: &str, site: &dyn Site) -> Result<(), Failure> {
    let statement =
        format!("{}DROP DATABASE IF EXISTS {} WITH (FORCE);\n", clear_the_way(database), quoted(database));
    let mut tries = 1;
    loop {
        let cleared = match shut(database, site).await? {
            Shut { is_there: false, .. } => return Ok(()),
            Shut { has_inside: true, .. } => site.sql(database, CLEAR_INSIDE).await.map(drop),
            Shut { .. } => Ok(()),
        };
        // Whatever came of that: only the drop itself knows whether it can be.
        match site.sql("template1", &statement).await {
            Ok(_) => return Ok(()),
            Err(error) if tries == TRIES => return Err(cleared.err().unwrap_or(error).into()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A database that nobody gets into any more.
#[derive(Deserialize)]
struct Shut {
    /// Whether there is one of the name.
    is_there: bool,
    /// Whether it has subscriptions or prepared transactions, which can be ended only from inside.
    has_inside: bool,
}

/// Shuts a database, so that nobody comes in again between the end of the last session and the drop, and looks at
/// what is in the way. Superusers get in where there is something to end inside, also into one that takes nobody;
/// most often there is nothing, and then it does not matter.
async fn shut(database: &str, site: &dyn Site) -> Result<Shut, Failure> {
    let name = literal(database);
    let alter = |what: &str, condition: &str| {
        format!(
            "SELECT format('ALTER DATABASE %I {what}', datname) FROM pg_database \
             WHERE datname = {name} AND datconnlimit <> {INVALID}{condition} \\gexec\n"
        )
    };
    let inside = format!(
        "((SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE datname = {name}) + \
         (SELECT count(*) FROM pg_prepared_xacts WHERE database = {name}) > 0)"
    );
    let script = [
        alter("CONNECTION LIMIT 0", ""),
        alter("ALLOW_CONNECTIONS true", &format!(" AND NOT datallowconn AND {inside}")),
        format!(
            "SELECT json_build_object('is_there', EXISTS (SELECT FROM pg_database WHERE datname = {name}), \
             'has_inside', {inside});\n"
        ),
    ];
    serde_json::from_str(site.sql("template1", &script.concat()).await?.trim()).map_err(|error| {
        Failure::new(Code::DatabaseRefused, format!("psql's answer makes no sense: {error}"))
    })
}

/// The slot is the other side's: it stays there, and this side never connects again.
const CLEAR_INSIDE: &str = "\
SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname) FROM pg_subscription \
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \\gexec
SELECT format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname) FROM pg_subscription \
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \\gexec
SELECT format('DROP SUBSCRIPTION %I', subname) FROM pg_subscription \
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \\gexec
SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = current_database() \\gexec
";

/// What keeps a database from being dropped besides sessions. A slot that somebody reads blocks the drop
/// before FORCE ends anybody: its reader is ended first, which waits for it for as many milliseconds.
fn clear_the_way(database: &str) -> String {
    let name = literal(database);
    format!(
        "SELECT count(pg_terminate_backend(active_pid, 5000)) FROM pg_replication_slots \
         WHERE database = {name} AND active_pid IS NOT NULL;\n\
         SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots \
         WHERE database = {name} AND NOT active;\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_nothing_but_that() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
