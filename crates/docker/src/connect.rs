//! The way to the engine.

use bollard::Docker;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

/// Where the engine is unless `DOCKER_HOST` says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Makes a client for `host` (`unix://`, `tcp://`; with TLS where `DOCKER_TLS_VERIFY` is set, keys in
/// `DOCKER_CERT_PATH`), or for the local socket. It does not connect yet: every call does, so an
/// engine that comes back is found again.
pub fn connect(host: Option<&str>) -> Result<Docker, StackError> {
    let host = host.unwrap_or(DEFAULT_HOST);
    match host.strip_prefix("unix://") {
        // Unlike the general call, this one does not ask for the socket to be there already.
        Some(_) => Docker::connect_with_unix(host, CALL_SECONDS, bollard::API_DEFAULT_VERSION),
        None => Docker::connect_with_host(host),
    }
    .map_err(|error| {
        StackError::new(Code::DockerUnreachable, format!("cannot use DOCKER_HOST {host}: {error}"))
    })
}

/// How long one call may take to be answered. Streams have limits of their own.
const CALL_SECONDS: u64 = 60;
