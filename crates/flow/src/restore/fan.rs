//! Feeding a plain dump to several sessions of psql at once.
//!
//! A plain dump is one script, and most of its time goes into parsing and storing rows, which a session of
//! PostgreSQL does on one core. Rows of one table do not know of each other before the indexes and constraints
//! that come after all rows, so those of a large table are dealt out, whole lines to whoever takes them. All else
//! goes to the leading session, in the dump's order, and nothing that comes after a table's rows begins before
//! the last of them is stored.

mod deal;
mod lane;
mod sorter;

use futures_util::future::{FutureExt as _, try_join_all};
use supakeep_model::code::Code;

use self::deal::{Dealer, Trouble};
use self::lane::lane;
use crate::failure::Failure;
use crate::ports::{OnProgress, Site, Stored};

/// A smaller dump is not worth the sessions.
const WORTH_BYTES: u64 = 32 << 20;

/// Whether a dump of so many bytes is worth several sessions.
pub(super) fn is_worth(bytes: u64, jobs: usize) -> bool {
    jobs > 1 && bytes >= WORTH_BYTES
}

/// Feeds a plain dump to `database` through `jobs` sessions. Any error ends all of them.
pub(super) async fn fill(
    site: &dyn Site,
    database: &str,
    dump: Stored,
    jobs: usize,
    progress: OnProgress<'_>,
) -> Result<(), Failure> {
    let (lanes, sessions): (Vec<_>, Vec<_>) = (0..jobs).map(|_| lane()).unzip();
    let sessions = try_join_all(sessions.into_iter().map(|session| session.run(site, database)));
    let dealing = Dealer::new(lanes).deal(dump, progress);
    tokio::pin!(sessions, dealing);
    tokio::select! {
        // A session that has failed knows why; whoever fed it only knows that it is gone.
        biased;
        ended = &mut sessions => {
            ended?;
            dealing.await.map_err(|_| early())
        }
        dealt = &mut dealing => match dealt {
            Ok(()) => sessions.await.map(drop).map_err(Failure::from),
            Err(Trouble::Unreadable(error)) => Err(unreadable(&error)),
            // The others wait for more, which never comes.
            Err(Trouble::Gone) => match sessions.now_or_never() {
                Some(Err(error)) => Err(error.into()),
                _ => Err(early()),
            },
        },
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(Code::RepositoryIo, format!("reading what is to be restored: {error}"))
}

fn early() -> Failure {
    Failure::new(Code::RestoreFailed, "psql ended before it was told everything")
}
