//! A file of a backup.

use serde::{Deserialize, Serialize};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Roles, memberships, role settings, tablespaces: `pg_dumpall --globals-only`.
    Globals,
    /// The statements that create a database: owner, encoding, grants, settings.
    Create,
    /// The dump of a database.
    Database,
    /// The vault's root key.
    RootKey,
    /// Files of the storage service, a tar archive: those that no earlier backup holds.
    Storage,
    /// The index of all files of the storage service, whichever backup holds them: see [`crate::file_index`].
    StorageIndex,
    /// Edge functions, a tar archive.
    Functions,
    /// Compose files and what else configures a stack, a tar archive.
    Config,
    /// All files of a volume, a tar archive.
    Volume,
    /// What a Redis server holds, as it writes it itself.
    Redis,
}

impl Part {
    /// Whether it is files of the stack, or tells of them, and not of its database.
    pub fn is_files(self) -> bool {
        matches!(
            self,
            Part::Storage | Part::StorageIndex | Part::Functions | Part::Config | Part::Volume | Part::Redis
        )
    }
}

/// Which part of a directory archive a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Member {
    /// `toc.dat`: the definitions, and the names of the other files.
    Contents,
    /// The rows of a table.
    Rows {
        /// The table's schema.
        schema: String,
        /// The table's name.
        name: String,
    },
    /// A large object.
    LargeObject {
        /// Its number.
        oid: i64,
    },
    /// The list of the large objects' files.
    LargeObjects,
}

/// How a file's bytes are encoded, from the inside out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// The bytes as they came.
    Identity,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
}

/// A file, with what is needed to check it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Path below the backup's folder, with `/` between levels.
    pub path: String,
    /// What it holds.
    pub part: Part,
    /// The database it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The volume or the service that it belongs to, as the head names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Which part of it, where its dump is a folder of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
    /// Length as stored.
    pub bytes: u64,
    /// SHA-256 of the bytes as stored, in hexadecimal.
    pub sha256: String,
    /// Length before compression.
    pub source_bytes: u64,
    /// SHA-256 of the bytes before compression, in hexadecimal.
    pub source_sha256: String,
    /// How it is compressed.
    pub encoding: Encoding,
}
