//! Splits SQL text into statements, without being fooled by what is quoted.
//!
//! A dump holds function bodies, comments and strings that contain anything at all, also text that
//! looks like the dump itself. So quoting is followed exactly as PostgreSQL's own lexer does with
//! `standard_conforming_strings = on`, which every dump sets first.

use super::nesting::Nesting;

/// Takes what the lexer finds.
pub(crate) trait Sink {
    /// Text of the statement, outside of quotes and comments.
    fn code(&mut self, bytes: &[u8]);
    /// Text of the statement inside quotes, the quotes included.
    fn quoted(&mut self, bytes: &[u8]);
    /// The statement is over, its `;` included. Says what follows.
    fn end_of_statement(&mut self) -> Next;
    /// A comment in a line of its own, without the dashes; cut after [`MAX_COMMENT`] bytes.
    fn comment(&mut self, text: &[u8]);
    /// Text of a psql command between statements, without its back-slash, its line end included.
    fn command(&mut self, _bytes: &[u8]) {}
}

/// What follows a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next statement.
    Statement,
    /// Rows of a `COPY … FROM stdin`, beginning in the next line.
    CopyRows,
}

/// How far the lexer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fed {
    /// Bytes taken, all of them unless rows begin.
    pub(super) taken: usize,
    /// Whether the next byte is the first of a table's rows.
    pub(super) rows_begin: bool,
}

/// How much of a comment is kept: more than the header of any entry that pg_dump writes, in which a
/// function has the types of all of its arguments.
const MAX_COMMENT: usize = 64 * 1024;
/// The longest dollar tag that is told apart; an identifier has at most 63 bytes.
const MAX_TAG: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum State {
    /// Before a statement's first byte.
    #[default]
    Between,
    /// In a statement, outside of quotes.
    Code,
    /// After a `-`, in code or between.
    Dash {
        between: bool,
    },
    /// After a `/`, in code or between.
    Slash {
        between: bool,
    },
    LineComment {
        between: bool,
    },
    BlockComment {
        between: bool,
        depth: u32,
        before: u8,
    },
    /// In a quoted string or name that ends with `quote`.
    Quote {
        quote: u8,
        escapes: bool,
    },
    /// After a back-slash in an `E''` string.
    Escape,
    /// After `$`, collecting the tag.
    DollarTag,
    /// In a dollar-quoted string; how many bytes of the closing tag have matched.
    Dollar {
        matched: usize,
    },
    /// A psql command such as `\restrict`: up to the end of the line.
    Meta,
    /// After the `;` of a `COPY … FROM stdin`: up to the end of the line.
    CopyLine,
}

/// The state between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    state: State,
    /// The last two bytes of code, to know `E'…'` from a name that ends in `e`.
    before: [u8; 2],
    /// The dollar tag, without its dollars.
    tag: Vec<u8>,
    comment: Vec<u8>,
    nesting: Nesting,
}

impl Lexer {
    /// Whether the text may end here.
    pub(super) fn is_between_statements(&self) -> bool {
        match self.state {
            State::Between | State::Meta => true,
            State::LineComment { between } => between,
            _ => false,
        }
    }

