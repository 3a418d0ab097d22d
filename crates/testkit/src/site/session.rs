//! A session that does with a script what psql does, as far as a restore relies on it.

use supakeep_flow::ports::{OnOutput, StackError, Stored};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{ScriptedSite, SiteOperation, unread};

/// A session that was fed a script.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteSession {
    /// Whether it goes on.
    pub is_open: bool,
    /// What it was told, but for rows.
    pub told: String,
    /// The rows that it has stored: all of a `COPY`, or none.
    pub rows: Vec<String>,
}

/// A session until it is dropped.
pub(super) struct OpenSession {
    site: ScriptedSite,
    number: usize,
}

impl OpenSession {
    pub(super) fn new(site: ScriptedSite) -> OpenSession {
        let mut state = site.lock();
        let number = state.sessions.len();
        state.sessions.push(SiteSession { is_open: true, ..SiteSession::default() });
        drop(state);
        OpenSession { site, number }
    }

    fn change(&self, change: impl FnOnce(&mut SiteSession)) {
        change(&mut self.site.lock().sessions[self.number]);
    }

    /// Reads the script to its end.
    pub(super) async fn run(&self, script: Stored, output: OnOutput<'_>) -> Result<(), StackError> {
        let mut lines = BufReader::new(script).lines();
        let mut rows: Option<Vec<String>> = None;
        while let Some(line) = lines.next_line().await.map_err(unread)? {
            match &mut rows {
                Some(stored) if line == "\\." => {
                    let stored = std::mem::take(stored);
                    self.change(|session| session.rows.extend(stored));
                    rows = None;
                    continue;
                }
                Some(rows) => {
                    rows.push(line);
                    continue;
                }
                None => self.change(|session| session.told.extend([line.as_str(), "\n"])),
            }
            if line == "\\q" {
                return self.site.note(SiteOperation::SessionEnds, &self.number.to_string()).await;
            } else if line.starts_with("COPY ") && line.ends_with(" FROM stdin;") {
                self.site.note(SiteOperation::SessionRows, &self.number.to_string()).await?;
                rows = Some(Vec::new());
            } else if let Some(word) = line.strip_prefix("SELECT '").and_then(|rest| rest.strip_suffix("';"))
            {
                self.site.note(SiteOperation::SessionAnswers, &self.number.to_string()).await?;
                output(format!("{word}\n").as_bytes());
            }
        }
        // It waits for more: a script says itself that it is over.
        std::future::pending().await
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.change(|session| session.is_open = false);
    }
}
