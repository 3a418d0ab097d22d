//! How backups and the files in them get their names.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::dump::{Compression, Format};
use crate::id::BackupId;
use crate::parts::PartName;

/// Longest name a person may give a backup, in characters.
const MAX_NAME: usize = 64;

/// File names that the dump of a database must not take.
const RESERVED: [&str; 3] = ["globals", "manifest", "pgsodium_root"];

/// What a backup was made for; it decides its name and whether retention may remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A profile's backup, whether its schedule or a person started it.
    Profile,
    /// A backup by hand without a profile: kept until it is deleted.
    Manual,
    /// A backup by hand with a name: kept until it is deleted.
    Named,
    /// Taken before a restore: kept until it is deleted.
    PreRestore,
    /// Named `emergency-…`: kept until it is deleted.
    Emergency,
}

impl Kind {
    /// The kind that a backup called `name` by a person has.
    pub fn of_name(name: &str) -> Kind {
        if name.starts_with("emergency-") {
            Kind::Emergency
        } else if name.starts_with("pre-") {
            Kind::PreRestore
        } else {
            Kind::Named
        }
    }

    /// The word used in lists and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Profile => "profile",
            Kind::Manual => "manual",
            Kind::Named => "named",
            Kind::PreRestore => "pre-restore",
            Kind::Emergency => "emergency",
        }
    }
}

/// What is in front of the time in a profile's backup: `supabase_backup`, or `auto_<label>` for the
/// slots of a profile that names them.
pub fn profile_prefix(label: Option<&str>) -> String {
    label.map_or_else(|| "supabase_backup".to_owned(), |label| format!("auto_{label}"))
}

/// Checks a name or label that becomes part of a folder's name.
pub fn check_name(name: &str) -> Result<(), String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(safe)
        && name.len() <= MAX_NAME
    {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot be a name: use letters, digits, `-` and `_`, at most {MAX_NAME}, beginning with a letter or digit"
    ))
}

/// `<prefix>_YYYYMMDD_HHMMSS` in the offset that `at` carries; a number is added while `taken` says
/// that the name is in use (two runs in one second, or in the hour that happens twice).
pub fn backup_id(
    prefix: &str,
    at: OffsetDateTime,
    taken: impl Fn(&BackupId) -> bool,
) -> Result<BackupId, String> {
    let stamp = at
        .format(format_description!("[year][month][day]_[hour][minute][second]"))
        .map_err(|error| error.to_string())?;
    let first: BackupId = format!("{prefix}_{stamp}").parse()?;
    if !taken(&first) {
        return Ok(first);
    }
    (2..=999)
        .filter_map(|number| format!("{prefix}_{stamp}_{number}").parse().ok())
        .find(|id| !taken(id))
        .ok_or_else(|| format!("there are a thousand backups called {first} already"))
}

/// A database's name as the beginning of a file name. Letters, digits, `_` and `-` stay; every other
/// byte becomes `%XX`, so that two databases never share a file and no name leaves the folder.
pub fn file_stem(database: &str) -> String {
    let mut stem = String::with_capacity(database.len());
    for (index, byte) in database.bytes().enumerate() {
        let safe = byte.is_ascii_alphanumeric() || byte == b'_' || (byte == b'-' && index > 0);
        if safe && !(index == 0 && RESERVED.contains(&database)) {
            stem.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(stem, "%{byte:02X}");
        }
    }
    stem
}

/// The file that holds the dump of `database`; for the directory format, the folder.
pub fn dump_file(database: &str, format: Format, compression: Compression) -> String {
    let stem = file_stem(database);
    match format {
        Format::Plain => format!("{stem}.sql{}", compression.suffix()),
        Format::Custom => format!("{stem}.dump{}", compression.suffix()),
        Format::Directory => format!("{stem}.dir"),
    }
}

/// The file that holds the statements which create `database`: owner, encoding, grants, settings.
pub fn create_file(database: &str, compression: Compression) -> String {
    format!("{}.create.sql{}", file_stem(database), compression.suffix())
}

/// The file that holds roles, memberships, role settings and tablespaces.
pub fn globals_file(compression: Compression) -> String {
    format!("globals.sql{}", compression.suffix())
}

