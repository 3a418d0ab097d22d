//! One session of psql: what it is told on one side, what it does with it on the other.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{mpsc, watch};
use tokio_util::io::StreamReader;

use crate::ports::{Site, StackError, Stored};

/// Pieces of a script that may wait for the session.
const WAITING: usize = 4;
/// What a session answers to be known as done with what it was told, before a number.
const DONE: &str = "supakeep: done ";
/// The end of such an answer: the line's end alone may come much later, as it may be the beginning of the word that
/// the program has ended.
const END: u8 = b'.';
/// As much of a line as is needed to know such an answer.
const MAX_LINE: usize = 64;

/// The session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// Tells a session what to do.
pub(super) struct Lane {
    script: mpsc::Sender<Bytes>,
    answered: watch::Receiver<u64>,
    asked: u64,
}

impl Lane {
    /// Waits until it takes more.
    pub(super) async fn ready(&self) -> Result<(), Gone> {
        self.script.reserve().await.map(drop).map_err(|_| Gone)
    }

    /// Tells it the next piece.
    pub(super) async fn say(&self, script: impl Into<Bytes>) -> Result<(), Gone> {
        self.script.send(script.into()).await.map_err(|_| Gone)
    }

    /// Asks it to say when all that it was told is done.
    pub(super) async fn ask(&mut self) -> Result<(), Gone> {
        self.asked += 1;
        self.say(format!("\nSELECT '{DONE}{}{}';\n", self.asked, char::from(END))).await
    }

    /// Waits for its answer.
    pub(super) async fn answer(&mut self) -> Result<(), Gone> {
        let asked = self.asked;
        self.answered.wait_for(|answered| *answered >= asked).await.map(drop).map_err(|_| Gone)
    }

    /// Tells it that this was all.
    pub(super) async fn end(self) -> Result<(), Gone> {
        self.say("\n\\q\n").await
    }
}

/// A session that has not been opened yet.
pub(super) struct Session {
    script: mpsc::Receiver<Bytes>,
    answers: Answers,
}

impl Session {
    /// Opens it, and feeds it until it has ended.
    pub(super) async fn run(mut self, site: &dyn Site, database: &str) -> Result<(), StackError> {
        let pull = |mut script: mpsc::Receiver<Bytes>| async {
            script.recv().await.map(|piece| (io::Result::Ok(piece), script))
        };
        let script: Stored = Box::new(StreamReader::new(Box::pin(stream::unfold(self.script, pull))));
        site.psql_session(database, script, &mut |printed| self.answers.read(printed)).await.map(drop)
    }
}

#[cfg(test)]
impl Session {
    /// Takes its script to the end instead of psql, slower by `pause` for each piece, and answers as psql does.
    pub(super) async fn pretend(mut self, pause: std::time::Duration) -> String {
        let mut taken = Vec::new();
        while let Some(piece) = self.script.recv().await {
            tokio::time::sleep(pause).await;
            taken.extend_from_slice(&piece);
            let question = piece.strip_prefix(b"\nSELECT '").and_then(|rest| rest.strip_suffix(b"';\n"));
            if let Some(answer) = question {
                self.answers.read(&[answer, b"\n"].concat());
            }
        }
        String::from_utf8(taken).expect("text")
    }

    /// The same in the background, and what it has been told so far; one that does not answer goes on taking.
    pub(super) fn told(mut self, answers: bool) -> std::sync::Arc<std::sync::Mutex<String>> {
        let told = std::sync::Arc::<std::sync::Mutex<String>>::default();
        let taken = told.clone();
        tokio::spawn(async move {
            while let Some(piece) = self.script.recv().await {
                taken.lock().expect("nobody panics").push_str(&String::from_utf8_lossy(&piece));
                let question = piece.strip_prefix(b"\nSELECT '").and_then(|rest| rest.strip_suffix(b"';\n"));
                if let Some(answer) = question.filter(|_| answers) {
                    self.answers.read(&[answer, b"\n"].concat());
                }
            }
        });
        told
    }
}

/// A session and who tells it what to do.
pub(super) fn lane() -> (Lane, Session) {
    let (script, incoming) = mpsc::channel(WAITING);
    let (answers, answered) = watch::channel(0);
    let lane = Lane { script, answered, asked: 0 };
    (lane, Session { script: incoming, answers: Answers { line: Vec::new(), answers } })
}

/// Finds the answers in what a session prints.
struct Answers {
    line: Vec<u8>,
    answers: watch::Sender<u64>,
}

impl Answers {
    fn read(&mut self, printed: &[u8]) {
        for byte in printed {
            if *byte == b'\n' {
                self.line.clear();
                continue;
            }
            if self.line.len() < MAX_LINE {
                self.line.push(*byte);
            }
            if *byte == END
                && let Some(number) = answer(&self.line)
            {
                self.answers.send_replace(number);
            }
        }
    }
}

fn answer(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line).ok()?.strip_prefix(DONE)?.strip_suffix(char::from(END))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_among_what_a_dump_prints() {
        let (answers, answered) = watch::channel(0);
        let mut found = Answers { line: Vec::new(), answers };
        for piece in ["41\n\nsupakeep: do", "ne 1.", "\n", &"x".repeat(100), "\nsupakeep: done 2"] {
            found.read(piece.as_bytes());
        }
        assert_eq!(*answered.borrow(), 1);
        found.read(b".");
        assert_eq!(*answered.borrow(), 2);
    }
}
