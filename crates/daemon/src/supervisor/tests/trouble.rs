//! Runs that fail, die, are refused or are still going on when it has to stop.

use super::*;

#[tokio::test]
async fn a_failed_run_is_tried_again_with_growing_pauses_and_counts_each_time() {
    let trial = Trial::default();
    trial.stack.refuse([Code::DatabaseLost, Code::DockerUnreachable].map(refused_by));
    let watch = Setting::of(trial).start();
    let first = watch.run(TWO, 1).await;
    assert_eq!(first.error.expect("why").code, Code::DatabaseLost);
    let health = watch.health();
    assert_eq!((health.status, health.last_error_code), (Level::Failing, Some(Code::DatabaseLost)));
    assert_eq!(health.next_run, Some(TWO + Duration::minutes(5)));
    watch.tick(TWO + Duration::seconds(299)).await;
    assert_eq!(watch.runs(), 1);
    let second = watch.run(TWO + Duration::minutes(5), 2).await;
    assert_eq!((second.error.expect("why").code, second.slot), (Code::DockerUnreachable, Some(TWO)));
    assert_eq!(watch.health().next_run, Some(TWO + Duration::minutes(15)));
    let third = watch.run(TWO + Duration::minutes(15), 3).await;
    assert!(third.is_good());
    assert_eq!((watch.health().status, watch.health().next_run), (Level::Ok, Some(TWO + DAY)));
    watch.shows("runs_total{profile=\"daily\",result=\"failed\"} 2");
    watch.shows("errors_total{code=\"docker-unreachable\"} 1");
}

#[tokio::test]
async fn retries_end_and_some_failures_have_none() {
    let trial = Trial::default();
    trial.stack.refuse([Code::DatabaseLost; 3].map(refused_by));
    let watch = Setting::of(trial).start();
    for (minutes, count) in [(0, 1), (5, 2), (15, 3)] {
        watch.run(TWO + Duration::minutes(minutes), count).await;
    }
    assert_eq!(watch.health().next_run, Some(TWO + DAY), "there are two retries");
    watch.trial.stack.refuse([refused_by(Code::StackAmbiguous)]);
    watch.run(TWO + DAY, 4).await;
    assert_eq!(watch.health().next_run, Some(TWO + DAY * 2), "nothing mends it but a person");
}

#[tokio::test]
async fn no_retry_reaches_into_the_next_slot() {
    let hourly = Profile { retry_delay: Duration::minutes(50), ..profile("daily", "0 * * * *") };
    let watch = Setting::with(vec![hourly]).start();
    watch.trial.stack.refuse([Code::DatabaseLost; 2].map(refused_by));
    watch.run(TWO, 1).await;
    assert_eq!(watch.health().next_run, Some(TWO + Duration::minutes(50)));
    watch.run(TWO + Duration::minutes(50), 2).await;
    assert_eq!(watch.health().next_run, Some(THREE), "an hour and forty minutes later is too late");
    assert_eq!(watch.run(THREE, 3).await.slot, Some(THREE));
}

#[tokio::test]
async fn a_run_that_panics_is_a_failed_one_and_the_next_goes_on() {
    let trial = Trial::default();
    trial.stack.set_globals(Script::of(GLOBALS).cut(10, Some(Step::Panic)));
    let watch = Setting::of(trial).start();
    let died = watch.run(TWO, 1).await;
    assert_eq!(died.outcome, Outcome::Failed);
    let error = died.error.expect("why");
    assert_eq!(error.code, Code::Internal);
    assert!(error.message.contains("the script of globals says so"), "{}", error.message);
    let health = watch.health();
    assert!(!health.running, "it is shown as running for ever");
    assert_eq!((health.status, health.last_error_code), (Level::Failing, Some(Code::Internal)));
    watch.shows("runs_total{profile=\"daily\",result=\"failed\"} 1");
    watch.shows("errors_total{code=\"internal\"} 1");
    assert_eq!(watch.trial.memory.incoming_ids(), Vec::<String>::new());
    assert_eq!(health.next_run, Some(TWO + Duration::minutes(5)));
    watch.trial.stack.set_globals(Script::of(GLOBALS));
    assert!(watch.run(TWO + Duration::minutes(5), 2).await.is_good());
    assert_eq!(watch.health().status, Level::Ok);
}

/// Neither a lock nor ports nor space: whatever refuses a run before it begins, it shows everywhere.
#[tokio::test]
async fn a_run_that_is_refused_before_it_begins_shows_everywhere() {
    let lock = Trial::default().failing(Operation::Lock, 1, Fault::Code(Code::RepositoryReadOnly));
    let ports: MakePorts = Arc::new(|| Err(Failure::new(Code::RepositoryMissing, "the disk is not mounted")));
    let space = Trial::default();
    space.memory.set_free_bytes(10);
    let mut space = Setting::of(space);
    space.trial.recipe.min_free_bytes = 1_000;
    let settings = [
        (Setting::of(lock), Code::RepositoryReadOnly),
        (Setting { make_ports: Some(ports), ..Setting::of(Trial::default()) }, Code::RepositoryMissing),
        (space, Code::SpaceLow),
        (
            Setting::of(Trial::default().failing(Operation::Catalog, 2, Fault::Code(Code::RepositoryIo))),
            Code::RepositoryIo,
        ),
    ];
    for (setting, code) in settings {
        let watch = setting.start();
        let refused = watch.run(TWO, 1).await;
        assert_eq!(refused.error.as_ref().map(|error| error.code), Some(code));
        assert_eq!((refused.slot, refused.profile.as_deref()), (Some(TWO), Some("daily")));
        let health = watch.health();
        assert_eq!((health.status, health.last_error_code), (Level::Failing, Some(code)));
        assert_eq!((health.last_outcome, health.running), (Some(Outcome::Failed), false));
        watch.shows("runs_total{profile=\"daily\",result=\"failed\"} 1");
        watch.shows(&format!("errors_total{{code=\"{code}\"}} 1"));
        watch.shows("last_run_success{profile=\"daily\"} 0");
        watch.shows(&format!("last_attempt_timestamp_seconds{{profile=\"daily\"}} {}", TWO.unix_timestamp()));
        // The next tick reads the catalog again; a failure of which there is no record stays known.
        watch.tick(TWO + Duration::minutes(2)).await;
        assert_eq!(watch.health().last_error_code, Some(code));
    }
}

