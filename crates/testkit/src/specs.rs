//! Profiles, recipes and records that tests begin with.

use supakeep_flow::backup::TransportChoice;
use supakeep_flow::recipe::Recipe;
use supakeep_model::code::Code;
use supakeep_model::dump::DumpSpec;
use supakeep_model::manifest::{FORMAT, Manifest};
use supakeep_model::manifest_head::{
    Build, ManifestHead, Outcome, Proof, RunError, StackRecord, Totals, Trigger,
};
use supakeep_model::naming::Kind;
use supakeep_model::profile::Profile;
use supakeep_model::schedule::Schedule;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};
use time::macros::datetime;

/// When tests begin: ten minutes before a daily profile is due.
pub const START: OffsetDateTime = datetime!(2026-01-10 01:50 UTC);

/// A profile that is due when `cron` says, in UTC, with everything else as it is by default.
pub fn profile(name: &str, cron: &str) -> Profile {
    Profile {
        name: name.to_owned(),
        schedule: Schedule::new(vec![cron.parse().expect("a valid expression")], Zone::utc()),
        labels: vec![],
        keep: Default::default(),
        dump: DumpSpec::default(),
        gate: Default::default(),
        max_age: None,
        catch_up: true,
        jitter: Duration::ZERO,
        retries: 2,
        retry_delay: Duration::minutes(5),
        deadline: Duration::hours(6),
    }
}

/// What all backups have in common: every database, two encoders, no limits.
pub fn recipe() -> Recipe {
    Recipe {
        zone: Zone::utc(),
        databases: vec![],
        transport: TransportChoice::Auto,
        encoders: 2,
        min_free_bytes: 0,
        root_key_required: true,
        git_commit: None,
        build: Build { version: "0.1.0".into(), revision: "abc".into() },
        dump: DumpSpec::default(),
        deadline: Duration::hours(24),
    }
}

/// The record of a good backup.
pub fn head(id: &str, profile: Option<&str>, started: OffsetDateTime) -> ManifestHead {
    ManifestHead {
        format: FORMAT,
        id: id.parse().expect("a valid id"),
        profile: profile.map(str::to_owned),
        kind: if profile.is_some() { Kind::Profile } else { Kind::Manual },
        trigger: Trigger::Schedule,
        label: None,
        slot: profile.map(|_| started),
        outcome: Outcome::Complete,
        error: None,
        suspicion: None,
        started,
        finished: started + Duration::MINUTE,
        duration_seconds: 60.0,
        totals: Totals { stored_bytes: 100, source_bytes: 400, databases: 2, tables: 3, rows: 30 },
        verified: Some(Proof { at: started, ok: true, duration_seconds: 1.0, differences: vec![] }),
        drilled: None,
        copies: vec![],
        parents: vec![],
        dump: DumpSpec::default(),
        stack: StackRecord { project: "supabase".into(), ..StackRecord::default() },
        supakeep: Build { version: "0.1.0".into(), revision: "abc".into() },
        warnings: vec![],
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
