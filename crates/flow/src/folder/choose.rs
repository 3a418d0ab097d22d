//! Which files of a stack's folder belong to which part of a backup.

use std::collections::BTreeSet;

use super::order::Selection;
use crate::ports::{ComposeFiles, EntryKind, Seen};

/// Edge functions.
pub const FUNCTIONS: &[u8] = b"volumes/functions";
/// Folders whose files are configuration.
const CONFIG_FOLDERS: [&[u8]; 2] = [b"volumes/api", b"volumes/pooler"];
/// A file that lies beside the compose files and is longer is no configuration.
pub(super) const LARGEST_TEXT: u64 = 1 << 20;

/// Unfinished uploads, at the top of the storage service's folder.
const UNFINISHED: &[u8] = b"multiparts";
/// In the names of files that are being put in place: whoever finds one has been killed over it.
pub const BEING_WRITTEN: &[u8] = b".supakeep-being-written-";

/// The files of one selection.
pub(super) struct Choice {
    of: Of,
    /// Compose files, and files with variables, by their paths below the folder.
    named: BTreeSet<Vec<u8>>,
    environment: BTreeSet<Vec<u8>>,
    /// Those that compose names and that lie elsewhere.
    pub(super) elsewhere: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Functions,
    Config,
    Storage,
    Everything,
}

impl Choice {
    pub(super) fn of(selection: &Selection) -> Choice {
        let of = match selection {
            Selection::Functions => Of::Functions,
            Selection::Config(_) => Of::Config,
            Selection::Storage => Of::Storage,
            Selection::Everything => Of::Everything,
        };
        let mut choice =
            Choice { of, named: BTreeSet::new(), environment: BTreeSet::new(), elsewhere: Vec::new() };
        if let Selection::Config(compose) = selection {
            for file in &compose.config_files {
                choice.name(compose, file, false);
            }
            for file in &compose.environment_files {
                choice.name(compose, file, true);
            }
        }
        choice
    }

    fn name(&mut self, compose: &ComposeFiles, file: &str, is_environment: bool) {
        match below(compose.working_dir.as_deref(), file) {
            Some(path) if is_environment => {
                self.environment.insert(path);
            }
            Some(path) => {
                self.named.insert(path);
            }
            None => self.elsewhere.push(file.to_owned()),
        }
    }

    /// Whether an entry belongs to the part; of a folder, whether anything in it may.
    pub(super) fn wants(&self, seen: &Seen<'_>) -> bool {
        let path = seen.path;
        match self.of {
            Of::Functions => return is_on_the_way(path, FUNCTIONS, seen.kind),
            Of::Storage => return path != UNFINISHED && !is_being_written(path),
            Of::Everything => return !is_being_written(path),
            Of::Config => {}
        }
        let is_named = self.named.contains(path) || self.environment.contains(path);
        let leads_to_named = seen.kind == EntryKind::Folder
            && self.named.iter().chain(&self.environment).any(|named| is_below(named, path));
        let lies_beside = !path.contains(&b'/')
            && (seen.kind == EntryKind::Link || seen.kind == EntryKind::File && seen.bytes <= LARGEST_TEXT);
        is_named
            || leads_to_named
            || lies_beside
            || CONFIG_FOLDERS.iter().any(|folder| is_on_the_way(path, folder, seen.kind))
    }

    /// Whether a file holds variables, of which some are secrets.
    pub(super) fn is_environment(&self, path: &[u8]) -> bool {
        let name = name(path);
        self.environment.contains(path)
            // Copies too: `.env.old`, `.env~`, `.env_prod`.
            || name.starts_with(b".env")
            || name.ends_with(b".env")
    }

    /// Whether a file is taken only if it is text: nobody has named it.
    pub(super) fn only_as_text(&self, path: &[u8]) -> bool {
        self.is_scrubbed() && !path.contains(&b'/') && !self.named.contains(path)
    }

    /// Whether a file with variables is kept without its secrets.
    pub(super) fn is_redacted(&self) -> bool {
        matches!(self.of, Of::Functions | Of::Config)
    }

