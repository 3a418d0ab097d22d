//! The manifest of a backup that is being made.

use supakeep_model::artifact::Artifact;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{DatabaseRecord, FORMAT, Manifest, Setting, ToolMessage};
use supakeep_model::manifest_head::{ManifestHead, Outcome, StackRecord, Totals};
use supakeep_model::parts::PartName;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::BackupSpec;
use crate::ports::ServerFacts;

/// Grows while the backup is made, and is there with what is known when it fails half-way.
pub(super) struct Draft {
    pub(super) head: ManifestHead,
    pub(super) databases: Vec<DatabaseRecord>,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) messages: Vec<ToolMessage>,
    pub(super) vault_secrets: u64,
    /// The clock tells whole seconds, and may be set while a run is going on.
    began: Instant,
    settings: Vec<Setting>,
}

impl Draft {
    pub(super) fn new(spec: &BackupSpec, id: BackupId, started: OffsetDateTime) -> Draft {
        let head = ManifestHead {
            format: FORMAT,
            id,
            profile: spec.profile.clone(),
            kind: spec.kind,
            trigger: spec.trigger,
            label: spec.label.clone(),
            slot: spec.slot,
            outcome: Outcome::Complete,
            error: None,
            suspicion: None,
            started,
            finished: started,
            duration_seconds: 0.0,
            totals: Totals::default(),
            verified: None,
            drilled: None,
            sampled: None,
            copies: Vec::new(),
            parents: Vec::new(),
            volumes: Vec::new(),
            redis: Vec::new(),
            storage: None,
            parts: vec![PartName::Database],
            dump: spec.dump.clone(),
            stack: StackRecord::default(),
            supakeep: spec.build.clone(),
            warnings: Vec::new(),
        };
        Draft {
            head,
            databases: Vec::new(),
            artifacts: Vec::new(),
            messages: Vec::new(),
            vault_secrets: 0,
            began: Instant::now(),
            settings: Vec::new(),
        }
    }

    pub(super) fn describe(&mut self, facts: &ServerFacts, git_commit: Option<String>) {
        self.head.stack = StackRecord { git_commit, ..facts.record.clone() };
        self.settings.clone_from(&facts.settings);
    }

    /// Notes what a tool said, if it said anything.
    pub(super) fn note(&mut self, path: &str, stderr: String) {
        if !stderr.trim().is_empty() {
            self.messages.push(ToolMessage { path: path.to_owned(), stderr });
        }
    }

    pub(super) fn finish_dump(&mut self, now: OffsetDateTime) {
        self.head.finished = now;
        self.head.duration_seconds = self.began.elapsed().as_secs_f64();
        let prints = || self.databases.iter().filter_map(|database| database.fingerprint.as_ref());
        self.head.totals = Totals {
            stored_bytes: self.artifacts.iter().map(|artifact| artifact.bytes).sum(),
            source_bytes: self.artifacts.iter().map(|artifact| artifact.source_bytes).sum(),
            databases: u32::try_from(self.databases.len()).unwrap_or(u32::MAX),
            tables: prints().map(|print| print.tables.len() as u64).sum(),
            rows: prints().map(supakeep_model::fingerprint::Fingerprint::rows).sum(),
        };
    }

    pub(super) fn into_manifest(self) -> Manifest {
        Manifest {
            head: self.head,
            databases: self.databases,
            artifacts: self.artifacts,
            server_settings: self.settings,
            messages: self.messages,
        }
    }
}
