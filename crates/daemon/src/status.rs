//! What is known at this moment: the catalog, the repository's state, and what is running.
//!
//! It folds events and re-reads manifests; it never asks a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supakeep_flow::ports::{Observer, Repository, Space, StoreError};
use supakeep_model::OffsetDateTime;
use supakeep_model::catalog::Catalog;
use supakeep_model::event::{RunEvent, RunRef};
use supakeep_model::export::{
    ExportCatalog, ExportEvent, ExportHealth, ExportLive, ExportProfile, of_export,
};
use supakeep_model::health::{
    DrillHealth, Health, Live, ProfileHealth, RepositoryHealth, SkippedSlot, needed_bytes, of_profile,
};
use supakeep_model::manifest_head::{ManifestHead, Outcome};
use supakeep_model::profile::Profile;

/// How many failures that could not be recorded are remembered.
const MOST_UNRECORDED: usize = 32;

/// The parts of the repository's state that no manifest tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryView {
    /// When it was first used.
    pub first_start: OffsetDateTime,
    /// Room.
    pub space: Space,
    /// Why it cannot be written, if it cannot.
    pub error: Option<String>,
}

impl RepositoryView {
    /// Looks at the repository and makes it ready. `otherwise` stands for what cannot be found out.
    pub fn of(repository: &dyn Repository, otherwise: OffsetDateTime) -> RepositoryView {
        let ready = repository.prepare();
        RepositoryView::with(ready, repository, otherwise)
    }

    /// The same, and makes nothing.
    pub fn looking(repository: &dyn Repository, otherwise: OffsetDateTime) -> RepositoryView {
        RepositoryView::with(repository.writable(), repository, otherwise)
    }

    fn with(
        ready: Result<(), StoreError>,
        repository: &dyn Repository,
        otherwise: OffsetDateTime,
    ) -> RepositoryView {
        RepositoryView {
            error: ready.err().map(|error| error.message),
            first_start: repository.first_start().unwrap_or(otherwise),
            space: repository.space().unwrap_or_default(),
        }
    }
}

/// What does not change while the daemon runs.
pub struct StatusSpec {
    /// supakeep's version.
    pub version: String,
    /// The stack's name.
    pub stack: String,
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// `repository.min_free`.
    pub min_free_bytes: u64,
    /// The exports.
    pub exports: Vec<ExportProfile>,
}

struct State {
    /// As it was read last.
    catalog: Catalog,
    /// Why it could not be read again.
    unreadable: Option<String>,
    repository: RepositoryView,
    /// Failed runs of which not even a record could be kept.
    unrecorded: Vec<Arc<ManifestHead>>,
    running: Option<RunRef>,
    next_runs: BTreeMap<String, OffsetDateTime>,
    skipped: BTreeMap<String, SkippedSlot>,
    drill: DrillHealth,
    exports: ExportCatalog,
    export_live: BTreeMap<String, ExportLive>,
}

/// Shared by the supervisor, which changes it, and the HTTP interface, which shows it.
pub struct Status {
    spec: StatusSpec,
    state: Mutex<State>,
}

