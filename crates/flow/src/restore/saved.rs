//! The backup of what is there, before it is replaced.

use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::Outcome;
use tokio_util::sync::CancellationToken;

use crate::backup::{BackupSpec, Ports, backup};
use crate::failure::Failure;
use crate::ports::RunLock;

/// Saves it as `spec` says. Nothing is replaced that could not be saved.
pub async fn save_first(
    spec: &BackupSpec,
    ports: &Ports,
    lock: &dyn RunLock,
    cancel: &CancellationToken,
) -> Result<BackupId, Failure> {
    let head = backup(spec, ports, lock, cancel).await?;
    if head.outcome != Outcome::Failed {
        return Ok(head.id);
    }
    let why = head.error.map(|error| error.message).unwrap_or_default();
    let message = format!(
        "what is there cannot be saved first, so nothing was touched: {why}. If it is worth nothing: --no-safety-backup"
    );
    Err(Failure::new(Code::RestoreFailed, message))
}
