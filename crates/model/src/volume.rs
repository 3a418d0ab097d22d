//! Volumes and Redis servers beside the databases: what is wanted of them, and what a backup holds of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::journal::StoppedService;

/// What becomes of those that use a volume while it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeMode {
    /// They are stopped, and started again: the files are of one moment.
    #[default]
    Cold,
    /// They go on: each file is as it is when its turn comes.
    Hot,
}

impl VolumeMode {
    /// The word in a configuration and in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            VolumeMode::Cold => "cold",
            VolumeMode::Hot => "hot",
        }
    }
}

impl fmt::Display for VolumeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for VolumeMode {
    type Err = String;

    fn from_str(text: &str) -> Result<VolumeMode, String> {
        match text {
            "cold" => Ok(VolumeMode::Cold),
            "hot" => Ok(VolumeMode::Hot),
            other => Err(format!("`{other}` is neither cold nor hot")),
        }
    }
}

/// A volume that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeWish {
    /// A volume's name, with or without the project's in front, or an absolute path of the host.
    pub name: String,
    /// How, where it says so itself.
    pub mode: Option<VolumeMode>,
}

impl FromStr for VolumeWish {
    type Err = String;

    /// `NAME`, `NAME:cold` or `NAME:hot`.
    fn from_str(text: &str) -> Result<VolumeWish, String> {
        let (name, mode) = match text.rsplit_once(':') {
            Some((name, mode)) => (name, Some(mode.parse::<VolumeMode>()?)),
            None => (text, None),
        };
        let is_volume = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_right = if name.starts_with('/') {
            name.len() > 1 && !name.split('/').any(|part| part == "..")
        } else {
            name.bytes().all(is_volume)
                && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        };
        if !is_right {
            return Err(format!("`{name}` is neither a volume's name nor an absolute path of the host"));
        }
        let name = if name.starts_with('/') { name.trim_end_matches('/') } else { name };
        Ok(VolumeWish { name: name.to_owned(), mode })
    }
}

/// A volume, or a folder of the host, that a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The volume's name as the engine has it, or the folder's path on the host.
    pub name: String,
    /// Whether those that use it were stopped.
    pub mode: VolumeMode,
    /// Files, and other names of them.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
}

/// A Redis server that a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisRecord {
    /// Its service, or its container where it has none.
    pub service: String,
    /// How many keys it had, in all its databases, at the time.
    pub keys: u64,
    /// How many of them go by themselves after a while.
    pub expires: u64,
    /// The length of its file.
    pub bytes: u64,
}

/// The newest format of [`StoppedContainers`] that this version writes.
pub const STOPPED_FORMAT: u32 = 1;

/// What runs, but was stopped for a while. It is on the disk before the first is stopped, so that whoever comes
/// after a crash starts them again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedContainers {
    /// [`STOPPED_FORMAT`] of whoever wrote it.
    pub format: u32,
    /// What they were stopped for, for people.
    #[serde(rename = "for")]
    pub reason: String,
    /// Them.
    pub containers: Vec<StoppedService>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_named_or_a_path_and_may_say_how() {
        let read = |text: &str| text.parse::<VolumeWish>();
        let wish = |name: &str, mode| Ok(VolumeWish { name: name.to_owned(), mode });
        assert_eq!(read("redis-data"), wish("redis-data", None));
        assert_eq!(read("s_uploads:hot"), wish("s_uploads", Some(VolumeMode::Hot)));
        assert_eq!(read("/opt/app data/:cold"), wish("/opt/app data", Some(VolumeMode::Cold)));
        for wrong in ["", "/", "-x", "a b", "../a", "/opt/../etc", "a/b", "a:warm", ":hot"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
