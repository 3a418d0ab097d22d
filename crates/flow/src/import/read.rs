//! Reading a file of rows: what is in it, and whether it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;
use supakeep_model::artifact::Encoding;
use supakeep_model::code::Code;
use supakeep_model::export::{RowFormat, TableRecord};

use crate::export::difference;
use crate::failure::{Failure, io_code};
use crate::inspect::{Inspect, InspectError, Inspection};
use crate::ports::Stored;
use crate::read_back::read_back;
use crate::stage::digest::Digested;

/// The longest row that is read; a value of PostgreSQL's has a gigabyte at most.
const MAX_ROW: usize = 1 << 30;
/// More columns than a table can have.
const MOST_COLUMNS: usize = 2_000;
/// What some programs put in front of text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Opens a file from its beginning, as often as it is called.
pub type OpenAgain = Arc<dyn Fn() -> Result<Stored, Failure> + Send + Sync>;

/// A file of rows.
#[derive(Clone)]
pub struct ImportSource {
    /// What a person calls it.
    pub name: String,
    /// How rows are written.
    pub format: RowFormat,
    /// How it is compressed.
    pub encoding: Encoding,
    /// What was recorded of it, where that is known.
    pub record: Option<TableRecord>,
    /// Opens it.
    pub open: OpenAgain,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Its rows.
    pub rows: u64,
    /// The names of columns, in the order in which they were first seen.
    pub columns: Vec<String>,
    /// Its bytes before compression.
    pub(super) source: Digested,
}

/// A row.
pub(super) enum Row<'a> {
    /// Values by column.
    Object(&'a BTreeMap<String, &'a RawValue>),
    /// Values in the order of the header; none is NULL.
    Fields(&'a [Option<Vec<u8>>]),
}

/// Takes rows.
pub(super) trait TakeRows: Send {
    /// What the header says, where there is one.
    fn header(&mut self, names: &[String]) -> Result<(), String>;

