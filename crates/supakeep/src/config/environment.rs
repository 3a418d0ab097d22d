//! Variables of the environment as configuration.
//!
//! Each variable is a layer of its own, so that a fault can name it. Values stay strings: what they
//! mean is decided where the key is read, so `PASSWORD=12345` is never taken for a number.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};
use supakeep_flow::kill_point::VARIABLE;

use super::profiles::folded;

/// What the names of our variables begin with.
const PREFIX: &str = "SUPAKEEP_";
/// Variables with that beginning that are no configuration keys.
const OTHERS: [&str; 2] = ["SUPAKEEP_CONFIG", "SUPAKEEP_DOCKER_GID"];

/// What a variable is called as the source of a value.
const METADATA: &str = "environment variable ";

/// Names that people have in their `.env` already, and the keys they stand for. They are defaults: the
/// file and our own variables win.
const OLD_NAMES: [(&str, &[&str]); 7] = [
    ("TZ", &["timezone"]),
    ("SUPABASE_DB_HOST", &["stack", "service"]),
    ("SUPABASE_DB_PORT", &["stack", "port"]),
    ("SUPABASE_DB_USER", &["stack", "user"]),
    ("SUPABASE_DB_NAME", &["stack", "databases"]),
    ("POSTGRES_PASSWORD", &["stack", "password"]),
    ("SUPABASE_DB_PASSWORD", &["stack", "password"]),
];

/// One variable.
pub(super) struct Variable {
    pub(super) name: String,
    path: Vec<String>,
    value: String,
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("{METADATA}{}", self.name))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut value = Value::from(self.value.clone());
        for key in self.path.iter().skip(1).rev() {
            value = Value::from(Dict::from([(key.clone(), value)]));
        }
        let top = self.path.first().cloned().unwrap_or_default();
        Ok(Map::from([(Profile::Default, Dict::from([(top, value)]))]))
    }
}

/// Our own variables, `SUPAKEEP_REPOSITORY__PATH` for `repository.path`. No shell lets the name of a
/// variable have a dash: what is meant by `MY_PROFILE` is told by the names of the file's profiles.
pub(super) fn own(environment: &[(String, String)], profiles: &[String]) -> Vec<Variable> {
    environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !is_other(name))
        .map(|(name, value)| Variable {
            name: name.clone(),
            path: path(name, profiles),
            value: value.clone(),
        })
        .collect()
}

/// Whether the source of a value is one of our variables.
pub(super) fn is_own(metadata: &str) -> bool {
    metadata.strip_prefix(METADATA).is_some_and(|name| name.starts_with(PREFIX))
}

fn is_other(name: &str) -> bool {
    OTHERS.contains(&name) || VARIABLE == Some(name)
}

/// Old names. An empty value is none: compose passes `${NAME:-}` on as one.
pub(super) fn old(environment: &[(String, String)]) -> Vec<Variable> {
    let usable =
        |name: &str, value: &str| !value.is_empty() && (name != "SUPABASE_DB_HOST" || is_service(value));
    let found = |name: &str| environment.iter().find(|(other, value)| other == name && usable(name, value));
    OLD_NAMES
        .iter()
        .filter_map(|(name, path)| found(name).map(|(_, value)| (*name, *path, value)))
        .map(|(name, path, value)| Variable {
            name: name.to_owned(),
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            value: value.clone(),
        })
        .collect()
}

/// Whether a database's host can be a service or container: not `localhost`, an address or a domain.
fn is_service(host: &str) -> bool {
    host != "localhost" && !host.contains(['.', ':', '/'])
}

fn path(name: &str, profiles: &[String]) -> Vec<String> {
    let mut path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
    if path.len() > 1 && path[0] == "profiles" {
        // The built-in profiles have dashes.
        let dashed = folded(&path[1]);
        path[1] = profiles.iter().find(|name| folded(name) == dashed).cloned().unwrap_or(dashed);
    }
    path
}
