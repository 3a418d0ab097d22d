//! Making a scratch server like the one that was backed up, and quiet.
//!
//! The image and its command line give most of it. What an installation has set in files of its own is
//! taken from the backup's record, as far as a restore needs it; and what works by itself in the background
//! is kept from changing rows before they are compared.

use std::collections::BTreeMap;

use supakeep_model::manifest::Manifest;

use crate::failure::Failure;
use crate::ports::Site;
use crate::restore::{ask, literal};

/// Lists of libraries without which extensions cannot be made.
const LIBRARIES: [&str; 2] = ["shared_preload_libraries", "session_preload_libraries"];
/// Single values without which they cannot.
const VALUES: [&str; 1] = ["cron.database_name"];
/// What keeps background workers quiet: no jobs of pg_cron are started, and the worker of pg_net looks
/// into a database that has no requests.
const QUIET: [(&str, &str); 3] = [
    ("cron.max_running_jobs", "0"),
    ("cron.launch_active_jobs", "off"),
    ("pg_net.database_name", "template1"),
];

const QUERY: &str = "SELECT coalesce(json_object_agg(name, setting), '{}') FROM pg_settings \
WHERE name IN ('shared_preload_libraries', 'session_preload_libraries') OR name LIKE 'cron.%' OR name LIKE 'pg_net.%'";

/// Writes down the settings; they hold from the next start of the server.
pub(super) async fn settings(manifest: &Manifest, site: &dyn Site) -> Result<(), Failure> {
    let found: BTreeMap<String, String> = ask(site, "template1", QUERY).await?;
    let statements = statements(manifest, &found);
    if !statements.is_empty() {
        site.sql("template1", &statements).await?;
    }
    Ok(())
}

fn statements(manifest: &Manifest, found: &BTreeMap<String, String>) -> String {
    let recorded = |name: &str| {
        manifest.server_settings.iter().find(|setting| setting.name == name).map(|setting| &setting.value)
    };
    let mut out = String::new();
    let mut set = |name: &str, value: String| out.push_str(&format!("ALTER SYSTEM SET {name} = {value};\n"));
    for name in LIBRARIES {
        let wanted = recorded(name).map(|value| libraries(value)).unwrap_or_default();
        let there = found.get(name).map(|value| libraries(value)).unwrap_or_default();
        if wanted.iter().any(|library| !there.contains(library)) {
            // A list is written as several texts; one text with commas would be one library.
            set(name, wanted.iter().map(|library| literal(library)).collect::<Vec<_>>().join(", "));
        }
    }
    for name in VALUES {
        if let Some(value) =
            recorded(name).filter(|value| found.get(name).is_some_and(|there| there != *value))
        {
            set(name, literal(value));
        }
    }
    for (name, value) in QUIET {
        if found.contains_key(name) {
            set(name, literal(value));
        }
    }
    out
}

fn libraries(value: &str) -> Vec<String> {
    let names = value.split(',').map(|name| name.trim().trim_matches('"').to_owned());
    names.filter(|name| !name.is_empty()).collect()
}
