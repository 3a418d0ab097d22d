//! The tick, once a second.
//!
//! tokio-cron-scheduler is used for this alone. It reads cron expressions with a fixed offset, knows no
//! missed runs and lets runs of one job overlap; so what is due at a tick is the planner's decision.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Sends ticks until it is dropped or stopped.
pub(crate) struct Ticker {
    scheduler: JobScheduler,
}

impl Ticker {
    /// Starts ticking. A tick that finds the last one not yet taken is dropped.
    pub(crate) async fn start() -> Result<(Ticker, mpsc::Receiver<()>), JobSchedulerError> {
        let (sender, ticks) = mpsc::channel(1);
        let scheduler = JobScheduler::new().await?;
        let job = Job::new_repeated(EVERY, move |_, _| {
            // Full means that one is waiting already.
            let _ = sender.try_send(());
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok((Ticker { scheduler }, ticks))
    }

    /// Stops ticking.
    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!("the ticker does not stop cleanly: {error}");
        }
    }
}
