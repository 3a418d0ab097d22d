//! `pg_dump`'s archives: custom ones, and folders made of them.
//!
//! The format is defined by PostgreSQL's source alone (`src/bin/pg_dump/pg_backup_archiver.c`,
//! `WriteHead` and `WriteToc`, `pg_backup_custom.c` and `pg_backup_directory.c`); these are its
//! versions 1.12 (PostgreSQL 9) to 1.16 (PostgreSQL 17 and 18).

mod directory;
mod extract;
mod index;
mod member;
mod reader;
mod sections;
mod sink;
mod toc;

pub use directory::DirectoryArchive;
pub use extract::{Extract, Taker};
pub use index::ArchiveIndex;
pub use member::{LargeObject, Rows};
pub use reader::{Contents, CustomArchive};
pub use sections::{MAX_KEPT_BYTES, Rest, Sections};