/// The archive that holds files of the stack. No dump is called so: theirs end in `.sql` or `.dump`.
pub fn archive_file(part: PartName, compression: Compression) -> String {
    format!("{part}.tar{}", compression.suffix())
}

/// The archive of a volume, or of a folder of the host.
pub fn volume_file(name: &str, compression: Compression) -> String {
    format!("volume-{}.tar{}", file_stem(name), compression.suffix())
}

/// What a Redis server holds.
pub fn redis_file(service: &str, compression: Compression) -> String {
    format!("redis-{}.rdb{}", file_stem(service), compression.suffix())
}

/// The index of the files of a part.
pub fn index_file(part: PartName) -> String {
    format!("{part}.index.jsonl.zst")
}

/// The folder of a stack below the repository's path. Names that compose and Docker give stay as they
/// are; any other is written as [`file_stem`] does.
pub fn stack_folder(project: &str) -> String {
    let is_plain = project.parse::<BackupId>().is_ok();
    if is_plain { project.to_owned() } else { format!("%{}", file_stem(project)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    #[test]
    fn names_backups_as_people_know_them() {
        let at = datetime!(2026-01-01 02:00 +1);
        let name = |prefix: &str| backup_id(prefix, at, |_| false).expect("a valid prefix").to_string();
        assert_eq!(name(&profile_prefix(None)), "supabase_backup_20260101_020000");
        assert_eq!(name(&profile_prefix(Some("morning"))), "auto_morning_20260101_020000");
        assert_eq!(name("before-migration"), "before-migration_20260101_020000");
    }

    #[test]
    fn never_gives_a_name_twice() {
        let at = datetime!(2026-10-25 02:30 +1);
        let id = backup_id("backup", at, |id| !id.as_str().ends_with("_3")).expect("a free name");
        assert_eq!(id.as_str(), "backup_20261025_023000_3");
        assert!(backup_id("backup", at, |_| true).is_err());
    }

    #[test]
    fn refuses_names_that_are_more_than_a_name() {
        for wrong in ["", "-x", ".x", "a/b", "..", "a b", "$(x)", "a\nb", "it's", "ü"] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
        assert!(check_name("before-migration").is_ok());
        assert!(check_name(&"x".repeat(65)).is_err());
    }

    #[test]
    fn knows_the_kind_by_the_name() {
        assert_eq!(Kind::of_name("emergency-disk"), Kind::Emergency);
        assert_eq!(Kind::of_name("pre-upgrade"), Kind::PreRestore);
        assert_eq!(Kind::of_name("before-migration"), Kind::Named);
    }

    #[test]
    fn writes_any_database_name_as_a_plain_file_name() {
        let name = |database| dump_file(database, Format::Plain, Compression::Gzip(6));
        assert_eq!(name("postgres"), "postgres.sql.gz");
        assert_eq!(name("_supabase"), "_supabase.sql.gz");
        assert_eq!(name("../etc"), "%2E%2E%2Fetc.sql.gz");
        assert_eq!(name("-rf"), "%2Drf.sql.gz");
        assert_eq!(name("a b\n$(x)"), "a%20b%0A%24%28x%29.sql.gz");
        assert_eq!(name("globals"), "%67lobals.sql.gz");
        assert_eq!(name("postgres.create"), "postgres%2Ecreate.sql.gz");
        assert_eq!(create_file("postgres", Compression::Zstd(3)), "postgres.create.sql.zst");
    }

    #[test]
    fn a_stack_has_a_folder_of_its_own_below_the_repository() {
        for name in ["supabase", "my-app_2", "db.prod"] {
            assert_eq!(stack_folder(name), name);
        }
        assert_eq!(stack_folder(".."), "%%2E%2E");
        assert_eq!(stack_folder(""), "%");
    }

    proptest! {
        #[test]
        fn file_stems_are_safe_and_never_collide(a in "\\PC{1,20}", b in "\\PC{1,20}") {
            let (left, right) = (file_stem(&a), file_stem(&b));
            prop_assert!(left.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%')));
            prop_assert_eq!(a == b, left == right);
        }
    }
}
