//! Which tables and columns are meant, as people write it: `public.users`, `public.*`, `public.users.email`.

use std::fmt;
use std::str::FromStr;

/// A name, or what names look like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    text: String,
    /// It was written in quotes: `*` and `?` are characters like others.
    is_quoted: bool,
}

impl Part {
    fn is_glob(&self) -> bool {
        !self.is_quoted && self.text.contains(['*', '?'])
    }

    fn matches(&self, name: &str) -> bool {
        if !self.is_glob() {
            return self.text == name;
        }
        let (pattern, name): (Vec<char>, Vec<char>) = (self.text.chars().collect(), name.chars().collect());
        glob(&pattern, &name)
    }
}

/// `*` is any number of characters, `?` is one. Goes back to the last `*` only, so it takes no longer than the product
/// of both lengths.
fn glob(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[from] => (at, from) = (at + 1, from + 1),
            _ => match &mut star {
                Some((back, taken)) => {
                    *taken += 1;
                    (at, from) = (*back + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_quoted {
            write!(f, "\"{}\"", self.text.replace('"', "\"\""))
        } else {
            f.write_str(&self.text)
        }
    }
}

/// Reads `count` parts with a dot between them; the last one goes to the end, dots or not, unless it is in quotes.
fn parts(text: &str, count: usize) -> Option<Vec<Part>> {
    let (mut out, mut rest) = (Vec::with_capacity(count), text);
    for number in 1..=count {
        let is_last = number == count;
        let (part, after) = if rest.starts_with('"') { quoted(rest)? } else { plain(rest, is_last)? };
        out.push(part);
        rest = if is_last { after } else { after.strip_prefix('.')? };
    }
    (rest.is_empty() && out.iter().all(|part| !part.text.is_empty())).then_some(out)
}

fn plain(text: &str, is_last: bool) -> Option<(Part, &str)> {
    let end = if is_last { text.len() } else { text.find('.')? };
    Some((Part { text: text[..end].to_owned(), is_quoted: false }, &text[end..]))
}

fn quoted(text: &str) -> Option<(Part, &str)> {
    let mut out = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let end = rest.find('"')?;
        out.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                out.push('"');
                rest = more;
            }
            None => return Some((Part { text: out, is_quoted: true }, rest)),
        }
    }
}

/// A table by schema and name, each of which may have `*` and `?` in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TablePattern {
    schema: Part,
    name: Part,
}

impl TablePattern {
    /// Exactly this table.
    pub fn exact(schema: &str, name: &str) -> TablePattern {
        let part = |text: &str| Part { text: text.to_owned(), is_quoted: true };
        TablePattern { schema: part(schema), name: part(name) }
    }

    /// Whether it may mean several tables, or none.
    pub fn is_glob(&self) -> bool {
        self.schema.is_glob() || self.name.is_glob()
    }

    /// Whether it means this table.
    pub fn matches(&self, schema: &str, name: &str) -> bool {
        self.schema.matches(schema) && self.name.matches(name)
    }
}

impl FromStr for TablePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<TablePattern, String> {
        let found = parts(text, 2).and_then(|parts| <[Part; 2]>::try_from(parts).ok());
        found.map(|[schema, name]| TablePattern { schema, name }).ok_or_else(|| {
            format!("`{text}` is not a table; write it with its schema: public.orders, public.*, \"My schema\".\"t\"")
        })
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A column of a table; each part may have `*` and `?` in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnPattern {
    table: TablePattern,
    column: Part,
}

impl ColumnPattern {
    /// Whether it may mean several columns, or none.
    pub fn is_glob(&self) -> bool {
        self.table.is_glob() || self.column.is_glob()
    }

    /// Whether it means this column.
    pub fn matches(&self, schema: &str, table: &str, column: &str) -> bool {
        self.table.matches(schema, table) && self.column.matches(column)
    }
}

impl FromStr for ColumnPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<ColumnPattern, String> {
        let found = parts(text, 3).and_then(|parts| <[Part; 3]>::try_from(parts).ok());
        found
            .map(|[schema, name, column]| ColumnPattern { table: TablePattern { schema, name }, column })
            .ok_or_else(|| format!("`{text}` is not a column; write it with its table: public.users.email"))
    }
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_what_people_type_and_nothing_half() {
        let means = |pattern: &str, schema, name| {
            pattern.parse::<TablePattern>().is_ok_and(|pattern| pattern.matches(schema, name))
        };
        assert!(means("public.orders", "public", "orders"));
        assert!(!means("public.orders", "public", "Orders"));
        assert!(means("public.*", "public", "anything at all"));
        assert!(means("*.audit_?", "app", "audit_1") && !means("*.audit_?", "app", "audit_10"));
        assert!(means(r#""a.b"."c""d*""#, "a.b", "c\"d*") && !means(r#""a.b"."c*""#, "a.b", "cd"));
        assert!(means("public.with.dot", "public", "with.dot"));
        for wrong in ["", "orders", ".a", "public.", "\"open.t", "\"a\"b.c", "\"\".t"] {
            assert!(wrong.parse::<TablePattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_column_has_three_parts() {
        let email: ColumnPattern = "public.users.email".parse().expect("a column");
        assert!(email.matches("public", "users", "email") && !email.matches("public", "users", "Email"));
        assert!(!email.is_glob());
        let any: ColumnPattern = "*.*.password*".parse().expect("a column");
        assert!(
            any.is_glob() && any.matches("a", "b", "password_hash") && !any.matches("a", "b", "the_password")
        );
        assert!("public.users".parse::<ColumnPattern>().is_err());
    }

    proptest! {
        #[test]
        fn an_exact_name_is_only_ever_itself(schema in "\\PC{1,12}", name in "\\PC{1,12}", other in "\\PC{1,12}") {
            let exact = TablePattern::exact(&schema, &name);
            prop_assert!(exact.matches(&schema, &name));
            prop_assert_eq!(exact.matches(&schema, &other), name == other);
            prop_assert_eq!(exact.to_string().parse::<TablePattern>(), Ok(exact));
        }
    }
}
