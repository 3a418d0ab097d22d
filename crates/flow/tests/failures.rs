//! Runs that fail at the stack's side: a code that says what happened, no backup, nothing lost, and
//! everything on the server ended.

use std::time::Duration;

use supakeep_flow::ports::{Repository as _, StackError};
use supakeep_model::code::Code;
use supakeep_model::event::RunEvent;
use supakeep_model::manifest_head::{ManifestHead, Outcome};
use supakeep_testkit::{Call, GLOBALS, Script, Step, Trial};

fn lost() -> StackError {
    StackError::new(Code::DatabaseLost, "pg_dump ended with code 1: server closed the connection")
}

/// A run after a good one, which it must leave as it is.
struct Second {
    trial: Trial,
    good: ManifestHead,
}

impl Second {
    async fn new() -> Second {
        let trial = Trial::default();
        let good = trial.backup().await;
        assert!(good.is_good());
        Second { trial, good }
    }

    /// Runs, and sees to it that the run failed as it should have.
    #[track_caller]
    fn fails(&self, head: &ManifestHead, code: Code) {
        let error = head.error.as_ref().unwrap_or_else(|| panic!("it did not fail: {head:?}"));
        assert_eq!(error.code, code, "{}", error.message);
        assert_eq!(error.hint, code.hint());
        assert_eq!((head.outcome, head.is_good()), (Outcome::Failed, false));
        let memory = &self.trial.memory;
        assert_eq!(memory.ids(), [self.good.id.as_str()], "backups came or went");
        assert_eq!(memory.incoming_ids(), Vec::<String>::new());
        assert_eq!(memory.failed_ids(), [head.id.as_str()], "there is no record");
        assert_eq!(memory.files(head.id.as_str()).len(), 0, "files of a failed run are left");
        assert_eq!(memory.links()["latest"], self.good.id.as_str());
        assert_eq!(self.trial.recorder.ended().last(), Some(head));
    }
}

#[tokio::test]
async fn a_stack_that_is_not_there() {
    let second = Second::new().await;
    let errors = [Code::DockerUnreachable, Code::StackNotFound, Code::StackAmbiguous, Code::DatabasePaused];
    for code in errors {
        let again = Second::new().await;
        again.trial.stack.refuse([StackError::new(code, "not now")]);
        let head = again.trial.backup().await;
        again.fails(&head, code);
        assert_eq!(head.totals.stored_bytes, 0);
    }
    assert!(second.trial.backup().await.is_good());
}

#[tokio::test]
async fn a_stream_that_breaks_anywhere() {
    let whole = Second::new().await.trial.content().bytes().len();
    for cut in [0, 1, 100, whole / 2, whole - 1, whole] {
        let second = Second::new().await;
        let broken = second.trial.content().cut(cut, Some(Step::Fail(lost())));
        second.trial.stack.set_content("postgres", broken);
        let head = second.trial.backup().await;
        second.fails(&head, Code::DatabaseLost);
        assert!(head.error.as_ref().expect("why").message.starts_with("postgres.sql.gz: "), "{head:?}");
        assert_eq!(second.trial.stack.count(&Call::Terminate), 3, "at both starts and after the failure");
    }
}

/// The exit code is 0 and the stream ends: without its own end a dump is none.
#[tokio::test]
async fn a_dump_without_its_end() {
    let whole = Second::new().await.trial.content().bytes().len();
    for cut in [0, 1, whole / 3, whole - 20] {
        let second = Second::new().await;
        second.trial.stack.set_content("postgres", second.trial.content().cut(cut, None));
        let head = second.trial.backup().await;
        second.fails(&head, Code::DumpIncomplete);
    }
}

#[tokio::test]
async fn a_program_that_fails_after_its_last_byte() {
    for (cut, code) in
        [(None, Code::DumpFailed), (Some(500), Code::PrivilegesMissing), (Some(0), Code::DumpToolMissing)]
    {
        let second = Second::new().await;
        let content = second.trial.content();
        let content = cut.map_or(content.clone(), |cut| content.cut(cut, None));
        second
            .trial
            .stack
            .set_content("postgres", content.failing(code, "pg_dump ended with code 1: because"));
        let head = second.trial.backup().await;
        // Its own words, and not that the dump is incomplete.
        second.fails(&head, code);
        assert!(head.error.expect("why").message.ends_with("because"));
    }
}

