//! The same statements about a table in another schema.
//!
//! A dump writes every name with its schema. Those of the table, of its sequences and of its statistics
//! get the other schema; everything else that is named, such as types and functions, stays where it is.

use std::collections::BTreeSet;

use super::contents::Contents;
use super::name::{Name, quoted};
use super::subject::Subject;
use crate::inspect::sql::identifier;

/// Which names get which schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    names: BTreeSet<Name>,
    schema: String,
}

impl Relocation {
    /// Of these tables and what belongs to them.
    pub fn new(contents: &Contents, family: &BTreeSet<Name>, schema: &str) -> Relocation {
        let mut names = family.clone();
        names.extend(contents.sequences(family).into_iter().cloned());
        names.extend(contents.entries.iter().filter_map(|entry| match &entry.subject {
            Some(Subject::Part { part, table }) if family.contains(table) => Some(part.clone()),
            _ => None,
        }));
        Relocation { names, schema: schema.to_owned() }
    }

    /// Where the table is to be.
    pub fn of(&self, name: &Name) -> Name {
        if self.names.contains(name) {
            Name::new(self.schema.clone(), name.name.clone())
        } else {
            name.clone()
        }
    }

    /// The statements, about the tables in the other schema.
    pub fn apply(&self, statements: &str) -> String {
        let mut out = String::with_capacity(statements.len());
        let mut rest = statements;
        let mut before = ' ';
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '\'' => self.text(rest, before, &mut out),
                '"' => self.name(rest, before, &mut out),
                c if is_bare(c) => self.name(rest, before, &mut out),
                c => {
                    out.push(c);
                    c.len_utf8()
                }
            };
            before = rest[..length].chars().next_back().unwrap_or(' ');
            rest = &rest[length..];
        }
        out
    }

    /// A name, with or without a schema; says how long it is.
    fn name(&self, text: &str, before: char, out: &mut String) -> usize {
        let Some((first, after)) = identifier(text) else {
            out.push_str(text);
            return text.len();
        };
        let first_length = text.len() - after.len();
        let qualified = after.strip_prefix('.').filter(|_| before != '.').and_then(identifier);
        if let Some((second, rest)) = qualified {
            let name = Name::new(first, second);
            if self.names.contains(&name) {
                out.push_str(&quoted(&self.schema));
                let length = text.len() - rest.len();
                out.push_str(&text[first_length..length]);
                return length;
            }
        }
        out.push_str(&text[..first_length]);
        first_length
    }

    /// A text in quotes: a sequence where it is followed by its type, or stands in `setval('…'`.
    fn text(&self, text: &str, before: char, out: &mut String) -> usize {
        let escapes = matches!(before, 'E' | 'e');
        let length = length_of_text(text, escapes);
        let (literal, after) = text.split_at(length);
        let is_name = after.starts_with("::regclass") || out.ends_with("pg_catalog.setval(");
        let inner = literal[1..].strip_suffix('\'').unwrap_or_default().replace("''", "'");
        match Name::of_sql(&inner).filter(|name| is_name && !escapes && self.names.contains(name)) {
            Some(name) => {
                let moved = self.of(&name).sql().replace('\'', "''");
                out.push_str(&format!("'{moved}'"));
            }
            None => out.push_str(literal),
        }
        length
    }
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn length_of_text(text: &str, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == '\'' && chars.next_if(|(_, next)| *next == '\'').is_none() {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(text: &str) -> String {
        let names = ["messages", "messages_id_seq", "o'clock"];
        let names = names.iter().map(|name| Name::new("public", *name)).collect();
        Relocation { names, schema: "was \"here\"".to_owned() }.apply(text)
    }

    #[test]
    fn moves_the_table_and_its_sequences_and_nothing_else() {
        for (text, wanted) in [
            (
                "CREATE TABLE public.messages (a public.kind);",
                "CREATE TABLE \"was \"\"here\"\"\".messages (a public.kind);",
            ),
            ("COPY \"public\".\"messages\" (a)", "COPY \"was \"\"here\"\"\".\"messages\" (a)"),
            (
                "nextval('public.messages_id_seq'::regclass)",
                "nextval('\"was \"\"here\"\"\".\"messages_id_seq\"'::regclass)",
            ),
            (
                "SELECT pg_catalog.setval('public.\"o''clock\"', 5, true);",
                "SELECT pg_catalog.setval('\"was \"\"here\"\"\".\"o''clock\"', 5, true);",
            ),
        ] {
            assert_eq!(moved(text), wanted);
        }
        for same in [
            "CREATE TABLE public.messages_old (a text DEFAULT 'public.messages');",
            "SELECT x.public.messages, public.message, E'\\'public.messages', 'it''s public.messages'",
            "\"public.messages\" \"x\"\"\".public",
            "COMMENT ON x IS 'public.messages_id_seq';",
        ] {
            assert_eq!(moved(same), same);
        }
    }
}
