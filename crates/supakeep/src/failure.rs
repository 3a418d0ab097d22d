//! How a command fails: one message, one code, one hint, one exit status.

use std::fmt;
use std::process::ExitCode;

use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{StackError, StoreError};
use supakeep_model::catalog::QueryError;
use supakeep_model::code::Code;

use crate::config::Faults;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// The stable code.
    pub(crate) code: Code,
    /// What happened.
    pub(crate) message: String,
    /// Whether standard output has the command's result already, and with it what is wrong.
    pub(crate) has_result: bool,
}

impl CommandError {
    /// An error of this kind.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> CommandError {
        CommandError { code, message: message.into(), has_result: false }
    }

    /// The same error of a command that has printed its result: with `--json` nothing follows it.
    pub(crate) fn after_result(self) -> CommandError {
        CommandError { has_result: true, ..self }
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(self.code.exit() as u8)
    }

    /// As JSON, for `--json`.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "error": { "code": self.code, "message": self.message, "hint": self.code.hint() } })
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}\n  hint: {}", self.code, self.message, self.code.hint())
    }
}

impl std::error::Error for CommandError {}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> CommandError {
        CommandError::new(failure.code, failure.message)
    }
}

impl From<StackError> for CommandError {
    fn from(error: StackError) -> CommandError {
        CommandError::new(error.code, error.message)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> CommandError {
        CommandError::new(error.code, error.message)
    }
}

impl From<QueryError> for CommandError {
    fn from(error: QueryError) -> CommandError {
        CommandError::new(error.code(), error.to_string())
    }
}

impl From<Faults> for CommandError {
    fn from(faults: Faults) -> CommandError {
        CommandError::new(Code::ConfigInvalid, faults.to_string())
    }
}