    /// Reads on until the chunk ends or rows begin.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Fed {
        let mut taken = 0;
        while taken < bytes.len() {
            let (step, rows_begin) = self.step(&bytes[taken..], sink);
            taken += step;
            if rows_begin {
                return Fed { taken, rows_begin };
            }
        }
        Fed { taken, rows_begin: false }
    }

    /// Takes at least one byte, and a whole run of them where the state does not change.
    /// Says how many, and whether rows begin after them.
    pub(crate) fn step(&mut self, bytes: &[u8], sink: &mut impl Sink) -> (usize, bool) {
        let byte = bytes[0];
        match self.state {
            State::Between => return (self.between(bytes, sink), false),
            State::Code => return (self.code(bytes, sink), false),
            State::Quote { quote, escapes } => return (self.quote(bytes, quote, escapes, sink), false),
            State::Dollar { matched } => return (self.dollar(bytes, matched, sink), false),
            State::LineComment { between } => return (self.line_comment(bytes, between, sink), false),
            State::Dash { between } => return (self.dash(byte, between, sink), false),
            State::Slash { between } => return (self.slash(byte, between, sink), false),
            State::DollarTag => return (self.dollar_tag(byte, sink), false),
            State::BlockComment { between, depth, before } => {
                self.block_comment(byte, between, depth, before)
            }
            State::Escape => {
                sink.quoted(&[byte]);
                self.state = State::Quote { quote: b'\'', escapes: true };
            }
            State::Meta => {
                let end = memchr::memchr(b'\n', bytes);
                self.state = if end.is_some() { State::Between } else { State::Meta };
                let taken = end.map_or(bytes.len(), |end| end + 1);
                sink.command(&bytes[..taken]);
                return (taken, false);
            }
            State::CopyLine => {
                if byte == b'\n' {
                    self.state = State::Between;
                    return (1, true);
                }
            }
        }
        (1, false)
    }

    fn between(&mut self, bytes: &[u8], sink: &mut impl Sink) -> usize {
        match bytes[0] {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'\\' => self.state = State::Meta,
            b'-' => self.state = State::Dash { between: true },
            b'/' => self.state = State::Slash { between: true },
            _ => {
                self.state = State::Code;
                self.before = [0; 2];
                return self.code(bytes, sink);
            }
        }
        1
    }

    fn code(&mut self, bytes: &[u8], sink: &mut impl Sink) -> usize {
        let end = bytes.iter().position(|byte| matches!(byte, b';' | b'\'' | b'"' | b'$' | b'-' | b'/'));
        let end = end.unwrap_or(bytes.len());
        if end > 0 {
            self.emit_code(&bytes[..end], sink);
            return end;
        }
        match bytes[0] {
            b';' if !self.nesting.end_statement() => self.emit_code(b";", sink),
            b';' => {
                sink.code(b";");
                self.state = match sink.end_of_statement() {
                    Next::Statement => State::Between,
                    Next::CopyRows => State::CopyLine,
                };
            }
            quote @ (b'\'' | b'"') => {
                sink.quoted(&[quote]);
                self.nesting.end_word();
                let prefixed = matches!(self.before[1], b'e' | b'E') && !is_name(self.before[0]);
                self.state = State::Quote { quote, escapes: quote == b'\'' && prefixed };
                self.before = [0; 2];
            }
            b'$' if !is_name(self.before[1]) => {
                self.tag.clear();
                self.state = State::DollarTag;
            }
            b'-' => self.state = State::Dash { between: false },
            b'/' => self.state = State::Slash { between: false },
            other => self.emit_code(&[other], sink),
        }
        1
    }

    fn emit_code(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        sink.code(bytes);
        self.nesting.code(bytes);
        self.before = match bytes {
            [.., a, b] => [*a, *b],
            [b] => [self.before[1], *b],
            [] => self.before,
        };
    }

    /// A doubled quote closes the string and opens it again at once, which comes to the same.
    fn quote(&mut self, bytes: &[u8], quote: u8, escapes: bool, sink: &mut impl Sink) -> usize {
        let found = if escapes { memchr::memchr2(quote, b'\\', bytes) } else { memchr::memchr(quote, bytes) };
        let Some(end) = found else {
            sink.quoted(bytes);
            return bytes.len();
        };
        sink.quoted(&bytes[..=end]);
        if bytes[end] == b'\\' {
            self.state = State::Escape;
        } else {
            self.state = State::Code;
            // Inside an E'' string a doubled quote must be followed by one that escapes again.
            self.before = if escapes { [0, b'E'] } else { [0; 2] };
        }
        end + 1
    }

    fn dollar_tag(&mut self, byte: u8, sink: &mut impl Sink) -> usize {
        let valid = is_name(byte) && byte != b'$' && !(self.tag.is_empty() && byte.is_ascii_digit());
        if byte == b'$' {
            sink.quoted(b"$");
            sink.quoted(&self.tag);
            sink.quoted(b"$");
            self.state = State::Dollar { matched: 0 };
        } else if valid && self.tag.len() < MAX_TAG {
            self.tag.push(byte);
        } else {
            // Not a tag after all, such as the parameter `$1`: code, and this byte is read as such.
            self.state = State::Code;
            let tag = std::mem::take(&mut self.tag);
            self.emit_code(b"$", sink);
            self.emit_code(&tag, sink);
            return 0;
        }
        1
    }

    fn dollar(&mut self, bytes: &[u8], matched: usize, sink: &mut impl Sink) -> usize {
        if matched == 0 {
            let Some(start) = memchr::memchr(b'$', bytes) else {
                sink.quoted(bytes);
                return bytes.len();
            };
            sink.quoted(&bytes[..=start]);
            self.state = State::Dollar { matched: 1 };
            return start + 1;
        }
        let byte = bytes[0];
        let wanted = self.tag.get(matched - 1).copied().unwrap_or(b'$');
        self.state = match (byte == wanted, matched == self.tag.len() + 1) {
            (true, true) => State::Code,
            (true, false) => State::Dollar { matched: matched + 1 },
            (false, _) => State::Dollar { matched: usize::from(byte == b'$') },
        };
        sink.quoted(&bytes[..1]);
        if self.state == State::Code {
            self.before = [0; 2];
        }
        1
    }

    fn dash(&mut self, byte: u8, between: bool, sink: &mut impl Sink) -> usize {
        if byte == b'-' {
            self.comment.clear();
            self.state = State::LineComment { between };
            return 1;
        }
        self.back_to_code(b'-', sink)
    }

    fn slash(&mut self, byte: u8, between: bool, sink: &mut impl Sink) -> usize {
        if byte == b'*' {
            self.state = State::BlockComment { between, depth: 1, before: 0 };
            return 1;
        }
        self.back_to_code(b'/', sink)
    }

    /// A `-` or `/` that began no comment is an operator; the byte after it is read as code.
    fn back_to_code(&mut self, operator: u8, sink: &mut impl Sink) -> usize {
        self.state = State::Code;
        self.emit_code(&[operator], sink);
        0
    }

    fn line_comment(&mut self, bytes: &[u8], between: bool, sink: &mut impl Sink) -> usize {
        let end = memchr::memchr(b'\n', bytes);
        let text = &bytes[..end.unwrap_or(bytes.len())];
        let room = MAX_COMMENT - self.comment.len().min(MAX_COMMENT);
        self.comment.extend_from_slice(&text[..text.len().min(room)]);
        let Some(end) = end else { return bytes.len() };
        if between {
            sink.comment(&self.comment);
            self.state = State::Between;
        } else {
            self.emit_code(b"\n", sink);
            self.state = State::Code;
        }
        end + 1
    }

    fn block_comment(&mut self, byte: u8, between: bool, depth: u32, before: u8) {
        let (depth, before) = match (before, byte) {
            (b'/', b'*') => (depth + 1, 0),
            (b'*', b'/') => (depth - 1, 0),
            _ => (depth, byte),
        };
        self.state = match (depth, between) {
            (0, true) => State::Between,
            (0, false) => State::Code,
            _ => State::BlockComment { between, depth, before },
        };
    }
}

