//! Gauges of the storage service's files in the newest good backup of each profile.

use prometheus::{GaugeVec, Registry};
use supakeep_model::OffsetDateTime;
use supakeep_model::catalog::Catalog;
use supakeep_model::manifest_head::{ObjectsRecord, StorageRecord};

use super::gauges::put;
use super::{opts, register};

/// Set anew at every scrape; missing where the backup holds no such files.
pub(super) struct StorageGauges {
    files: GaugeVec,
    bytes: GaugeVec,
    new_bytes: GaugeVec,
    missing: GaugeVec,
    orphaned: GaugeVec,
}

impl StorageGauges {
    pub(super) fn register(registry: &Registry) -> StorageGauges {
        let by_profile =
            |name: &str, help: &str| register(registry, GaugeVec::new(opts(name, help), &["profile"]));
        StorageGauges {
            files: by_profile("storage_files", "Files of Storage in the newest good backup."),
            bytes: by_profile("storage_bytes", "Their length."),
            new_bytes: by_profile("storage_new_bytes", "Length of those that no earlier backup holds."),
            missing: by_profile(
                "storage_objects_missing",
                "Rows of storage.objects in it whose file was not there, or had another length.",
            ),
            orphaned: by_profile("storage_objects_orphaned", "Files in it of which no row tells."),
        }
    }

    pub(super) fn set(&self, profile: &str, catalog: &Catalog, now: OffsetDateTime) {
        let put = |gauge: &GaugeVec, value: Option<u64>| put(gauge, profile, value.map(|value| value as f64));
        let storage = catalog.newest_good(Some(profile), now).and_then(|head| head.storage.as_ref());
        let of = |value: fn(&StorageRecord) -> u64| storage.map(value);
        put(&self.files, of(|storage| storage.files));
        put(&self.bytes, of(|storage| storage.bytes));
        put(&self.new_bytes, of(|storage| storage.new_bytes));
        let objects = storage.and_then(|storage| storage.objects.as_ref());
        let of = |value: fn(&ObjectsRecord) -> u64| objects.map(value);
        put(&self.missing, of(|objects| objects.missing + objects.other_length));
        put(&self.orphaned, of(|objects| objects.orphaned));
    }
}
