//! The part of a manifest that lists, metrics and retention need.
//!
//! A manifest grows with the number of tables; its head does not. The head comes first in the file,
//! and its end can be seen without parsing what follows, so ten thousand backups are listed by
//! reading a few kilobytes of each.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::code::Code;
use crate::dump::DumpSpec;
use crate::id::BackupId;
use crate::manifest::{ManifestError, refuse_newer};
use crate::naming::Kind;
use crate::parts::PartName;
use crate::volume::{RedisRecord, VolumeRecord};

/// The first key after the head, as [`crate::manifest::Manifest::to_json`] indents it. A line end
/// cannot be inside a JSON string, and a nested key is indented further: this is found only there.
const HEAD_END: &[u8] = b",\n  \"databases\": ";

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The profile's schedule.
    Schedule,
    /// A slot that was missed while supakeep or the machine was off.
    CatchUp,
    /// A person, on the command line.
    Manual,
    /// A call of the HTTP interface.
    Api,
    /// A restore, which saves what it is about to replace.
    PreRestore,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The files were written, read again and found right.
    Complete,
    /// Complete, but so different from the one before that a person should look.
    Suspect,
    /// No backup came of it; the record is kept for the reason in `error`.
    Failed,
}

impl Outcome {
    /// The word used in lists, metrics and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Suspect => "suspect",
            Outcome::Failed => "failed",
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The stable code.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// What a person can do about it.
    pub hint: String,
}

/// Why a backup is suspect, and whether a person has accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// The backup it was compared with.
    pub compared_with: BackupId,
    /// What is missing or smaller, a sentence each.
    pub reasons: Vec<String>,
    /// When a person accepted it with `verify --accept`.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<OffsetDateTime>,
}

/// A check of the stored files, or of a restore into a scratch database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether everything was as recorded.
    pub ok: bool,
    /// How long it took.
    pub duration_seconds: f64,
    /// What differed, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// A restore of all definitions, and of the rows of some tables only, into a scratch database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleProof {
    /// What came of it.
    #[serde(flatten)]
    pub proof: Proof,
    /// How many tables came back with their rows.
    pub tables: u64,
    /// How many tables the backup has rows of.
    pub of_tables: u64,
}

/// A copy of the backup elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRecord {
    /// The remote's name.
    pub remote: String,
    /// When the copy was complete.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Sums over the whole backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// Bytes before compression.
    pub source_bytes: u64,
    /// Databases.
    pub databases: u32,
    /// Tables that have rows in the dump.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
}

/// The files of the storage service in a backup, its own and those that earlier ones hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageRecord {
    /// What is in front of a bucket's name in the paths, such as `stub/stub/`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Files.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// Files that this backup itself holds.
    pub new_files: u64,
    /// Their length.
    pub new_bytes: u64,
    /// How many backups lie between this one and one that holds all files itself, this one included; 0 is one
    /// that does.
    #[serde(default)]
    pub increments: u32,
    /// How files and the rows of `storage.objects` go together, where both are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsRecord>,
}

/// The rows of `storage.objects` in the dump, compared with the files that were packed after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectsRecord {
    /// Rows.
    pub rows: u64,
    /// Rows whose file is not there: the service answers these with an error.
    pub missing: u64,
    /// Rows whose file is there and has another length.
    pub other_length: u64,
    /// Files that no row tells of, and that were there before the dump: room that nothing needs.
    pub orphaned: u64,
    /// Files that came after the dump, and that no row in it can tell of.
    pub newer: u64,
    /// The first of the missing, as `bucket/name (version)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_list: Vec<String>,
    /// The first of the orphaned, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphaned_list: Vec<String>,
}

/// The version that made a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// supakeep's version.
    pub version: String,
    /// The commit it was built from.
    pub revision: String,
}

/// Where a backup came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StackRecord {
    /// The compose project, or the container's name where there is none.
    pub project: String,
    /// The container's name.
    pub container: String,
    /// The image's name.
    pub image: String,
    /// The image's content id.
    pub image_id: String,
    /// The server's version, such as `15.8`.
    pub server_version: String,
    /// The same as a number, such as 150008.
    pub server_version_num: u32,
    /// The cluster's own identifier (`pg_control_system`): equal before and after a copy of its files.
    pub system_identifier: String,
    /// The folder of the compose file on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The compose files, paths of the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compose_files: Vec<String>,
    /// The git commit of that folder, where it is one and can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
}

