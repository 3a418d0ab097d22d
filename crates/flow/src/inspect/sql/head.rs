//! Recognising a statement by its first bytes.

use supakeep_model::fingerprint::SequencePrint;

/// What a statement is, as far as a fingerprint is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// `COPY schema.table (…) FROM stdin;`
    Copy { schema: String, table: String },
    /// `INSERT INTO schema.table …`
    Insert { schema: String, table: String },
    /// `SELECT pg_catalog.setval('…', n, b);`
    Sequence(SequencePrint),
    /// `SELECT pg_catalog.lo_create('…');`
    LargeObject,
    /// `SELECT pg_catalog.lo_open('…', …);`
    LargeObjectOpen,
    /// `SELECT pg_catalog.lowrite(0, '…');`
    LargeObjectData,
    /// What stands around large objects and rows and defines nothing.
    Bracket,
    /// Anything else: a definition.
    Definition,
}

/// How much of a statement is looked at: room for two quoted names of 63 bytes, each byte doubled.
pub(super) const MAX_HEAD: usize = 1_024;

/// Whether a statement that begins so is an INSERT; asked before its end is known, since its tuples
/// have to be looked at as they pass.
pub(super) fn is_insert(head: &[u8]) -> bool {
    head.starts_with(b"INSERT INTO ")
}

/// What the statement is that begins with `head` (its first [`MAX_HEAD`] bytes) and ends with `tail`.
pub(super) fn classify(head: &[u8], tail: &[u8]) -> Statement {
    let text = String::from_utf8_lossy(head);
    if let Some(rest) = text.strip_prefix("COPY ")
        && tail.ends_with(b"FROM stdin;")
        && let Some((schema, table)) = qualified_name(rest)
    {
        return Statement::Copy { schema, table };
    }
    if let Some((schema, table)) = text.strip_prefix("INSERT INTO ").and_then(qualified_name) {
        return Statement::Insert { schema, table };
    }
    if let Some(call) = text.strip_prefix("SELECT pg_catalog.") {
        return function_call(call);
    }
    if matches!(text.as_ref(), "BEGIN;" | "COMMIT;") { Statement::Bracket } else { Statement::Definition }
}

fn function_call(call: &str) -> Statement {
    if let Some(sequence) = call.strip_prefix("setval(").and_then(sequence) {
        return Statement::Sequence(sequence);
    }
    let known = [
        ("lo_create(", Statement::LargeObject),
        ("lo_open(", Statement::LargeObjectOpen),
        ("lowrite(", Statement::LargeObjectData),
        ("lo_close(", Statement::Bracket),
    ];
    known
        .into_iter()
        .find(|(name, _)| call.starts_with(name))
        .map_or(Statement::Definition, |(_, statement)| statement)
}

/// Reads `schema.table`, either part quoted or not.
pub(super) fn qualified_name(text: &str) -> Option<(String, String)> {
    let (schema, rest) = identifier(text)?;
    let (table, _) = identifier(rest.strip_prefix('.')?)?;
    Some((schema, table))
}

/// How long the beginning of `text` is that consists of keywords: capitals, spaces and commas.
pub(super) fn plain_words(text: &str) -> usize {
    let words = text.find(|c: char| !(c.is_ascii_uppercase() || c == ' ' || c == ',')).unwrap_or(text.len());
    // The object's own keyword belongs to what follows.
    text[..words].rfind("ON ").unwrap_or(0)
}

/// Reads a name, quoted or not; and what follows it.
pub(crate) fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    until_quote(quoted, '"')
}

/// The name, quoted or not, that follows `begin` in a statement which begins so.
pub(crate) fn name_after(statement: &str, begin: &str) -> Option<String> {
    identifier(statement.strip_prefix(begin)?).map(|(name, _)| name)
}

/// What is before the closing quote, doubled quotes undone, and what is after it.
fn until_quote(text: &str, quote: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            out.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            out.push(quote);
        } else {
            return Some((out, &text[at + 1..]));
        }
    }
    None
}

/// Reads `'name', value, is_called);` as `pg_dump` writes it after `setval(`.
pub(in crate::inspect) fn sequence(arguments: &str) -> Option<SequencePrint> {
    let (name, rest) = until_quote(arguments.strip_prefix('\'')?, '\'')?;
    let (value, is_called) = rest.strip_prefix(", ")?.strip_suffix(");")?.split_once(", ")?;
    Some(SequencePrint { name, value: value.parse().ok()?, is_called: is_called.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statement: &str) -> Statement {
        classify(statement.as_bytes(), statement.as_bytes())
    }

    #[test]
    fn recognises_what_pg_dump_writes() {
        let names = |schema: &str, table: &str| (schema.to_owned(), table.to_owned());
        let (schema, table) = names("auth", "users");
        assert_eq!(of("COPY auth.users (id, \"FROM\") FROM stdin;"), Statement::Copy { schema, table });
        let (schema, table) = names("public", "we\"ird.na me");
        assert_eq!(of("COPY public.\"we\"\"ird.na me\" (a) FROM stdin;"), Statement::Copy { schema, table });
        let (schema, table) = names("Größe", "日本 語");
        assert_eq!(of("INSERT INTO \"Größe\".\"日本 語\" VALUES (1);"), Statement::Insert { schema, table });
        assert_eq!(
            of("SELECT pg_catalog.setval('public.\"o''clock\"', -5, false);"),
            Statement::Sequence(SequencePrint {
                name: "public.\"o'clock\"".into(),
                value: -5,
                is_called: false
            })
        );
        assert_eq!(of("SELECT pg_catalog.lo_create('16408');"), Statement::LargeObject);
        assert_eq!(of("SELECT pg_catalog.lowrite(0, '\\x00');"), Statement::LargeObjectData);
        assert_eq!(of("BEGIN;"), Statement::Bracket);
        for definition in [
            "CREATE TABLE public.t (a int);",
            "SELECT pg_catalog.set_config('search_path', '', false);",
            "COPY x TO stdout;",
        ] {
            assert_eq!(of(definition), Statement::Definition, "{definition}");
        }
    }

    #[test]
    fn reads_names_without_quotes_in_any_alphabet() {
        assert_eq!(qualified_name("public.größe (a)"), Some(("public".into(), "größe".into())));
        assert_eq!(qualified_name("public (a)"), None);
        assert_eq!(qualified_name("\"open.t"), None);
    }
}
