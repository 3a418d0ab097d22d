//! `supakeep restore --file … --only-database …`: a dump that supakeep did not make, in place of a database

use std::path::Path;

use supakeep_flow::restore::{ForeignSpec, take_in};
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal::Journal;
use supakeep_model::manifest::Manifest;
use supakeep_model::naming::backup_id;

use super::{Attempt, Prepared};
use crate::command::Outcome;
use crate::command::restore_file::{WARNINGS, keep, name};
use crate::failure::CommandError;

impl Attempt<'_> {
    /// Keeps the file, restores it, and keeps it no longer than a restore needs it that has not ended.
    pub(super) async fn of_file(&self, file: &Path, unfinished: Option<Journal>) -> Outcome {
        let repository = &self.ports.backup.repository;
        let started = self.context.wire.settings.zone.local(self.context.wire.clock.now());
        let is_taken = |id: &BackupId| repository.manifest(id).is_ok();
        let id = backup_id("file", started, is_taken)
            .map_err(|message| CommandError::new(Code::NameInvalid, message))?;
        let database = self.wish.only_database.as_deref().unwrap_or_default();
        let spec = ForeignSpec {
            half: self.half(database, unfinished.as_ref())?,
            id,
            name: &name(file),
            database,
            started,
            build: crate::wire::build(),
        };
        let ended = self.restore_file(file, &spec, unfinished).await;
        if repository.journal()?.is_none_or(|journal| journal.backup != spec.id) {
            // Most often it has gone with the restore.
            let _ = repository.remove(&spec.id);
        }
        ended
    }

    async fn restore_file(
        &self,
        file: &Path,
        foreign: &ForeignSpec<'_>,
        unfinished: Option<Journal>,
    ) -> Outcome {
        let site = self.site(&foreign.id).await?;
        let repository = &*self.ports.backup.repository;
        let staging = repository.stage(&foreign.id)?;
        keep(self.context, &*staging, file).await?;
        let taken = take_in(foreign, staging, &*site, repository);
        let taken = self.context.unless_cancelled(taken).await??;
        let spec = self.spec(taken.manifest, self.wish.only_database.clone());
        if let Some(journal) = &unfinished {
            spec.covers(journal)?;
        }
        let mut plan = self.plan(&spec, &*site).await?;
        plan.problems.extend(taken.problems);
        plan.notes.extend(WARNINGS.map(|warning| format!("warning: {warning}")));
        plan.notes.extend(taken.notes);
        self.carry_out(Prepared { spec, plan, site, name: foreign.name.to_owned() }, unfinished).await
    }

    /// What the restore that did not end knows of the database, where it has left it half. Where it has not,
    /// the database is closed as that restore has made it, and is to be opened first.
    fn half(&self, database: &str, unfinished: Option<&Journal>) -> Result<Option<Manifest>, CommandError> {
        let Some(journal) = unfinished else { return Ok(None) };
        if journal.half.iter().any(|half| half.name == database) {
            return Ok(Some(self.ports.backup.repository.manifest(&journal.backup)?));
        }
        let message = format!(
            "the restore of {} has not ended: finish it first (supakeep restore --resume)",
            journal.backup
        );
        Err(CommandError::new(Code::RestoreUnfinished, message))
    }
}
