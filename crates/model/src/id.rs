//! The id of a backup: the name of its folder.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id, in bytes. A file name may have 255 on Linux; the rest is room for temporary names.
const MAX_BYTES: usize = 120;

/// A folder name that is safe on every file system and in every shell: letters, digits, `_`, `-` and
/// `.`, beginning with a letter or digit. Whatever else lies in a repository is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BackupId(String);

impl BackupId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let well_formed = text.len() <= MAX_BYTES
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(safe)
            && !text.contains("..");
        if well_formed {
            Ok(BackupId(text.to_owned()))
        } else {
            Err(format!("{text:?} is not a backup's id"))
        }
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> String {
        id.0
    }
}

impl TryFrom<String> for BackupId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_whatever_could_leave_the_folder_or_fool_a_shell() {
        for wrong in
            ["", ".", "..", ".incoming", "-rf", "a/b", "a..b", "a b", "a\nb", "$(id)", "a'b", "latest\u{e9}"]
        {
            assert!(wrong.parse::<BackupId>().is_err(), "{wrong:?}");
        }
        assert!("x".repeat(200).parse::<BackupId>().is_err());
        for right in ["supabase_backup_20260101_020000", "before-migration_20260102_101500", "a.b"] {
            assert!(right.parse::<BackupId>().is_ok(), "{right}");
        }
    }
}
