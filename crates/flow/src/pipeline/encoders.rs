//! Threads that compress blocks, and the queue that keeps their results in order.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use supakeep_model::dump::Compression;

use crate::inspect::split::Closed;
use crate::stage::encode::BlockEncoder;

/// A block, and where its encoded form goes.
struct Job {
    block: Vec<u8>,
    /// Whether it is to be compressed at all.
    compressed: bool,
    done: SyncSender<io::Result<Vec<u8>>>,
}

/// The promise of an encoded block.
pub(super) type Encoded = Receiver<io::Result<Vec<u8>>>;

/// What the writer is given, in order.
pub(super) enum Ordered {
    /// A file begins, at this path.
    File(String),
    /// The next block of it.
    Block(Encoded),
}

/// Hands blocks to encoders; the promises come out in the same order.
pub(super) struct Encoders {
    jobs: SyncSender<Job>,
    ordered: SyncSender<Ordered>,
}

impl Encoders {
    /// Starts `count` encoders. One block waits for an encoder, and at most `count` for the writer.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        compression: Compression,
        count: usize,
    ) -> io::Result<(Encoders, Receiver<Ordered>)> {
        let count = count.max(1);
        let (jobs, waiting) = sync_channel::<Job>(1);
        let (ordered, results) = sync_channel(count);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..count {
            let waiting = Arc::clone(&waiting);
            let mut encoder = BlockEncoder::new(compression)?;
            thread::Builder::new().name(format!("encoder-{number}")).spawn_scoped(scope, move || {
                loop {
                    // Held while waiting: the other encoders wait for the lock instead.
                    let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { block, compressed, done }) = job else { return };
                    let encoded = if compressed { encoder.encode(block) } else { Ok(block) };
                    // A writer that is gone has failed; the next hand-over will tell.
                    let _ = done.send(encoded);
                }
            })?;
        }
        Ok((Encoders { jobs, ordered }, results))
    }

    /// Begins a file.
    pub(super) fn begin(&self, path: String) -> Result<(), Closed> {
        self.ordered.send(Ordered::File(path)).map_err(|_| Closed)
    }

    /// Hands on a block; waits while too many are on their way.
    pub(super) fn encode(&self, block: Vec<u8>, compressed: bool) -> Result<(), Closed> {
        let (done, promise) = sync_channel(1);
        self.ordered.send(Ordered::Block(promise)).map_err(|_| Closed)?;
        self.jobs.send(Job { block, compressed, done }).map_err(|_| Closed)
    }
}