    /// The next row.
    fn row(&mut self, row: Row<'_>) -> Result<(), String>;
}

/// Reads rows in chunks of any size. Memory grows with the longest row.
pub(super) struct RowReader {
    format: RowFormat,
    /// What is read of the row so far.
    line: Vec<u8>,
    record: Record,
    /// Rows read, and whether the header was.
    rows: u64,
    at_start: bool,
    width: Option<usize>,
}

/// A record of CSV so far.
#[derive(Default)]
struct Record {
    fields: Vec<Option<Vec<u8>>>,
    value: Vec<u8>,
    /// The value was in quotes, somewhere.
    was_quoted: bool,
    in_quotes: bool,
    /// A quote inside of quotes: the end of them, or the first of two.
    after_quote: bool,
    /// The last byte was a carriage return outside of quotes.
    after_return: bool,
}

impl RowReader {
    pub(super) fn new(format: RowFormat) -> RowReader {
        let (line, record) = (Vec::new(), Record::default());
        RowReader { format, line, record, rows: 0, at_start: true, width: None }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], taker: &mut dyn TakeRows) -> Result<(), String> {
        if self.at_start {
            // The mark may come in pieces.
            self.line.extend_from_slice(bytes);
            if self.line.len() < BYTE_ORDER_MARK.len() {
                return Ok(());
            }
            self.at_start = false;
            let held = std::mem::take(&mut self.line);
            let text = held.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&held);
            return self.pieces(text, taker);
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(64 * 1024));
            self.pieces(now, taker)?;
            bytes = later;
        }
        Ok(())
    }

    fn pieces(&mut self, bytes: &[u8], taker: &mut dyn TakeRows) -> Result<(), String> {
        match self.format {
            RowFormat::Jsonl => self.lines(bytes, taker),
            RowFormat::Csv => self.csv(bytes, taker),
        }
    }

    /// The end of the file, which may be the end of the last row.
    pub(super) fn finish(&mut self, taker: &mut dyn TakeRows) -> Result<(), String> {
        if self.at_start {
            self.at_start = false;
            let held = std::mem::take(&mut self.line);
            self.pieces(&held, taker)?;
        }
        match self.format {
            RowFormat::Jsonl if !self.line.is_empty() => {
                let line = std::mem::take(&mut self.line);
                self.object(&line, taker)
            }
            RowFormat::Csv if self.record.in_quotes && !self.record.after_quote => {
                Err(format!("{}: the file ends inside of quotes", self.place()))
            }
            RowFormat::Csv if self.record.is_begun() => self.end_record(taker),
            RowFormat::Csv if self.width.is_none() => Err("the file has no header".to_owned()),
            _ => Ok(()),
        }
    }

    /// The row that is being read. In JSON lines it is also the line.
    fn place(&self) -> String {
        match (self.format, self.width) {
            (RowFormat::Jsonl, _) => format!("line {}", self.rows + 1),
            (RowFormat::Csv, None) => "the header".to_owned(),
            (RowFormat::Csv, Some(_)) => format!("row {}", self.rows + 1),
        }
    }

    fn too_long(&self) -> String {
        format!("{}: it is longer than {MAX_ROW} bytes", self.place())
    }

    fn lines(&mut self, mut bytes: &[u8], taker: &mut dyn TakeRows) -> Result<(), String> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let line = if self.line.is_empty() {
                std::borrow::Cow::Borrowed(&bytes[..end])
            } else {
                self.line.extend_from_slice(&bytes[..end]);
                std::borrow::Cow::Owned(std::mem::take(&mut self.line))
            };
            self.object(&line, taker)?;
            bytes = &bytes[end + 1..];
        }
        if self.line.len() + bytes.len() > MAX_ROW {
            return Err(self.too_long());
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn object(&mut self, line: &[u8], taker: &mut dyn TakeRows) -> Result<(), String> {
        let parsed: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_slice(line);
        let object = parsed.map_err(|error| format!("{}: it is no object of JSON: {error}", self.place()))?;
        taker.row(Row::Object(&object)).map_err(|what| format!("{}: {what}", self.place()))?;
        self.rows += 1;
        Ok(())
    }

    fn csv(&mut self, bytes: &[u8], taker: &mut dyn TakeRows) -> Result<(), String> {
        for byte in bytes {
            if self.record.push(*byte)? {
                self.end_record(taker)?;
            }
        }
        if self.record.value.len() > MAX_ROW {
            return Err(self.too_long());
        }
        Ok(())
    }

    fn end_record(&mut self, taker: &mut dyn TakeRows) -> Result<(), String> {
        self.record.end_field();
        let fields = std::mem::take(&mut self.record).fields;
        let place = self.place();
        let Some(width) = self.width else {
            let name = |field: &Option<Vec<u8>>| String::from_utf8(field.clone().unwrap_or_default());
            let names: Vec<String> = fields
                .iter()
                .map(name)
                .collect::<Result<_, _>>()
                .map_err(|_| format!("{place}: a name is not UTF-8"))?;
            self.width = Some(names.len());
            return taker.header(&names).map_err(|what| format!("{place}: {what}"));
        };
        if fields.len() != width {
            return Err(format!("{place}: it has {} values, the header has {width}", fields.len()));
        }
        taker.row(Row::Fields(&fields)).map_err(|what| format!("{place}: {what}"))?;
        self.rows += 1;
        Ok(())
    }
}

impl Record {
    fn is_begun(&self) -> bool {
        !self.fields.is_empty() || !self.value.is_empty() || self.was_quoted
    }

    /// Takes a byte as PostgreSQL does; whether it ends the record.
    fn push(&mut self, byte: u8) -> Result<bool, String> {
        if self.in_quotes {
            match (self.after_quote, byte) {
                (false, b'"') => {
                    self.after_quote = true;
                    return Ok(false);
                }
                (true, b'"') => {
                    self.after_quote = false;
                    self.value.push(byte);
                    return Ok(false);
                }
                (false, _) => {
                    self.value.push(byte);
                    return Ok(false);
                }
                (true, _) => (self.in_quotes, self.after_quote) = (false, false),
            }
        }
        let after_return = std::mem::take(&mut self.after_return);
        match byte {
            b'\n' => return Ok(true),
            _ if after_return => return Err("a carriage return is in a value without quotes".to_owned()),
            b'\r' => self.after_return = true,
            b'"' => (self.in_quotes, self.was_quoted) = (true, true),
            b',' => self.end_field(),
            _ => self.value.push(byte),
        }
        Ok(false)
    }

