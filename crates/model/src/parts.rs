//! The parts of a backup, as a profile names them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part that a profile can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartName {
    /// Roles, databases, the vault's root key. Every backup has it.
    Database,
    /// The files of the storage service, with their extended attributes.
    Storage,
    /// Edge functions: `volumes/functions` of the stack's folder.
    Functions,
    /// Compose files, gateway, pooler, and a redacted copy of `.env`.
    Config,
    /// Volumes and folders that the configuration or a label names. Only where they are asked for.
    Volumes,
    /// Redis servers likewise.
    Redis,
}

impl PartName {
    /// All of them, in the order in which they are made.
    pub const ALL: [PartName; 6] = [
        PartName::Database,
        PartName::Storage,
        PartName::Functions,
        PartName::Config,
        PartName::Volumes,
        PartName::Redis,
    ];

    /// The word in a configuration, a manifest, and the name of a file.
    pub fn as_str(self) -> &'static str {
        match self {
            PartName::Database => "database",
            PartName::Storage => "storage",
            PartName::Functions => "functions",
            PartName::Config => "config",
            PartName::Volumes => "volumes",
            PartName::Redis => "redis",
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PartName {
    type Err = String;

    fn from_str(name: &str) -> Result<PartName, String> {
        let known = PartName::ALL.map(PartName::as_str).join(", ");
        let found = PartName::ALL.into_iter().find(|part| part.as_str() == name);
        found.ok_or_else(|| format!("`{name}` is no part of a backup; there are {known}"))
    }
}

/// How much a part is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Not at all.
    No,
    /// If it is there.
    IfFound,
    /// A backup without it is none.
    Required,
}

/// The parts that a profile wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Parts {
    /// All that is found, but for volumes and Redis, which have to be asked for.
    #[default]
    Found,
    /// These, each of which must be there.
    Named(Vec<PartName>),
}

impl Parts {
    /// The databases, and nothing else.
    pub fn database() -> Parts {
        Parts::Named(vec![PartName::Database])
    }

    /// Reads a list of names. The error says which is wrong, and what would be right.
    pub fn parse(names: &[String]) -> Result<Parts, String> {
        let mut parts = Vec::new();
        for name in names {
            let part: PartName = name.parse()?;
            if parts.contains(&part) {
                return Err(format!("{part} is there twice"));
            }
            parts.push(part);
        }
        if !parts.contains(&PartName::Database) {
            return Err(format!("every backup has the part database: add it; the others are {}", others()));
        }
        parts.sort_unstable();
        Ok(Parts::Named(parts))
    }

    /// How much `part` is wanted.
    pub fn wish(&self, part: PartName) -> Wish {
        match self {
            Parts::Found if matches!(part, PartName::Volumes | PartName::Redis) => Wish::No,
            Parts::Found => Wish::IfFound,
            Parts::Named(named) if named.contains(&part) => Wish::Required,
            Parts::Named(_) => Wish::No,
        }
    }
}

fn others() -> String {
    let others = PartName::ALL.into_iter().filter(|part| *part != PartName::Database);
    others.map(PartName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(names: &[&str]) -> Result<Parts, String> {
        Parts::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_named_must_be_there_and_what_is_not_is_left_out() {
        use PartName::{Config, Database, Functions};
        let parts = parse(&["config", "database"]).expect("both are parts");
        assert_eq!(parts, Parts::Named(vec![Database, Config]));
        let wishes = |parts: &Parts| PartName::ALL.map(|part| parts.wish(part));
        let (no, found) = (Wish::No, Wish::IfFound);
        assert_eq!(wishes(&parts), [Wish::Required, no, no, Wish::Required, no, no]);
        assert_eq!(wishes(&Parts::default()), [found, found, found, found, no, no]);
        assert_eq!(Parts::database().wish(Functions), Wish::No);
    }

    #[test]
    fn says_what_would_be_right() {
        let wrong = |names: &[&str]| parse(names).expect_err("it is wrong");
        assert_eq!(
            wrong(&["database", "mail"]),
            "`mail` is no part of a backup; there are database, storage, functions, config, volumes, redis"
        );
        assert_eq!(wrong(&["database", "config", "config"]), "config is there twice");
        for without in [&["config"][..], &[]] {
            assert_eq!(
                wrong(without),
                "every backup has the part database: add it; the others are storage, functions, config, volumes, redis"
            );
        }
    }
}
