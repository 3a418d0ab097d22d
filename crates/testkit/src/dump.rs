//! Dumps as PostgreSQL's tools write them, small enough to read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use supakeep_flow::ports::DatabaseFacts;
use supakeep_model::manifest::{DatabaseRecord, Extension};

use crate::archive::{ArchiveCodec, archive};
use crate::specs::START;

/// What `pg_dumpall --globals-only` writes.
pub const GLOBALS: &str = "--
-- PostgreSQL database cluster dump
--

SET default_transaction_read_only = off;

CREATE ROLE anon;
ALTER ROLE anon WITH NOSUPERUSER INHERIT NOLOGIN;
ALTER ROLE anon SET statement_timeout TO '3s';
GRANT anon TO authenticator WITH INHERIT FALSE GRANTED BY supabase_admin;

--
-- PostgreSQL database cluster dump complete
--

";

/// A table with its rows as COPY writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its rows, without line ends.
    pub rows: Vec<String>,
}

/// A database, from which its dumps are written.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Large objects and their numbers; only archives hold them.
    pub large_objects: Vec<(i32, Vec<u8>)>,
    /// Secrets in its vault.
    pub vault_secrets: u64,
    /// Rows of `storage.objects`: paths below the prefix, and lengths; `None` where there is no such table.
    pub objects: Option<Vec<(String, u64)>>,
    /// Partitions, and the table they belong to.
    pub partitions: BTreeMap<(String, String), String>,
}

impl Database {
    /// A database without tables.
    pub fn new(name: &str) -> Database {
        Database {
            name: name.to_owned(),
            tables: Vec::new(),
            large_objects: Vec::new(),
            vault_secrets: 0,
            objects: None,
            partitions: BTreeMap::new(),
        }
    }

    /// The same with a table in schema `public` of `rows` rows.
    pub fn with(mut self, table: &str, rows: usize) -> Database {
        let rows = (1..=rows).map(|row| format!("{row}\tuser{row}@example.com\t\\N\tline\\nbreak"));
        self.tables.push(Table { schema: "public".into(), name: table.into(), rows: rows.collect() });
        self
    }

    /// What a snapshot tells about it.
    pub fn facts(&self) -> DatabaseFacts {
        let record = DatabaseRecord {
            name: self.name.clone(),
            owner: "postgres".into(),
            encoding: "UTF8".into(),
            collate: "C.UTF-8".into(),
            ctype: "C.UTF-8".into(),
            size_bytes: 8_000_000,
            snapshot_at: START,
            extensions: vec![Extension {
                name: "pgcrypto".into(),
                version: "1.3".into(),
                schema: "extensions".into(),
            }],
            fingerprint: None,
        };
        DatabaseFacts {
            record,
            partitions: self.partitions.clone(),
            vault_secrets: self.vault_secrets,
            has_objects: self.objects.is_some(),
        }
    }

    /// What `pg_dump` writes.
    pub fn plain(&self) -> String {
        let mut out =
            "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n\nCREATE SCHEMA auth;\n\n"
                .to_owned();
        for Table { schema, name, rows } in &self.tables {
            let head = |data: &str, kind: &str| {
                format!("--\n-- {data}Name: {name}; Type: {kind}; Schema: {schema}; Owner: postgres\n--\n\n")
            };
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "{}CREATE TABLE {schema}.{name} (\n    id bigint NOT NULL,\n    email text,\n    note text DEFAULT '; COPY x FROM stdin;'::text,\n    body text\n);\n\n",
                head("", "TABLE")
            );
            let _ = writeln!(
                out,
                "{}COPY {schema}.{name} (id, email, note, body) FROM stdin;",
                head("Data for ", "TABLE DATA")
            );
            rows.iter().for_each(|row| {
                let _ = writeln!(out, "{row}");
            });
            out.push_str("\\.\n\n\n");
            let _ = write!(
                out,
                "{}SELECT pg_catalog.setval('{schema}.{name}_id_seq', {}, true);\n\n",
                head("", "SEQUENCE SET"),
                rows.len()
            );
        }
        out.push_str("--\n-- PostgreSQL database dump complete\n--\n\n");
        out
    }

    /// What `pg_dump --create` writes of a database without its objects.
    pub fn create_statements(&self) -> String {
        let name = &self.name;
        format!(
            "--\n-- PostgreSQL database dump\n--\n\nCREATE DATABASE \"{name}\" WITH TEMPLATE = template0 ENCODING = 'UTF8';\n\
             ALTER DATABASE \"{name}\" OWNER TO postgres;\n\n\\connect \"{name}\"\n\n\
             ALTER DATABASE \"{name}\" SET \"app.settings.jwt_exp\" TO '3600';\n\n\\connect \"{name}\"\n\n\
             --\n-- PostgreSQL database dump complete\n--\n\n"
        )
    }

    /// What `pg_dump -Fc` writes.
    pub fn archive(&self, codec: ArchiveCodec) -> Vec<u8> {
        archive(&self.tables, &self.large_objects, codec)
    }
}
