//! The index of a backup's files: one line of JSON for each entry, in the order of the paths' bytes.
//!
//! Files that have not changed since an earlier backup are not stored again. The index of each backup still
//! names every entry, and the backup whose archive holds it; so one backup is restored, checked and compared
//! from one list, whatever it was made of.

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::BackupId;

/// The newest format this version writes; it reads this and every older one.
pub const INDEX_FORMAT: u32 = 1;

/// The first line of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexHead {
    /// [`INDEX_FORMAT`] of whoever wrote it.
    pub format: u32,
    /// The backups whose archives hold entries; the first is the index's own.
    pub holders: Vec<BackupId>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// Another name of a file that comes before it.
    HardLink,
}

/// A path, or where a link points: bytes, which are mostly text. In JSON it is a string, or `{"hex": "…"}`
/// where it is not UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RawPath(pub Vec<u8>);

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Where it is, with `/` between levels.
    pub path: RawPath,
    /// What it is.
    pub kind: RecordKind,
    /// A file's length.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Permissions, the lowest twelve bits.
    pub mode: u32,
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// When its content was last changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// When it itself was last changed, its owner and attributes included. It cannot be restored: it only
    /// tells whether a file is the one that was stored.
    pub changed: (i64, u32),
    /// SHA-256 of a file's content, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// SHA-256 of its extended attributes, where it has any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub attributes_sha256: String,
    /// Where a link points.
    #[serde(default, skip_serializing_if = "RawPath::is_empty")]
    pub target: RawPath,
    /// The backup whose archive holds it: its place in [`IndexHead::holders`].
    #[serde(default, skip_serializing_if = "is_first")]
    pub held_by: u32,
    /// Whether it changed while it was read: what is stored may be neither the one nor the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_torn: bool,
}

impl FileRecord {
    /// Whether what is on the disk, as far as it is known without reading it, is what this record is of.
    pub fn still_holds(&self, seen: &FileRecord) -> bool {
        // Another name of a file is told again with each archive: the one that holds the file must hold it too, and
        // costs a header.
        !self.is_torn
            && self.kind != RecordKind::HardLink
            && self.kind == seen.kind
            && (self.bytes, self.mode, self.user, self.group)
                == (seen.bytes, seen.mode, seen.user, seen.group)
            && (self.modified, self.changed) == (seen.modified, seen.changed)
            && (&self.attributes_sha256, &self.target) == (&seen.attributes_sha256, &seen.target)
    }

    /// What is different in what was restored, in words; empty where it is the same. When it itself was
    /// changed is now.
    pub fn differences(&self, restored: &FileRecord) -> Vec<&'static str> {
        let mut out = Vec::new();
        let mut note = |differs: bool, what| {
            if differs {
                out.push(what);
            }
        };
        note(self.kind != restored.kind, "what it is");
        note(self.bytes != restored.bytes, "its length");
        note(self.sha256 != restored.sha256, "its content");
        note(self.target != restored.target, "where it points");
        note(self.attributes_sha256 != restored.attributes_sha256, "its extended attributes");
        // Nobody can change the mode of a link.
        note(self.mode != restored.mode && self.kind != RecordKind::Link, "its mode");
        note((self.user, self.group) != (restored.user, restored.group), "its owner");
        note(self.modified != restored.modified, "its time");
        out
    }

    /// The order of an index: that of the paths' bytes, a folder before what is in it and before what only
    /// begins like it.
    pub fn order(&self, other: &FileRecord) -> Ordering {
        path_order(
            (&self.path.0, self.kind == RecordKind::Folder),
            (&other.path.0, other.kind == RecordKind::Folder),
        )
    }
}

/// Compares two paths as if those of folders ended with `/`, so that an order by bytes is that of a walk.
pub fn path_order((a, a_is_folder): (&[u8], bool), (b, b_is_folder): (&[u8], bool)) -> Ordering {
    let end = |is_folder: bool| if is_folder { &b"/"[..] } else { b"" };
    a.iter().chain(end(a_is_folder)).cmp(b.iter().chain(end(b_is_folder)))
}

/// A line of an index.
pub fn index_line<T: Serialize>(of: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(of).expect("it has string keys and no numbers but whole ones");
    line.push(b'\n');
    line
}

