//! What a program does that is run by exec.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A program as it was called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Called {
    /// What the trailer begins with; empty for a session, which has none.
    pub(crate) nonce: String,
    /// The program and its arguments.
    pub(crate) arguments: Vec<String>,
    /// `NAME=value`
    pub(crate) environment: Vec<String>,
    pub(crate) user: Option<String>,
    /// Whether it is told a password first.
    pub(crate) with_password: bool,
}

impl Called {
    pub(crate) fn program(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.arguments.iter().any(|argument| argument.contains(text))
    }
}

/// One thing that a program, or the engine with its stream, does.
#[derive(Clone)]
pub(crate) enum Act {
    /// Writes to standard output.
    Out(Vec<u8>),
    /// Writes to standard error.
    Err(Vec<u8>),
    /// Writes bytes into the stream that are in no frame.
    Raw(Vec<u8>),
    /// Writes the trailer with this exit code.
    Trailer(i64),
    /// Writes a trailer that is somebody else's.
    ForeignTrailer,
    /// Answers each statement that comes in over standard input, until that is closed.
    Session(fn(&str) -> Option<String>),
    /// Waits until standard input is closed.
    AwaitEnd,
    /// Has ended with this exit code, as the engine sees it.
    Exit(i64),
    /// Does nothing more, and the stream stays open.
    Hang,
}

/// Writes `output`, and ends as the script around every program does.
pub(crate) fn exits(output: impl Into<Vec<u8>>, code: i64) -> Vec<Act> {
    let mut acts: Vec<_> = output.into().chunks(8_000).map(|chunk| Act::Out(chunk.to_vec())).collect();
    acts.extend([Act::Trailer(code), Act::AwaitEnd, Act::Exit(code)]);
    acts
}

/// An exec, and how it ended.
#[derive(Clone)]
pub(crate) struct Exec {
    pub(super) called: Called,
    pub(super) acts: Vec<Act>,
    pub(super) exit_code: Arc<Mutex<Option<i64>>>,
    /// What came in over standard input.
    pub(super) input: Arc<Mutex<Vec<u8>>>,
}

fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a frame is small").to_be_bytes();
    [&[stream, 0, 0, 0], &length[..], bytes].concat()
}

/// Does what the program does, and closes the stream.
pub(super) async fn perform(mut stream: UnixStream, exec: Exec) {
    let nonce = &exec.called.nonce;
    if exec.called.with_password {
        read_line(&mut stream, &exec).await;
    }
    for act in &exec.acts {
        let bytes = match act {
            Act::Out(bytes) => frame(1, bytes),
            Act::Err(bytes) => frame(2, bytes),
            Act::Raw(bytes) => bytes.clone(),
            Act::Trailer(code) => frame(1, format!("\n{nonce} {code:03}\n").as_bytes()),
            Act::ForeignTrailer => frame(1, format!("\n{} 000\n", "0".repeat(nonce.len())).as_bytes()),
            Act::Session(answer) => {
                session(&mut stream, &exec, *answer).await;
                continue;
            }
            Act::AwaitEnd => {
                while read(&mut stream, &exec).await.is_some() {}
                continue;
            }
            Act::Exit(code) => {
                *exec.exit_code.lock().unwrap_or_else(PoisonError::into_inner) = Some(*code);
                continue;
            }
            Act::Hang => return std::future::pending().await,
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn session(stream: &mut UnixStream, exec: &Exec, answer: fn(&str) -> Option<String>) {
    let mut pending = String::new();
    while let Some(bytes) = read(stream, exec).await {
        pending.push_str(&String::from_utf8_lossy(&bytes));
        if let Some(answer) = pending.ends_with(";\n").then(|| answer(&pending)).flatten() {
            pending.clear();
            let _ = stream.write_all(&frame(1, answer.as_bytes())).await;
        }
    }
}

/// The next bytes of standard input; `None` when it is closed.
async fn read(stream: &mut UnixStream, exec: &Exec) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4_096);
    let read = stream.read_buf(&mut bytes).await;
    exec.input.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
    read.is_ok_and(|count| count > 0).then_some(bytes)
}

async fn read_line(stream: &mut UnixStream, exec: &Exec) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).await.is_ok() {
        exec.input.lock().unwrap_or_else(PoisonError::into_inner).push(byte[0]);
        if byte == *b"\n" {
            return;
        }
    }
}
