//! The records of a pax extended header, of the form `LENGTH KEY=VALUE\n`, where the length counts all of it. Values
//! are any bytes, line ends too, which is why records are told apart by nothing but their lengths.

/// The records, as keys and values; `None` for what is no record, after which nothing more can be read.
pub(crate) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Some((key, value, rest)) = record(bytes) else {
            bytes = &[];
            return Some(None);
        };
        bytes = rest;
        Some(Some((key, value)))
    })
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_by_their_lengths() {
        let all: Vec<_> = records(b"7 a=b\n\n6 c=d\n17 x=line\n5 y=z\n\n").collect();
        let wanted: [Option<(&[u8], &[u8])>; 3] =
            [Some((b"a", b"b\n")), Some((b"c", b"d")), Some((b"x", b"line\n5 y=z\n"))];
        assert_eq!(all, wanted);
        for wrong in [&b"6 a=b"[..], b"9 a=b\n", b"5 a=b\n", b"x a=b\n", b"6 abc\n", b" a=b\n", b"0 a=b\n"] {
            assert_eq!(records(wrong).collect::<Vec<_>>(), [None], "{}", String::from_utf8_lossy(wrong));
        }
    }
}