    fn end_field(&mut self) {
        let value = std::mem::take(&mut self.value);
        let is_null = value.is_empty() && !std::mem::take(&mut self.was_quoted);
        self.was_quoted = false;
        (self.in_quotes, self.after_quote) = (false, false);
        self.fields.push((!is_null).then_some(value));
    }
}

/// Notes which columns there are.
#[derive(Default)]
struct Names {
    columns: Vec<String>,
    seen: BTreeSet<String>,
}

impl Names {
    fn note(&mut self, name: &str) -> Result<bool, String> {
        if self.seen.contains(name) {
            return Ok(false);
        }
        if self.columns.len() == MOST_COLUMNS {
            return Err(format!("the file has more than {MOST_COLUMNS} columns"));
        }
        self.columns.push(name.to_owned());
        Ok(self.seen.insert(name.to_owned()))
    }
}

impl TakeRows for Names {
    fn header(&mut self, names: &[String]) -> Result<(), String> {
        for name in names {
            if !self.note(name)? {
                return Err(format!("the column {name} is there twice"));
            }
        }
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), String> {
        match row {
            Row::Object(object) => object.keys().try_for_each(|name| self.note(name).map(|_| ())),
            Row::Fields(fields) => {
                let is_text = fields.iter().flatten().all(|value| std::str::from_utf8(value).is_ok());
                if is_text { Ok(()) } else { Err("a value is not UTF-8".to_owned()) }
            }
        }
    }
}

/// Rows, and the names of columns, of a file that was read to its end.
type Whole = (u64, Vec<String>);

/// Looks at a file as it is read back.
struct Survey {
    reader: RowReader,
    names: Names,
    found: Arc<Mutex<Option<Whole>>>,
}

impl Inspect for Survey {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.reader.push(bytes, &mut self.names).map_err(InspectError::Damaged)
    }

    fn finish(mut self: Box<Self>) -> Result<Inspection, InspectError> {
        self.reader.finish(&mut self.names).map_err(InspectError::Damaged)?;
        let found = (self.reader.rows(), self.names.columns);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(Inspection::default())
    }
}