#[tokio::test]
async fn a_repository_that_goes_away_and_comes_back_is_noticed() {
    let watch = Setting::of(Trial::default()).start();
    watch.run(TWO, 1).await;
    watch.trial.repository.break_down(Operation::Prepare, Fault::Code(Code::RepositoryMissing));
    watch.trial.repository.break_down(Operation::Catalog, Fault::Code(Code::RepositoryMissing));
    watch.tick(TWO + Duration::minutes(2)).await;
    let health = watch.status.health(watch.trial.now());
    assert_eq!(health.status, Level::Failing);
    assert!(health.repository.error.is_some());
    assert_eq!(health.profiles[0].backups, 1, "what was known is not forgotten");
    watch.shows("repository_writable 0");
    watch.trial.repository.heal();
    watch.tick(TWO + Duration::minutes(4)).await;
    assert_eq!(watch.status.health(watch.trial.now()).status, Level::Ok);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_stop_it_looking_at_the_repository() {
    let watch = Setting::of(Trial::default()).start();
    watch.tick(START).await;
    watch.trial.repository.break_down(Operation::Prepare, Fault::Code(Code::RepositoryReadOnly));
    watch.tick(START - DAY).await;
    assert!(watch.status.repository().error.is_some(), "it would look again in a day");
}

#[tokio::test]
async fn stops_at_once_when_nothing_runs() {
    let watch = Setting::of(Trial::default()).start();
    watch.tick(START).await;
    watch.stop.cancel();
    assert_eq!(
        tokio::time::timeout(Real::from_secs(5), watch.task).await.expect("at once").expect("no panic"),
        Ok(())
    );
}

#[tokio::test]
async fn a_run_in_progress_may_end_before_it_stops_and_no_new_one_starts() {
    let watch = Setting::with(vec![profile("daily", "0 2 * * *"), profile("other", "0 2 * * *")]).start();
    let mut slow = Script::of(GLOBALS);
    slow.steps.insert(0, Step::Pause(Real::from_millis(300)));
    watch.trial.stack.set_globals(slow);
    watch.tick(TWO).await;
    watch.stop.cancel();
    assert_eq!(
        tokio::time::timeout(Real::from_secs(20), watch.task).await.expect("it ends").expect("no panic"),
        Ok(())
    );
    let ended = watch.trial.recorder.ended();
    assert_eq!(ended.len(), 1);
    assert!(ended[0].is_good());
}

#[tokio::test]
async fn a_run_that_does_not_end_in_time_is_cancelled_and_cleaned_up() {
    let trial = Trial::default();
    trial.stack.set_globals(Script::of(GLOBALS).cut(10, Some(Step::Hang)));
    let watch = Setting { grace: Real::from_millis(200), ..Setting::of(trial) }.start();
    watch.tick(TWO).await;
    watch.stop.cancel();
    assert_eq!(
        tokio::time::timeout(Real::from_secs(20), watch.task).await.expect("it ends").expect("no panic"),
        Ok(())
    );
    let ended = watch.trial.recorder.ended();
    assert_eq!(ended[0].error.as_ref().map(|error| error.code), Some(Code::Cancelled));
    assert_eq!(watch.trial.memory.incoming_ids(), Vec::<String>::new());
    assert_eq!(watch.trial.stack.calls().last(), Some(&Call::Terminate));
    assert_eq!(watch.trial.memory.failed_ids().len(), 1, "it is on record");
    watch.trial.memory.lock().map(drop).expect("the lock is free");
}

#[tokio::test]
async fn a_disk_that_does_not_answer_does_not_keep_it_from_ending() {
    let watch = Setting::of(Trial::default()).start();
    watch.trial.repository.break_down(Operation::Lock, Fault::Hang);
    assert_eq!(watch.ask("daily").await, Ok(()));
    watch.stop.cancel();
    let ended = tokio::time::timeout(Real::from_secs(5), watch.task).await;
    watch.trial.repository.heal();
    assert_eq!(ended.expect("it ends").expect("no panic"), Ok(()));
}

#[tokio::test]
async fn without_ticks_it_ends_with_an_error_rather_than_do_nothing() {
    let watch = Setting::of(Trial::default()).start();
    drop(watch.ticks);
    assert_eq!(
        tokio::time::timeout(Real::from_secs(5), watch.task).await.expect("it ends").expect("no panic"),
        Err(TicksEnded)
    );
}
