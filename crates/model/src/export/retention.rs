//! Which exports may go: the retention of backups, asked about exports.
//!
//! One rule book, not two. An export is a backup to it that is good, since nothing is kept of one that failed; it has
//! no parents, and what belongs to no configured export stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use time::OffsetDateTime;

use super::catalog::ExportCatalog;
use super::manifest::ExportManifest;
use super::profile::ExportProfile;
use crate::catalog::Catalog;
use crate::dump::DumpSpec;
use crate::manifest_head::{ManifestHead, Outcome, Proof, Totals};
use crate::naming::Kind;
use crate::retention::{PrunePlan, Rules, plan};
use crate::zone::Zone;

/// What the policies of `exports` say of every export, newest first. What cannot be read is in no plan.
pub fn plan_exports(
    catalog: &ExportCatalog,
    exports: &[ExportProfile],
    zone: &Zone,
    now: OffsetDateTime,
) -> PrunePlan {
    let heads = catalog.entries().map(|entry| Arc::new(head(entry))).collect();
    let policies: BTreeMap<&str, _> =
        exports.iter().map(|export| (export.name.as_str(), export.keep)).collect();
    let in_use = BTreeSet::new();
    plan(&Catalog::new(heads, Vec::new()), &Rules { policies, zone, now, in_use: &in_use })
}

fn head(entry: &ExportManifest) -> ManifestHead {
    ManifestHead {
        format: entry.format,
        id: entry.id.clone(),
        profile: entry.export.clone(),
        kind: if entry.export.is_some() { Kind::Profile } else { Kind::Manual },
        trigger: entry.trigger,
        label: None,
        slot: entry.slot,
        outcome: Outcome::Complete,
        error: None,
        suspicion: None,
        started: entry.started,
        finished: entry.finished,
        duration_seconds: entry.duration_seconds,
        totals: Totals {
            stored_bytes: entry.totals.stored_bytes,
            source_bytes: entry.totals.source_bytes,
            databases: 1,
            tables: entry.totals.tables,
            rows: entry.totals.rows,
        },
        verified: Some(Proof { at: entry.finished, ok: true, duration_seconds: 0.0, differences: vec![] }),
        drilled: None,
        sampled: None,
        copies: vec![],
        parents: vec![],
        volumes: vec![],
        redis: vec![],
        parts: vec![],
        storage: None,
        dump: DumpSpec::default(),
        stack: entry.stack.clone(),
        supakeep: entry.supakeep.clone(),
        warnings: vec![],
    }
}
