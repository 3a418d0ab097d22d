//! `pg_dump`'s custom archives.
//!
//! The format is defined by PostgreSQL's source alone (`src/bin/pg_dump/pg_backup_archiver.c`,
//! `WriteHead` and `WriteToc`, and `pg_backup_custom.c`); these are its versions 1.12 (PostgreSQL 9)
//! to 1.16 (PostgreSQL 17 and 18).

mod reader;
mod toc;

pub use reader::CustomArchive;
