//! The statements that make a database again: closed from its first moment, and with the stack's own
//! settings.

use crate::inspect::sql::{name_after, statements};

/// Settings that belong to a stack's own `.env`.
pub(super) const OWN_SETTINGS: &str = "app.settings.";
/// What a database has that takes any number of connections.
const NO_LIMIT: i64 = -1;

/// How a database is made.
pub(super) struct Creation {
    /// The statements. The database takes nobody but superusers.
    pub(super) script: String,
    /// How many connections it takes when it is opened; -1 is any number.
    pub(super) limit: i64,
}

impl Creation {
    /// From what the backup says, without what `own` sets, and with that instead.
    pub(super) fn new(create: &str, own: &[String]) -> Creation {
        let kept: Vec<_> = own.iter().filter_map(|statement| own_setting(statement)).collect();
        let mut out = Creation { script: String::with_capacity(create.len()), limit: NO_LIMIT };
        for statement in statements(create) {
            let statement = String::from_utf8_lossy(&statement).into_owned();
            if let Some(limit) = connection_limit(&statement) {
                out.limit = limit;
            } else if statement.starts_with("CREATE DATABASE ") {
                // In the very statement that makes it: a limit that comes later ends no session.
                out.say(&format!("{} CONNECTION LIMIT = 0;", statement.trim_end().trim_end_matches(';')));
            } else if own_setting(&statement).is_none_or(|name| !kept.contains(&name)) {
                out.say(&statement);
            }
        }
        own.iter().for_each(|statement| out.say(statement));
        out
    }

    fn say(&mut self, statement: &str) {
        self.script.extend([statement, "\n"]);
    }
}

/// Whether a statement sets something that belongs to a stack's own `.env`.
pub(crate) fn is_own_setting(statement: &str) -> bool {
    own_setting(statement).is_some()
}

/// The name of the stack's own setting that a statement sets.
fn own_setting(statement: &str) -> Option<String> {
    let (_, setting) = statement.strip_prefix("ALTER DATABASE ")?.split_once(" SET ")?;
    name_after(setting, "").filter(|name| name.starts_with(OWN_SETTINGS))
}

/// The limit that a statement of `pg_dump --create` sets.
fn connection_limit(statement: &str) -> Option<i64> {
    let altered = statement.trim_end().strip_prefix("ALTER DATABASE ")?.strip_suffix(';')?;
    altered.rsplit_once(" CONNECTION LIMIT = ")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = "CREATE DATABASE postgres WITH TEMPLATE = template0;\n\
ALTER DATABASE postgres SET \"app.settings.jwt_secret\" TO 'old';\n\
ALTER DATABASE postgres SET \"app.settings.jwt_exp\" TO '3600';\n\
ALTER DATABASE postgres SET search_path TO 'x', 'app.settings.y';\n";

    #[test]
    fn a_stack_keeps_its_own_settings() {
        let own = vec!["ALTER DATABASE postgres SET \"app.settings.jwt_secret\" TO 'new';".to_owned()];
        let script = Creation::new(CREATE, &own).script;
        assert!(
            !script.contains("'old'") && script.contains("jwt_exp") && script.contains("search_path"),
            "{script}"
        );
        assert!(script.contains("TO 'new';\n"), "{script}");
    }

    #[test]
    fn a_database_is_closed_from_its_first_moment() {
        let made = Creation::new(CREATE, &[]);
        let first = "CREATE DATABASE postgres WITH TEMPLATE = template0 CONNECTION LIMIT = 0;\n";
        assert!(made.script.starts_with(first), "{}", made.script);
        assert_eq!(made.limit, -1);
        let limited = format!("{CREATE}ALTER DATABASE postgres CONNECTION LIMIT = 7;\n");
        let made = Creation::new(&limited, &[]);
        assert_eq!(made.limit, 7);
        assert_eq!(made.script.matches("CONNECTION LIMIT").count(), 1, "{}", made.script);
        let text = "ALTER DATABASE postgres SET a.b TO ' CONNECTION LIMIT = 7';\n";
        assert!(Creation::new(text, &[]).script.contains(text));
    }
}
