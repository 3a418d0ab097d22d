//! Starting, at the daemon's own start, what a run that died had stopped for a while: services are not to wait for the
//! next backup.

use std::sync::Arc;
use std::time::Duration;

use supakeep_flow::ports::{Observer, Repository};
use supakeep_flow::stopped::settle;
use tokio_util::sync::CancellationToken;

use crate::daemon::MakePorts;

/// Pause between two attempts: the engine may be starting too.
const AGAIN: Duration = Duration::from_secs(15);

/// Tries until nothing is left. Whoever else has the lock sees to it themselves.
pub(crate) async fn start(
    repository: Arc<dyn Repository>,
    make_ports: MakePorts,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) {
    while let Ok(Some(_)) = repository.stopped() {
        attempt(&*repository, &make_ports, &*observer).await;
        if stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            return;
        }
    }
}

async fn attempt(repository: &dyn Repository, make_ports: &MakePorts, observer: &dyn Observer) {
    let Ok(_lock) = repository.lock() else { return };
    match make_ports() {
        Ok(ports) => settle(repository, &*ports.containers, observer).await,
        Err(failure) => tracing::warn!(code = %failure.code, "cannot start what was stopped: {failure}"),
    }
}
