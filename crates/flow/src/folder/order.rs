//! What a porter is asked for, as values that can be written down: it may run in another process.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use supakeep_model::file_index::RawPath;
use supakeep_model::id::BackupId;
use supakeep_model::secret::Secret;

use crate::ports::ComposeFiles;
use crate::redact::RedactionKey;

/// A question whether something is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Its path below the place; empty is the place itself.
    pub path: RawPath,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Whether it is there.
    pub exists: bool,
    /// Whether nothing is in it, for a folder.
    pub is_empty: bool,
}

/// What became of a place that was cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// How many entries were at its top.
    pub entries: u64,
}

/// Which files of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Edge functions, of a stack's folder.
    Functions,
    /// Compose files and what else configures a stack, without secrets.
    Config(ComposeFiles),
    /// The files of the storage service, but for unfinished uploads.
    Storage,
    /// All of them.
    Everything,
}

/// What is to be packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackOrder {
    /// Which files.
    pub selection: Selection,
    /// The backup whose index is to be made; none is made where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_of: Option<BackupId>,
    /// Whether nothing but the index is made, of every file as it is: to compare with.
    #[serde(default)]
    pub only_index: bool,
}

impl PackOrder {
    /// An archive alone.
    pub fn archive(selection: Selection) -> PackOrder {
        PackOrder { selection, index_of: None, only_index: false }
    }
}

/// What became of an archive that was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackReport {
    /// Files, and other names of them.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What a porter does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// It looks whether something is there.
    Look(Look),
    /// It packs files. What else it is fed is the index that it may refer to.
    Pack(PackOrder),
    /// It unpacks the archive that it is fed.
    Unpack,
    /// It removes all that is in the place, and leaves the place itself.
    Clear,
}

/// A task for a porter in another process: the first line that it is fed.
pub struct Job {
    /// The folder that it works on.
    pub root: PathBuf,
    /// What it does.
    pub task: Task,
    /// What hashes of secrets are made with. It is why no argument of a program tells a job.
    pub key: Option<RedactionKey>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    root: PathBuf,
    task: Task,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Job {
    /// As a line.
    pub fn line(root: &Path, task: &Task, key: Option<&RedactionKey>) -> Vec<u8> {
        let key = key.map(|key| hex::encode(key.expose()));
        let written = Written { root: root.to_owned(), task: task.clone(), key };
        let mut line = serde_json::to_vec(&written).expect("paths of ours are text");
        line.push(b'\n');
        line
    }

    /// Reads a line.
    pub fn parse(line: &[u8]) -> Result<Job, String> {
        let Written { root, task, key } =
            serde_json::from_slice(line).map_err(|error| format!("this is no job for a porter: {error}"))?;
        let key = key.map(|key| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(key, &mut bytes).map_err(|error| format!("this is no key: {error}"))?;
            Ok::<_, String>(Secret::new(bytes))
        });
        Ok(Job { root, task, key: key.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_comes_back_with_its_key() {
        let order = PackOrder {
            index_of: Some("b_1".parse().expect("a valid id")),
            ..PackOrder::archive(Selection::Config(ComposeFiles::default()))
        };
        let key = Secret::new([7; 32]);
        for task in [Task::Pack(order), Task::Unpack, Task::Look(Look { path: b"a\xff".as_slice().into() })] {
            let line = Job::line(Path::new("/there/0"), &task, Some(&key));
            let job = Job::parse(line.trim_ascii_end()).expect("it can be read");
            assert_eq!((job.root.as_path(), &job.task), (Path::new("/there/0"), &task));
            assert_eq!(job.key.as_ref().map(Secret::expose), Some(&[7; 32]));
        }
        assert!(Job::parse(b"{}").is_err());
    }
}
