//! Records that tests begin with: a feature of its own, so that no build for users has them.

use time::{Duration, OffsetDateTime};

use crate::dump::DumpSpec;
use crate::manifest::FORMAT;
use crate::manifest_head::{Build, ManifestHead, Outcome, Proof, StackRecord, Totals, Trigger};
use crate::naming::Kind;

/// A good backup of `profile`, taken at `started`.
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
        sampled: None,
        copies: vec![],
        parents: vec![],
        volumes: Vec::new(),
        redis: Vec::new(),
        storage: None,
        parts: vec![],
        dump: DumpSpec::default(),
        stack: StackRecord { project: "supabase".into(), ..StackRecord::default() },
        supakeep: Build { version: "0.1.0".into(), revision: "abc".into() },
        warnings: vec![],
    }
}

/// An export of `name`, made at `started`, without files.
pub fn export(id: &str, name: Option<&str>, started: OffsetDateTime) -> crate::export::ExportManifest {
    use crate::export::{ExportManifest, ExportTotals, FORMAT, Holds, RowFormat, RowsSpec};
    ExportManifest {
        format: FORMAT,
        holds: Holds::Export,
        id: id.parse().expect("a valid id"),
        export: name.map(str::to_owned),
        trigger: Trigger::Schedule,
        slot: name.map(|_| started),
        started,
        finished: started + Duration::MINUTE,
        duration_seconds: 60.0,
        database: "postgres".into(),
        snapshot_at: started,
        rows: RowFormat::Jsonl,
        compression: RowsSpec::COMPRESSION,
        hash: None,
        totals: ExportTotals { tables: 1, rows: 3, stored_bytes: 50, source_bytes: 200 },
        stack: StackRecord { project: "supabase".into(), ..StackRecord::default() },
        supakeep: Build { version: "0.1.0".into(), revision: "abc".into() },
        warnings: vec![],
        tables: vec![],
    }
}
