//! The daemon as a process.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use crate::keeper::Keeper;
use crate::wait::{eventually, wait_for};

/// A running daemon; killed when it is dropped.
pub struct Daemon {
    child: Child,
    port: u16,
    log: std::thread::JoinHandle<String>,
}

impl Daemon {
    /// Starts it on a free port and waits until it answers.
    pub fn start(keeper: &mut Keeper) -> Daemon {
        let port = free_port();
        keeper.set("SUPAKEEP_HTTP__LISTEN", &format!("127.0.0.1:{port}"));
        let mut command = keeper.command(&["daemon"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let mut stderr = child.stderr.take().expect("standard error was asked for");
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let daemon = Daemon { child, port, log };
        wait_for("the daemon answers", Duration::from_secs(10), || daemon.get("/health/live").is_some());
        daemon
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A GET: status and body, if it answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.request("GET", path, "")
    }

    /// A request: status and body, if it answers.
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: x\r\n{headers}\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// The value of a metric, by its name and labels as they are printed.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until a metric has at least this value.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, at_least: f64, limit: Duration) {
        let found = eventually(limit, || self.metric(name).filter(|value| *value >= at_least));
        assert!(found.is_some(), "{name} is {:?}, not {at_least}", self.metric(name));
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let _ = std::process::Command::new("kill").args([name, &pid]).status();
    }

    /// Sends SIGTERM, and returns how it ended and what it logged.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.signal("-TERM");
        let status = self.child.wait().expect("a child can be waited for");
        let log = std::mem::replace(&mut self.log, std::thread::spawn(String::new));
        (status, log.join().expect("reading does not panic"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
