//! The server that is restored into: what it has, and what it could not make.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::manifest::{Extension, Manifest};

use crate::failure::Failure;
use crate::inspect::sql::{name_after, statements};
use crate::ports::{Repository, Site};
use crate::restore::ask::ask;
use crate::restore::content::{files, small};
use crate::restore::{RestoreSpec, literal};

/// What is asked of the server. A limit of -2 connections marks a database that can only be dropped.
const QUERY: &str = "SELECT json_build_object(\
'extensions', (SELECT coalesce(json_object_agg(name, default_version), '{}') FROM pg_available_extensions), \
'sizes', (SELECT coalesce(json_object_agg(datname, pg_database_size(oid)), '{}') FROM pg_database \
WHERE NOT datistemplate AND datallowconn AND datconnlimit <> -2), \
'slots', (SELECT coalesce(json_agg(json_build_array(database, slot_name) ORDER BY database, slot_name), '[]') \
FROM pg_replication_slots WHERE database IS NOT NULL AND NOT temporary), \
'locales', (SELECT json_agg(DISTINCT name) FROM pg_database, unnest(ARRAY[datcollate, datctype]) AS name), \
'tablespaces', (SELECT json_agg(spcname) FROM pg_tablespace), \
'knows_icu', EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i'), \
'preload', current_setting('shared_preload_libraries'))";

/// A server that is restored into.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Target {
    /// The version of each extension that it would make.
    extensions: BTreeMap<String, String>,
    /// Its databases that take connections, with their sizes in bytes.
    pub(super) sizes: BTreeMap<String, u64>,
    /// Logical replication slots: database and name.
    slots: Vec<(String, String)>,
    /// Locales that a database of it has, so that others can have them.
    locales: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    knows_icu: bool,
    preload: String,
}

impl Target {
    /// Asks the server.
    pub(super) async fn look(site: &dyn Site) -> Result<Target, Failure> {
        ask(site, "template1", QUERY).await
    }

    /// Extensions that it cannot make.
    pub(super) fn missing_extensions(&self, spec: &RestoreSpec) -> Option<String> {
        let missing = extensions(spec).filter(|extension| !self.extensions.contains_key(&extension.name));
        let missing: BTreeSet<_> =
            missing.map(|extension| format!("{} {}", extension.name, extension.version)).collect();
        listed(missing).map(|missing| format!("the server does not have the extensions {missing}"))
    }

    /// Extensions that it makes in another version: a dump names none.
    pub(super) fn other_extensions(&self, spec: &RestoreSpec) -> Option<String> {
        let changed: BTreeSet<_> = extensions(spec)
            .filter_map(|extension| {
                let made = self.extensions.get(&extension.name)?;
                let Extension { name, version, .. } = extension;
                (made != version).then(|| format!("{name} {made} instead of {version}"))
            })
            .collect();
        listed(changed)
            .map(|changed| format!("the server makes these extensions in another version: {changed}"))
    }

    /// Libraries that the backup's server preloaded and this one does not.
    pub(super) fn missing_libraries(&self, manifest: &Manifest) -> Option<String> {
        let preload = |text: &str| -> BTreeSet<String> {
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        };
        let setting =
            manifest.server_settings.iter().find(|setting| setting.name == "shared_preload_libraries")?;
        let missing = preload(&setting.value).difference(&preload(&self.preload)).cloned().collect();
        listed(missing).map(|missing| format!("the server does not preload {missing}"))
    }

    /// Slots of the databases that are dropped. No backup brings them back: what they held back for their
    /// readers is lost.
    pub(super) fn lost_slots(&self, spec: &RestoreSpec) -> Option<String> {
        let dropped: BTreeSet<&str> = spec.databases().map(|database| database.name.as_str()).collect();
        let lost = self.slots.iter().filter(|(database, _)| dropped.contains(database.as_str()));
        let lost = lost.map(|(database, slot)| format!("{slot} of {database}")).collect();
        listed(lost).map(|lost| {
            format!(
                "logical replication slots are dropped for good, and their readers have to begin anew: {lost}"
            )
        })
    }

    /// Why the server could not make a database as the backup has it, which it would say only after the old
    /// one was dropped.
    pub(super) async fn unmakeable(
        &self,
        spec: &RestoreSpec,
        site: &dyn Site,
        repository: &dyn Repository,
    ) -> Result<Vec<String>, Failure> {
        let mut out = Vec::new();
        let mut locales = BTreeSet::new();
        for database in spec.databases() {
            locales.extend([&database.collate, &database.ctype]);
            let Some(file) = files(&spec.manifest, Part::Create, &database.name).first().copied() else {
                continue;
            };
            let Made { tablespace, needs_icu } = Made::by(&small(&spec.manifest, repository, file).await?);
            if needs_icu && !self.knows_icu {
                out.push(format!("database {} needs ICU, which the server does not have", database.name));
            }
            // A whole restore brings those of the backup.
            if let Some(name) = tablespace.filter(|name| !spec.is_whole() && !self.tablespaces.contains(name))
            {
                out.push(format!(
                    "database {} is in the tablespace {name}, which the server does not have",
                    database.name
                ));
            }
        }
        for locale in locales.into_iter().filter(|locale| !self.locales.contains(*locale)) {
            if !has_locale(site, locale).await? {
                out.push(format!("the server's system does not have the locale {locale}"));
            }
        }
        Ok(out)
    }
}

/// Whether the system has it. Setting the way money is written fails where it has not, and changes nothing
/// beyond the session.
async fn has_locale(site: &dyn Site, locale: &str) -> Result<bool, Failure> {
    let query = format!("SELECT set_config('lc_monetary', {}, false)", literal(locale));
    match site.sql("template1", &query).await {
        Ok(_) => Ok(true),
        Err(error) if error.code == Code::RestoreFailed => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn extensions(spec: &RestoreSpec) -> impl Iterator<Item = &Extension> {
    spec.databases().flat_map(|database| &database.extensions)
}

fn listed(names: BTreeSet<String>) -> Option<String> {
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
}

/// What a `CREATE DATABASE` asks of the server.
#[derive(Debug, PartialEq, Eq, Default)]
struct Made {
    tablespace: Option<String>,
    needs_icu: bool,
}

impl Made {
    /// Reads the statements that create a database.
    fn by(create: &str) -> Made {
        let text = |statement: Vec<u8>| String::from_utf8_lossy(&statement).into_owned();
        let mut statements = statements(create).into_iter().map(text);
        let Some(statement) = statements.find(|statement| statement.starts_with("CREATE DATABASE ")) else {
            return Made::default();
        };
        // The name comes before this, and may look like what comes after it.
        let Some((_, options)) = statement.rsplit_once(" WITH TEMPLATE = ") else { return Made::default() };
        let at = options.rfind(" TABLESPACE = ");
        let tablespace = at.and_then(|at| name_after(&options[at..], " TABLESPACE = "));
        Made { tablespace, needs_icu: options.contains(" LOCALE_PROVIDER = icu") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_needs_is_read_from_its_statement() {
        let plain = "CREATE DATABASE postgres WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';\n";
        assert_eq!(Made::by(plain), Made::default());
        let special = "CREATE DATABASE \"a TABLESPACE = b\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'de' TABLESPACE = \"fast \"\"one\"\"\";\n";
        assert_eq!(Made::by(special), Made { tablespace: Some("fast \"one\"".to_owned()), needs_icu: true });
        let misleading = "CREATE DATABASE \"a TABLESPACE = b\" WITH TEMPLATE = template0 LOCALE = 'C';\n";
        assert_eq!(Made::by(misleading), Made::default());
    }
}
