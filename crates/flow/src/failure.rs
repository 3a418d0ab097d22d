//! Why a run ended without a backup.

use supakeep_model::code::Code;
use supakeep_model::manifest_head::RunError;

use crate::inspect::InspectError;
use crate::ports::{StackError, StoreError};

/// A failure, with the one code that it is known by everywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// Everything that a program on the server wrote to standard error, where that is what failed.
    pub stderr: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), stderr: String::new() }
    }

    /// The same failure, with what was being done in front of it.
    pub fn while_doing(self, what: impl std::fmt::Display) -> Failure {
        Failure { message: format!("{what}: {}", self.message), ..self }
    }

    /// As it is recorded in a manifest.
    pub fn record(&self) -> RunError {
        RunError { code: self.code, message: self.message.clone(), hint: self.code.hint().to_owned() }
    }
}

impl From<StackError> for Failure {
    fn from(error: StackError) -> Failure {
        Failure { code: error.code, message: error.message, stderr: error.stderr }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::new(error.code, error.message)
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Failure {
        Failure::new(Code::DumpIncomplete, error.to_string())
    }
}

/// ENFILE and EMFILE, which the standard library has no kind for.
const TOO_MANY_FILES: [Option<i32>; 2] = [Some(23), Some(24)];

/// Whether an error of reading a file says nothing about the file: it may be all right.
pub fn is_of_the_reader(code: Code) -> bool {
    matches!(code, Code::RepositoryUnavailable | Code::RepositoryReadOnly)
}

/// The code that an error of the file system stands for.
pub fn io_code(error: &std::io::Error) -> Code {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Code::RepositoryFull,
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Code::RepositoryReadOnly,
        ErrorKind::NotFound => Code::RepositoryMissing,
        ErrorKind::StaleNetworkFileHandle
        | ErrorKind::TimedOut
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::OutOfMemory => Code::RepositoryUnavailable,
        _ if TOO_MANY_FILES.contains(&error.raw_os_error()) => Code::RepositoryUnavailable,
        _ => Code::RepositoryIo,
    }
}
