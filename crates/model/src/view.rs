//! A backup as commands and the HTTP interface show it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::code::Code;
use crate::id::BackupId;
use crate::manifest_head::{ManifestHead, Outcome, Proof, Trigger};
use crate::naming::Kind;

/// One line of `supakeep list`, one element of `/api/v1/backups`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupView {
    /// Its id.
    pub id: BackupId,
    /// Its profile.
    pub profile: Option<String>,
    /// What it was made for.
    pub kind: Kind,
    /// What started it.
    pub trigger: Trigger,
    /// How the run ended.
    pub outcome: Outcome,
    /// Whether it counts: verified, and not suspect or accepted.
    pub good: bool,
    /// Why it failed.
    pub error_code: Option<Code>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// How long ago.
    pub age_seconds: i64,
    /// How long it took.
    pub duration_seconds: f64,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// Bytes before compression.
    pub source_bytes: u64,
    /// When its files were last checked, if they were right.
    #[serde(with = "time::serde::rfc3339::option")]
    pub verified_at: Option<OffsetDateTime>,
    /// When it was last restored into a scratch database, if that came out right.
    #[serde(with = "time::serde::rfc3339::option")]
    pub drilled_at: Option<OffsetDateTime>,
    /// When a sample of its tables last was, if that came out right.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub sampled_at: Option<OffsetDateTime>,
    /// The remotes that have a copy.
    pub offsite: Vec<String>,
}

impl BackupView {
    /// The view of a backup at `now`.
    pub fn of(head: &ManifestHead, now: OffsetDateTime) -> BackupView {
        let right = |proof: Option<&Proof>| proof.filter(|proof| proof.ok).map(|proof| proof.at);
        BackupView {
            id: head.id.clone(),
            profile: head.profile.clone(),
            kind: head.kind,
            trigger: head.trigger,
            outcome: head.outcome,
            good: head.is_good(),
            error_code: head.error.as_ref().map(|error| error.code),
            started: head.started,
            age_seconds: head.age(now).whole_seconds(),
            duration_seconds: head.duration_seconds,
            stored_bytes: head.totals.stored_bytes,
            source_bytes: head.totals.source_bytes,
            verified_at: right(head.verified.as_ref()),
            drilled_at: right(head.drilled.as_ref()),
            sampled_at: right(head.sampled.as_ref().map(|sampled| &sampled.proof)),
            offsite: head.copies.iter().map(|copy| copy.remote.clone()).collect(),
        }
    }
}
