//! Broken streams, and streams that are not broken and look it.

use supakeep_model::secret::Secret;

use super::*;
use crate::fake::{Act, Answer, CONTAINER, FakeDocker, exits, hurry};

fn command() -> Command {
    Command { arguments: vec!["pg_dump".into()], stall: Duration::from_secs(20), ..Command::default() }
}

/// Everything that a program writes, and its verdict.
async fn read(fake: &FakeDocker, command: Command) -> (Vec<u8>, Result<String, StackError>) {
    let mut stream = match run(&fake.docker(), CONTAINER, command).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut out = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(bytes)) => out.extend_from_slice(&bytes),
            Ok(None) => return (out, Box::new(stream).finish().await),
            Err(error) => return (out, Err(error)),
        }
    }
}

async fn plays(acts: Vec<Act>) -> (Vec<u8>, Result<String, StackError>) {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", acts);
    read(&fake, command()).await
}

#[track_caller]
fn is(result: &(Vec<u8>, Result<String, StackError>), code: Code) {
    match &result.1 {
        Ok(_) => panic!("it passed for a success"),
        Err(error) => assert_eq!(error.code, code, "{error}"),
    }
}

fn out(text: &str) -> Act {
    Act::Out(text.into())
}

/// A frame of standard output that says it has `length` bytes.
fn frame_of(length: u32, bytes: &[u8]) -> Act {
    Act::Raw([&[1, 0, 0, 0][..], &length.to_be_bytes(), bytes].concat())
}

#[tokio::test]
async fn a_program_that_succeeds() {
    let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut acts = vec![Act::Err(b"pg_dump: warning: circular\n".to_vec())];
    acts.extend(exits(text.clone(), 0));
    let (read, verdict) = plays(acts).await;
    assert!(read == text, "{} bytes of {}", read.len(), text.len());
    assert_eq!(verdict.as_deref(), Ok("pg_dump: warning: circular\n"));
    let (read, verdict) = plays(exits("", 0)).await;
    assert_eq!((read.len(), verdict), (0, Ok(String::new())));
}

/// The tail that an engine drops, and the engine that dies, look like this: the end, and nothing wrong.
#[tokio::test]
async fn an_end_without_the_trailer_is_no_end() {
    for acts in [
        vec![],
        vec![Act::Exit(0)],
        vec![out("some rows\n"), Act::Exit(0)],
        vec![out("some rows\n"), Act::Err(b"pg_dump: killed".to_vec()), Act::Exit(137)],
    ] {
        is(&plays(acts).await, Code::StreamTruncated);
    }
    let (_, verdict) = plays(vec![Act::Err(b"out of memory\n".to_vec())]).await;
    assert!(verdict.expect_err("no trailer").message.contains("its last words: out of memory"));
}

/// Reading says so, and so does the verdict for whoever did not read to the end.
#[tokio::test]
async fn the_verdict_is_never_a_success_before_the_trailer() {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", vec![out("some rows\n"), Act::Exit(0)]);
    let mut stream = run(&fake.docker(), CONTAINER, command()).await.expect("it starts");
    assert_eq!(stream.next().await.expect("what has come").as_deref(), Some(&b"some rows"[..]));
    assert_eq!(stream.next().await.expect_err("no trailer").code, Code::StreamTruncated);
    fake.engine.program("pg_dump", exits("x".repeat(100_000), 0));
    let mut stream = run(&fake.docker(), CONTAINER, command()).await.expect("it starts");
    assert!(stream.next().await.expect("the beginning").is_some());
    let verdict = Box::new(stream).finish().await;
    assert_eq!(verdict.expect_err("it has only begun").code, Code::StreamTruncated);
}

#[tokio::test]
async fn a_trailer_with_another_nonce_is_none() {
    let acts = vec![out("some rows\n"), Act::ForeignTrailer, Act::Exit(0)];
    let result = plays(acts).await;
    is(&result, Code::StreamTruncated);
}

#[tokio::test]
async fn a_frame_that_is_cut_in_its_header_or_in_its_body() {
    for cut in [
        Act::Raw(vec![1]),
        Act::Raw(vec![1, 0, 0, 0, 0, 0, 0]),
        frame_of(100, b""),
        frame_of(100, b"half of it"),
    ] {
        let result = plays(vec![out("some rows\n"), cut, Act::Exit(0)]).await;
        let error = result.1.expect_err("the frame is cut");
        assert!(matches!(error.code, Code::StreamTruncated | Code::StreamCorrupt), "{error}");
    }
}