/// Whether a byte can be inside an identifier: PostgreSQL takes every byte of 0x80 and above as a letter.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        statements: Vec<String>,
        comments: Vec<String>,
        current: Vec<u8>,
    }

    impl Sink for Seen {
        fn code(&mut self, bytes: &[u8]) {
            self.current.extend_from_slice(bytes);
        }

        fn quoted(&mut self, bytes: &[u8]) {
            self.current.extend_from_slice(bytes);
        }

        fn end_of_statement(&mut self) -> Next {
            let text = String::from_utf8(std::mem::take(&mut self.current)).expect("test text is UTF-8");
            let rows = text.ends_with("stdin;");
            self.statements.push(text);
            if rows { Next::CopyRows } else { Next::Statement }
        }

        fn comment(&mut self, text: &[u8]) {
            self.comments.push(String::from_utf8_lossy(text).into_owned());
        }
    }

    fn lex(text: &str, chunk: usize) -> (Seen, usize, bool) {
        let mut lexer = Lexer::default();
        let mut seen = Seen::default();
        let mut taken = 0;
        for part in text.as_bytes().chunks(chunk) {
            let fed = lexer.feed(part, &mut seen);
            taken += fed.taken;
            if fed.rows_begin {
                break;
            }
        }
        (seen, taken, lexer.is_between_statements())
    }

    fn statements(text: &str) -> Vec<String> {
        let (seen, taken, at_end) = lex(text, 1_000_000);
        assert!(at_end && taken == text.len(), "{text} does not end between statements");
        for chunk in [1, 2, 3, 7] {
            assert_eq!(lex(text, chunk).0, seen, "chunks of {chunk}");
        }
        seen.statements
    }

    #[test]
    fn splits_at_semicolons_outside_of_quotes_only() {
        assert_eq!(
            statements("SELECT 1; SELECT 'a;b', \"c;d\", $$e;f$$, $x$g;$$;h$x$ ;\n"),
            ["SELECT 1;", "SELECT 'a;b', \"c;d\", $$e;f$$, $x$g;$$;h$x$ ;"]
        );
    }

    #[test]
    fn a_semicolon_inside_a_rule_or_a_routine_ends_nothing() {
        let rule =
            "CREATE RULE r AS ON DELETE TO a DO ALSO (INSERT INTO b VALUES (1); INSERT INTO c VALUES (2));";
        let atomic = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;";
        let procedure = "CREATE PROCEDURE \"begin\"() LANGUAGE sql BEGIN ATOMIC END;";
        let plain = "CREATE TABLE begin_end (case_ int, \"end\" text);";
        assert_eq!(
            statements(&format!("{rule}\n{atomic}\n{procedure}\n{plain}\nBEGIN;\nSELECT 1;")),
            [rule, atomic, procedure, plain, "BEGIN;", "SELECT 1;"]
        );
    }

    #[test]
    fn knows_doubled_quotes_and_escapes() {
        assert_eq!(
            statements(r"SELECT 'it''s;', 'back\'; SELECT E'esc\';', e'x''\';y', name'z\';"),
            [r"SELECT 'it''s;', 'back\';", r"SELECT E'esc\';', e'x''\';y', name'z\';"]
        );
    }

    #[test]
    fn knows_parameters_and_names_with_dollars_from_tags() {
        assert_eq!(
            statements("SELECT $1, a$b$c; SELECT $a$ $1 $b$ $a$; SELECT $$x$ $y$$;"),
            ["SELECT $1, a$b$c;", "SELECT $a$ $1 $b$ $a$;", "SELECT $$x$ $y$$;"]
        );
    }

    #[test]
    fn leaves_comments_out() {
        let text = "-- one\nSELECT 1 -- two;\n, 2 /* three; /* nested; */ ; */ - 3 / 4;\n-- four\n";
        let (seen, _, _) = lex(text, 1_000);
        assert_eq!(seen.statements, ["SELECT 1 \n, 2  - 3 / 4;"]);
        assert_eq!(seen.comments, [" one", " four"]);
        assert_eq!(lex(text, 1).0, seen);
    }

    #[test]
    fn leaves_psql_commands_out() {
        assert_eq!(statements("\\restrict a;b'\nSELECT 1;\n\\unrestrict a;b'\n"), ["SELECT 1;"]);
    }

    #[test]
    fn stops_where_rows_begin() {
        let text = "COPY public.t (a) FROM stdin;\n1\t2\n\\.\n";
        for chunk in [1, 5, 1_000] {
            let (seen, taken, _) = lex(text, chunk);
            assert_eq!(seen.statements, ["COPY public.t (a) FROM stdin;"]);
            assert_eq!(taken, 30);
        }
    }

    #[test]
    fn an_open_quote_is_not_an_end() {
        for text in ["SELECT 'a", "SELECT 1", "SELECT $$a$", "/* a", "SELECT \"a;"] {
            assert!(!lex(text, 1_000).2, "{text}");
        }
    }

    proptest! {
        #[test]
        fn chunk_boundaries_never_change_what_is_seen(text in "[a-eE$'\";\\-/*\\\\\n 1]{0,80}", chunk in 1_usize..9) {
            prop_assert_eq!(lex(&text, chunk).0, lex(&text, 1_000).0);
        }
    }
}
