//! From a profile, or a person's wish, to the specification of a backup.

use supakeep_model::dump::{DumpSpec, Scope};
use supakeep_model::manifest_head::{Build, Trigger};
use supakeep_model::naming::{Kind, profile_prefix};
use supakeep_model::parts::Parts;
use supakeep_model::planner::RunPlan;
use supakeep_model::profile::Profile;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};

use crate::backup::{BackupSpec, CommitOf, StorageSpec, TransportChoice, VolumesSpec};
use crate::redis::RedisSpec;

/// What all backups of a stack have in common.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The zone of the times in names.
    pub zone: Zone,
    /// The databases; every non-template one when empty.
    pub databases: Vec<String>,
    /// How dumps travel.
    pub transport: TransportChoice,
    /// What a backup without a profile holds.
    pub parts: Parts,
    /// How the storage service's files are kept.
    pub storage: StorageSpec,
    /// Which volumes are kept, where a profile has that part.
    pub volumes: VolumesSpec,
    /// Which Redis servers are kept likewise.
    pub redis: RedisSpec,
    /// How many threads compress.
    pub encoders: usize,
    /// Space below which no backup is started.
    pub min_free_bytes: u64,
    /// Whether vault secrets without a root key are an error.
    pub root_key_required: bool,
    /// The commit that the stack's folder is at.
    pub commit: CommitOf,
    /// What makes the backups.
    pub build: Build,
    /// What is asked of pg_dump for a backup without a profile.
    pub dump: DumpSpec,
    /// The longest a backup without a profile may take.
    pub deadline: Duration,
}

impl Recipe {
    /// A run that the schedule asks for.
    pub fn scheduled(&self, profile: &Profile, plan: &RunPlan) -> BackupSpec {
        self.of_profile(profile, plan.trigger, Some(plan.slot.at), plan.label.as_deref())
    }

    /// A run of a profile that a person or a program asks for.
    pub fn asked_for(&self, profile: &Profile, trigger: Trigger) -> BackupSpec {
        self.of_profile(profile, trigger, None, None)
    }

    /// A backup without a profile: named, or manual.
    pub fn by_hand(&self, name: Option<&str>) -> BackupSpec {
        let kind = name.map_or(Kind::Manual, Kind::of_name);
        self.spec(
            kind,
            Trigger::Manual,
            name.unwrap_or("backup").to_owned(),
            self.dump.clone(),
            self.deadline,
        )
    }

    /// What is saved before a restore replaces it: `databases`, whole, whatever is configured to be backed up
    /// of them. It is made amid disasters, so a vault whose key is gone is saved without.
    pub fn before_restore(&self, databases: Vec<String>) -> BackupSpec {
        let dump = DumpSpec { scope: Scope::Full, exclude_table_data: Vec::new(), ..self.dump.clone() };
        let prefix = "pre-restore".to_owned();
        BackupSpec {
            databases,
            // What is replaced is databases alone.
            parts: Parts::database(),
            volumes: VolumesSpec::default(),
            root_key_required: false,
            ..self.spec(Kind::PreRestore, Trigger::PreRestore, prefix, dump, self.deadline)
        }
    }

    fn of_profile(
        &self,
        profile: &Profile,
        trigger: Trigger,
        slot: Option<OffsetDateTime>,
        label: Option<&str>,
    ) -> BackupSpec {
        let prefix = profile_prefix(label);
        BackupSpec {
            profile: Some(profile.name.clone()),
            label: label.map(str::to_owned),
            slot,
            gate: Some(profile.gate.clone()),
            parts: profile.parts.clone(),
            ..self.spec(Kind::Profile, trigger, prefix, profile.dump.clone(), profile.deadline)
        }
    }

    fn spec(
        &self,
        kind: Kind,
        trigger: Trigger,
        prefix: String,
        dump: DumpSpec,
        deadline: Duration,
    ) -> BackupSpec {
        BackupSpec {
            profile: None,
            kind,
            trigger,
            prefix,
            label: None,
            slot: None,
            zone: self.zone.clone(),
            dump,
            databases: self.databases.clone(),
            parts: self.parts.clone(),
            storage: self.storage,
            volumes: self.volumes.clone(),
            redis: self.redis.clone(),
            transport: self.transport,
            encoders: self.encoders,
            gate: None,
            min_free_bytes: self.min_free_bytes,
            root_key_required: self.root_key_required,
            commit: self.commit.clone(),
            deadline,
            build: self.build.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use supakeep_model::dump::{Compression, Format};

    use super::*;

    #[test]
    fn what_a_restore_replaces_is_saved_whole_whatever_is_configured() {
        let dump = DumpSpec {
            format: Format::Custom,
            scope: Scope::Schema,
            compression: Compression::Zstd(3),
            exclude_table_data: vec!["public.*".to_owned()],
            ..DumpSpec::default()
        };
        let recipe = Recipe {
            zone: Zone::utc(),
            databases: vec!["postgres".to_owned(), "gone".to_owned()],
            transport: TransportChoice::Auto,
            parts: Parts::default(),
            storage: StorageSpec::default(),
            redis: RedisSpec::default(),
            volumes: VolumesSpec::default(),
            encoders: 1,
            min_free_bytes: 0,
            root_key_required: true,
            commit: CommitOf::new(|| None),
            build: Build { version: "1".to_owned(), revision: "1".to_owned() },
            dump,
            deadline: Duration::hours(1),
        };
        let spec = recipe.before_restore(vec!["_supabase".to_owned()]);
        assert_eq!(spec.databases, ["_supabase"]);
        assert!(!spec.root_key_required);
        assert_eq!(spec.parts, Parts::database());
        let wanted =
            DumpSpec { format: Format::Custom, compression: Compression::Zstd(3), ..DumpSpec::default() };
        assert_eq!(spec.dump, wanted);
    }
}
