//! Comma-separated values, byte for byte as `COPY … TO STDOUT (FORMAT csv, HEADER true)` writes them: NULL is nothing at all,
//! the empty text is `""`.

use super::{Column, Writer};

/// A value that is longer is put in quotes whether it needs them or not: nobody waits for its end to know.
const LOOK_AHEAD: usize = 64 * 1024;

/// Writes CSV.
#[derive(Default)]
pub(super) struct Csv {
    /// The value so far, while it is not known whether it wants quotes.
    value: Vec<u8>,
    /// The quotes are written.
    quoted: bool,
    has_one_column: bool,
}

impl Csv {
    fn flush_quoted(&mut self, out: &mut Vec<u8>) {
        if !self.quoted {
            out.push(b'"');
            self.quoted = true;
        }
        double_quotes(&self.value, out);
        self.value.clear();
    }

    fn end(&mut self, index: usize, is_null: bool, out: &mut Vec<u8>) {
        if index > 0 && !self.quoted {
            // Where quotes are open, the comma is in front of them already.
            out.push(b',');
        }
        if is_null {
            return;
        }
        // An empty value would pass for NULL, and this one, alone in a line, for the end.
        let looks_like_else = self.value.is_empty() || (self.has_one_column && self.value == b"\\.");
        let wants_quotes = self.value.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
        if self.quoted || looks_like_else || wants_quotes {
            self.flush_quoted(out);
            out.push(b'"');
        } else {
            out.append(&mut self.value);
        }
        self.quoted = false;
    }
}

fn double_quotes(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
}

impl Writer for Csv {
    fn header(&mut self, columns: &[Column], out: &mut Vec<u8>) {
        self.has_one_column = columns.len() == 1;
        for (index, column) in columns.iter().enumerate() {
            self.value.extend_from_slice(column.name.as_bytes());
            self.end(index, false, out);
        }
        out.push(b'\n');
    }

    fn bytes(&mut self, index: usize, _column: &Column, value: &[u8], out: &mut Vec<u8>) {
        self.value.extend_from_slice(value);
        if self.value.len() > LOOK_AHEAD {
            if !self.quoted && index > 0 {
                out.push(b',');
            }
            self.flush_quoted(out);
        }
    }

    fn end_field(&mut self, index: usize, _column: &Column, is_null: bool, out: &mut Vec<u8>) {
        self.end(index, is_null, out);
    }

    fn end_row(&mut self, out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}
