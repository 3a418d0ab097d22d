//! What a scripted stream does.

use std::time::Duration;

use bytes::Bytes;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

/// One thing that a stream does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Hands out bytes, in chunks.
    Bytes(Bytes),
    /// Hands out nothing for a while.
    Pause(Duration),
    /// Hands out nothing any more, and never ends.
    Hang,
    /// Fails.
    Fail(StackError),
    /// Panics, as a bug would.
    Panic,
}

/// What a stream does, and how the program behind it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// In order.
    pub steps: Vec<Step>,
    /// What the program wrote to standard error; or why it failed.
    pub verdict: Result<String, StackError>,
    /// The size of the chunks.
    pub chunk_bytes: usize,
}

impl Script {
    /// Hands out `bytes`, and the program succeeds.
    pub fn of(bytes: impl Into<Bytes>) -> Script {
        Script { steps: vec![Step::Bytes(bytes.into())], verdict: Ok(String::new()), chunk_bytes: 32 * 1024 }
    }

    /// The same, and something else after its first `bytes` bytes; the rest never comes.
    pub fn cut(mut self, bytes: usize, then: Option<Step>) -> Script {
        let mut whole = self.bytes();
        whole.truncate(bytes);
        self.steps = [Step::Bytes(whole.into())].into_iter().chain(then).collect();
        self
    }

    /// The same, and the program fails at its end.
    pub fn failing(mut self, code: Code, message: &str) -> Script {
        self.verdict = Err(StackError::new(code, message));
        self
    }

    /// The same, and the program says something although it succeeds.
    pub fn saying(mut self, stderr: &str) -> Script {
        self.verdict = Ok(stderr.to_owned());
        self
    }

    /// The same in chunks of another size.
    pub fn in_chunks_of(mut self, bytes: usize) -> Script {
        self.chunk_bytes = bytes.max(1);
        self
    }

    /// All its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = self.steps.iter().filter_map(|step| match step {
            Step::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        });
        bytes.flatten().collect()
    }
}
