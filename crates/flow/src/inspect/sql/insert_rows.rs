//! The rows of `INSERT INTO … VALUES (…), (…);`, for dumps made with `--inserts`.

use supakeep_model::fingerprint::MultisetHash;
use xxhash_rust::xxh3::Xxh3;

/// Counts and hashes the tuples of one statement, as the lexer hands its text on.
pub(super) struct InsertRows {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) hash: MultisetHash,
    depth: u32,
    /// The word that is being read outside of parentheses, to find `VALUES`.
    word: Vec<u8>,
    in_values: bool,
    tuple: Box<Xxh3>,
    tuple_bytes: u64,
}

impl InsertRows {
    pub(super) fn new() -> InsertRows {
        InsertRows {
            rows: 0,
            bytes: 0,
            hash: MultisetHash::default(),
            depth: 0,
            word: Vec::new(),
            in_values: false,
            tuple: Box::new(Xxh3::new()),
            tuple_bytes: 0,
        }
    }

    /// Text outside of quotes.
    pub(super) fn code(&mut self, bytes: &[u8]) {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'(' => {
                    self.depth += 1;
                    self.word.clear();
                }
                b')' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 && self.in_values {
                        self.end_tuple();
                    }
                    continue;
                }
                _ if self.depth == 0 => self.outside(byte),
                _ => {}
            }
            if self.depth > 0 && self.in_values {
                self.tuple_bytes(&bytes[at..=at]);
            }
        }
    }

    /// Text inside quotes.
    pub(super) fn quoted(&mut self, bytes: &[u8]) {
        if self.depth > 0 && self.in_values {
            self.tuple_bytes(bytes);
        }
    }

    /// The statement's end: `DEFAULT VALUES`, as a table without columns has it, is a row too.
    pub(super) fn end(&mut self) {
        if self.in_values && self.rows == 0 {
            self.end_tuple();
        }
    }

    fn outside(&mut self, byte: u8) {
        if byte.is_ascii_alphabetic() {
            // Longer than any keyword is as good as not a keyword.
            if self.word.len() < 16 {
                self.word.push(byte);
            }
        } else {
            self.word.clear();
        }
        self.in_values |= self.word == b"VALUES";
    }

    fn tuple_bytes(&mut self, bytes: &[u8]) {
        self.tuple.update(bytes);
        self.tuple_bytes += bytes.len() as u64;
    }

    fn end_tuple(&mut self) {
        self.rows += 1;
        self.bytes += self.tuple_bytes;
        self.hash.add(self.tuple.digest128());
        self.tuple.reset();
        self.tuple_bytes = 0;
    }
}
