//! Running programs and looking at what they said.

use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// Its exit code; -1 if a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}\n{}", self.text(), self.stderr))
    }

    /// The same, if it ended well.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn ok(self) -> Ended {
        assert!(self.status.success(), "ended with {}:\n{}{}", self.status, self.text(), self.stderr);
        self
    }
}

/// Taken while a child is being started. Between fork and exec it has a copy of every open file of this
/// process, locks and files that are being written among them.
static STARTING: Mutex<()> = Mutex::new(());

/// Starts `command`; its program runs when this returns.
///
/// # Panics
///
/// If it cannot be started.
#[track_caller]
pub fn spawn(command: &mut Command) -> Child {
    let child = without_starting(|| command.spawn());
    child.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Does `work` while no other thread starts a program: for whoever lets go of a lock that others take,
/// or writes a program that is to be run.
pub fn without_starting<T>(work: impl FnOnce() -> T) -> T {
    let _nobody_else = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Runs `command` with `input` on its standard input.
///
/// # Panics
///
/// If it cannot be started.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that ends before it has read everything is looked at by its status.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("a child can be waited for");
    writer.join().expect("writing does not panic");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { status: output.status, stdout: output.stdout, stderr }
}

/// Runs the Docker client.
#[track_caller]
pub fn docker(arguments: &[&str]) -> Ended {
    run(Command::new("docker").args(arguments), b"")
}
