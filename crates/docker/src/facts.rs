//! What the server tells about itself and its databases.

use std::collections::BTreeMap;

use serde::Deserialize;
use supakeep_flow::ports::{DatabaseFacts, ServerFacts};
use supakeep_model::manifest::{DatabaseRecord, Extension, Setting};
use supakeep_model::manifest_head::StackRecord;
use time::OffsetDateTime;

/// Settings that a restore has to match, or that explain why one fails. A list of what is taken, not of
/// what is left out: settings can hold secrets.
const SETTINGS: &str = "'shared_preload_libraries','session_preload_libraries','wal_level','max_replication_slots',\
'max_wal_senders','max_connections','max_worker_processes','max_locks_per_transaction','max_prepared_transactions',\
'cron.database_name','default_text_search_config','server_encoding','lc_collate','lc_ctype','lc_messages','lc_monetary',\
'lc_numeric','lc_time','TimeZone','data_checksums','standard_conforming_strings','default_table_access_method'";

/// The server, in one JSON value. A limit of -2 connections marks a database whose removal was interrupted:
/// PostgreSQL lets nobody in, and it can only be dropped.
pub(crate) fn server_query() -> String {
    format!(
        "SELECT json_build_object(\
'version', current_setting('server_version'), \
'version_num', current_setting('server_version_num')::int, \
'is_superuser', current_setting('is_superuser') = 'on', \
'configure', (SELECT setting FROM pg_config() WHERE name = 'CONFIGURE'), \
'system_identifier', (SELECT system_identifier::text FROM pg_control_system()), \
'databases', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database \
WHERE NOT datistemplate AND datallowconn AND datconnlimit <> -2), \
'closed_databases', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database \
WHERE NOT datistemplate AND NOT (datallowconn AND datconnlimit <> -2)), \
'settings', (SELECT coalesce(json_agg(json_build_object('name', name, 'value', setting) ORDER BY name), '[]') \
FROM pg_settings WHERE name IN ({SETTINGS})))"
    )
}

/// Opens a snapshot and describes the database in it: several statements, one answer. Limits that the
/// server or the role sets are for other sessions; this one is idle for as long as the dump takes.
pub(crate) const SNAPSHOT_QUERY: &str = "\
SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0;
SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout' \\g /dev/null
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT json_build_object(\
'snapshot', pg_export_snapshot(), \
'at', to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
'owner', (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()), \
'encoding', (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()), \
'collate', (SELECT datcollate FROM pg_database WHERE datname = current_database()), \
'ctype', (SELECT datctype FROM pg_database WHERE datname = current_database()), \
'size_bytes', pg_database_size(current_database()), \
'extensions', (SELECT coalesce(json_agg(json_build_object('name', extname, 'version', extversion, 'schema', nspname) ORDER BY extname), '[]') \
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace), \
'partitions', (SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname, rn.nspname || '.' || r.relname)), '[]') \
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_class r ON r.oid = pg_partition_root(c.oid) JOIN pg_namespace rn ON rn.oid = r.relnamespace \
WHERE c.relispartition AND c.relkind = 'r'), \
'has_vault', to_regclass('vault.secrets') IS NOT NULL, \
'has_objects', to_regclass('storage.objects') IS NOT NULL);";

/// How many secrets need the root key.
pub(crate) const VAULT_QUERY: &str = "SELECT count(*) FROM vault.secrets;";

/// The answer to [`server_query`].
#[derive(Debug, Deserialize)]
pub(crate) struct ServerAnswer {
    version: String,
    version_num: u32,
    is_superuser: bool,
    configure: Option<String>,
    system_identifier: String,
    databases: Vec<String>,
    #[serde(default)]
    closed_databases: Vec<String>,
    settings: Vec<Setting>,
}

/// The first version whose pg_dump knows more than gzip.
const FIRST_WITH_ZSTD: u32 = 160_000;

impl ServerAnswer {
    pub(crate) fn into_facts(self, record: StackRecord) -> ServerFacts {
        let built_with_zstd = self.configure.is_some_and(|options| options.contains("zstd"));
        // Distributors add their own name: `15.8 (Debian 15.8-0+deb12u1)`.
        let server_version = self.version.split(' ').next().unwrap_or_default().to_owned();
        ServerFacts {
            record: StackRecord {
                server_version,
                server_version_num: self.version_num,
                system_identifier: self.system_identifier,
                ..record
            },
            databases: self.databases,
            closed_databases: self.closed_databases,
            settings: self.settings,
            dumps_zstd: self.version_num >= FIRST_WITH_ZSTD && built_with_zstd,
            is_superuser: self.is_superuser,
        }
    }
}

/// The answer to [`SNAPSHOT_QUERY`].
#[derive(Debug, Deserialize)]
pub(crate) struct SnapshotAnswer {
    pub(crate) snapshot: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    owner: String,
    encoding: String,
    collate: String,
    ctype: String,
    size_bytes: u64,
    extensions: Vec<Extension>,
    partitions: Vec<(String, String, String)>,
    pub(crate) has_vault: bool,
    has_objects: bool,
}

impl SnapshotAnswer {
    pub(crate) fn into_facts(self, name: &str, vault_secrets: u64) -> DatabaseFacts {
        let partitions = self.partitions.into_iter().map(|(schema, name, root)| ((schema, name), root));
        let record = DatabaseRecord {
            name: name.to_owned(),
            owner: self.owner,
            encoding: self.encoding,
            collate: self.collate,
            ctype: self.ctype,
            size_bytes: self.size_bytes,
            snapshot_at: self.at,
            extensions: self.extensions,
            fingerprint: None,
        };
        let partitions = BTreeMap::from_iter(partitions);
        DatabaseFacts { record, partitions, vault_secrets, has_objects: self.has_objects }
    }
}
