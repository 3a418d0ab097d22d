//! The end of a stream, said in the stream itself.
//!
//! The engine can drop the tail of a slow reader's stream and report exit code 0, and the end of a
//! connection looks the same whether the program ended or the engine died. So programs are run by a
//! small shell script which, when the program has ended, writes a trailer to standard output, a random
//! nonce and the exit code, and then waits until its standard input is closed. The reader looks for
//! the trailer and closes standard input when it has seen it: while the script waits, the engine has
//! no reason to drop anything. A stream without a trailer is a failed one.

use bytes::Bytes;

/// Runs `$2 …` and writes the trailer with nonce `$1`. The program must not read the standard input
/// that the script waits on.
pub(crate) const SCRIPT: &str = r#"nonce=$1
shift
"$@" </dev/null
code=$?
printf '\n%s %03d\n' "$nonce" "$code"
read -r _
exit "$code""#;

/// Digits of the exit code.
const CODE_DIGITS: usize = 3;

/// Finds the trailer at the end of a stream and keeps it out of the data.
#[derive(Debug)]
pub(crate) struct Trailer {
    /// `\n<nonce> `
    begin: Vec<u8>,
    /// The last bytes of the stream, which may be the trailer.
    held: Vec<u8>,
}

impl Trailer {
    pub(crate) fn new(nonce: &str) -> Trailer {
        Trailer { begin: format!("\n{nonce} ").into_bytes(), held: Vec::new() }
    }

    fn length(&self) -> usize {
        self.begin.len() + CODE_DIGITS + 1
    }

    /// Takes a chunk; returns up to two pieces that are certainly data. Nothing is held back that cannot be a
    /// trailer's beginning: somebody may wait for a program's answer before he tells it more.
    pub(crate) fn push(&mut self, chunk: Bytes) -> [Bytes; 2] {
        let length = self.length();
        if chunk.len() >= length {
            let data = chunk.len() - length + self.possible(&chunk[chunk.len() - length..]);
            let before = std::mem::replace(&mut self.held, chunk[data..].to_vec());
            return [before.into(), chunk.slice(..data)];
        }
        self.held.extend_from_slice(&chunk);
        let excess = self.held.len().saturating_sub(length);
        let data = excess + self.possible(&self.held[excess..]);
        let data: Vec<u8> = self.held.drain(..data).collect();
        [data.into(), Bytes::new()]
    }

    /// Where in the stream's last bytes a trailer may begin; their length where none does.
    fn possible(&self, last: &[u8]) -> usize {
        let may_begin = |at: &usize| {
            let known = (last.len() - at).min(self.begin.len());
            last[*at..*at + known] == self.begin[..known]
        };
        memchr::memchr_iter(b'\n', last).find(may_begin).unwrap_or(last.len())
    }

    /// The exit code, when the last bytes are the trailer.
    pub(crate) fn exit_code(&self) -> Option<i64> {
        let code = self.held.strip_prefix(self.begin.as_slice())?.strip_suffix(b"\n")?;
        let is_code = code.len() == CODE_DIGITS && code.iter().all(u8::is_ascii_digit);
        if !is_code {
            return None;
        }
        std::str::from_utf8(code).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONCE: &str = "0123456789abcdef0123456789abcdef";

    fn read(stream: &[u8], chunk: usize) -> (Vec<u8>, Option<i64>) {
        let mut trailer = Trailer::new(NONCE);
        let mut data = Vec::new();
        for part in stream.chunks(chunk) {
            for piece in trailer.push(Bytes::copy_from_slice(part)) {
                data.extend_from_slice(&piece);
            }
        }
        (data, trailer.exit_code())
    }

    fn with_trailer(data: &[u8], code: &str) -> Vec<u8> {
        [data, format!("\n{NONCE} {code}\n").as_bytes()].concat()
    }

    #[test]
    fn strips_the_trailer_and_reads_the_code() {
        for chunk in [1, 5, 37, 38, 39, 1_000] {
            assert_eq!(read(&with_trailer(b"data\n", "000"), chunk), (b"data\n".to_vec(), Some(0)));
            assert_eq!(read(&with_trailer(b"", "137"), chunk), (vec![], Some(137)));
        }
    }

    #[test]
    fn any_cut_is_noticed() {
        let whole = with_trailer(&[b'x'; 100], "000");
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut], 7).1, None, "cut at {cut}");
        }
    }

    #[test]
    fn only_what_may_be_a_trailer_is_held_back() {
        let mut trailer = Trailer::new(NONCE);
        let mut out = |bytes: &'static [u8]| trailer.push(Bytes::from_static(bytes)).concat();
        assert_eq!(out(b"answer"), b"answer");
        assert_eq!(out(b" 1\n"), b" 1", "a line's end may be its beginning");
        assert_eq!(out(b"0123"), b"", "and so may this");
        assert_eq!(out(b"4x\n\n"), b"\n01234x\n");
    }

    #[test]
    fn a_trailer_with_another_nonce_is_data() {
        let other = with_trailer(b"data", "000").to_ascii_uppercase();
        assert_eq!(read(&other, 9).1, None);
    }

    proptest! {
        #[test]
        fn data_comes_through_unchanged_in_chunks_of_any_size(data in prop::collection::vec(any::<u8>(), 0..200), chunk in 1_usize..60) {
            prop_assert_eq!(read(&with_trailer(&data, "001"), chunk), (data, Some(1)));
        }
    }
}
