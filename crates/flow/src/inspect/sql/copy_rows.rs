//! The rows after a `COPY … FROM stdin`: one a line, until a line that is `\.`.

use supakeep_model::fingerprint::MultisetHash;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Counts and hashes rows. The only state that grows with a row is a hash of fixed size: a row may be
/// a gigabyte long.
#[derive(Default)]
pub(crate) struct CopyRows {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) hash: MultisetHash,
    partial: Option<Partial>,
}

/// A row whose end has not been seen.
struct Partial {
    hasher: Box<Xxh3>,
    bytes: u64,
    /// Its first bytes, to know the end marker.
    head: [u8; 3],
}

impl Partial {
    fn is_end(&self) -> bool {
        self.bytes == 2 && self.head[..2] == *b"\\."
    }

    fn extend(&mut self, bytes: &[u8]) {
        let known = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(self.head.len());
        let room = self.head.len() - known;
        let head = &bytes[..bytes.len().min(room)];
        self.head[known..known + head.len()].copy_from_slice(head);
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl CopyRows {
    /// Reads on until the chunk or the rows end. `Some(taken)` when the end marker was among the first
    /// `taken` bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        if let Some(mut partial) = self.partial.take() {
            let end = memchr::memchr(b'\n', bytes);
            partial.extend(&bytes[..end.unwrap_or(bytes.len())]);
            let Some(end) = end else {
                self.partial = Some(partial);
                return None;
            };
            if partial.is_end() {
                return Some(end + 1);
            }
            self.add(partial.bytes, partial.hasher.digest128());
            start = end + 1;
        }
        while let Some(length) = memchr::memchr(b'\n', &bytes[start..]) {
            let row = &bytes[start..start + length];
            start += length + 1;
            if row == b"\\." {
                return Some(start);
            }
            self.add(row.len() as u64, xxh3_128(row));
        }
        if start < bytes.len() {
            let mut partial = Partial { hasher: Box::new(Xxh3::new()), bytes: 0, head: [0; 3] };
            partial.extend(&bytes[start..]);
            self.partial = Some(partial);
        }
        None
    }

    fn add(&mut self, bytes: u64, hash: u128) {
        self.rows += 1;
        self.bytes += bytes;
        self.hash.add(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], chunk: usize) -> (u64, u64, MultisetHash, Option<usize>) {
        let mut rows = CopyRows::default();
        let mut taken = 0;
        for part in text.chunks(chunk) {
            if let Some(end) = rows.feed(part) {
                return (rows.rows, rows.bytes, rows.hash, Some(taken + end));
            }
            taken += part.len();
        }
        (rows.rows, rows.bytes, rows.hash, None)
    }

    #[test]
    fn ends_at_the_marker_and_nowhere_else() {
        let text = b"a\\.\n\\.b\n\\\\.\n\n\\.\nSELECT 1;";
        for chunk in 1..20 {
            let (rows, bytes, _, end) = read(text, chunk);
            assert_eq!((rows, bytes, end), (4, 9, Some(16)), "chunks of {chunk}");
        }
    }

    #[test]
    fn order_does_not_count_and_content_does() {
        let hash = |text: &[u8]| read(text, 1_000).2;
        assert_eq!(hash(b"a\nb\n\\.\n"), hash(b"b\na\n\\.\n"));
        assert_ne!(hash(b"a\nb\n\\.\n"), hash(b"a\nc\n\\.\n"));
        assert_ne!(hash(b"a\n\\.\n"), hash(b"a\na\n\\.\n"));
        assert_ne!(hash(b"\n\\.\n"), hash(b"\\.\n"));
    }

    #[test]
    fn does_not_end_without_the_marker() {
        assert_eq!(read(b"a\nb\n", 1_000).3, None);
        assert_eq!(read(b"a\n\\.", 1_000).3, None);
    }

    proptest! {
        #[test]
        fn chunk_boundaries_never_change_the_sum(text in "[a\\\\.\n]{0,60}", chunk in 1_usize..9) {
            prop_assert_eq!(read(text.as_bytes(), chunk), read(text.as_bytes(), 1_000));
        }
    }
}
