//! What a drill found, for people and programs.

use serde::Serialize;
use supakeep_model::event::Phase;
use supakeep_model::id::BackupId;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::Proof;
use time::OffsetDateTime;

use super::SampleReport;
use crate::ports::ServerFacts;
use crate::restore::DatabaseReport;

/// How long a part of a drill took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseTime {
    /// What was done, in words.
    pub phase: &'static str,
    /// To what, such as a database.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// For how long.
    pub seconds: f64,
}

/// Roles, memberships and settings of roles, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolesReport {
    /// Statements that the backup has of them.
    pub statements: u64,
    /// What of it is not there, without passwords.
    pub differences: Vec<String>,
    /// What is there besides, since the image makes it: a restore removes no roles.
    pub beyond: Vec<String>,
}

/// The vault of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VaultReport {
    /// The database.
    pub database: String,
    /// How many secrets it has.
    pub secrets: u64,
    /// Which of them do not open, and why.
    pub differences: Vec<String>,
}

/// What a person wanted to be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The check's name.
    pub name: String,
    /// The database it was run in.
    pub database: String,
    /// The answer that is right.
    pub expect: String,
    /// The answer there was, or why there was none.
    pub found: String,
    /// Whether they are the same.
    pub ok: bool,
}

/// What a drill found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrillReport {
    /// The backup.
    pub backup: BackupId,
    /// What was sampled and what was left out; `null` where all of the backup was drilled.
    pub sample: Option<SampleReport>,
    /// Whether it came back as it was recorded, or that of it which was sampled.
    pub ok: bool,
    /// When the drill began.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub finished: OffsetDateTime,
    /// How long it took: the measured time to restore, files verified before and everything compared after.
    /// That of a sample is no time to restore.
    pub duration_seconds: f64,
    /// The image of the scratch server, by its content.
    pub image_id: String,
    /// Its version.
    pub server_version: String,
    /// The parts, in order.
    pub phases: Vec<PhaseTime>,
    /// Each database.
    pub databases: Vec<DatabaseReport>,
    /// Roles; none where the drill did not come that far.
    pub roles: Option<RolesReport>,
    /// Each vault.
    pub vaults: Vec<VaultReport>,
    /// Each check of one's own.
    pub checks: Vec<CheckReport>,
    /// Everything that is not as it was recorded, a sentence each.
    pub differences: Vec<String>,
}

impl DrillReport {
    pub(super) fn new(
        manifest: &Manifest,
        started: OffsetDateTime,
        sample: Option<SampleReport>,
    ) -> DrillReport {
        DrillReport {
            backup: manifest.head.id.clone(),
            sample,
            ok: false,
            started,
            finished: started,
            duration_seconds: 0.0,
            image_id: String::new(),
            server_version: String::new(),
            phases: Vec::new(),
            databases: Vec::new(),
            roles: None,
            vaults: Vec::new(),
            checks: Vec::new(),
            differences: Vec::new(),
        }
    }

    pub(super) fn describe(&mut self, facts: &ServerFacts) {
        self.image_id.clone_from(&facts.record.image_id);
        self.server_version.clone_from(&facts.record.server_version);
    }

    pub(super) fn finish(&mut self, now: OffsetDateTime, seconds: f64) {
        self.finished = now;
        self.duration_seconds = seconds;
        self.ok = self.differences.is_empty();
    }

    pub(super) fn add_phase(&mut self, phase: Phase, subject: String, seconds: f64) {
        self.phases.push(PhaseTime { phase: phase.as_str(), subject, seconds });
    }

    pub(super) fn add_database(&mut self, database: DatabaseReport) {
        let name = database.name.escape_debug().to_string();
        self.differ(&name, &database.differences);
        self.databases.push(database);
    }

    pub(super) fn add_roles(&mut self, roles: RolesReport) {
        self.differ("roles", &roles.differences);
        self.roles = Some(roles);
    }

    pub(super) fn add_vault(&mut self, vault: VaultReport) {
        let name = format!("vault of {}", vault.database.escape_debug());
        self.differ(&name, &vault.differences);
        self.vaults.push(vault);
    }

    pub(super) fn add_check(&mut self, check: CheckReport) {
        if !check.ok {
            let CheckReport { name, expect, found, .. } = &check;
            self.differences.push(format!("check {name}: {expect:?} expected, {found:?} found"));
        }
        self.checks.push(check);
    }

    fn differ(&mut self, what: &str, differences: &[String]) {
        self.differences.extend(differences.iter().map(|difference| format!("{what}: {difference}")));
    }

    /// The result as the manifest keeps it.
    pub fn proof(&self) -> Proof {
        Proof {
            at: self.finished,
            ok: self.ok,
            duration_seconds: self.duration_seconds,
            differences: self.differences.clone(),
        }
    }
}
