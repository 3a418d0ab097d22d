//! A shell that stays in a container and runs psql there: an exec for each question takes four times as much of the
//! machine as the question, and tests ask often.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::command::spawn;
use crate::wait::eventually;

/// Reads `BYTES DATABASE` and then as many bytes of SQL, over and over; says so, and how each has ended. Where it and a
/// service wait for each other it is the service that has to give way: it tries again.
const SCRIPT: &str = r#"export PGOPTIONS='-c deadlock_timeout=1min'
while read -r bytes database; do
    printf 'heard\n'
    head -c "$bytes" | psql -XAtq -h 127.0.0.1 -U supabase_admin -v ON_ERROR_STOP=1 -d "$database" -f -
    printf '\n%s %s\n' "$0" $?
done"#;
/// What no answer of a test contains.
const END: &str = "supakeep-tests-end-of-answer";

/// What became of a question.
pub(crate) enum Answer {
    /// What psql printed.
    Printed(String),
    /// What it complained of.
    Failed(String),
    /// The shell is gone, and had not heard the question.
    NotHeard,
}

/// The shell; it goes away when it is dropped, and with its container.
pub(crate) struct Resident {
    child: Child,
    /// Taken when there is nothing to ask any more.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    complaints: Arc<Mutex<String>>,
}

impl Resident {
    pub(crate) fn start(container: &str) -> Resident {
        let mut command = Command::new("docker");
        command.args(["exec", "-i", container, "bash", "-c", SCRIPT, END]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command);
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("standard output was asked for"));
        let stderr = BufReader::new(child.stderr.take().expect("standard error was asked for"));
        let complaints = Arc::new(Mutex::new(String::new()));
        let heard = complaints.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Resident { child, stdin, stdout, complaints }
    }

    /// Runs SQL in `database`.
    pub(crate) fn ask(&mut self, database: &str, sql: &str) -> Answer {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let stdin = self.stdin.as_mut().expect("it is taken when this is dropped");
        let asked = write!(stdin, "{} {database}\n{sql}", sql.len()).and_then(|()| stdin.flush());
        let mut line = String::new();
        if asked.is_err() || self.stdout.read_line(&mut line).is_err() || line != "heard\n" {
            return Answer::NotHeard;
        }
        let mut text = Vec::new();
        let end = format!("\n{END} ");
        while !text.ends_with(end.as_bytes()) {
            let read = self.stdout.read_until(b' ', &mut text);
            if read.is_err() || read.is_ok_and(|bytes| bytes == 0) {
                return Answer::Failed(format!("the container went away\n{}", self.complaints()));
            }
        }
        text.truncate(text.len() - end.len());
        line.clear();
        let _ = self.stdout.read_line(&mut line);
        let text = String::from_utf8_lossy(&text).into_owned();
        if line == "0\n" { Answer::Printed(text) } else { Answer::Failed(text + &self.complaints()) }
    }

    /// They come another way than the answer.
    fn complaints(&self) -> String {
        let said = || {
            let said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (!said.is_empty()).then_some(said)
        };
        eventually(Duration::from_secs(1), said).unwrap_or_default()
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // At its end the shell ends, unless its container is paused.
        self.stdin = None;
        let mut has_ended = || matches!(self.child.try_wait(), Ok(Some(_))).then_some(());
        if eventually(Duration::from_secs(1), &mut has_ended).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
