//! From a profile, or a person's wish, to the specification of a backup.

use supakeep_model::dump::DumpSpec;
use supakeep_model::manifest_head::{Build, Trigger};
use supakeep_model::naming::{Kind, profile_prefix};
use supakeep_model::planner::RunPlan;
use supakeep_model::profile::Profile;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};

use crate::backup::{BackupSpec, CommitOf, TransportChoice};

/// What all backups of a stack have in common.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The zone of the times in names.
    pub zone: Zone,
    /// The databases; every non-template one when empty.
    pub databases: Vec<String>,
    /// How dumps travel.
    pub transport: TransportChoice,
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

    /// What is saved before a restore replaces it.
    pub fn before_restore(&self) -> BackupSpec {
        let prefix = "pre-restore".to_owned();
        self.spec(Kind::PreRestore, Trigger::PreRestore, prefix, self.dump.clone(), self.deadline)
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
