//! Running a program in the database's container, and being certain how it ended.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use supakeep_flow::ports::{SourceStream, StackError};
use supakeep_model::code::Code;
use supakeep_model::secret::Secret;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::error::{call, explain};
use crate::tail::Tail;
use crate::trailer::{SCRIPT, Trailer};
use crate::verdict;

/// Bytes that the client asks the kernel for at a time. The engine's frames have up to 32 KiB.
const READ_BYTES: usize = 64 * 1024;
/// How long an exec may take to end after its trailer was seen, and to be known as ended.
const END: Duration = Duration::from_secs(30);
/// Pause between two questions whether it has ended.
const POLL: Duration = Duration::from_millis(20);

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
pub(crate) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// A program and how it is run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Command {
    /// The program and its arguments. Nothing secret: every process list shows them.
    pub(crate) arguments: Vec<String>,
    /// `NAME=value`, nothing secret either.
    pub(crate) environment: Vec<String>,
    /// A user of the container, other than its own.
    pub(crate) user: Option<String>,
    /// The database's password, where it asks for one. It travels over standard input.
    pub(crate) password: Option<Secret<String>>,
    /// The longest pause between two chunks of output.
    pub(crate) stall: Duration,
}

impl Command {
    fn program(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

/// The script's first lines where there is a password: it is read from standard input, byte by byte as
/// POSIX wants, so nothing of what follows is swallowed.
const READ_PASSWORD: &str = "IFS= read -r PGPASSWORD\nexport PGPASSWORD\n";

/// An exec that has been started, with both ends of its stream.
pub(crate) struct Started {
    pub(crate) id: String,
    pub(crate) output: Output,
    pub(crate) input: Input,
}

/// Starts `script` with `parameters` as `$1 …`; the password, if any, is handed over first.
pub(crate) async fn start(
    docker: &Docker,
    container: &str,
    command: &Command,
    script: &str,
    parameters: &[&str],
) -> Result<Started, StackError> {
    let script = match command.password {
        Some(_) => format!("{READ_PASSWORD}{script}"),
        None => script.to_owned(),
    };
    let shell = ["sh", "-c", &script, "supakeep"].into_iter().chain(parameters.iter().copied());
    let arguments = command.arguments.iter().map(String::as_str);
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        cmd: Some(shell.chain(arguments).map(str::to_owned).collect()),
        env: Some(command.environment.clone()),
        user: command.user.clone(),
        ..ExecConfig::default()
    };
    let doing = format!("running {} in the database's container", command.program());
    let id = call(&doing, docker.create_exec(container, config)).await?.id;
    let options = StartExecOptions { detach: false, tty: false, output_capacity: Some(READ_BYTES) };
    match call(&doing, docker.start_exec(&id, Some(options))).await? {
        StartExecResults::Attached { output, mut input } => {
            if let Some(password) = &command.password {
                hand_over(&mut input, format!("{}\n", password.expose()).as_bytes()).await?;
            }
            Ok(Started { id, output, input })
        }
        StartExecResults::Detached => {
            Err(StackError::new(Code::DockerRefused, format!("{doing}: not attached")))
        }
    }
}

/// Writes to the program's standard input, for a bounded time.
pub(crate) async fn hand_over(input: &mut Input, bytes: &[u8]) -> Result<(), StackError> {
    let writing = async {
        input.write_all(bytes).await?;
        input.flush().await
    };
    let lost =
        |what: String| StackError::new(Code::StreamTruncated, format!("writing to the exec's input: {what}"));
    match tokio::time::timeout(END, writing).await {
        Ok(written) => written.map_err(|error| lost(error.to_string())),
        Err(_) => Err(lost("no progress".to_owned())),
    }
}

/// Runs `command` and reads its output.
pub(crate) async fn run(
    docker: &Docker,
    container: &str,
    command: Command,
) -> Result<ExecStream, StackError> {
    let nonce = nonce()?;
    let started = start(docker, container, &command, SCRIPT, &[&nonce]).await?;
    Ok(ExecStream::new(docker, command, started, &nonce))
}

/// A random word that no output holds.
pub(crate) fn nonce() -> Result<String, StackError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| StackError::new(Code::Internal, format!("no random numbers: {error}")))?;
    Ok(hex::encode(random))
}

/// The output of a program. Dropping it does not end the program: what it does in the database is
/// ended there (`Server::terminate`).
pub(crate) struct ExecStream {
    docker: Docker,
    command: Command,
    started: Started,
    trailer: Trailer,
    stderr: Tail,
    ready: VecDeque<Bytes>,
    /// What the trailer says.
    exit_code: Option<i64>,
}

impl ExecStream {
    /// The output of what was started, which ends with a trailer that has this nonce.
    pub(crate) fn new(docker: &Docker, command: Command, started: Started, nonce: &str) -> ExecStream {
        ExecStream {
            docker: docker.clone(),
            command,
            started,
            trailer: Trailer::new(nonce),
            stderr: Tail::default(),
            ready: VecDeque::new(),
            exit_code: None,
        }
    }

    /// Lends the program's standard input to somebody who writes to it while the output is read.
    pub(crate) fn lend_input(&mut self) -> Input {
        std::mem::replace(&mut self.started.input, Box::pin(tokio::io::sink()))
    }

    /// Takes it back: it is closed when the verdict is asked for.
    pub(crate) fn return_input(&mut self, input: Input) {
        self.started.input = input;
    }

