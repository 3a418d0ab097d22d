//! The tick, once a second.
//!
//! tokio-cron-scheduler is used for this alone. It reads cron expressions with a fixed offset, knows no
//! missed runs and lets runs of one job overlap; so what is due at a tick is the planner's decision. And it
//! goes by the wall clock: a clock that is set back a day silences a job for a day. So a silence is heard
//! here, by a clock that nobody sets, and ended with a new job.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// Every second. A repeated job counts on from its last tick instead of from now: one that comes two
/// seconds late is its last.
const EVERY_SECOND: &str = "* * * * * *";
/// The longest pause between two ticks that is nothing to worry about.
const SILENCE: Duration = Duration::from_secs(5);

/// Sends ticks until it is dropped or stopped.
pub(crate) struct Ticker {
    scheduler: JobScheduler,
}

impl Ticker {
    /// Starts ticking. A tick that finds the last one not yet taken is dropped.
    pub(crate) async fn start() -> Result<(Ticker, mpsc::Receiver<()>), JobSchedulerError> {
        let (sender, beats) = mpsc::channel(1);
        let scheduler = JobScheduler::new().await?;
        scheduler.add(job(sender.clone())?).await?;
        scheduler.start().await?;
        let (forward, ticks) = mpsc::channel(1);
        let replaced = scheduler.clone();
        tokio::spawn(pass_on(beats, forward, move || {
            let (scheduler, sender) = (replaced.clone(), sender.clone());
            async move {
                tracing::warn!("the ticker was silent: the clock was set, or the machine stood still");
                // The silent job stays: should it wake up, its ticks find others waiting.
                if let Err(error) = async { scheduler.add(job(sender)?).await }.await {
                    tracing::error!("the ticker cannot be renewed: {error}");
                }
            }
        }));
        Ok((Ticker { scheduler }, ticks))
    }

    /// Stops ticking.
    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!("the ticker does not stop cleanly: {error}");
        }
    }
}

fn job(sender: mpsc::Sender<()>) -> Result<Job, JobSchedulerError> {
    Job::new(EVERY_SECOND, move |_, _| {
        // Full means that one is waiting already.
        let _ = sender.try_send(());
    })
}

/// Passes beats on as ticks. After a silence it ticks by itself, and calls `renew`.
async fn pass_on<F: Future<Output = ()>>(
    mut beats: mpsc::Receiver<()>,
    ticks: mpsc::Sender<()>,
    renew: impl Fn() -> F,
) {
    loop {
        let beat = tokio::select! {
            () = ticks.closed() => return,
            beat = timeout(SILENCE, beats.recv()) => beat,
        };
        match beat {
            Ok(Some(())) => {}
            Ok(None) => return,
            Err(_) => renew().await,
        }
        let _ = ticks.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::{Instant, sleep};

    #[tokio::test]
    async fn ticks_every_second() {
        let began = Instant::now();
        let (ticker, mut ticks) = Ticker::start().await.expect("it starts");
        for _ in 0..3 {
            ticks.recv().await.expect("it ticks");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        ticker.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_ended_and_ticks_go_on_meanwhile() {
        let (beat, beats) = mpsc::channel(1);
        let (sender, mut ticks) = mpsc::channel(1);
        let renewals = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&renewals);
        tokio::spawn(pass_on(beats, sender, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        }));
        for _ in 0..10 {
            sleep(Duration::from_secs(1)).await;
            beat.send(()).await.expect("somebody listens");
            ticks.recv().await.expect("it is passed on");
        }
        assert_eq!(renewals.load(Ordering::Relaxed), 0);
        let began = Instant::now();
        for _ in 0..3 {
            ticks.recv().await.expect("it ticks by itself");
        }
        assert_eq!((renewals.load(Ordering::Relaxed), began.elapsed()), (3, SILENCE * 3));
    }
}
