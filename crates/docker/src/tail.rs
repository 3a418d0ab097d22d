//! The last bytes of what a program wrote to standard error.

use std::collections::VecDeque;

/// How much is kept.
const MAX: usize = 64 * 1024;

/// Keeps the last 64 KiB.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    is_cut: bool,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(MAX)..];
        let excess = (self.bytes.len() + last.len()).saturating_sub(MAX);
        self.is_cut |= excess > 0 || last.len() < bytes.len();
        self.bytes.drain(..excess);
        self.bytes.extend(last);
    }

    /// What was kept, as text; a first line that is cut is left out.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        match text.split_once('\n') {
            Some((_, rest)) if self.is_cut => format!("…\n{rest}"),
            _ => text.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end() {
        let mut tail = Tail::default();
        tail.push(b"first\n");
        assert_eq!(tail.text(), "first\n");
        for number in 0..20_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let text = tail.text();
        assert!(text.len() <= MAX + 4 && text.starts_with("…\nline ") && text.ends_with("line 19999\n"));
        tail.push(&vec![b'x'; 3 * MAX]);
        assert_eq!(tail.bytes.len(), MAX);
    }
}