/// Reads a file to its end, and compares it with what was recorded of it.
pub async fn survey(source: &ImportSource) -> Result<Surveyed, Failure> {
    let stored = (source.open)()?;
    let found = Arc::new(Mutex::new(None));
    let (reader, names) = (RowReader::new(source.format), Names::default());
    let inspect = Box::new(Survey { reader, names, found: Arc::clone(&found) });
    let read = read_back(stored, source.encoding, inspect)
        .await
        .map_err(|error| Failure::new(io_code(&error), format!("cannot read {}: {error}", source.name)))?;
    // Damage is the cause of whatever its rows look like.
    if let Some(difference) = source.record.as_ref().and_then(|record| difference(record, &read)) {
        let message = format!("nothing was touched: {difference}");
        return Err(Failure::new(Code::VerifyFailed, message));
    }
    let unfit = |message: String| Failure::new(Code::ImportUnfit, format!("{}: {message}", source.name));
    let (digested, _) = read.content.map_err(|error| {
        let message = error.to_string();
        unfit(message.strip_prefix("the dump is damaged: ").unwrap_or(&message).to_owned())
    })?;
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (rows, mut columns) = found.ok_or_else(|| unfit("it was not read to its end".to_owned()))?;
    if let Some(record) = &source.record {
        if rows != record.rows {
            let message = format!("{}: {rows} rows, {} were recorded", source.name, record.rows);
            return Err(Failure::new(Code::VerifyFailed, message));
        }
        // What is NULL in every row may be in none.
        let written = record
            .columns
            .iter()
            .filter(|column| column.treatment != supakeep_model::export::Treatment::LeftOut);
        columns = written.map(|column| column.name.clone()).collect();
    }
    Ok(Surveyed { rows, columns, source: digested })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps rows as text.
    #[derive(Default)]
    struct Kept(Vec<String>);

    impl TakeRows for Kept {
        fn header(&mut self, names: &[String]) -> Result<(), String> {
            self.0.push(names.join("|"));
            Ok(())
        }

        fn row(&mut self, row: Row<'_>) -> Result<(), String> {
            self.0.push(match row {
                Row::Object(object) => object
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.get()))
                    .collect::<Vec<_>>()
                    .join("|"),
                Row::Fields(fields) => {
                    let shown = fields.iter().map(|field| match field {
                        Some(value) => String::from_utf8_lossy(value).into_owned(),
                        None => "NULL".to_owned(),
                    });
                    shown.collect::<Vec<_>>().join("|")
                }
            });
            Ok(())
        }
    }

    fn read(format: RowFormat, text: &[u8]) -> Result<Vec<String>, String> {
        let mut outcomes = Vec::new();
        for chunk in [1, 2, 3, 7, 1_000] {
            let (mut reader, mut kept) = (RowReader::new(format), Kept::default());
            let pushed = text.chunks(chunk).try_for_each(|part| reader.push(part, &mut kept));
            outcomes.push(pushed.and_then(|()| reader.finish(&mut kept)).map(|()| kept.0));
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
        outcomes.remove(0)
    }

    #[test]
    fn reads_csv_as_postgresql_does() {
        let text = b"id,\"a,b\"\r\n1,\r\n2,\"\"\n3,\"say \"\"x\"\"\nand more\"\n4,a\"b,c\"d\n5,last";
        let wanted = ["id|a,b", "1|NULL", "2|", "3|say \"x\"\nand more", "4|ab,cd", "5|last"];
        assert_eq!(read(RowFormat::Csv, text), Ok(wanted.map(str::to_owned).to_vec()));
        assert_eq!(
            read(RowFormat::Csv, b"\xef\xbb\xbfv\n\n\"\"\n"),
            Ok(vec!["v".into(), "NULL".into(), String::new()])
        );
    }

    #[test]
    fn names_the_row_that_is_none() {
        let csv = |text: &[u8]| read(RowFormat::Csv, text).expect_err("it is wrong");
        assert_eq!(csv(b"a,b\n1,2\n3\n"), "row 2: it has 1 values, the header has 2");
        assert_eq!(csv(b"a,b\n1,\"2\n"), "row 1: the file ends inside of quotes");
        assert_eq!(csv(b""), "the file has no header");
        let jsonl = |text: &[u8]| read(RowFormat::Jsonl, text).expect_err("it is wrong");
        assert!(jsonl(b"{\"a\": 1}\n{\"a\": }\n").starts_with("line 2: "));
        assert!(jsonl(b"{\"a\": 1}\n\n{\"a\": 1}\n").starts_with("line 2: "));
        assert!(jsonl(b"[1]\n").starts_with("line 1: "));
        assert!(jsonl(b"{\"a\": \"\xff\"}\n").starts_with("line 1: "));
        assert!(jsonl(b"{\"a\": 1}\n{\"a\": 2").starts_with("line 2: "), "a cut row is none");
    }

    #[test]
    fn reads_json_lines_with_or_without_a_last_line_end() {
        let wanted = Ok(vec!["a=1.50|b=\"x\"".to_owned(), "a=null".to_owned()]);
        assert_eq!(read(RowFormat::Jsonl, b"{\"a\": 1.50, \"b\": \"x\"}\n{\"a\": null}\n"), wanted);
        assert_eq!(read(RowFormat::Jsonl, b"{\"a\": 1.50, \"b\": \"x\"}\n{\"a\": null}"), wanted);
        assert_eq!(read(RowFormat::Jsonl, b""), Ok(vec![]));
    }
}