/// What lists, metrics and decisions need to know of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestHead {
    /// The format number; it comes first.
    pub format: u32,
    /// The id: the folder's name.
    pub id: BackupId,
    /// The profile it belongs to, if any.
    pub profile: Option<String>,
    /// What it was made for.
    pub kind: Kind,
    /// What started it.
    pub trigger: Trigger,
    /// The label of its slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The slot of the schedule that it belongs to.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub slot: Option<OffsetDateTime>,
    /// How the run ended.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// Why it is suspect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspicion: Option<Suspicion>,
    /// When the run started.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// When the last file was written.
    #[serde(with = "time::serde::rfc3339")]
    pub finished: OffsetDateTime,
    /// From start to the last file, in seconds.
    pub duration_seconds: f64,
    /// Sums.
    pub totals: Totals,
    /// The last check of the stored files.
    pub verified: Option<Proof>,
    /// The last restore into a scratch database.
    pub drilled: Option<Proof>,
    /// The last restore of a sample of its tables, which says nothing of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<SampleProof>,
    /// Where copies are.
    pub copies: Vec<CopyRecord>,
    /// Backups whose files this one needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<BackupId>,
    /// The files of the storage service, where it holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageRecord>,
    /// Volumes that it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeRecord>,
    /// Redis servers that it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redis: Vec<RedisRecord>,
    /// What it holds; the database alone where it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartName>,
    /// What was asked of pg_dump.
    pub dump: DumpSpec,
    /// Where it came from.
    pub stack: StackRecord,
    /// What made it.
    pub supakeep: Build,
    /// What a person should know although the backup is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl ManifestHead {
    /// Reads the head from the beginning of a manifest. `None` when `beginning` is too short to hold
    /// all of it: read more and try again.
    pub fn parse(beginning: &[u8]) -> Option<Result<ManifestHead, ManifestError>> {
        let end = beginning.windows(HEAD_END.len()).position(|window| window == HEAD_END)?;
        let mut json = Vec::with_capacity(end + 1);
        json.extend_from_slice(&beginning[..end]);
        json.push(b'}');
        Some(Self::parse_whole(&json))
    }

    /// Reads the head from a whole manifest, however it is indented.
    pub fn parse_whole(json: &[u8]) -> Result<ManifestHead, ManifestError> {
        match serde_json::from_slice(json) {
            Ok(head @ ManifestHead { format: ..=crate::manifest::FORMAT, .. }) => Ok(head),
            Ok(head) => Err(ManifestError::Newer { found: u64::from(head.format) }),
            Err(error) => {
                refuse_newer(json)?;
                Err(ManifestError::Damaged(error.to_string()))
            }
        }
    }

    /// Complete, and the last check of its files found them right; or suspect and accepted by a
    /// person. Only such a backup counts: for age, for `latest`, and as the reason to remove others.
    pub fn is_good(&self) -> bool {
        let content_right = match self.outcome {
            Outcome::Complete => true,
            Outcome::Suspect => {
                self.suspicion.as_ref().is_some_and(|suspicion| suspicion.accepted_at.is_some())
            }
            Outcome::Failed => false,
        };
        content_right && self.verified.as_ref().is_some_and(|proof| proof.ok)
    }

    /// How old it is: from the start of the run, since the data is of that moment.
    pub fn age(&self, now: OffsetDateTime) -> Duration {
        now - self.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{FORMAT, Manifest};
    use crate::sample::head;
    use time::macros::datetime;

    fn manifest() -> Manifest {
        let tricky = "a line,\n  \"databases\": [] that looks like the end".to_owned();
        let head = head("b_1", Some("daily"), datetime!(2026-01-01 02:00 +1));
        Manifest {
            head: ManifestHead { warnings: vec![tricky], ..head },
            databases: vec![],
            artifacts: vec![],
            server_settings: vec![],
            messages: vec![],
        }
    }

    #[test]
    fn the_head_is_read_from_the_beginning_alone() {
        let manifest = manifest();
        let json = manifest.to_json();
        let end = json.windows(11).position(|w| w == b"\"databases\"").expect("the key is there");
        let read = ManifestHead::parse(&json).expect("the head is whole").expect("it parses");
        assert_eq!(read, manifest.head);
        for cut in [0, 10, end - 30] {
            assert!(ManifestHead::parse(&json[..cut]).is_none(), "cut at {cut}");
        }
        assert_eq!(Manifest::parse(&json), Ok(manifest.clone()));
        let compact = serde_json::to_vec(&manifest).expect("it serialises");
        assert_eq!(ManifestHead::parse_whole(&compact), Ok(manifest.head));
    }

    #[test]
    fn refuses_a_newer_format_whatever_else_it_holds() {
        let newer = br#"{"format": 9, "id": {"shape": "unknown"}}"#;
        assert_eq!(Manifest::parse(newer), Err(ManifestError::Newer { found: 9 }));
        assert_eq!(ManifestHead::parse_whole(newer), Err(ManifestError::Newer { found: 9 }));
        let mut with_known_shape = manifest();
        with_known_shape.head.format = FORMAT + 1;
        let json = with_known_shape.to_json();
        assert_eq!(
            ManifestHead::parse(&json).expect("whole"),
            Err(ManifestError::Newer { found: u64::from(FORMAT) + 1 })
        );
    }

    #[test]
    fn says_that_a_damaged_manifest_is_damaged() {
        for damaged in [&b""[..], b"{", b"[]", b"{\"format\": \"one\"}", b"\xff\xfe"] {
            assert!(matches!(Manifest::parse(damaged), Err(ManifestError::Damaged(_))), "{damaged:?}");
        }
    }

    #[test]
    fn only_a_verified_and_unsuspected_backup_is_good() {
        let good = manifest().head;
        assert!(good.is_good());
        let unverified = ManifestHead { verified: None, ..good.clone() };
        assert!(!unverified.is_good());
        let failed = ManifestHead { outcome: Outcome::Failed, ..good.clone() };
        assert!(!failed.is_good());
        let suspicion = |accepted_at| {
            Some(Suspicion { compared_with: good.id.clone(), reasons: vec!["smaller".into()], accepted_at })
        };
        let suspect = ManifestHead { outcome: Outcome::Suspect, suspicion: suspicion(None), ..good.clone() };
        assert!(!suspect.is_good());
        let accepted = ManifestHead { suspicion: suspicion(Some(good.started)), ..suspect };
        assert!(accepted.is_good());
    }
}