/// Cut anywhere, whatever the decoder makes of it: never a success, and never bytes that were not sent.
#[tokio::test]
async fn a_stream_that_is_cut_anywhere_is_a_failure() {
    let frames = [&b"first row\n"[..], b"second row\n"];
    let stream: Vec<u8> = frames
        .iter()
        .flat_map(|text| {
            [&[1, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).expect("short")][..], text].concat()
        })
        .collect();
    for cut in 0..=stream.len() {
        let (read, verdict) = plays(vec![Act::Raw(stream[..cut].to_vec()), Act::Exit(0)]).await;
        let error = verdict.expect_err("there is no trailer");
        assert!(matches!(error.code, Code::StreamTruncated | Code::StreamCorrupt), "{cut}: {error}");
        assert!(frames.concat().starts_with(&read), "{cut}: {read:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_in_no_frame() {
    let result = plays(vec![Act::Raw(b"<html>502 Bad Gateway</html>".to_vec())]).await;
    is(&result, Code::StreamCorrupt);
    let refused = b"OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH\r\n";
    is(&plays(vec![Act::Raw(refused.to_vec())]).await, Code::DumpToolMissing);
}

#[tokio::test]
async fn output_after_the_trailer() {
    let acts = vec![out("x"), Act::Trailer(0), Act::AwaitEnd, out("more"), Act::Exit(0)];
    is(&plays(acts).await, Code::StreamCorrupt);
}

#[tokio::test]
async fn words_after_the_trailer_are_kept() {
    let acts =
        vec![out("x"), Act::Trailer(0), Act::AwaitEnd, Act::Err(b"late words\n".to_vec()), Act::Exit(0)];
    assert_eq!(plays(acts).await.1.as_deref(), Ok("late words\n"));
}

#[tokio::test]
async fn exit_codes_that_contradict_each_other() {
    for (in_band, by_engine) in [(0, 1), (1, 0), (0, 137)] {
        let acts = vec![out("x"), Act::Trailer(in_band), Act::AwaitEnd, Act::Exit(by_engine)];
        is(&plays(acts).await, Code::ExitMismatch);
    }
}

#[tokio::test]
async fn a_program_that_fails_is_known_by_its_words() {
    let words: &[(i64, &str, Code)] = &[
        (1, "pg_dump: error: something", Code::DumpFailed),
        (1, "pg_dump: error: server closed the connection unexpectedly", Code::DatabaseLost),
        (127, "sh: 4: pg_dump: not found", Code::DumpToolMissing),
        (126, "sh: 4: pg_dump: Permission denied", Code::DumpToolMissing),
        (
            1,
            "pg_dumpall: error: program \"pg_dump\" is needed by pg_dumpall but was not found in the same directory as \"/usr/bin/pg_dumpall\"",
            Code::DumpToolMissing,
        ),
        (137, "", Code::DumpFailed),
    ];
    for (exit, stderr, code) in words {
        let mut acts = vec![Act::Err(stderr.as_bytes().to_vec())];
        acts.extend(exits("half a dump", *exit));
        let result = plays(acts).await;
        is(&result, *code);
        assert_eq!(result.0, b"half a dump");
    }
}

#[tokio::test]
async fn of_much_that_is_said_the_end_is_kept() {
    let mut acts: Vec<_> = (0..4_000)
        .map(|line| Act::Err(format!("line {line} of many that are long\n").into_bytes()))
        .collect();
    acts.extend(exits("x", 1));
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", acts);
    let mut stream = run(&fake.docker(), CONTAINER, command()).await.expect("it starts");
    while stream.next().await.expect("the stream is whole").is_some() {}
    let kept = stream.stderr.text();
    assert!(kept.len() <= 64 * 1024 + 4 && kept.len() > 60 * 1024, "{}", kept.len());
    assert!(kept.starts_with('…') && kept.ends_with("line 3999 of many that are long\n"));
    let error = Box::new(stream).finish().await.expect_err("it failed");
    assert!(error.message.contains("line 3999") && error.message.len() < 1_500, "{error}");
}

#[tokio::test]
async fn silence_has_an_end() {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", vec![out("a row\n"), Act::Hang]);
    let result = hurry(read(&fake, command())).await;
    is(&result, Code::DumpStalled);
    assert!(result.1.expect_err("it stalls").message.contains("wrote nothing for 20 seconds"));
}

/// The engine says `Running` for as long as anybody asks.
#[tokio::test]
async fn an_exec_that_never_ends_although_its_output_has() {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", vec![out("x"), Act::Trailer(0), Act::AwaitEnd]);
    let result = hurry(read(&fake, command())).await;
    is(&result, Code::DumpStalled);
    let asked = fake.engine.requests().iter().filter(|request| request.starts_with("GET /exec/")).count();
    assert!(asked > 10, "asked {asked} times");
}

/// Read before the exec has ended, an exit code is null, and null passes for 0.
#[tokio::test]
async fn an_exit_code_that_is_not_there_yet_is_asked_for_again() {
    let fake = FakeDocker::start();
    let null = serde_json::json!({ "ID": "exec-0", "Running": true, "ExitCode": null });
    fake.engine.program("pg_dump", exits("x", 1));
    fake.engine.on("GET /exec/", Answer::of(&null));
    let engine = std::sync::Arc::clone(&fake.engine);
    let later = tokio::spawn(async move {
        while engine.requests().iter().filter(|request| request.starts_with("GET /exec/")).count() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        engine.on("GET /exec/", Answer::of(&serde_json::json!({ "Running": false, "ExitCode": 1 })));
    });
    let result = read(&fake, command()).await;
    later.await.expect("no panic");
    is(&result, Code::DumpFailed);
    // Ended, and no code: that is no 0 either.
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", exits("x", 0));
    fake.engine.on("GET /exec/", Answer::of(&serde_json::json!({ "Running": false, "ExitCode": null })));
    is(&hurry(read(&fake, command())).await, Code::DumpStalled);
}

#[tokio::test]
async fn an_engine_that_does_not_answer_how_it_ended() {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", exits("x", 0));
    fake.engine.on("GET /exec/", Answer::Hang);
    is(&hurry(read(&fake, command())).await, Code::DockerUnreachable);
}

#[tokio::test]
async fn a_stream_that_stays_open_after_its_input_is_closed() {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", vec![out("x"), Act::Trailer(0), Act::Exit(0), Act::Hang]);
    is(&hurry(read(&fake, command())).await, Code::DumpStalled);
}

/// The script waits for its input to be closed: that is what keeps the engine from dropping the tail.
#[tokio::test]
async fn the_input_is_closed_when_the_trailer_was_seen_and_not_before() {
    let fake = FakeDocker::start();
    let acts = vec![out("x"), Act::AwaitEnd, Act::Trailer(0), Act::Exit(0)];
    fake.engine.program("pg_dump", acts);
    is(&hurry(read(&fake, command())).await, Code::DumpStalled);
}

#[tokio::test]
async fn a_password_travels_over_standard_input_and_nowhere_else() {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", exits("x", 0));
    let password = Some(Secret::new("hunter2 'quoted' $(x)".to_owned()));
    let (read, verdict) = read(&fake, Command { password, ..command() }).await;
    assert_eq!((read.as_slice(), verdict), (&b"x"[..], Ok(String::new())));
    assert_eq!(fake.engine.inputs(), ["hunter2 'quoted' $(x)\n"]);
    let called = fake.engine.called();
    assert!(called[0].with_password && !format!("{called:?}").contains("hunter2"));
}

#[tokio::test]
async fn answers_that_are_too_long_are_refused() {
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", exits("x".repeat(30_000), 0));
    let stream = run(&fake.docker(), CONTAINER, command()).await.expect("it starts");
    assert_eq!(stream.collect(29_999).await.expect_err("too long").code, Code::DumpFailed);
    let stream = run(&fake.docker(), CONTAINER, command()).await.expect("it starts");
    assert_eq!(stream.collect(30_000).await.expect("short enough").len(), 30_000);
}

#[tokio::test]
async fn errors_of_the_engine_when_an_exec_is_made() {
    let cases = [
        (409, "container db is paused", Code::DatabasePaused),
        (409, "container db is not running", Code::DatabaseNotRunning),
        (409, "Container db is restarting, wait until the container is running", Code::DatabaseNotRunning),
        (404, "No such container: db", Code::StackNotFound),
        (403, "request forbidden by administrative rules", Code::DockerRefused),
        (500, "something broke", Code::DockerRefused),
        (502, "Bad Gateway", Code::DockerUnreachable),
    ];
    for (status, message, code) in cases {
        let fake = FakeDocker::start();
        fake.engine.on(&format!("POST /containers/{CONTAINER}/exec"), Answer::error(status, message));
        let result = read(&fake, command()).await;
        is(&result, code);
        assert!(result.1.expect_err("refused").message.contains(message), "{status}");
    }
}

/// What HAProxy before 2.7 does: an ordinary answer instead of the upgrade.
#[tokio::test]
async fn a_proxy_that_does_not_let_the_upgrade_through() {
    let fake = FakeDocker::start();
    let plain = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    fake.engine.program("pg_dump", vec![]);
    fake.engine.on("POST /exec/", Answer::Bytes(plain.to_vec()));
    let result = hurry(read(&fake, command())).await;
    is(&result, Code::DockerNoAttach);
}

#[tokio::test]
async fn an_engine_that_answers_garbage_or_nothing_when_an_exec_is_started() {
    for garbage in [&b""[..], b"\0\0\0", b"HTTP/1.1 101", b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let fake = FakeDocker::start();
        fake.engine.program("pg_dump", vec![]);
        fake.engine.on("POST /exec/", Answer::Bytes(garbage.to_vec()));
        is(&read(&fake, command()).await, Code::DockerUnreachable);
    }
    let fake = FakeDocker::start();
    fake.engine.program("pg_dump", vec![]);
    fake.engine.on("POST /exec/", Answer::Hang);
    is(&hurry(read(&fake, command())).await, Code::DockerUnreachable);
    let fake = FakeDocker::start();
    fake.engine.on(&format!("POST /containers/{CONTAINER}/exec"), Answer::Json(201, "{\"Ident\": 1}".into()));
    is(&read(&fake, command()).await, Code::DockerRefused);
}
