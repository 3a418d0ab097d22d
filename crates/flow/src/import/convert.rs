//! Rows of a file as `COPY … FROM STDIN` reads them.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::literal::{array, copy_field};
use super::read::{Row, TakeRows};
use crate::export::describe::{ColumnFacts, Shape};

/// What a value of a column is to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Array,
    Other,
}

/// A column that is written.
struct Column {
    name: String,
    kind: Kind,
    /// Its place in the header.
    place: usize,
}

/// Turns rows into lines of `COPY`.
pub(super) struct Converter {
    columns: Vec<Column>,
    /// `null` of a column of JSON is JSON's own: so our exports are written.
    null_is_json: bool,
    /// What is ready to be sent.
    pub(super) out: Vec<u8>,
}

impl Converter {
    /// Writes these columns, in this order.
    pub(super) fn new<'a>(
        columns: impl IntoIterator<Item = &'a ColumnFacts>,
        null_is_json: bool,
    ) -> Converter {
        let column = |column: &ColumnFacts| Column {
            name: column.name.clone(),
            kind: match column.shape {
                Shape::Json => Kind::Json,
                Shape::Array => Kind::Array,
                // An array of what has no exact JSON.
                _ if column.sql_type.ends_with("[]") => Kind::Array,
                _ => Kind::Other,
            },
            place: usize::MAX,
        };
        Converter { columns: columns.into_iter().map(column).collect(), null_is_json, out: Vec::new() }
    }

    fn object(&mut self, object: &BTreeMap<String, &RawValue>) -> Result<(), String> {
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                self.out.push(b'\t');
            }
            let value = object.get(&column.name).copied();
            let converted = json(value, column.kind, self.null_is_json, &mut self.out);
            converted.map_err(|error| format!("column {}: {error}", column.name))?;
        }
        self.out.push(b'\n');
        Ok(())
    }
}

fn json(
    value: Option<&RawValue>,
    kind: Kind,
    null_is_json: bool,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let Some(value) = value else {
        copy_field(None, out);
        return Ok(());
    };
    let text = value.get();
    match (text.as_bytes().first(), kind) {
        (Some(b'n'), Kind::Json) if null_is_json => copy_field(Some(b"null"), out),
        (Some(b'n'), _) => copy_field(None, out),
        (_, Kind::Json) => copy_field(Some(text.as_bytes()), out),
        (Some(b'"'), _) => copy_field(Some(serde_json::from_str::<String>(text)?.as_bytes()), out),
        (Some(b'['), Kind::Array) => {
            let mut literal = String::new();
            array(value, &mut literal)?;
            copy_field(Some(literal.as_bytes()), out);
        }
        _ => copy_field(Some(text.as_bytes()), out),
    }
    Ok(())
}

impl TakeRows for Converter {
    fn header(&mut self, names: &[String]) -> Result<(), String> {
        for column in &mut self.columns {
            let place = names.iter().position(|name| *name == column.name);
            column.place =
                place.ok_or_else(|| format!("the column {} is not there any more", column.name))?;
        }
        Ok(())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), String> {
        let fields = match row {
            Row::Object(object) => return self.object(object),
            Row::Fields(fields) => fields,
        };
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                self.out.push(b'\t');
            }
            copy_field(fields.get(column.place).and_then(Option::as_deref), &mut self.out);
        }
        self.out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::RowReader;
    use super::*;
    use supakeep_model::export::RowFormat;

    fn column(name: &str, sql_type: &str, shape: Shape) -> ColumnFacts {
        ColumnFacts {
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
            nullable: true,
            identity: String::new(),
            generated: false,
            has_default: false,
            shape,
            padded: false,
        }
    }

    fn convert(format: RowFormat, text: &str, null_is_json: bool) -> Result<String, String> {
        let columns = [
            column("n", "numeric", Shape::Value),
            column("doc", "jsonb", Shape::Json),
            column("list", "text[]", Shape::Array),
            column("t", "text", Shape::Text),
        ];
        let mut converter = Converter::new(&columns, null_is_json);
        let mut reader = RowReader::new(format);
        reader.push(text.as_bytes(), &mut converter)?;
        reader.finish(&mut converter)?;
        Ok(String::from_utf8(converter.out).expect("text"))
    }

    #[test]
    fn every_value_of_json_becomes_what_the_column_reads() {
        let text = concat!(
            r#"{"t":"a\tb\\","n":1.50,"list":["x","NULL",null],"doc":{"a":"b\n"}}"#,
            "\n",
            r#"{"t":null,"n":"NaN","list":"[0:1]={a,b}","doc":null,"other":1}"#,
            "\n",
            r#"{"t":{"a":1},"n":true}"#,
            "\n",
        );
        let wanted = concat!(
            "1.50\t{\"a\":\"b\\\\n\"}\t{\"x\",\"NULL\",NULL}\ta\\tb\\\\\n",
            "NaN\tnull\t[0:1]={a,b}\t\\N\n",
            "true\t\\N\t\\N\t{\"a\":1}\n",
        );
        assert_eq!(convert(RowFormat::Jsonl, text, true).as_deref(), Ok(wanted));
        let of_others = convert(RowFormat::Jsonl, text, false).expect("it fits");
        assert!(of_others.lines().nth(1).is_some_and(|line| line.starts_with("NaN\t\\N\t")), "{of_others}");
    }

    #[test]
    fn columns_of_csv_are_found_by_name() {
        let text = "t,other,list,doc,n\n\"\",x,{a},null,\n,x,,,2\n";
        assert_eq!(
            convert(RowFormat::Csv, text, true).as_deref(),
            Ok("\\N\tnull\t{a}\t\n2\t\\N\t\\N\t\\N\n")
        );
        assert!(convert(RowFormat::Csv, "t,n\n1,2\n", true).is_err());
    }
}
