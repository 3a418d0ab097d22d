//! A backup and, if it succeeds, what follows from it: retention.

use std::collections::BTreeMap;

use supakeep_model::OffsetDateTime;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::keep::KeepPolicy;
use supakeep_model::manifest_head::{ManifestHead, Outcome};
use supakeep_model::profile::Profile;
use supakeep_model::retention::{PrunePlan, Rules, plan};
use supakeep_model::zone::Zone;
use tokio_util::sync::CancellationToken;

use crate::backup::{BackupSpec, Ports, backup};
use crate::failure::Failure;
use crate::ports::{Repository, RunLock};
use crate::prune::prune;

/// What retention goes by.
#[derive(Debug, Clone)]
pub struct Retention {
    /// The policy of every configured profile.
    pub policies: BTreeMap<String, KeepPolicy>,
    /// The zone whose days, weeks and months are meant.
    pub zone: Zone,
}

impl Retention {
    /// The policies of `profiles`.
    pub fn of(profiles: &[Profile], zone: &Zone) -> Retention {
        let policies = profiles.iter().map(|profile| (profile.name.clone(), profile.keep)).collect();
        Retention { policies, zone: zone.clone() }
    }

    /// What the policies remove now.
    pub fn plan(&self, repository: &dyn Repository, now: OffsetDateTime) -> Result<PrunePlan, Failure> {
        self.with_rules(repository, now, |rules| Ok(plan(&repository.catalog()?, rules)))?
    }

    /// Hands the rules to `decide`.
    pub fn with_rules<T>(
        &self,
        repository: &dyn Repository,
        now: OffsetDateTime,
        decide: impl FnOnce(&Rules<'_>) -> T,
    ) -> Result<T, Failure> {
        let policies = self.policies.iter().map(|(name, policy)| (name.as_str(), *policy)).collect();
        let in_use = repository.in_use()?;
        Ok(decide(&Rules { policies, zone: &self.zone, now, in_use: &in_use }))
    }
}

/// Takes a backup; when it is complete, and only then, removes what the policies no longer keep of its
/// profile. Other profiles wait for a good backup of their own, and a backup of no profile removes no
/// other. A run that fails makes room among the records of such runs. Trouble with the removal does not
/// make the backup a failure; the observer is told.
pub async fn backup_and_prune(
    spec: &BackupSpec,
    retention: &Retention,
    ports: &Ports,
    lock: &dyn RunLock,
    cancel: &CancellationToken,
) -> Result<ManifestHead, Failure> {
    let head = backup(spec, ports, lock, cancel).await?;
    let of_this_run = |plan: PrunePlan| plan.of_profile(head.profile.as_deref());
    match head.outcome {
        Outcome::Complete => {
            let (id, subject) = (head.id.clone(), String::new());
            ports.observer.observe(&RunEvent::Entered {
                id,
                phase: Phase::Prune,
                subject,
                expected_bytes: None,
            });
            apply(retention, ports, lock, of_this_run);
        }
        Outcome::Failed => apply(retention, ports, lock, |plan| of_this_run(plan).of_failed_runs()),
        Outcome::Suspect => {}
    }
    Ok(head)
}

/// Carries out the part of the plan that `select` leaves.
fn apply(
    retention: &Retention,
    ports: &Ports,
    lock: &dyn RunLock,
    select: impl FnOnce(PrunePlan) -> PrunePlan,
) {
    match retention.plan(&*ports.repository, ports.clock.now()) {
        Ok(plan) => {
            prune(&*ports.repository, &select(plan), &*ports.observer, lock);
        }
        Err(failure) => {
            let message = format!("cannot apply retention: {failure}");
            ports.observer.observe(&RunEvent::Fault { code: failure.code, message });
        }
    }
}
