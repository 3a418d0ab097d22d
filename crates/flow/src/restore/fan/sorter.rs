//! Telling a dump's rows from everything else.

use crate::inspect::sql::{Lexer, Next, Sink};

/// The longest statement that is looked at: the columns of the widest table there can be, and more.
const MAX_STATEMENT: usize = 1 << 20;
/// How much of a row without its end is held back, so that most pieces are whole lines.
const MAX_PARTIAL: usize = 256 * 1024;
/// The end of a table's rows, as a line.
const END_OF_ROWS: &[u8] = b"\\.\n";
/// What settings of a session begin with, as `pg_dump` writes them.
const SETTINGS: [&[u8]; 2] = [b"SET ", b"SELECT pg_catalog.set_config("];

/// A piece of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Anything but rows, cut anywhere.
    Text(Vec<u8>),
    /// A statement that is in the text too, and without which others would read rows in another way.
    Setting(Vec<u8>),
    /// A table's rows follow.
    RowsBegin {
        /// All since the last statement, its `COPY` and the line's end included.
        text: Vec<u8>,
        /// Its `COPY` alone.
        statement: Vec<u8>,
    },
    /// Rows. Where the last one has no end, it goes on with the next piece.
    Rows(Vec<u8>),
    /// No more rows; the line that says so is left out.
    RowsEnd,
}

/// Sorts a plain dump as it passes, in chunks of any size.
#[derive(Default)]
pub(super) struct Sorter {
    lexer: Lexer,
    seen: Seen,
    /// What has been read since the last statement, or of a row, and not been given to anybody.
    held: Vec<u8>,
    /// Whether a part of the same has been given away already: it was too long to be held.
    is_cut: bool,
    rows: Option<Rows>,
    /// In a transaction of the dump's own nobody else sees what it has made.
    in_transaction: bool,
    out: Vec<Piece>,
}

/// Whose rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Anybody can take them.
    Anybodys,
    /// They are text for the session that all text goes to.
    Text,
}

#[derive(Default)]
struct Seen {
    statement: Vec<u8>,
    ended: bool,
    has_command: bool,
}

impl Seen {
    fn text(&mut self, bytes: &[u8]) {
        let room = MAX_STATEMENT.saturating_sub(self.statement.len());
        self.statement.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn is_copy(&self) -> bool {
        self.statement.starts_with(b"COPY ") && self.statement.ends_with(b"FROM stdin;")
    }
}

impl Sink for Seen {
    fn code(&mut self, bytes: &[u8]) {
        self.text(bytes);
    }

    fn quoted(&mut self, bytes: &[u8]) {
        self.text(bytes);
    }

    fn end_of_statement(&mut self) -> Next {
        self.ended = true;
        if self.is_copy() { Next::CopyRows } else { Next::Statement }
    }

    fn comment(&mut self, _text: &[u8]) {}

