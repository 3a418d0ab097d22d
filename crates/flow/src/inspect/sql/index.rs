//! Where everything is in a plain dump.
//!
//! `pg_dump` writes a comment before each entry. Only the lexer knows a comment between statements from
//! text in a function's body or in a row that looks the same.

use std::ops::Range;

use super::copy_rows::CopyRows;
use super::lexer::{Lexer, Next, Sink};
use crate::inspect::InspectError;
use crate::inspect::select::{Contents, Entry, Header, Index};

/// The longest statement that is kept: the columns of the widest table there can be, and more.
const MAX_STATEMENT: usize = 1 << 20;

/// How much of a psql command is kept: enough to know it.
const MAX_COMMAND: usize = 64;

/// Reads a plain dump as it passes.
#[derive(Default)]
pub struct PlainIndex {
    lexer: Lexer,
    seen: Seen,
    rows: Option<CopyRows>,
    /// Bytes taken so far.
    offset: u64,
    contents: Contents,
    current: Current,
    begun: bool,
    ended: bool,
}

/// The entry that is being read; before the first and after the last it is none.
#[derive(Default)]
struct Current {
    entry: Option<Entry>,
    /// Where what has not been given to anybody begins.
    begin: u64,
    /// Where the rows begin that are being read.
    rows_begin: u64,
    /// Whether the next piece of data goes on where the last one ended.
    joins: bool,
}

/// What the lexer has found and nobody has looked at.
#[derive(Default)]
struct Seen {
    statement: Vec<u8>,
    length: u64,
    ended: bool,
    comment: Option<Vec<u8>>,
    command: Vec<u8>,
    /// A command of psql's that can reach beyond the database, if one has been seen.
    reaches_out: Option<String>,
}

impl Seen {
    fn text(&mut self, bytes: &[u8]) {
        let room = MAX_STATEMENT.saturating_sub(self.statement.len());
        self.statement.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
    }
}

impl Sink for Seen {
    fn code(&mut self, bytes: &[u8]) {
        if memchr::memchr(b'\\', bytes).is_some() {
            self.reaches_out = Some("a back-slash inside of a statement".to_owned());
        }
        self.text(bytes);
    }

    fn quoted(&mut self, bytes: &[u8]) {
        self.text(bytes);
    }

    fn end_of_statement(&mut self) -> Next {
        self.ended = true;
        let rows_follow = self.statement.starts_with(b"COPY ") && self.statement.ends_with(b"FROM stdin;");
        if rows_follow { Next::CopyRows } else { Next::Statement }
    }

    fn comment(&mut self, text: &[u8]) {
        self.comment = Some(text.to_vec());
    }

    fn command(&mut self, bytes: &[u8]) {
        let room = MAX_COMMAND - self.command.len();
        self.command.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.ends_with(b"\n") {
            let command = std::mem::take(&mut self.command);
            let word = command.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            // What pg_dump puts around everything, so that nothing else can be a command.
            let is_harmless = matches!(word, b"restrict" | b"unrestrict")
                && command.iter().all(|byte| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace());
            if !is_harmless {
                self.reaches_out = Some(format!("\\{}", String::from_utf8_lossy(word)));
            }
        }
    }
}

