//! The way to the engine.

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

/// Where the engine is unless `DOCKER_HOST` says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// How long one call may take to be answered. Streams have limits of their own.
const CALL_SECONDS: u64 = 60;

/// Makes a client for `host` (`unix://`, `tcp://`; with TLS where `DOCKER_TLS_VERIFY` is set, keys in
/// `DOCKER_CERT_PATH`), or for the local socket. It does not connect yet: every call does, so an
/// engine that comes back, or comes at all, is found.
pub fn connect(host: Option<&str>) -> Result<Docker, StackError> {
    let host = host.unwrap_or(DEFAULT_HOST);
    match host.split_once("://") {
        Some(("unix", path)) if !path.is_empty() => connect_lazily(path),
        Some(("tcp" | "http" | "https", _)) => Docker::connect_with_host(host),
        _ => {
            let message = format!(
                "DOCKER_HOST {host:?} names no engine; write unix:///var/run/docker.sock or tcp://HOST:PORT"
            );
            return Err(StackError::new(Code::DockerUnreachable, message));
        }
    }
    .map_err(|error| {
        StackError::new(Code::DockerUnreachable, format!("cannot use DOCKER_HOST {host}: {error}"))
    })
}

/// What `Docker::connect_with_unix` does, but for its question whether the socket is there already: it
/// may be mounted, or its engine started, later than this.
fn connect_lazily(path: &str) -> Result<Docker, Error> {
    let mut builder = Client::builder(TokioExecutor::new());
    // Each call has a connection of its own: one that is upgraded for an exec is not given back.
    let client = builder.pool_max_idle_per_host(0).build(UnixConnector);
    let transport = move |request: BollardRequest| {
        let client = client.clone();
        async move { client.request(request).await.map_err(Error::from) }
    };
    // The connector takes the path from the address's host.
    let address = format!("unix://{}", hex::encode(path));
    Docker::connect_with_custom_transport(transport, Some(address), CALL_SECONDS, API_DEFAULT_VERSION)
}

#[cfg(test)]
mod tests;