    fn command(&mut self, _bytes: &[u8]) {
        self.has_command = true;
    }
}

impl Sorter {
    /// Takes the next bytes, and gives what is known of them.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        while !bytes.is_empty() {
            let taken = match self.rows {
                Some(rows) => self.rows(bytes, rows),
                None => self.statement(bytes),
            };
            bytes = &bytes[taken..];
        }
        let most = if self.rows.is_some() { MAX_PARTIAL } else { MAX_STATEMENT };
        if self.held.len() > most {
            self.give(self.rows);
            self.is_cut = true;
        }
        std::mem::take(&mut self.out)
    }

    /// Whether a dump that ends here is cut short.
    pub(super) fn is_among_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// What is left after the last byte.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Gives away what is held.
    fn give(&mut self, rows: Option<Rows>) {
        let held = std::mem::take(&mut self.held);
        match (rows, self.out.last_mut()) {
            (Some(Rows::Anybodys), Some(Piece::Rows(before))) => before.extend_from_slice(&held),
            (Some(Rows::Anybodys), _) => self.out.push(Piece::Rows(held)),
            (_, Some(Piece::Text(before))) => before.extend_from_slice(&held),
            _ => self.out.push(Piece::Text(held)),
        }
    }

    fn statement(&mut self, bytes: &[u8]) -> usize {
        let (taken, rows_begin) = self.lexer.step(bytes, &mut self.seen);
        self.held.extend_from_slice(&bytes[..taken]);
        if rows_begin {
            self.rows_begin();
        } else if self.seen.ended && !self.seen.is_copy() {
            self.end_of_statement();
        }
        taken
    }

    fn end_of_statement(&mut self) {
        let Seen { statement, .. } = std::mem::take(&mut self.seen);
        self.is_cut = false;
        self.give(None);
        let letters = statement.iter().take_while(|byte| byte.is_ascii_alphabetic());
        let word: Vec<_> = letters.map(u8::to_ascii_uppercase).collect();
        match word.as_slice() {
            b"BEGIN" | b"START" => self.in_transaction = true,
            b"COMMIT" | b"END" | b"ROLLBACK" | b"ABORT" => self.in_transaction = false,
            _ if SETTINGS.iter().any(|setting| statement.starts_with(setting)) => {
                self.out.push(Piece::Setting(statement));
            }
            _ => {}
        }
    }

    fn rows_begin(&mut self) {
        let Seen { statement, has_command, .. } = std::mem::take(&mut self.seen);
        // A psql command in front of them is for the one session that the text goes to.
        let is_text = std::mem::take(&mut self.is_cut) || self.in_transaction || has_command;
        self.rows = Some(if is_text { Rows::Text } else { Rows::Anybodys });
        if is_text {
            self.give(None);
        } else {
            let text = std::mem::take(&mut self.held);
            self.out.push(Piece::RowsBegin { text, statement });
        }
    }

    /// Takes rows up to the end of the chunk, or of the rows.
    fn rows(&mut self, bytes: &[u8], rows: Rows) -> usize {
        if !self.held.is_empty() || self.is_cut {
            return self.rest_of_row(bytes, rows);
        }
        if bytes.starts_with(END_OF_ROWS) {
            self.rows_end(rows);
            return END_OF_ROWS.len();
        }
        let end = memchr::memmem::find(bytes, b"\n\\.\n").map(|at| at + 1);
        let whole = end.or_else(|| memchr::memrchr(b'\n', bytes).map(|at| at + 1)).unwrap_or(0);
        if whole > 0 {
            self.held.extend_from_slice(&bytes[..whole]);
            self.give(Some(rows));
        }
        if end.is_some() {
            self.rows_end(rows);
            return whole + END_OF_ROWS.len();
        }
        self.held.extend_from_slice(&bytes[whole..]);
        bytes.len()
    }

    /// Takes what belongs to the row that the last chunk ended in.
    fn rest_of_row(&mut self, bytes: &[u8], rows: Rows) -> usize {
        let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        self.held.extend_from_slice(&bytes[..taken]);
        if end.is_some() {
            if self.held == END_OF_ROWS && !self.is_cut {
                self.held.clear();
                self.rows_end(rows);
            } else {
                self.give(Some(rows));
                self.is_cut = false;
            }
        }
        taken
    }

    fn rows_end(&mut self, rows: Rows) {
        self.rows = None;
        match rows {
            Rows::Anybodys => self.out.push(Piece::RowsEnd),
            Rows::Text => {
                self.held.extend_from_slice(END_OF_ROWS);
                self.give(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "-- PostgreSQL database dump\n\n\\restrict abc\n\nSET client_encoding = 'UTF8';\n\
SELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE t (a text DEFAULT 'x;');\n\
-- Data for t\n\nCOPY public.t (a) FROM stdin;\none\ntwo \\\\.\n\\\\.\nthree\n\\.\n\n\nCOPY public.u (b) FROM stdin;\n\\.\n\n\
BEGIN;\nCOPY public.v (b) FROM stdin;\nfour\n\\.\nCOMMIT;\n\
CREATE FUNCTION f() AS $$ COPY x FROM stdin;\n\\.\n$$;\nCREATE INDEX ON t (a);\n\\unrestrict abc\n";

    /// What each piece says, neighbours of one kind joined.
    fn sorted(dump: &str, chunk: usize) -> Vec<Piece> {
        let mut sorter = Sorter::default();
        let mut out: Vec<Piece> = Vec::new();
        let mut take = |piece| match (out.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.extend(text),
            (Some(Piece::Rows(before)), Piece::Rows(rows)) => before.extend(rows),
            (_, piece) => out.push(piece),
        };
        for part in dump.as_bytes().chunks(chunk) {
            sorter.push(part).into_iter().for_each(&mut take);
        }
        take(Piece::Text(sorter.rest()));
        out
    }

    /// The dump, put together again.
    fn joined(pieces: &[Piece]) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::RowsBegin { text, .. } | Piece::Rows(text) => text.clone(),
            Piece::Setting(_) => Vec::new(),
            Piece::RowsEnd => END_OF_ROWS.to_vec(),
        };
        String::from_utf8(pieces.iter().flat_map(text).collect()).expect("text")
    }

    #[test]
    fn nothing_is_lost_or_moved_wherever_chunks_end() {
        let at_once = sorted(DUMP, DUMP.len());
        assert_eq!(joined(&at_once), DUMP);
        for chunk in 1..DUMP.len() {
            assert_eq!(sorted(DUMP, chunk), at_once, "{chunk}");
        }
    }

    #[test]
    fn rows_are_told_from_what_looks_like_them() {
        let rows: Vec<_> = sorted(DUMP, 7)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Rows(rows) => Some(String::from_utf8(rows).expect("text")),
                Piece::RowsBegin { statement, .. } => Some(String::from_utf8(statement).expect("text")),
                _ => None,
            })
            .collect();
        let expected = [
            "COPY public.t (a) FROM stdin;",
            "one\ntwo \\\\.\n\\\\.\nthree\n",
            "COPY public.u (b) FROM stdin;",
        ];
        assert_eq!(rows, expected, "not those in a transaction, nor a function's body");
    }

    #[test]
    fn settings_are_known_to_all() {
        let settings = sorted(DUMP, 11).into_iter().filter(|piece| matches!(piece, Piece::Setting(_)));
        assert_eq!(settings.count(), 2);
    }

    #[test]
    fn a_row_longer_than_memory_is_handed_on_in_pieces() {
        let row = "x".repeat(3 * MAX_PARTIAL);
        let dump = format!("COPY t FROM stdin;\n{row}\\.\n\\.\nSELECT 1;\n");
        let mut sorter = Sorter::default();
        let mut pieces = Vec::new();
        let mut most = 0;
        for part in dump.as_bytes().chunks(10_000) {
            pieces.extend(sorter.push(part));
            most = most.max(sorter.held.len());
        }
        pieces.push(Piece::Text(sorter.rest()));
        assert_eq!(joined(&pieces), dump);
        assert!(pieces.contains(&Piece::RowsEnd) && most < 2 * MAX_PARTIAL, "{most}");
    }

    #[test]
    fn a_statement_longer_than_memory_is_text() {
        let dump = format!("INSERT INTO t VALUES ('{}');\nCOPY t FROM stdin;\n1\n\\.\n", "x".repeat(3 << 20));
        let pieces = sorted(&dump, 10_000);
        assert_eq!(joined(&pieces), dump);
        assert!(pieces.contains(&Piece::RowsEnd));
    }
}
