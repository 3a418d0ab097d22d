//! Which semicolons end a statement: none inside parentheses, as in a rule with several actions, and none
//! between `BEGIN ATOMIC` and `END` of a routine whose body is SQL. It goes by what psql's own scanner
//! (`psqlscan.l`) goes by.

/// Words of a statement whose first letters are looked at: `CREATE OR REPLACE FUNCTION`.
const FIRST_WORDS: usize = 4;
/// The longest word that matters is `begin`.
const WORD: usize = 6;

/// How deep a statement is nested where the reader is.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    parentheses: u32,
    begins: u32,
    /// The first letters of the first words, small.
    first: [u8; FIRST_WORDS],
    words: usize,
    /// The word that is being read, small; cut after [`WORD`] bytes.
    word: [u8; WORD],
    length: usize,
}

impl Nesting {
    /// Reads code: what is neither quoted nor a comment.
    pub(super) fn code(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                _ if super::lexer::is_name(byte) => {
                    if let Some(place) = self.word.get_mut(self.length) {
                        *place = byte.to_ascii_lowercase();
                    }
                    self.length += 1;
                }
                _ => {
                    self.end_word();
                    match byte {
                        b'(' => self.parentheses += 1,
                        b')' => self.parentheses = self.parentheses.saturating_sub(1),
                        _ => {}
                    }
                }
            }
        }
    }

    /// A quoted part begins, or a semicolon is there: whatever word was being read is over.
    pub(super) fn end_word(&mut self) {
        let length = std::mem::take(&mut self.length);
        if length == 0 {
            return;
        }
        if let Some(place) = self.first.get_mut(self.words) {
            *place = self.word[0];
        }
        self.words += 1;
        if self.parentheses > 0 || !self.makes_a_routine() {
            return;
        }
        match self.word.get(..length) {
            Some(b"begin") => self.begins += 1,
            Some(b"case") if self.begins > 0 => self.begins += 1,
            Some(b"end") => self.begins = self.begins.saturating_sub(1),
            _ => {}
        }
    }

    fn makes_a_routine(&self) -> bool {
        matches!(self.first, [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p'])
    }

    /// Whether a semicolon here ends the statement; if so, the next one begins.
    pub(super) fn end_statement(&mut self) -> bool {
        self.end_word();
        let ends = self.parentheses == 0 && self.begins == 0;
        if ends {
            *self = Nesting::default();
        }
        ends
    }
}
