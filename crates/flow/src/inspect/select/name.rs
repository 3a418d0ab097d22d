//! The name of a table, with its schema.

use std::fmt;
use std::str::FromStr;

use crate::inspect::sql::identifier;

/// A table, sequence or index by schema and name, exactly as the database has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The schema.
    pub schema: String,
    /// The name in it.
    pub name: String,
}

impl Name {
    /// A name in a schema.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Name {
        Name { schema: schema.into(), name: name.into() }
    }

    /// As SQL writes it, quoted whether it needs it or not.
    pub fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// Reads `schema.name` as SQL writes it, either part quoted or not.
    pub(crate) fn of_sql(text: &str) -> Option<Name> {
        let (schema, rest) = identifier(text)?;
        let (name, rest) = identifier(rest.strip_prefix('.')?)?;
        rest.is_empty().then_some(Name { schema, name })
    }
}

/// A name as SQL writes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl FromStr for Name {
    type Err = String;

    /// As a person types it: `public.messages`, the part after the first dot as it is, or quoted as in SQL
    /// where a schema has a dot in its name.
    fn from_str(text: &str) -> Result<Name, String> {
        if let Some(name) = Name::of_sql(text) {
            return Ok(name);
        }
        let parts = if text.starts_with('"') {
            identifier(text).and_then(|(schema, rest)| Some((schema, rest.strip_prefix('.')?)))
        } else {
            text.split_once('.').map(|(schema, rest)| (schema.to_owned(), rest))
        };
        match parts {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() => Ok(Name::new(schema, name)),
            _ => Err(format!("`{text}` is not a table's name; write it with its schema: public.messages")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_people_type_and_what_sql_writes() {
        for (typed, schema, name) in [
            ("public.messages", "public", "messages"),
            ("public.Case", "public", "Case"),
            ("public.日本 語", "public", "日本 語"),
            ("public.../../etc/passwd", "public", "../../etc/passwd"),
            ("public.new\nline", "public", "new\nline"),
            (r#""Odd schema.""q"""."Table; DROP""#, "Odd schema.\"q\"", "Table; DROP"),
            (r#""Odd schema.""q""".plain one"#, "Odd schema.\"q\"", "plain one"),
            (r#"public."we""ird.na me""#, "public", "we\"ird.na me"),
        ] {
            assert_eq!(typed.parse(), Ok(Name::new(schema, name)), "{typed}");
        }
        for wrong in ["messages", "", ".a", "public.", "\"open.t"] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn is_quoted_so_that_it_is_read_as_the_same_again() {
        let name = Name::new("Odd schema.\"q\"", "Table; DROP");
        assert_eq!(Name::of_sql(&name.sql()), Some(name));
    }
}