impl Index for PlainIndex {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), InspectError> {
        while !bytes.is_empty() {
            if let Some(rows) = &mut self.rows {
                let end = rows.feed(bytes);
                self.offset += end.unwrap_or(bytes.len()) as u64;
                let Some(taken) = end else { return Ok(()) };
                self.rows = None;
                self.end_of_rows();
                bytes = &bytes[taken..];
                continue;
            }
            let (taken, rows_begin) = self.lexer.step(bytes, &mut self.seen);
            self.offset += taken as u64;
            bytes = &bytes[taken..];
            if let Some(comment) = self.seen.comment.take() {
                self.comment(&comment);
            }
            if std::mem::take(&mut self.seen.ended) {
                self.statement()?;
            }
            if rows_begin {
                self.current.rows_begin = self.offset;
                self.rows = Some(CopyRows::default());
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Contents, InspectError> {
        let incomplete = |what: &str| Err(InspectError::Incomplete(what.to_owned()));
        if !self.begun {
            return Err(InspectError::Damaged("it does not begin as a dump does".to_owned()));
        }
        if self.rows.is_some() || !self.lexer.is_between_statements() {
            return incomplete("it stops inside a statement or among rows");
        }
        if !self.ended {
            return incomplete("the line `PostgreSQL database dump complete` is missing at its end");
        }
        if let Some(command) = self.seen.reaches_out {
            let message = format!(
                "it tells psql to do something that can reach beyond the database ({command}); a dump of one database, made without --create, does not"
            );
            return Err(InspectError::Damaged(message));
        }
        self.end_of_entry();
        self.settle(self.offset);
        self.contents.bytes = self.offset;
        Ok(self.contents)
    }
}

impl PlainIndex {
    fn comment(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let text = text.trim_end_matches('\r');
        self.begun |= text == " PostgreSQL database dump";
        // The comment of an object could say the same.
        let is_at_the_top = self.contents.entries.is_empty() && self.current.entry.is_none();
        if let Some(version) = text.strip_prefix(" Dumped by pg_dump version ").filter(|_| is_at_the_top) {
            version.clone_into(&mut self.contents.dumped_by);
        }
        if text == " PostgreSQL database dump complete" {
            self.ended = true;
            self.end_of_entry();
        } else if let Some(header) = Header::parse(text) {
            self.end_of_entry();
            self.settle(self.offset);
            let id = self.contents.entries.len() as i64 + 1;
            self.current.entry = Some(Entry { id, header, ..Entry::default() });
            self.current.joins = false;
        }
    }

    /// Gives what has been read to the entry that it belongs to, or to the settings.
    fn settle(&mut self, end: u64) {
        let extent = self.current.begin..end;
        self.current.begin = end;
        if extent.is_empty() {
            return;
        }
        match &mut self.current.entry {
            Some(entry) => entry.extents.push(extent),
            None => self.contents.settings.push(extent),
        }
    }

    fn end_of_entry(&mut self) {
        self.settle(self.offset);
        if let Some(mut entry) = self.current.entry.take() {
            entry.find_subject();
            self.contents.entries.push(entry);
        }
    }

    fn statement(&mut self) -> Result<(), InspectError> {
        self.ended = false;
        let length = std::mem::take(&mut self.seen.length);
        let statement = std::mem::take(&mut self.seen.statement);
        let begin = self.offset - length.min(self.offset);
        let Some(entry) = &mut self.current.entry else {
            add(&mut self.contents.preamble, &statement);
            return Ok(());
        };
        let is_grant = matches!(entry.kind(), "ACL" | "DEFAULT ACL");
        if !is_grant && statement.starts_with(b"SET ") {
            // It stands in the entry before the one that it is for, and stays whatever is left out.
            self.settle(begin);
            let entry = self.current.entry.take();
            self.settle(self.offset);
            self.current.entry = entry;
            return Ok(());
        }
        let is_bracket = matches!(statement.as_slice(), b"BEGIN;" | b"COMMIT;");
        match entry.kind() {
            "BLOBS" if is_bracket => self.current.joins = false,
            "BLOBS" => self.data(begin..self.offset),
            "TABLE DATA" if statement.starts_with(b"INSERT INTO ") => {
                if entry.statements.is_empty() {
                    add(&mut entry.statements, &statement);
                }
                self.data(begin..self.offset);
            }
            _ => {
                entry.definitions += u64::from(!matches!(entry.kind(), "TABLE DATA" | "SEQUENCE SET"));
                if entry.header.has_wanted_statements() {
                    if statement.len() == MAX_STATEMENT {
                        return Err(InspectError::Damaged(format!("{} is too long", entry.title())));
                    }
                    add(&mut entry.statements, &statement);
                }
            }
        }
        Ok(())
    }

    fn end_of_rows(&mut self) {
        self.current.joins = false;
        self.data(self.current.rows_begin..self.offset);
    }

    fn data(&mut self, range: Range<u64>) {
        let joins = std::mem::replace(&mut self.current.joins, true);
        let Some(entry) = &mut self.current.entry else { return };
        match entry.data.last_mut() {
            Some(last) if joins => last.end = range.end,
            _ => entry.data.push(range),
        }
        entry.data_bytes = entry.data.iter().map(|range| range.end - range.start).sum();
    }
}

fn add(statements: &mut String, statement: &[u8]) {
    statements.push_str(&String::from_utf8_lossy(statement));
    statements.push('\n');
}

#[cfg(test)]
mod tests;