#[tokio::test]
async fn a_stream_whose_trailer_is_missing_or_contradicts_the_engine() {
    for code in [Code::StreamTruncated, Code::StreamCorrupt, Code::ExitMismatch, Code::DumpStalled] {
        let second = Second::new().await;
        let script = second.trial.content().failing(code, "the whole dump came, and yet");
        second.trial.stack.set_content("postgres", script);
        let head = second.trial.backup().await;
        second.fails(&head, code);
    }
}

/// The message has a few lines of it; the record of the run has all.
#[tokio::test]
async fn what_a_failed_program_said_is_in_the_run_s_record() {
    let said = "pg_dump: warning: one\npg_dump: error: two\n";
    let failed = StackError::new(Code::DumpFailed, "pg_dump ended with code 1: two").saying(said);
    let second = Second::new().await;
    let mut at_its_end = second.trial.content();
    at_its_end.verdict = Err(failed.clone());
    for script in [at_its_end, second.trial.content().cut(100, Some(Step::Fail(failed)))] {
        second.trial.stack.set_content("postgres", script);
        let head = second.trial.backup().await;
        let record = second.trial.memory.manifest(&head.id).expect("the record of the run");
        let messages: Vec<_> = record.messages.iter().map(|m| (m.path.as_str(), m.stderr.as_str())).collect();
        assert_eq!(messages, [("postgres.sql.gz", said)]);
    }
}

#[tokio::test]
async fn bytes_after_the_end_or_of_another_kind() {
    for wrong in ["DROP TABLE x;\n", "Error: something\n"] {
        let second = Second::new().await;
        let bytes = [second.trial.content().bytes(), wrong.as_bytes().to_vec()].concat();
        second.trial.stack.set_content("postgres", Script::of(bytes));
        let head = second.trial.backup().await;
        second.fails(&head, Code::DumpIncomplete);
    }
    let second = Second::new().await;
    second.trial.stack.set_content("postgres", Script::of("no such thing as a dump"));
    let head = second.trial.backup().await;
    second.fails(&head, Code::DumpIncomplete);
}

#[tokio::test]
async fn a_compressed_stream_that_is_no_such_thing() {
    let second = Second::new().await;
    second.trial.stack.set_facts(|facts| facts.dumps_zstd = true);
    second.trial.stack.set_content("postgres", second.trial.content());
    let head = second.trial.backup().await;
    second.fails(&head, Code::StreamCorrupt);
}

#[tokio::test]
async fn globals_that_fail_or_are_cut() {
    let second = Second::new().await;
    second
        .trial
        .stack
        .set_globals(Script::of(GLOBALS).failing(Code::DumpFailed, "pg_dumpall ended with code 1"));
    let head = second.trial.backup().await;
    second.fails(&head, Code::DumpFailed);
    let second = Second::new().await;
    second.trial.stack.set_globals(Script::of(GLOBALS).cut(150, None));
    let head = second.trial.backup().await;
    second.fails(&head, Code::DumpIncomplete);
    assert!(head.error.expect("why").message.starts_with("globals.sql.gz"));
}

#[tokio::test]
async fn the_statements_that_make_a_database_that_fail_or_are_cut() {
    let create = supakeep_testkit::Database::new("postgres").create_statements();
    let second = Second::new().await;
    second.trial.stack.set_create("postgres", Script::of(create.clone()).cut(100, None));
    let head = second.trial.backup().await;
    second.fails(&head, Code::DumpIncomplete);
    let second = Second::new().await;
    second.trial.stack.set_create("postgres", Script::of(create).failing(Code::DumpFailed, "no"));
    let head = second.trial.backup().await;
    second.fails(&head, Code::DumpFailed);
}

#[tokio::test]
async fn the_second_database_or_the_root_key_failing_loses_the_whole_backup() {
    let second = Second::new().await;
    second
        .trial
        .stack
        .refuse_snapshot("_supabase", StackError::new(Code::DatabaseRefused, "too many clients"));
    let head = second.trial.backup().await;
    second.fails(&head, Code::DatabaseRefused);
    assert_eq!(head.totals.databases, 1, "how far it came is on record");
    let second = Second::new().await;
    second.trial.stack.set_root_key(Err(StackError::new(Code::RootKeyUnreadable, "Permission denied")));
    let head = second.trial.backup().await;
    second.fails(&head, Code::RootKeyUnreadable);
    assert_eq!(head.totals.databases, 2);
}

