//! Plain dumps: SQL text as `pg_dump` and `pg_dumpall` write it.

mod copy_rows;
mod create;
mod dump;
mod head;
mod index;
mod insert_rows;
mod lexer;
mod nesting;
mod reader;
mod split;

pub(crate) use copy_rows::CopyRows;
pub use create::CreateStatements;
pub use dump::PlainDump;
pub(crate) use head::identifier;
pub(crate) use head::name_after;
pub(super) use head::sequence;
pub use index::PlainIndex;
pub(crate) use lexer::{Lexer, Next, Sink};
pub(crate) use split::statements;
