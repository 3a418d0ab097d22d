//! What a dump holds, entry by entry, and choosing among it.
//!
//! Plain dumps and archives tell the same things of each entry: its kind, its name, the statements that
//! make it. The name of an entry is for people: `messages Members write` may be a policy of the table
//! `messages` or one of a table `messages Members`. So which table an entry belongs to is read from its
//! statements, never from its name.

mod contents;
mod entry;
mod name;
mod relocate;
mod subject;
mod words;

use super::InspectError;

pub use contents::{Contents, Detail, LeftOut};
pub use entry::{Entry, Header};
pub use name::Name;
pub(crate) use name::quoted;
pub use relocate::Relocation;
pub use subject::Subject;

/// Reads a dump as it passes and says what is where in it.
pub trait Index: Send {
    /// Takes the next bytes, in chunks of any size: the boundaries never change the result.
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError>;

    /// What the dump holds. Called once, after the last byte; an error if the end was not the dump's own.
    fn finish(self: Box<Self>) -> Result<Contents, InspectError>;
}
