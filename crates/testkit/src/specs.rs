//! Profiles, recipes and records that tests begin with.

use supakeep_flow::backup::{CommitOf, StorageSpec, TransportChoice, VolumesSpec};
use supakeep_flow::recipe::Recipe;
use supakeep_flow::redis::RedisSpec;
use supakeep_model::code::Code;
use supakeep_model::dump::DumpSpec;
use supakeep_model::id::BackupId;
use supakeep_model::journal::{self, Journal};
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{Build, ManifestHead, Outcome, RunError};
use supakeep_model::parts::Parts;
use supakeep_model::profile::Profile;
use supakeep_model::sample::head;
use supakeep_model::schedule::Schedule;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};
use time::macros::datetime;

/// When tests begin: ten minutes before a daily profile is due.
pub const START: OffsetDateTime = datetime!(2026-01-10 01:50 UTC);

/// A profile that is due when `cron` says, in UTC, with everything else as it is by default but for its parts:
/// databases alone.
pub fn profile(name: &str, cron: &str) -> Profile {
    let schedule = Schedule::new(vec![cron.parse().expect("a valid expression")], Zone::utc());
    Profile { parts: Parts::database(), ..Profile::new(name, schedule) }
}

/// What all backups have in common: every database, two encoders, no limits.
pub fn recipe() -> Recipe {
    Recipe {
        zone: Zone::utc(),
        databases: vec![],
        parts: Parts::default(),
        storage: StorageSpec::default(),
        volumes: VolumesSpec::default(),
        redis: RedisSpec::default(),
        transport: TransportChoice::Auto,
        encoders: 2,
        min_free_bytes: 0,
        root_key_required: true,
        commit: CommitOf::new(|| None),
        build: Build { version: "0.1.0".into(), revision: "abc".into() },
        dump: DumpSpec::default(),
        deadline: Duration::hours(24),
    }
}

/// The record of a run that failed.
pub fn failed_head(id: &str, profile: Option<&str>, started: OffsetDateTime, code: Code) -> ManifestHead {
    let error = RunError { code, message: "it did not work".into(), hint: code.hint().to_owned() };
    ManifestHead {
        outcome: Outcome::Failed,
        error: Some(error),
        verified: None,
        ..head(id, profile, started)
    }
}

/// A manifest of a backup without files.
pub fn manifest(head: ManifestHead) -> Manifest {
    Manifest { head, databases: vec![], artifacts: vec![], server_settings: vec![], messages: vec![] }
}

/// The record of a restore that has got as far as `step`, has stopped nothing and left nothing half.
pub fn unfinished(backup: BackupId, step: journal::Step) -> Journal {
    Journal {
        format: journal::FORMAT,
        backup,
        only_database: None,
        files: Vec::new(),
        started: START,
        step,
        safety: None,
        stopped: Vec::new(),
        half: Vec::new(),
        closed: Vec::new(),
        elevated: false,
        previous_key: None,
    }
}
