//! An observer that remembers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use supakeep_flow::ports::Observer;
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::manifest_head::ManifestHead;
use tokio::sync::Notify;

/// How long a test waits for something that ought to happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps every event it is told.
#[derive(Debug, Default)]
pub struct Recorder {
    events: Mutex<Vec<RunEvent>>,
    told: Notify,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Vec<RunEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far, in order.
    pub fn events(&self) -> Vec<RunEvent> {
        self.lock().clone()
    }

    /// The phases that were entered, in order.
    pub fn phases(&self) -> Vec<Phase> {
        let phase = |event: &RunEvent| match event {
            RunEvent::Entered { phase, .. } => Some(*phase),
            _ => None,
        };
        self.lock().iter().filter_map(phase).collect()
    }

    /// The records of the runs that have ended, in order.
    pub fn ended(&self) -> Vec<ManifestHead> {
        let head = |event: &RunEvent| match event {
            RunEvent::Ended { head } => Some(head.as_ref().clone()),
            _ => None,
        };
        self.lock().iter().filter_map(head).collect()
    }

    /// The backups that retention removed, in order.
    pub fn pruned(&self) -> Vec<String> {
        let id = |event: &RunEvent| match event {
            RunEvent::Pruned { id, .. } => Some(id.to_string()),
            _ => None,
        };
        self.lock().iter().filter_map(id).collect()
    }

    /// The codes of what went wrong outside of runs, in order.
    pub fn faults(&self) -> Vec<Code> {
        let code = |event: &RunEvent| match event {
            RunEvent::Fault { code, .. } => Some(*code),
            _ => None,
        };
        self.lock().iter().filter_map(code).collect()
    }

    /// The reasons for slots that passed without a run, in order.
    pub fn skipped(&self) -> Vec<&'static str> {
        let reason = |event: &RunEvent| match event {
            RunEvent::Skipped { reason, .. } => Some(*reason),
            _ => None,
        };
        self.lock().iter().filter_map(reason).collect()
    }

    /// Waits until `seen` finds what it looks for in what was recorded, and returns it.
    ///
    /// # Panics
    ///
    /// When that does not happen within the time that a test has.
    pub async fn wait_for<T>(&self, mut seen: impl FnMut(&[RunEvent]) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let told = self.told.notified();
                let found = seen(&self.lock());
                if let Some(found) = found {
                    return found;
                }
                told.await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("in vain; recorded so far: {:#?}", self.events()))
    }

    /// Waits until `count` runs have ended; the record of the last of them.
    pub async fn wait_for_runs(&self, count: usize) -> ManifestHead {
        self.wait_for(|events| {
            let ended = events.iter().filter_map(|event| match event {
                RunEvent::Ended { head } => Some(head.as_ref().clone()),
                _ => None,
            });
            ended.into_iter().nth(count - 1)
        })
        .await
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &RunEvent) {
        self.lock().push(event.clone());
        self.told.notify_waiters();
    }
}
