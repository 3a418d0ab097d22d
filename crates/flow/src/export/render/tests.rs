//! Rows in and rows out, in chunks of any size.

use supakeep_model::secret::Secret;

use super::*;

/// Keeps what is written.
#[derive(Default)]
struct File(Vec<u8>);

impl Output for File {
    fn begin(&mut self, file: FileSpec) -> Result<(), Closed> {
        assert!(file.compressed);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn column(name: &str, shape: Shape) -> Column {
    Column { name: name.to_owned(), shape, is_hashed: false }
}

fn write(columns: &[Column], format: RowFormat, text: &[u8], chunk: usize) -> Result<(String, u64), String> {
    let rows = Arc::new(AtomicU64::new(0));
    let key = HashKey::of(&Secret::new([7; 32]));
    let mut split = Rows::new("t".into(), columns.to_vec(), format, key, Arc::clone(&rows));
    let mut file = File::default();
    split.start(&mut file).expect("it takes everything");
    for part in text.chunks(chunk) {
        match split.push(part, &mut file) {
            Ok(()) => {}
            Err(SplitError::Inspect(error)) => return Err(error.to_string()),
            Err(SplitError::Closed) => return Err("closed".into()),
        }
    }
    Box::new(split).finish().map_err(|error| error.to_string())?;
    Ok((String::from_utf8(file.0).expect("text"), rows.load(Ordering::Relaxed)))
}

#[test]
fn every_shape_of_value_becomes_json_and_null_of_sql_is_not_null_of_json() {
    let columns = [
        column("n", Shape::Value),
        column("a\"b\n", Shape::Text),
        column("list", Shape::Array),
        column("doc", Shape::Json),
    ];
    let text =
        b"1.50\tx\\ty\\n\"\\\\\\b\t[1, null]\t{\"a\": \\n1}\n\\N\t\\N\t\\N\t\\N\n\"NaN\"\t\t[]\tnull\n";
    let wanted = concat!(
        "{\"n\":1.50,\"a\\\"b\\n\":\"x\\ty\\n\\\"\\\\\\u0008\",\"list\":[1, null],\"doc\":{\"a\":  1}}\n",
        "{\"n\":null,\"a\\\"b\\n\":null,\"list\":null}\n",
        "{\"n\":\"NaN\",\"a\\\"b\\n\":\"\",\"list\":[],\"doc\":null}\n",
    );
    for chunk in [1, 2, 3, 7, 1_000] {
        assert_eq!(write(&columns, RowFormat::Jsonl, text, chunk), Ok((wanted.to_owned(), 3)), "{chunk}");
    }
    for line in wanted.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON by itself");
    }
}

#[test]
fn csv_is_what_postgresql_writes() {
    let columns = [column("id", Shape::Value), column("a,b", Shape::Text), column("", Shape::Text)];
    let text = b"1\tplain\t\\N\n2\t\tsay \"x\"\n\\N\ta,b\tone\\ntwo\\r\n3\t\\\\.\t\xc3\xa4\n";
    let wanted = "id,\"a,b\",\"\"\n1,plain,\n2,\"\",\"say \"\"x\"\"\"\n,\"a,b\",\"one\ntwo\r\"\n3,\\.,ä\n";
    for chunk in [1, 2, 3, 7, 1_000] {
        assert_eq!(write(&columns, RowFormat::Csv, text, chunk), Ok((wanted.to_owned(), 4)), "{chunk}");
    }
    let one = [column("v", Shape::Text)];
    let written = write(&one, RowFormat::Csv, b"\\N\n\n\\\\.\n", 5);
    assert_eq!(written, Ok(("v\n\n\"\"\n\"\\.\"\n".to_owned(), 3)));
}

#[test]
fn a_value_of_any_length_passes_through() {
    let columns = [column("a", Shape::Text), column("b", Shape::Text)];
    let long = "x\"y,".repeat(100_000);
    let text = format!("{long}\t{long}\n");
    let (csv, _) = write(&columns, RowFormat::Csv, text.as_bytes(), 1_000).expect("it fits");
    let doubled = long.replace('"', "\"\"");
    assert_eq!(csv, format!("a,b\n\"{doubled}\",\"{doubled}\"\n"));
    let (jsonl, _) = write(&columns, RowFormat::Jsonl, text.as_bytes(), 1_000).expect("it fits");
    let row: serde_json::Value = serde_json::from_str(&jsonl).expect("JSON");
    assert_eq!((row["a"].as_str(), row["b"].as_str()), (Some(long.as_str()), Some(long.as_str())));
}

#[test]
fn a_hashed_value_is_not_in_the_file_in_any_format() {
    let hashed = |name: &str| Column { is_hashed: true, ..column(name, Shape::Json) };
    let columns = [hashed("email"), hashed("other"), column("id", Shape::Value)];
    let text = b"a@example.org\ta@example.org\t1\n\\N\tb@example.org\t2\n\t\\\\N\t3\n";
    for format in [RowFormat::Jsonl, RowFormat::Csv] {
        let (written, rows) = write(&columns, format, text, 3).expect("it fits");
        assert!(rows == 3 && !written.contains("example"), "{written}");
        let digests: Vec<_> =
            written.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64).collect();
        assert_eq!(digests.len(), 5, "{written}");
        assert_eq!(digests[0], digests[1], "equal values have equal hashes");
        assert_ne!(digests[1], digests[2]);
        assert_ne!(digests[3], digests[4], "nothing is not what looks like NULL");
    }
    let (written, _) = write(&columns, RowFormat::Jsonl, text, 3).expect("it fits");
    assert!(written.lines().nth(1).is_some_and(|line| line.starts_with("{\"email\":null,")), "{written}");
}

#[test]
fn a_row_with_more_or_less_fields_is_damage() {
    let columns = [column("a", Shape::Text), column("b", Shape::Text)];
    for wrong in [&b"1\n"[..], b"1\t2\t3\n", b"1\t2\n3\n", b"1\t2"] {
        assert!(write(&columns, RowFormat::Jsonl, wrong, 2).is_err(), "{wrong:?}");
    }
    assert_eq!(write(&[], RowFormat::Jsonl, b"\n\n", 1), Ok(("{}\n{}\n".to_owned(), 2)));
    assert_eq!(write(&[], RowFormat::Csv, b"\n\n", 1), Ok(("\n\n\n".to_owned(), 2)));
}