#[tokio::test]
async fn a_user_who_is_no_superuser_and_lists_that_are_wrong() {
    let second = Second::new().await;
    second.trial.stack.set_facts(|facts| facts.is_superuser = false);
    let head = second.trial.backup().await;
    second.fails(&head, Code::PrivilegesMissing);
    let second = Second::new().await;
    second.trial.stack.set_facts(|facts| facts.databases.clear());
    let head = second.trial.backup().await;
    second.fails(&head, Code::DatabaseEmpty);
    let mut second = Second::new().await;
    second.trial.recipe.databases = vec!["postgres".into(), "gone".into()];
    let head = second.trial.backup().await;
    second.fails(&head, Code::DatabaseMissing);
}

#[tokio::test]
async fn sessions_that_cannot_be_ended_do_not_hide_the_reason() {
    let second = Second::new().await;
    second.trial.stack.set_content("postgres", second.trial.content().cut(10, Some(Step::Fail(lost()))));
    second.trial.stack.refuse_terminate(StackError::new(Code::DatabaseRefused, "shutting down"));
    let head = second.trial.backup().await;
    // Here already the first call, which looks for sessions of an earlier run, fails.
    second.fails(&head, Code::DatabaseRefused);
}

#[tokio::test]
async fn a_signal_ends_a_run_at_any_moment() {
    for moment in ["globals", "content:postgres", "content:_supabase"] {
        let second = Second::new().await;
        let hang = second.trial.content().cut(200, Some(Step::Hang));
        match moment {
            "globals" => second.trial.stack.set_globals(Script::of(GLOBALS).cut(100, Some(Step::Hang))),
            "content:postgres" => second.trial.stack.set_content("postgres", hang),
            _ => second.trial.stack.set_content("_supabase", hang),
        }
        let (cancel, stack) = (second.trial.cancel.clone(), second.trial.stack.clone());
        let open = Call::Open(moment.to_owned());
        let signal = tokio::spawn(async move {
            while stack.count(&open) < 2 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            cancel.cancel();
        });
        let head = second.trial.backup().await;
        signal.await.expect("no panic");
        second.fails(&head, Code::Cancelled);
        assert!(second.trial.stack.abandoned(moment).is_some(), "the stream is still read");
        let calls = second.trial.stack.calls();
        assert_eq!(calls.last(), Some(&Call::Terminate), "{calls:?}");
        let opened = calls.iter().filter(|call| matches!(call, Call::Snapshot(_))).count();
        let dropped = calls.iter().filter(|call| matches!(call, Call::SnapshotDropped(_))).count();
        assert_eq!(opened, dropped, "a snapshot is held");
    }
}

#[tokio::test]
async fn a_run_that_was_cancelled_before_it_began_does_nothing() {
    let second = Second::new().await;
    second.trial.cancel.cancel();
    let before = second.trial.stack.calls().len();
    let head = second.trial.backup().await;
    second.fails(&head, Code::Cancelled);
    assert_eq!(second.trial.stack.calls().len(), before);
}

#[tokio::test]
async fn a_run_ends_at_its_deadline() {
    let mut second = Second::new().await;
    second.trial.stack.set_content("postgres", second.trial.content().cut(200, Some(Step::Hang)));
    second.trial.profile.deadline = supakeep_model::Duration::milliseconds(300);
    let head = second.trial.backup().await;
    second.fails(&head, Code::DeadlineExceeded);
    assert_eq!(second.trial.stack.calls().last(), Some(&Call::Terminate));
    assert!(head.duration_seconds > 0.2, "{}", head.duration_seconds);
}

#[tokio::test(start_paused = true)]
async fn ending_sessions_has_an_end_itself() {
    let trial = Trial::default();
    trial.stack.set_facts(|facts| facts.is_superuser = false);
    trial.stack.hang_terminate();
    let began = tokio::time::Instant::now();
    let head = trial.backup().await;
    assert_eq!(head.error.expect("why").code, Code::PrivilegesMissing);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// A slow stream is no failure.
#[tokio::test]
async fn a_pause_in_the_stream_is_waited_for() {
    let second = Second::new().await;
    let mut script = second.trial.content();
    script.steps.insert(0, Step::Pause(Duration::from_millis(100)));
    second.trial.stack.set_content("postgres", script);
    assert!(second.trial.backup().await.is_good());
}

#[tokio::test]
async fn everybody_is_told_of_a_failure_once() {
    let second = Second::new().await;
    second.trial.stack.refuse([lost()]);
    second.trial.backup().await;
    let ended = second.trial.recorder.ended();
    assert_eq!(ended.len(), 2);
    let started = second.trial.recorder.events();
    let started = started.iter().filter(|event| matches!(event, RunEvent::Started { .. })).count();
    assert_eq!(started, 2);
}