impl Status {
    /// Before anything has happened.
    pub fn new(spec: StatusSpec, catalog: Result<Catalog, StoreError>, repository: RepositoryView) -> Status {
        let state = State {
            catalog: Catalog::default(),
            unreadable: None,
            repository,
            unrecorded: Vec::new(),
            running: None,
            next_runs: BTreeMap::new(),
            skipped: BTreeMap::new(),
            drill: DrillHealth::default(),
            exports: ExportCatalog::default(),
            export_live: BTreeMap::new(),
        };
        let status = Status { spec, state: Mutex::new(state) };
        status.set_catalog(catalog);
        status
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment, so a panic elsewhere leaves nothing half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a catalog that has been read again; of one that cannot be read, that it cannot.
    pub fn set_catalog(&self, read: Result<Catalog, StoreError>) {
        let mut state = self.state();
        match read {
            Ok(catalog) => {
                state.unrecorded.retain(|head| !catalog.contains(&head.id));
                state.catalog = catalog;
                state.unreadable = None;
            }
            Err(error) => {
                tracing::warn!(code = %error.code, "cannot read the repository: {error}");
                state.unreadable = Some(error.message);
            }
        }
    }

    /// Takes a new look at the repository.
    pub fn set_repository(&self, repository: RepositoryView) {
        self.state().repository = repository;
    }

    /// Notes when each profile runs next.
    pub fn set_next_run(&self, profile: &str, next: Option<OffsetDateTime>) {
        let mut state = self.state();
        match next {
            Some(next) => state.next_runs.insert(profile.to_owned(), next),
            None => state.next_runs.remove(profile),
        };
    }

    /// Whether the catalog is what the repository holds.
    pub(crate) fn is_read(&self) -> bool {
        self.state().unreadable.is_none()
    }

    /// The catalog, with the failures in it that could not be recorded.
    pub fn catalog(&self) -> Catalog {
        let state = self.state();
        if state.unrecorded.is_empty() {
            return state.catalog.clone();
        }
        state.catalog.with(&state.unrecorded)
    }

    /// The repository's state.
    pub fn repository(&self) -> RepositoryView {
        self.state().repository.clone()
    }

    /// The run in progress.
    pub(crate) fn running(&self) -> Option<RunRef> {
        self.state().running.clone()
    }

    /// Notes something of the scheduled drills.
    pub(crate) fn change_drill(&self, change: impl FnOnce(&mut DrillHealth)) {
        change(&mut self.state().drill);
    }

    /// Takes the exports that there are; those that cannot be read are as they were.
    pub fn set_exports(&self, read: Result<ExportCatalog, StoreError>) {
        match read {
            Ok(catalog) => self.state().exports = catalog,
            Err(error) => tracing::warn!(code = %error.code, "cannot read the exports: {error}"),
        }
    }

    /// The exports that there are.
    pub(crate) fn exports(&self) -> ExportCatalog {
        self.state().exports.clone()
    }

    /// Notes something of a scheduled export.
    pub(crate) fn change_export(&self, export: &str, change: impl FnOnce(&mut ExportLive)) {
        change(self.state().export_live.entry(export.to_owned()).or_default());
    }

    fn export_health(&self, state: &State, now: OffsetDateTime) -> Vec<ExportHealth> {
        let (first_start, none) = (state.repository.first_start, ExportLive::default());
        let health = |export: &ExportProfile| {
            let live = state.export_live.get(&export.name).unwrap_or(&none);
            of_export(export, &state.exports, first_start, live, now)
        };
        self.spec.exports.iter().map(health).collect()
    }

    /// The profiles.
    pub fn profiles(&self) -> &[Profile] {
        &self.spec.profiles
    }

    /// How every profile is doing.
    pub fn profile_health(&self, now: OffsetDateTime) -> Vec<ProfileHealth> {
        let catalog = self.catalog();
        let state = self.state();
        let first_start = state.repository.first_start;
        let running = state.running.as_ref().and_then(|run| run.profile.as_deref());
        let live = |name: &str| Live {
            running: running == Some(name),
            next_run: state.next_runs.get(name).copied(),
            skipped: state.skipped.get(name).copied(),
        };
        self.spec
            .profiles
            .iter()
            .map(|profile| of_profile(profile, &catalog, first_start, live(&profile.name), now))
            .collect()
    }

    /// How the whole is doing.
    pub fn health(&self, now: OffsetDateTime) -> Health {
        let profiles = self.profile_health(now);
        let state = self.state();
        let repository = RepositoryHealth {
            error: state.repository.error.clone().or_else(|| state.unreadable.clone()),
            free_bytes: state.repository.space.free_bytes,
            total_bytes: state.repository.space.total_bytes,
            needed_bytes: needed_bytes(&state.catalog, None, self.spec.min_free_bytes, now),
            unreadable: state.catalog.unreadable().iter().map(|other| other.folder.clone()).collect(),
            damaged: state.catalog.damaged().map(|head| head.id.to_string()).collect(),
        };
        Health::assess(&self.spec.version, &self.spec.stack, profiles, repository)
            .with(state.drill.clone())
            .with_exports(self.export_health(&state, now))
    }
}

impl Observer for Status {
    fn observe(&self, event: &RunEvent) {
        let mut state = self.state();
        match event {
            RunEvent::Started { run, .. } => state.running = Some(run.clone()),
            RunEvent::Ended { head } => {
                state.running = None;
                if head.outcome == Outcome::Failed {
                    // Dropped again when the catalog turns out to have it.
                    state.unrecorded.push(Arc::new(head.as_ref().clone()));
                    let excess = state.unrecorded.len().saturating_sub(MOST_UNRECORDED);
                    state.unrecorded.drain(..excess);
                }
            }
            RunEvent::Skipped { profile, slot, reason } => {
                state.skipped.insert(profile.clone(), SkippedSlot { at: *slot, reason });
            }
            RunEvent::Export(ExportEvent::Started { export: Some(export), .. }) => {
                state.export_live.entry(export.clone()).or_default().running = true;
            }
            RunEvent::Export(ExportEvent::Ended(run)) => {
                if let Some(export) = &run.export {
                    let live = state.export_live.entry(export.clone()).or_default();
                    (live.running, live.last_run) = (false, Some(run.as_ref().clone()));
                }
            }
            RunEvent::Export(ExportEvent::Started { export: None, .. })
            | RunEvent::Entered { .. }
            | RunEvent::Progressed { .. }
            | RunEvent::Verified { .. }
            | RunEvent::Drilled { .. }
            | RunEvent::Sampled { .. }
            | RunEvent::Pruned { .. }
            | RunEvent::Export(ExportEvent::Skipped { .. } | ExportEvent::Pruned { .. })
            | RunEvent::Fault { .. } => {}
        }
    }
}
