//! Running programs and looking at what they said.

use std::io::Write as _;
use std::process::{Command, ExitStatus, Stdio};

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

/// Runs `command` with `input` on its standard input.
///
/// # Panics
///
/// If it cannot be started.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
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
