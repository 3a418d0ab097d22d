//! Who listens to a run.

use supakeep_model::event::RunEvent;

/// Is told what happens, in order. It must return soon: the run waits for it.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &RunEvent);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &RunEvent) {}
}
