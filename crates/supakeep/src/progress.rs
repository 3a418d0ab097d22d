//! Showing a run that a person waits for: a moving bar on a terminal, lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use supakeep_flow::ports::Observer;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::export::ExportEvent;

use crate::output::Output;

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// Shows the events of one run.
pub(crate) struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    phase: Mutex<Option<Phase>>,
}

impl Progress {
    /// A bar where standard error is a terminal that is watched.
    pub(crate) fn new(output: Output) -> Progress {
        let moving = std::io::stderr().is_terminal() && !output.quiet && !output.json;
        let bar = moving.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        Progress { output, bar, phase: Mutex::new(None) }
    }

    fn enter(&self, phase: Phase, subject: &str, expected_bytes: Option<u64>) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Some(phase);
        let what = if subject.is_empty() {
            phase.as_str().to_owned()
        } else {
            format!("{} {subject}", phase.as_str())
        };
        let Some(bar) = &self.bar else {
            self.output.note(what);
            return;
        };
        // A dump's size is not known before its end: the size of the database on disk is only a hint,
        // so the bar shows bytes and speed and makes no promise.
        let exact = expected_bytes.filter(|_| phase == Phase::Verify);
        let template = match exact {
            Some(_) => "{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {elapsed}",
            None => "{spinner} {msg} {bytes} ({bytes_per_sec}) {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a constant that is a template"));
        bar.reset();
        bar.set_length(exact.unwrap_or(0));
        bar.set_message(what);
    }
}

impl Observer for Progress {
    fn observe(&self, event: &RunEvent) {
        match event {
            RunEvent::Started { run, .. } => match &self.bar {
                Some(bar) => bar.println(format!("backup {}", run.id)),
                None => self.output.note(format!("backup {}", run.id)),
            },
            RunEvent::Entered { phase, subject, expected_bytes, .. } => {
                self.enter(*phase, subject, *expected_bytes)
            }
            RunEvent::Progressed { source_bytes, .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*source_bytes);
                }
            }
            RunEvent::Export(ExportEvent::Started { id, .. }) => self.say(&format!("export {id}")),
            RunEvent::Export(ExportEvent::Pruned { id, .. }) => self.say(&format!("removed {id}")),
            RunEvent::Export(ExportEvent::Ended(_) | ExportEvent::Skipped { .. }) => {}
            RunEvent::Pruned { id, .. } => self.say(&format!("removed {id}")),
            RunEvent::Fault { code, message } => self.say(&format!("warning[{code}]: {message}")),
            RunEvent::Ended { .. }
            | RunEvent::Skipped { .. }
            | RunEvent::Verified { .. }
            | RunEvent::Drilled { .. }
            | RunEvent::Sampled { .. } => {}
        }
    }
}

impl Progress {
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => self.output.note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