impl RawPath {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for RawPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

impl std::fmt::Debug for RawPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&[u8]> for RawPath {
    fn from(bytes: &[u8]) -> RawPath {
        RawPath(bytes.to_owned())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes { hex: String },
}

impl Serialize for RawPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("hex", &hex::encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawPath, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(RawPath(text.into_bytes())),
            Written::Bytes { hex } => hex::decode(hex).map(RawPath).map_err(serde::de::Error::custom),
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_first(holder: &u32) -> bool {
    *holder == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(path: &[u8], kind: RecordKind) -> FileRecord {
        FileRecord {
            path: path.into(),
            kind,
            bytes: 4,
            mode: 0o640,
            user: 1_000,
            group: 100,
            modified: (1_700_000_000, 5),
            changed: (1_700_000_001, 0),
            sha256: "aa".to_owned(),
            attributes_sha256: "bb".to_owned(),
            target: RawPath::default(),
            held_by: 2,
            is_torn: false,
        }
    }

    #[test]
    fn a_line_says_what_is_there_and_leaves_out_what_is_not() {
        let plain =
            FileRecord { attributes_sha256: String::new(), held_by: 0, ..record(b"a\nb", RecordKind::File) };
        assert_eq!(
            String::from_utf8(index_line(&plain)).expect("it is JSON"),
            "{\"path\":\"a\\nb\",\"kind\":\"file\",\"bytes\":4,\"mode\":416,\"user\":1000,\"group\":100,\
             \"modified\":[1700000000,5],\"changed\":[1700000001,0],\"sha256\":\"aa\"}\n"
        );
        let odd = record(b"\xff/x", RecordKind::File);
        let line = index_line(&odd);
        assert!(String::from_utf8_lossy(&line).contains("{\"hex\":\"ff2f78\"}"));
        assert_eq!(serde_json::from_slice::<FileRecord>(&line).expect("it can be read"), odd);
    }

    #[test]
    fn a_file_is_the_same_until_anything_of_it_changes() {
        let old = record(b"x", RecordKind::File);
        let seen = FileRecord { sha256: String::new(), held_by: 0, ..old.clone() };
        assert!(old.still_holds(&seen));
        let changed = [
            FileRecord { bytes: 5, ..seen.clone() },
            FileRecord { mode: 0o600, ..seen.clone() },
            FileRecord { user: 0, ..seen.clone() },
            FileRecord { group: 0, ..seen.clone() },
            FileRecord { modified: (1_700_000_000, 6), ..seen.clone() },
            FileRecord { changed: (1_700_000_001, 1), ..seen.clone() },
            FileRecord { attributes_sha256: String::new(), ..seen.clone() },
            FileRecord { kind: RecordKind::Link, ..seen.clone() },
            FileRecord { target: b"y".as_slice().into(), ..seen.clone() },
        ];
        for seen in changed {
            assert!(!old.still_holds(&seen), "{seen:?}");
        }
        let torn = FileRecord { is_torn: true, ..old };
        assert!(!torn.still_holds(&seen), "a torn one is read again");
    }

    #[test]
    fn says_what_is_different_after_a_restore() {
        let old = record(b"x", RecordKind::File);
        let now = FileRecord { changed: (9, 9), held_by: 0, ..old.clone() };
        assert_eq!(old.differences(&now), Vec::<&str>::new());
        let other = FileRecord { sha256: "cc".to_owned(), mode: 0, user: 0, ..now };
        assert_eq!(old.differences(&other), ["its content", "its mode", "its owner"]);
    }

    proptest! {
        #[test]
        fn every_path_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let path = RawPath(bytes);
            let json = serde_json::to_vec(&path).expect("it can be written");
            prop_assert_eq!(serde_json::from_slice::<RawPath>(&json).expect("it can be read"), path);
        }
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        // A folder called `a` is walked through before the file `a0` and after the file `a-b`.
        let mut records = [
            record(b"a0", RecordKind::File),
            record(b"a/b", RecordKind::File),
            record(b"a", RecordKind::Folder),
            record(b"a-b", RecordKind::File),
        ];
        records.sort_by(FileRecord::order);
        let paths: Vec<_> = records.iter().map(|record| record.path.to_string()).collect();
        assert_eq!(paths, ["a-b", "a", "a/b", "a0"]);
    }
}
