//! What happens during a run, as values.
//!
//! Log, metrics, health and notices all fold these events; none of them looks into a run. A failure
//! takes this one path to every place where it can be seen.

use time::OffsetDateTime;

use crate::code::Code;
use crate::export::ExportEvent;
use crate::id::BackupId;
use crate::manifest_head::{ManifestHead, Trigger};

/// A step of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking for the database's container and waiting until it answers.
    Connect,
    /// Roles and role settings.
    Globals,
    /// A database's dump.
    Database,
    /// The vault's root key.
    RootKey,
    /// The stack's files: those of Storage, edge functions, and what else is beside the compose file.
    Files,
    /// Copying the rows of a table.
    ExportTable,
    /// Reading back what was written.
    Verify,
    /// The rename that makes it a backup.
    Commit,
    /// Removing what the policies no longer keep.
    Prune,
    /// Stopping the services that write.
    StopServices,
    /// Putting files back.
    RestoreFiles,
    /// Restoring roles.
    RestoreGlobals,
    /// Putting the vault's root key in place.
    RestoreRootKey,
    /// Dropping, making and filling a database.
    RestoreDatabase,
    /// Copying rows into a table.
    ImportTable,
    /// Collecting statistics for the planner.
    Analyze,
    /// Comparing what is there with what the backup recorded.
    Compare,
    /// Restarting the database.
    Restart,
    /// Making containers, volumes and networks.
    CreateStack,
    /// Starting the services that were stopped.
    StartServices,
    /// Making a server for a drill.
    MakeScratch,
    /// Opening the vault's secrets, and asking what a person wants to be asked.
    Check,
}

impl Phase {
    /// What a person reads beside a progress bar.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Connect => "connecting",
            Phase::Globals => "dumping roles",
            Phase::Database => "dumping",
            Phase::RootKey => "copying the vault's root key",
            Phase::Files => "packing",
            Phase::ExportTable => "exporting",
            Phase::Verify => "verifying",
            Phase::Commit => "committing",
            Phase::Prune => "pruning",
            Phase::StopServices => "stopping",
            Phase::RestoreFiles => "restoring the files of",
            Phase::RestoreGlobals => "restoring roles",
            Phase::RestoreRootKey => "placing the vault's root key",
            Phase::RestoreDatabase => "restoring",
            Phase::ImportTable => "importing",
            Phase::Analyze => "analyzing",
            Phase::Compare => "comparing",
            Phase::Restart => "restarting",
            Phase::CreateStack => "making the containers of",
            Phase::StartServices => "starting",
            Phase::MakeScratch => "making a scratch server",
            Phase::Check => "checking",
        }
    }
}

/// Which run an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRef {
    /// The backup's id.
    pub id: BackupId,
    /// Its profile.
    pub profile: Option<String>,
    /// What started it.
    pub trigger: Trigger,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// A run began.
    Started {
        /// Which.
        run: RunRef,
        /// When.
        at: OffsetDateTime,
    },
    /// A run entered a phase.
    Entered {
        /// Which.
        id: BackupId,
        /// The phase.
        phase: Phase,
        /// What it works on, such as a database's name; empty where there is nothing to say.
        subject: String,
        /// How many bytes it will be, as far as can be told: the size on the server's disk.
        expected_bytes: Option<u64>,
    },
    /// More bytes passed in the current phase.
    Progressed {
        /// Which.
        id: BackupId,
        /// Bytes before compression in this phase so far.
        source_bytes: u64,
    },
    /// A run ended; the head says how.
    Ended {
        /// The record.
        head: Box<ManifestHead>,
    },
    /// A slot passed without a run.
    Skipped {
        /// The profile.
        profile: String,
        /// The slot.
        slot: OffsetDateTime,
        /// Why: `busy`, or missed with `catch_up = false`.
        reason: &'static str,
    },
    /// The files of a backup were read again, on schedule.
    Verified {
        /// The record, with the new result in it.
        head: Box<ManifestHead>,
    },
    /// A backup was restored into a scratch server and compared.
    Drilled {
        /// The record, with the new result in it.
        head: Box<ManifestHead>,
    },
    /// All definitions of a backup and a sample of its tables were restored into a scratch server and compared.
    Sampled {
        /// The record, with the new result in it.
        head: Box<ManifestHead>,
    },
    /// A backup was removed by retention.
    Pruned {
        /// Which.
        id: BackupId,
        /// Its profile.
        profile: Option<String>,
        /// What it freed.
        stored_bytes: u64,
    },
    /// Something happened to an export.
    Export(ExportEvent),
    /// Something went wrong outside of a run, or without ending it.
    Fault {
        /// The stable code.
        code: Code,
        /// What happened.
        message: String,
    },
}
