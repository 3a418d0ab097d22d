//! Feeding a program in the database's container, and being certain how it ended.
//!
//! The program is told how many bytes there are and gets exactly those (`head -c`), so the end of its
//! input does not depend on half-closing the connection, which not every proxy passes on. Where nobody knows
//! how many there are, the program is told by its input itself when to end. What it wrote
//! ends with a trailer as a dump does (see [`crate::trailer`]); the script then waits, and its input is
//! closed when the trailer has been read.

use std::future::Future;
use std::time::Duration;

use bollard::Docker;
use supakeep_flow::ports::{Input as Fed, OnOutput, OnProgress, SourceStream as _, StackError};
use supakeep_model::code::Code;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::exec::{Command, ExecStream, Input, hand_over, nonce, start};
use crate::psql::Client;

/// Runs `$3 …` on the next `$2` bytes of standard input, or on all there are, and writes the trailer with
/// nonce `$1`.
const SCRIPT: &str = r#"nonce=$1
bytes=$2
shift 2
run() {
"$@"
code=$?
printf '\n%s %03d\n' "$nonce" "$code"
return "$code"
}
if [ "$bytes" = all ]; then run "$@"; else head -c "$bytes" | run "$@"; fi
code=$?
read -r _
exit "$code""#;

/// Bytes handed over at a time.
const CHUNK: usize = 256 * 1024;
/// What a program that is fed may print; it is told to be quiet.
const MAX_OUTPUT: usize = 16 << 20;
/// How often a program that takes nothing and says nothing is asked about: building an index takes hours.
const WATCH: Duration = Duration::from_secs(30);
/// How many such questions in a row may go without an answer: a restore of hours does not end because an
/// engine is busy for minutes.
const MAX_UNANSWERED: u32 = 10;
/// How long a program that takes no more input may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A pause in its output means nothing.
const NO_STALL: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Where what is fed comes from.
pub(crate) type Source<'a> = &'a mut (dyn AsyncRead + Send + Unpin);

/// What a program made of its input.
pub(crate) struct Outcome {
    /// What it wrote to standard output.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to standard error, the last 64 KiB of it.
    pub(crate) stderr: String,
}

/// Runs `command` on `fed`, until the program ends or something fails, whatever comes first.
pub(crate) async fn feed(
    client: &Client,
    command: Command,
    fed: Fed,
    progress: OnProgress<'_>,
) -> Result<Outcome, StackError> {
    let mut stdout = Vec::new();
    let mut says_too_much = false;
    let mut keep = |bytes: &[u8]| {
        let fits = stdout.len() + bytes.len() <= MAX_OUTPUT;
        says_too_much |= !fits;
        stdout.extend_from_slice(if fits { bytes } else { &[] });
    };
    let stderr = feed_reading(client, command, fed, progress, &mut keep).await?;
    if says_too_much {
        return Err(StackError::new(Code::StreamCorrupt, "the program says more than it should"));
    }
    Ok(Outcome { stdout, stderr })
}

/// The same, with everything that the program prints handed to `output`. Returns what it wrote to standard
/// error, the last 64 KiB of it.
pub(crate) async fn feed_reading(
    client: &Client,
    command: Command,
    mut fed: Fed,
    progress: OnProgress<'_>,
    output: OnOutput<'_>,
) -> Result<String, StackError> {
    feed_from(client, command, &mut fed.stored, Some(fed.bytes), progress, output).await
}

/// The same, with `bytes` bytes of whatever can be read; with none, all that can be read, after which the
/// program ends by itself.
pub(crate) async fn feed_from(
    client: &Client,
    mut command: Command,
    stored: Source<'_>,
    bytes: Option<u64>,
    progress: OnProgress<'_>,
    output: OnOutput<'_>,
) -> Result<String, StackError> {
    command.stall = NO_STALL;
    let (mut stream, mut input) = begin(&client.docker, &client.container, command, bytes).await?;
    {
        let reading = read(&mut stream, output);
        tokio::pin!(reading);
        tokio::select! {
            // A program that has failed takes no more; its own words tell more than that.
            read = &mut reading => read?,
            written = write(&mut input, stored, bytes, progress) => match written {
                Ok(()) => reading.await?,
                Err(error) => return Err(last_words(reading).await.unwrap_or(error)),
            },
        }
    }
    stream.return_input(input);
    Box::new(stream).finish().await
}