    /// Whether secrets are looked for, in files with variables and in all others.
    pub(super) fn is_scrubbed(&self) -> bool {
        self.of == Of::Config
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn is_being_written(path: &[u8]) -> bool {
    name(path).starts_with(BEING_WRITTEN)
}

/// Whether `path` is `folder`, below it, or a folder above it.
fn is_on_the_way(path: &[u8], folder: &[u8], kind: EntryKind) -> bool {
    path == folder || is_below(path, folder) || (kind == EntryKind::Folder && is_below(folder, path))
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

/// A path of the host as one below the stack's folder.
fn below(working_dir: Option<&str>, file: &str) -> Option<Vec<u8>> {
    let inside = if file.starts_with('/') {
        file.strip_prefix(working_dir?.trim_end_matches('/'))?.strip_prefix('/')?
    } else {
        file
    };
    let parts: Vec<_> = inside.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(of: fn(ComposeFiles) -> Selection) -> Choice {
        let text = |text: &str| text.to_owned();
        let compose = ComposeFiles {
            working_dir: Some(text("/opt/supabase/")),
            config_files: vec![
                text("/opt/supabase/docker-compose.yml"),
                text("/opt/supabase/overrides/s3.yml"),
                text("/opt/supabase2/other.yml"),
                text("/opt/supabase/../x.yml"),
            ],
            environment_files: vec![text("/opt/supabase/secrets/prod")],
        };
        Choice::of(&of(compose))
    }

    fn taken<'a>(choice: &Choice, paths: &[(&'a str, EntryKind, u64)]) -> Vec<&'a str> {
        let wants = |&&(path, kind, bytes): &&(&str, EntryKind, u64)| {
            choice.wants(&Seen { path: path.as_bytes(), kind, bytes })
        };
        paths.iter().filter(wants).map(|(path, ..)| *path).collect()
    }

    #[test]
    fn each_part_has_its_files_and_no_data_is_configuration() {
        use EntryKind::{File, Folder, Link};
        let all = [
            (".env", File, 900),
            (".git", Folder, 0),
            ("dump.sql", File, LARGEST_TEXT + 1),
            ("docker-compose.yml", File, 9),
            ("link", Link, 0),
            ("overrides", Folder, 0),
            ("overrides/s3.yml", File, 9),
            ("overrides/other.yml", File, 9),
            ("secrets", Folder, 0),
            ("secrets/prod", File, 9),
            ("volumes", Folder, 0),
            ("volumes/api", Folder, 0),
            ("volumes/api/kong.yml", File, 9),
            ("volumes/db", Folder, 0),
            ("volumes/functions", Folder, 0),
            ("volumes/functions-old", Folder, 0),
            ("volumes/functions/hello/index.ts", File, LARGEST_TEXT + 1),
            ("volumes/pooler/pooler.exs", File, 9),
            ("volumes/storage", Folder, 0),
        ];
        assert_eq!(
            taken(&choice(|_| Selection::Functions), &all),
            ["volumes", "volumes/functions", "volumes/functions/hello/index.ts"]
        );
        assert_eq!(
            taken(&choice(Selection::Config), &all),
            [
                ".env",
                "docker-compose.yml",
                "link",
                "overrides",
                "overrides/s3.yml",
                "secrets",
                "secrets/prod",
                "volumes",
                "volumes/api",
                "volumes/api/kong.yml",
                "volumes/pooler/pooler.exs"
            ]
        );
    }

    #[test]
    fn what_is_half_there_is_no_file_of_the_storage_service() {
        use EntryKind::{File, Folder};
        let all = [
            ("multiparts", Folder, 0),
            ("stub", Folder, 0),
            ("stub/stub/multiparts", Folder, 0),
            ("stub/stub/avatars/a.png/.supakeep-being-written-1", File, 9),
            ("stub/stub/avatars/.env/1f0e", File, 9),
        ];
        let choice = Choice::of(&Selection::Storage);
        assert_eq!(taken(&choice, &all), ["stub", "stub/stub/multiparts", "stub/stub/avatars/.env/1f0e"]);
        assert!(!choice.is_redacted(), "these are the files of users");
    }

    #[test]
    fn what_lies_outside_is_told_and_what_holds_variables_is_known() {
        let choice = choice(Selection::Config);
        assert_eq!(choice.elsewhere, ["/opt/supabase2/other.yml", "/opt/supabase/../x.yml"]);
        for path in
            [".env", ".env.old", ".env~", ".env_prod", "prod.env", "volumes/functions/.env", "secrets/prod"]
        {
            assert!(choice.is_environment(path.as_bytes()), "{path}");
        }
        for path in ["environment", "docker-compose.yml"] {
            assert!(!choice.is_environment(path.as_bytes()), "{path}");
        }
    }
}