    /// An error if the program does not run any more although its trailer has not come.
    pub(crate) async fn must_run(&mut self) -> Result<(), StackError> {
        let found =
            call("asking whether the exec still runs", self.docker.inspect_exec(&self.started.id)).await?;
        if found.running == Some(false) { Err(self.ended_early()) } else { Ok(()) }
    }

    /// Reads everything, up to `limit` bytes, and the verdict: for answers that are small.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Vec<u8>, StackError> {
        let mut out = Vec::new();
        while let Some(bytes) = self.next().await? {
            if out.len() + bytes.len() > limit {
                let program = self.command.program();
                return Err(StackError::new(
                    Code::DumpFailed,
                    format!("{program} wrote more than {limit} bytes"),
                ));
            }
            out.extend_from_slice(&bytes);
        }
        Box::new(self).finish().await?;
        Ok(out)
    }

    /// The exit code of a program that is expected to fail in known ways; others are errors.
    pub(crate) fn exit_code(&self) -> Option<i64> {
        self.exit_code
    }

    fn frame(&mut self, frame: LogOutput) -> Result<(), StackError> {
        match frame {
            LogOutput::StdOut { message } => {
                self.ready.extend(self.trailer.push(message).into_iter().filter(|piece| !piece.is_empty()));
                self.exit_code = self.trailer.exit_code();
                Ok(())
            }
            LogOutput::StdErr { message } => {
                self.stderr.push(&message);
                Ok(())
            }
            // The decoder's name for bytes that are no frame: the stream was cut or garbled, or the
            // engine could not start the program and says so in plain text.
            LogOutput::Console { message } | LogOutput::StdIn { message } => {
                Err(broken_frame(&self.command, &message))
            }
        }
    }

    fn ended_early(&self) -> StackError {
        let words = verdict::last_words(&self.stderr.text());
        let said = if words.is_empty() { String::new() } else { format!("; its last words: {words}") };
        let message = format!("the stream of {} ended before the program had{said}", self.command.program());
        StackError::new(Code::StreamTruncated, message).saying(self.stderr.text())
    }

    /// Asks the engine until the exec does not run any more: before that its exit code is null, which
    /// passes for 0.
    async fn engine_exit_code(&mut self) -> Result<i64, StackError> {
        let deadline = tokio::time::Instant::now() + END;
        while tokio::time::Instant::now() < deadline {
            let found = call("asking how the exec ended", self.docker.inspect_exec(&self.started.id)).await?;
            if let (Some(false), Some(code)) = (found.running, found.exit_code) {
                return Ok(code);
            }
            tokio::time::sleep(POLL).await;
        }
        let message = format!("{} does not end although its output has", self.command.program());
        Err(StackError::new(Code::DumpStalled, message))
    }

    /// Lets the script go, and reads the stream to its very end.
    async fn release(&mut self) -> Result<(), StackError> {
        let closing = async {
            // Closing fails when the other side is gone already; the end of the stream will tell.
            let _ = self.started.input.shutdown().await;
            while let Some(frame) = self.started.output.next().await {
                match frame {
                    Ok(LogOutput::StdErr { message }) => self.stderr.push(&message),
                    Ok(other) if !other.as_ref().is_empty() => {
                        return Err(StackError::new(Code::StreamCorrupt, "output after the trailer"));
                    }
                    Ok(_) => {}
                    Err(error) => return Err(explain("reading the end of the exec's stream", &error)),
                }
            }
            Ok(())
        };
        tokio::time::timeout(END, closing).await.unwrap_or_else(|_| {
            Err(StackError::new(
                Code::DumpStalled,
                "the exec's stream does not end although its input is closed",
            ))
        })
    }
}

pub(crate) fn broken_frame(command: &Command, message: &[u8]) -> StackError {
    let text = String::from_utf8_lossy(&message[..message.len().min(300)]).trim().to_owned();
    if text.contains("exec failed") || text.contains("executable file not found") {
        return StackError::new(
            Code::DumpToolMissing,
            format!("{} cannot be run: {text}", command.program()),
        );
    }
    let length = message.len();
    StackError::new(
        Code::StreamCorrupt,
        format!("{length} bytes of the stream of {} are in no frame", command.program()),
    )
}

#[async_trait]
impl SourceStream for ExecStream {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if self.exit_code.is_some() {
                return Ok(None);
            }
            match tokio::time::timeout(self.command.stall, self.started.output.next()).await {
                Ok(Some(Ok(frame))) => self.frame(frame)?,
                Ok(Some(Err(error))) => {
                    let failed = explain("reading the exec's stream", &error);
                    let lost = StackError::new(Code::StreamTruncated, failed.message);
                    return Err(lost.saying(self.stderr.text()));
                }
                Ok(None) => return Err(self.ended_early()),
                Err(_) => {
                    let (program, seconds) = (self.command.program(), self.command.stall.as_secs());
                    let message = format!("{program} wrote nothing for {seconds} seconds");
                    return Err(StackError::new(Code::DumpStalled, message).saying(self.stderr.text()));
                }
            }
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<String, StackError> {
        let Some(in_band) = self.exit_code else { return Err(self.ended_early()) };
        self.release().await?;
        let by_engine = self.engine_exit_code().await?;
        let stderr = self.stderr.text();
        if in_band != by_engine {
            let message = format!(
                "{} ended with {in_band} by its own word and with {by_engine} by the engine's",
                self.command.program()
            );
            return Err(StackError::new(Code::ExitMismatch, message).saying(stderr));
        }
        if in_band != 0 {
            return Err(verdict::failed(self.command.program(), in_band, &stderr));
        }
        Ok(stderr)
    }
}

#[cfg(test)]
mod tests;
