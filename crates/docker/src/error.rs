//! What the engine's errors mean.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

/// How long any one call that is no stream may take.
const CALL: Duration = Duration::from_secs(30);

/// Awaits a call to the engine, for a bounded time.
pub(crate) async fn call<T>(
    what: &str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, StackError> {
    call_within(CALL, what, future).await
}

/// The same for a call that takes its time.
pub(crate) async fn call_within<T>(
    limit: Duration,
    what: &str,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, StackError> {
    match tokio::time::timeout(limit, future).await {
        Ok(answer) => answer.map_err(|error| explain(what, &error)),
        Err(_) => Err(StackError::new(
            Code::DockerUnreachable,
            format!("{what}: the engine did not answer within {} seconds", limit.as_secs()),
        )),
    }
}

/// Finds the code for an error of the engine or of the way to it.
pub(crate) fn explain(what: &str, error: &Error) -> StackError {
    let (code, detail) = match error {
        Error::DockerResponseServerError { status_code: 403, message } => {
            (Code::DockerRefused, message.clone())
        }
        // An exec is forgotten when its container is made anew or the engine restarts.
        Error::DockerResponseServerError { status_code: 404, message }
            if message.to_ascii_lowercase().contains("no such exec") =>
        {
            (Code::DatabaseLost, message.clone())
        }
        Error::DockerResponseServerError { status_code: 404, message } => {
            (Code::StackNotFound, message.clone())
        }
        Error::DockerResponseServerError { status_code, message } => {
            (server_code(*status_code, message), message.clone())
        }
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => {
            (Code::DockerRefused, error.to_string())
        }
        other => (transport_code(other), chain(other)),
    };
    StackError::new(code, format!("{what}: {}", detail.trim()))
}

fn server_code(status: u16, message: &str) -> Code {
    // The engine answers an exec in a container that is paused or not running with 409, or 500.
    if message.contains("is paused") {
        Code::DatabasePaused
    } else if message.contains("is not running") || message.contains("is restarting") {
        Code::DatabaseNotRunning
    } else if matches!(status, 502..=504) {
        Code::DockerUnreachable
    } else {
        Code::DockerRefused
    }
}

fn transport_code(error: &Error) -> Code {
    let text = chain(error);
    if text.contains("ermission denied") {
        Code::DockerPermission
    } else if text.contains("upgrade") {
        Code::DockerNoAttach
    } else {
        Code::DockerUnreachable
    }
}

/// An error with its causes: hyper's own text says only `client error (Connect)`.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let shown = inner.to_string();
        if !text.contains(&shown) {
            text = format!("{text}: {shown}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(error: &Error) -> Code {
        explain("listing containers", error).code
    }

    #[test]
    fn knows_a_socket_that_it_may_not_open() {
        let denied = Error::IOError { err: std::io::ErrorKind::PermissionDenied.into() };
        assert_eq!(code(&denied), Code::DockerPermission);
        let gone = Error::IOError { err: std::io::ErrorKind::ConnectionRefused.into() };
        assert_eq!(code(&gone), Code::DockerUnreachable);
    }

    #[test]
    fn tells_the_engine_from_the_proxy_before_it() {
        let answer = |status_code: u16, message: &str| {
            let message = message.to_owned();
            code(&Error::DockerResponseServerError { status_code, message })
        };
        for status in [502, 503, 504] {
            assert_eq!(answer(status, "Bad Gateway"), Code::DockerUnreachable);
        }
        assert_eq!(answer(403, "forbidden"), Code::DockerRefused);
        assert_eq!(answer(500, "container 1 is paused"), Code::DatabasePaused);
        assert_eq!(answer(404, "No such container: db"), Code::StackNotFound);
        assert_eq!(answer(404, "No such exec instance: 0a1b"), Code::DatabaseLost);
        assert_eq!(answer(500, "something else"), Code::DockerRefused);
    }
}