/// Starts a program that is to be fed `bytes` bytes, or until it ends by itself.
pub(crate) async fn begin(
    docker: &Docker,
    container: &str,
    command: Command,
    bytes: Option<u64>,
) -> Result<(ExecStream, Input), StackError> {
    let nonce = nonce()?;
    let length = bytes.map_or_else(|| "all".to_owned(), |bytes| bytes.to_string());
    let started = start(docker, container, &command, SCRIPT, &[&nonce, &length]).await?;
    let mut stream = ExecStream::new(docker, command, started, &nonce);
    let input = stream.lend_input();
    Ok((stream, input))
}

/// Runs `command` on `script`, which is small, and hands over its output as a dump's is.
pub(crate) async fn print(client: &Client, command: Command, script: &str) -> Result<ExecStream, StackError> {
    let nonce = nonce()?;
    let length = script.len().to_string();
    let mut started = start(&client.docker, &client.container, &command, SCRIPT, &[&nonce, &length]).await?;
    hand_over(&mut started.input, script.as_bytes()).await?;
    Ok(ExecStream::new(&client.docker, command, started, &nonce))
}

/// What the program says within a short while, where it is the cause.
async fn last_words(reading: impl Future<Output = Result<(), StackError>>) -> Option<StackError> {
    tokio::time::timeout(LAST_WORDS, reading).await.ok()?.err()
}

/// Writes `bytes` bytes of what can be read, or all of it.
pub(crate) async fn write(
    input: &mut Input,
    stored: Source<'_>,
    bytes: Option<u64>,
    progress: OnProgress<'_>,
) -> Result<(), StackError> {
    let lost = |error: std::io::Error| {
        StackError::new(Code::StreamTruncated, format!("feeding the program: {error}"))
    };
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    while bytes.is_none_or(|bytes| done < bytes) {
        let length = stored.read(&mut chunk).await.map_err(|error| {
            StackError::new(Code::RepositoryIo, format!("reading what is to be restored: {error}"))
        })?;
        let left = bytes.map_or(length as u64, |bytes| bytes - done);
        let wanted = usize::try_from(left).map_or(length, |left| left.min(length));
        if wanted == 0 {
            let Some(bytes) = bytes else { break };
            let message = format!("the file holds {done} bytes, {bytes} were recorded");
            return Err(StackError::new(Code::VerifyFailed, message));
        }
        input.write_all(&chunk[..wanted]).await.map_err(lost)?;
        done += wanted as u64;
        progress(done);
    }
    input.flush().await.map_err(lost)
}

/// Reads until the trailer.
async fn read(stream: &mut ExecStream, output: OnOutput<'_>) -> Result<(), StackError> {
    let mut unanswered = 0;
    loop {
        match tokio::time::timeout(WATCH, stream.next()).await {
            Ok(next) => match next? {
                Some(bytes) => output(&bytes),
                None => return Ok(()),
            },
            Err(_) => match stream.must_run().await {
                Ok(()) => unanswered = 0,
                Err(error) if is_an_answer(&error) || unanswered == MAX_UNANSWERED => return Err(error),
                Err(_) => unanswered += 1,
            },
        }
    }
}

/// Whether it is known that the program does not run any more, or will never be known otherwise.
fn is_an_answer(error: &StackError) -> bool {
    matches!(error.code, Code::StreamTruncated | Code::DatabaseLost | Code::StackNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Act, Answer, CONTAINER, FakeDocker, hurry, spec};

    /// How often the engine is asked about a program that says nothing, until it is given up.
    async fn asked(fake: &FakeDocker, answer: Answer) -> (usize, Code) {
        fake.engine.run(|called| called.has("psql").then(|| vec![Act::Hang]));
        fake.engine.on("GET /exec/", answer);
        let client = Client {
            docker: fake.docker(),
            container: CONTAINER.to_owned(),
            spec: spec(),
            application_name: "supakeep-test".to_owned(),
        };
        let command = client.psql("template1", &[]);
        let fed = Fed { stored: Box::new(tokio::io::empty()), bytes: 0 };
        let outcome = hurry(feed(&client, command, fed, &|_| {})).await;
        let requests = fake.engine.requests();
        let asked = requests.iter().filter(|request| request.starts_with("GET /exec/")).count();
        (asked, outcome.map(|_| ()).expect_err("it never ends").code)
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_at_once_ends_nothing() {
        let fake = FakeDocker::start();
        let (asked, code) = asked(&fake, Answer::error(503, "busy")).await;
        assert_eq!((asked, code), (MAX_UNANSWERED as usize + 1, Code::DockerUnreachable));
    }

    #[tokio::test]
    async fn a_program_that_is_gone_is_not_asked_for_twice() {
        let fake = FakeDocker::start();
        let (asked, code) = asked(&fake, Answer::error(404, "No such exec instance: 0a1b")).await;
        assert_eq!((asked, code), (1, Code::DatabaseLost));
    }
}
