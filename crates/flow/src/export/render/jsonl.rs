//! An object a line, with a key for each column.
//!
//! SQL's NULL is `null`. A column of JSON has a null of its own, and that is what `null` is there; where such a column is
//! SQL's NULL, its key is not in the object. A hash is text whatever the column holds.

use super::{Column, Writer};
use crate::export::describe::Shape;

/// What a value of a column begins and ends with.
struct Frame {
    /// The key and the colon.
    key: Vec<u8>,
    is_text: bool,
    is_json: bool,
}

/// Writes JSON lines.
pub(super) struct Jsonl {
    frames: Vec<Frame>,
    /// Whether the row has a key already.
    any: bool,
    /// Whether the field has begun.
    begun: bool,
}

impl Jsonl {
    pub(super) fn new(columns: &[Column]) -> Jsonl {
        let frame = |column: &Column| {
            let mut key = vec![b'"'];
            escape(column.name.as_bytes(), &mut key);
            key.extend_from_slice(b"\":");
            let is_json = column.shape == Shape::Json && !column.is_hashed;
            Frame { key, is_text: column.is_hashed || column.shape == Shape::Text, is_json }
        };
        Jsonl { frames: columns.iter().map(frame).collect(), any: false, begun: false }
    }

    fn begin(&mut self, index: usize, out: &mut Vec<u8>) {
        out.push(if self.any { b',' } else { b'{' });
        out.extend_from_slice(&self.frames[index].key);
        (self.any, self.begun) = (true, true);
    }
}

impl Writer for Jsonl {
    fn header(&mut self, _columns: &[Column], _out: &mut Vec<u8>) {}

    fn bytes(&mut self, index: usize, _column: &Column, value: &[u8], out: &mut Vec<u8>) {
        if !self.begun {
            self.begin(index, out);
            if self.frames[index].is_text {
                out.push(b'"');
            }
        }
        match &self.frames[index] {
            Frame { is_text: true, .. } => escape(value, out),
            // A line end in JSON is between its words: inside of them it is written otherwise.
            Frame { is_json: true, .. } => {
                out.extend(value.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }))
            }
            Frame { .. } => out.extend_from_slice(value),
        }
    }

    fn end_field(&mut self, index: usize, _column: &Column, is_null: bool, out: &mut Vec<u8>) {
        let (is_text, is_json) = (self.frames[index].is_text, self.frames[index].is_json);
        match (is_null, self.begun) {
            (true, _) if is_json => {}
            (true, _) => {
                self.begin(index, out);
                out.extend_from_slice(b"null");
            }
            (false, true) if is_text => out.push(b'"'),
            (false, true) => {}
            (false, false) => {
                self.begin(index, out);
                out.extend_from_slice(b"\"\"");
            }
        }
        self.begun = false;
    }

    fn end_row(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if std::mem::take(&mut self.any) { b"}\n" } else { b"{}\n" });
    }
}

/// Writes text as the inside of a JSON string. What is UTF-8 stays UTF-8.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => out.push(*other),
        }
    }
}
