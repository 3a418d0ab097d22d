//! The statements that make a database, picked out of a schema dump.
//!
//! `pg_dump --create` is the one that knows how to write owner, encoding, locale, grants and settings
//! of a database; but it writes them into the dump, between `\connect` lines that tie the whole file to
//! the database's name. Picked out, they are a file of their own, and the dump restores into any
//! database.

use std::io::Write as _;

use super::head::{identifier, plain_words};
use super::lexer::{Lexer, Next, Sink};
use crate::inspect::InspectError;

/// The longest statement that is kept: such statements hold a name, a role or a setting's value.
const MAX_STATEMENT: usize = 256 * 1024;

/// Reads a dump made with `--create` and keeps what makes the database.
#[derive(Default)]
pub struct CreateStatements {
    lexer: Lexer,
    picker: Picker,
}

#[derive(Default)]
struct Picker {
    statement: Vec<u8>,
    picked: Vec<Vec<u8>>,
    ended: bool,
}

impl CreateStatements {
    /// Takes the next bytes. The dump must be one without rows.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        if self.lexer.feed(bytes, &mut self.picker).rows_begin {
            return Err(InspectError::Damaged("rows in a dump of definitions".to_owned()));
        }
        Ok(())
    }

    /// The statements as a script of their own, which says that it is about `database`.
    pub fn finish(self, database: &str) -> Result<Vec<u8>, InspectError> {
        if !self.picker.ended || !self.lexer.is_between_statements() {
            return Err(InspectError::Incomplete("the dump of definitions has no end".to_owned()));
        }
        if !self.picker.picked.iter().any(|statement| statement.starts_with(b"CREATE DATABASE ")) {
            return Err(InspectError::Damaged("no CREATE DATABASE in a dump made with --create".to_owned()));
        }
        let shown = database.escape_debug();
        let mut out = format!(
            "--\n-- PostgreSQL database dump\n--\n\n-- What makes the database {shown}, without its content; run it in another database.\n\n\
             SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\n"
        )
        .into_bytes();
        for statement in &self.picker.picked {
            out.extend_from_slice(statement);
            out.push(b'\n');
        }
        // Writing to memory cannot fail.
        let _ = out.write_all(b"\n--\n-- PostgreSQL database dump complete\n--\n");
        Ok(out)
    }
}

impl Picker {
    fn text(&mut self, bytes: &[u8]) {
        self.ended = false;
        let room = MAX_STATEMENT - self.statement.len();
        self.statement.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Sink for Picker {
    fn code(&mut self, bytes: &[u8]) {
        self.text(bytes);
    }

    fn quoted(&mut self, bytes: &[u8]) {
        self.text(bytes);
    }

    fn end_of_statement(&mut self) -> Next {
        let statement = std::mem::take(&mut self.statement);
        if makes_database(&String::from_utf8_lossy(&statement)) {
            self.picked.push(statement);
        }
        Next::Statement
    }

    fn comment(&mut self, text: &[u8]) {
        self.ended |= text == b" PostgreSQL database dump complete";
    }
}

fn makes_database(statement: &str) -> bool {
    let direct = ["CREATE DATABASE ", "ALTER DATABASE ", "COMMENT ON DATABASE "];
    if direct.iter().any(|begin| statement.starts_with(begin)) {
        return true;
    }
    if let Some(rest) = statement.strip_prefix("ALTER ROLE ") {
        return identifier(rest).is_some_and(|(_, rest)| rest.starts_with(" IN DATABASE "));
    }
    if let Some(rest) = statement.strip_prefix("SECURITY LABEL FOR ") {
        return identifier(rest).is_some_and(|(_, rest)| rest.starts_with(" ON DATABASE "));
    }
    let grant = statement.strip_prefix("GRANT ").or_else(|| statement.strip_prefix("REVOKE "));
    // `GRANT CONNECT, CREATE ON DATABASE …`: nothing but keywords before the object.
    grant.is_some_and(|rest| rest[plain_words(rest)..].starts_with("ON DATABASE "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "--
-- PostgreSQL database dump
--
SET client_encoding = 'UTF8';
CREATE DATABASE \"o;k\" WITH TEMPLATE = template0;
ALTER DATABASE \"o;k\" OWNER TO me;
\\connect -reuse-previous=on \"dbname='o;k'\"
ALTER DATABASE \"o;k\" SET \"app.x\" TO 'a''b;c';
ALTER ROLE \"r IN DATABASE y\" SET x TO 'y';
ALTER ROLE \"App R\" IN DATABASE \"o;k\" SET statement_timeout TO '1s';
CREATE SERVER s OPTIONS (host 'CREATE DATABASE x;');
GRANT SELECT(\"x ON DATABASE y\") ON TABLE public.t TO me;
GRANT ALL ON DATABASE \"o;k\" TO me WITH GRANT OPTION;
REVOKE CONNECT,TEMPORARY ON DATABASE \"o;k\" FROM PUBLIC;
COMMENT ON DATABASE \"o;k\" IS 'x';
--
-- PostgreSQL database dump complete
--
";

    fn pick(dump: &str) -> Result<String, InspectError> {
        let mut statements = CreateStatements::default();
        for part in dump.as_bytes().chunks(7) {
            statements.push(part)?;
        }
        statements.finish("o;k").map(|script| String::from_utf8(script).expect("the dump is UTF-8"))
    }

    #[test]
    fn picks_what_makes_the_database_and_nothing_else() {
        let script = pick(DUMP).expect("the dump is whole");
        let statements: Vec<_> =
            script.lines().filter(|line| line.ends_with(';') && !line.starts_with("SET")).collect();
        assert_eq!(
            statements,
            [
                "CREATE DATABASE \"o;k\" WITH TEMPLATE = template0;",
                "ALTER DATABASE \"o;k\" OWNER TO me;",
                "ALTER DATABASE \"o;k\" SET \"app.x\" TO 'a''b;c';",
                "ALTER ROLE \"App R\" IN DATABASE \"o;k\" SET statement_timeout TO '1s';",
                "GRANT ALL ON DATABASE \"o;k\" TO me WITH GRANT OPTION;",
                "REVOKE CONNECT,TEMPORARY ON DATABASE \"o;k\" FROM PUBLIC;",
                "COMMENT ON DATABASE \"o;k\" IS 'x';",
            ]
        );
        assert!(script.ends_with("-- PostgreSQL database dump complete\n--\n"));
    }

    #[test]
    fn refuses_a_dump_that_is_cut_or_not_of_this_kind() {
        assert!(pick(&DUMP[..DUMP.len() / 2]).is_err());
        assert!(pick(&DUMP.replace("CREATE DATABASE \"", "CREATE DATABASES \"")).is_err());
    }
}
