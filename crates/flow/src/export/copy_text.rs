//! Reading rows as `COPY … TO STDOUT` writes them: fields between tabs, rows between line ends, a few characters escaped,
//! and NULL as `\N`. It sees bytes in chunks of any size and keeps none of them: a value of a gigabyte passes through.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html>, "Text Format"

use crate::inspect::InspectError;

/// Takes the fields of rows.
pub(super) trait Fields {
    /// More bytes of a field's value.
    fn bytes(&mut self, value: &[u8]);

    /// The field is NULL.
    fn null(&mut self);

    /// The field has ended.
    fn end_field(&mut self) -> Result<(), InspectError>;

    /// The row has ended, after its last field.
    fn end_row(&mut self) -> Result<(), InspectError>;
}

/// Where in a row the last byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first byte of a field.
    Start,
    /// In a value.
    Inside,
    /// After a back-slash, which may have been the first byte.
    Escape { is_first: bool },
    /// After `\N`.
    Null,
}

/// Reads rows.
#[derive(Debug)]
pub(super) struct CopyText {
    place: Place,
    /// Whether a row has begun.
    in_row: bool,
    /// A table without columns has rows all the same, and no field in them.
    has_columns: bool,
}

impl CopyText {
    pub(super) fn new(columns: usize) -> CopyText {
        CopyText { place: Place::Start, in_row: false, has_columns: columns > 0 }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], fields: &mut impl Fields) -> Result<(), InspectError> {
        while let [first, rest @ ..] = bytes {
            match self.place {
                Place::Escape { is_first } => {
                    self.escaped(*first, is_first, fields);
                    bytes = rest;
                }
                Place::Null if !matches!(first, b'\t' | b'\n') => {
                    return Err(InspectError::Damaged("a value follows \\N".to_owned()));
                }
                _ => bytes = self.plain(bytes, fields)?,
            }
        }
        Ok(())
    }

    fn escaped(&mut self, byte: u8, is_first: bool, fields: &mut impl Fields) {
        if byte == b'N' && is_first {
            self.place = Place::Null;
            fields.null();
            return;
        }
        let meant = match byte {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            other => other,
        };
        fields.bytes(&[meant]);
        self.place = Place::Inside;
    }

    /// Takes bytes up to the next one that means something else than itself.
    fn plain<'b>(&mut self, bytes: &'b [u8], fields: &mut impl Fields) -> Result<&'b [u8], InspectError> {
        self.in_row = true;
        let end = memchr::memchr3(b'\\', b'\t', b'\n', bytes);
        let (value, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if !value.is_empty() {
            fields.bytes(value);
            self.place = Place::Inside;
        }
        let Some((mark, rest)) = rest.split_first() else { return Ok(rest) };
        match mark {
            b'\\' => self.place = Place::Escape { is_first: self.place == Place::Start },
            b'\t' => {
                fields.end_field()?;
                self.place = Place::Start;
            }
            _ => {
                if self.has_columns {
                    fields.end_field()?;
                }
                fields.end_row()?;
                (self.place, self.in_row) = (Place::Start, false);
            }
        }
        Ok(rest)
    }

    /// An error unless the last row was whole.
    pub(super) fn finish(&self) -> Result<(), InspectError> {
        if self.in_row {
            return Err(InspectError::Incomplete("the last row has no end".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = Vec<Option<Vec<u8>>>;

    #[derive(Default)]
    struct Collected {
        rows: Vec<Row>,
        row: Row,
        field: Option<Vec<u8>>,
        is_null: bool,
    }

    impl Fields for Collected {
        fn bytes(&mut self, value: &[u8]) {
            self.field.get_or_insert_default().extend_from_slice(value);
        }

        fn null(&mut self) {
            self.is_null = true;
        }

        fn end_field(&mut self) -> Result<(), InspectError> {
            let value = self.field.take().unwrap_or_default();
            self.row.push((!std::mem::take(&mut self.is_null)).then_some(value));
            Ok(())
        }

        fn end_row(&mut self) -> Result<(), InspectError> {
            self.rows.push(std::mem::take(&mut self.row));
            Ok(())
        }
    }

    fn read(text: &[u8], columns: usize, chunk: usize) -> Result<Vec<Row>, InspectError> {
        let (mut reader, mut out) = (CopyText::new(columns), Collected::default());
        for part in text.chunks(chunk) {
            reader.push(part, &mut out)?;
        }
        reader.finish().map(|()| out.rows)
    }

    #[test]
    fn undoes_every_escape_and_tells_null_from_empty_and_from_what_looks_like_it() {
        let text = b"\\N\t\t\\\\N\t\\\\.\nx\\b\\f\\n\\r\\t\\v\\\\\\N\ta\\N\t\\\\\\\\\t\xc3\xa4\n";
        for chunk in 1..text.len() {
            let rows = read(text, 4, chunk).expect("it is whole");
            let value = |bytes: &[u8]| Some(bytes.to_vec());
            assert_eq!(rows[0], [None, value(b""), value(b"\\N"), value(b"\\.")]);
            assert_eq!(
                rows[1],
                [value(b"x\x08\x0c\n\r\t\x0b\\N"), value(b"aN"), value(b"\\\\"), value(b"\xc3\xa4")]
            );
        }
    }

    #[test]
    fn a_table_without_columns_has_rows() {
        assert_eq!(read(b"\n\n\n", 0, 1), Ok(vec![vec![], vec![], vec![]]));
        assert_eq!(read(b"\n", 1, 1), Ok(vec![vec![Some(vec![])]]));
    }

    #[test]
    fn a_row_that_is_cut_anywhere_is_noticed() {
        let text = b"1\tone\\n\n2\t\\N\n";
        for cut in 1..text.len() {
            let is_whole = text[cut - 1] == b'\n';
            assert_eq!(read(&text[..cut], 2, 3).is_ok(), is_whole, "cut at {cut}");
        }
        assert!(read(b"\\Nx\n", 1, 1).is_err());
    }

    proptest! {
        #[test]
        fn what_an_import_writes_is_read_back(rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>().prop_filter("NUL is no text", |byte| *byte != 0), 0..12)), 3), 0..6), chunk in 1_usize..40) {
            let mut text = Vec::new();
            for row in &rows {
                for (index, field) in row.iter().enumerate() {
                    if index > 0 { text.push(b'\t'); }
                    crate::import::copy_field(field.as_deref(), &mut text);
                }
                text.push(b'\n');
            }
            prop_assert_eq!(read(&text, 3, chunk), Ok(rows));
        }
    }
}
