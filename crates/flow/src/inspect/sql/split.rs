//! Splitting a definition that is all in memory.

use super::lexer::{Lexer, Next, Sink};

#[derive(Default)]
struct Collected {
    current: Vec<u8>,
    statements: Vec<Vec<u8>>,
}

impl Sink for Collected {
    fn code(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
    }

    fn quoted(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
    }

    fn end_of_statement(&mut self) -> Next {
        self.statements.push(std::mem::take(&mut self.current));
        Next::Statement
    }

    fn comment(&mut self, _text: &[u8]) {}
}

/// The statements of `text`, comments left out; what has no `;` at its end counts as one too.
pub(crate) fn statements(text: &str) -> Vec<Vec<u8>> {
    let mut collected = Collected::default();
    Lexer::default().feed(text.as_bytes(), &mut collected);
    let Collected { current, mut statements } = collected;
    if !current.is_empty() {
        statements.push(current);
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_grants_that_stand_in_one_definition() {
        let grants = "GRANT SELECT ON t TO a;\nGRANT SELECT ON t TO \"b;\";\n";
        assert_eq!(statements(grants), [&b"GRANT SELECT ON t TO a;"[..], b"GRANT SELECT ON t TO \"b;\";"]);
        assert_eq!(statements("no end"), [b"no end"]);
        assert_eq!(statements(""), Vec::<Vec<u8>>::new());
    }
}
