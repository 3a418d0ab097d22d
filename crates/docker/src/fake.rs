//! A Docker Engine that answers as it is told, on a socket of its own. It speaks as much HTTP as the
//! client needs: one request a connection, and the upgrade of an exec's stream.

mod engine;
mod http;
mod program;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use supakeep_testkit::Database;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::AbortHandle;

use crate::connect::connect;
use crate::stack::{DockerStack, RootKey, StackSpec};
pub(crate) use engine::{Answer, Engine, listed};
pub(crate) use program::{Act, exits};

/// The database's container.
pub(crate) const CONTAINER: &str = "db0123456789";

/// The fake, as long as it lives.
pub(crate) struct FakeDocker {
    folder: TempDir,
    pub(crate) engine: Arc<Engine>,
    serving: Option<AbortHandle>,
}

impl FakeDocker {
    /// An engine with a healthy stack.
    pub(crate) fn start() -> FakeDocker {
        let mut fake = FakeDocker::stopped();
        fake.listen();
        fake
    }

    /// An engine that does not run: there is no socket.
    pub(crate) fn stopped() -> FakeDocker {
        let databases = vec![Database::new("postgres").with("users", 30), Database::new("_supabase")];
        FakeDocker {
            folder: tempfile::tempdir().expect("a temporary folder"),
            engine: Arc::new(Engine::new(databases)),
            serving: None,
        }
    }

    /// Makes the socket and serves it.
    pub(crate) fn listen(&mut self) {
        let listener = UnixListener::bind(self.socket()).expect("a new socket");
        let engine = Arc::clone(&self.engine);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(http::serve(connection, Arc::clone(&engine)));
            }
        });
        self.serving = Some(serving.abort_handle());
    }

    /// Stops listening; the socket's file stays, as it does when an engine dies.
    pub(crate) fn die(&mut self) {
        self.serving.take().expect("it listens").abort();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn docker(&self) -> Docker {
        connect(Some(&self.host())).expect("a socket's path")
    }

    pub(crate) fn stack(&self) -> DockerStack {
        DockerStack::new(self.docker(), spec(), "cafe")
    }
}

impl Drop for FakeDocker {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// What is asked for in these tests.
pub(crate) fn spec() -> StackSpec {
    StackSpec {
        project: "supabase".to_owned(),
        service: "db".to_owned(),
        container: None,
        user: "supabase_admin".to_owned(),
        port: None,
        password: None,
        root_key: RootKey::At("/etc/postgresql-custom/pgsodium_root.key".to_owned()),
        wait: Duration::ZERO,
        stall: Duration::from_secs(30),
        lock_wait: Duration::from_secs(300),
    }
}

/// Awaits `future` while the clock runs hundreds of times too fast, so that what takes half a minute to
/// give up does so at once. Between two steps of the clock everything that can go on does: a slow
/// machine makes nothing late.
pub(crate) async fn hurry<T>(future: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let mut future = std::pin::pin!(future);
    loop {
        // While a blocking task runs, tokio leaves its paused clock alone.
        let tick = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
        tokio::select! {
            biased;
            out = &mut future => {
                tokio::time::resume();
                return out;
            }
            _ = tick => tokio::time::advance(Duration::from_millis(400)).await,
        }
    }
}
