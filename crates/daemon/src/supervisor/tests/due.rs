//! Runs at their slots: once, in turn, made up for or skipped.

use super::*;

#[tokio::test]
async fn a_profile_runs_at_its_slot_and_once() {
    let watch = Setting::of(Trial::default()).start();
    let _ = watch.ask("nobody").await;
    assert_eq!(watch.health().next_run, Some(TWO), "before the first tick");
    watch.tick(START).await;
    watch.tick(TWO - Duration::SECOND).await;
    assert_eq!(watch.runs(), 0);
    let head = watch.run(TWO, 1).await;
    assert!(head.is_good());
    assert_eq!(
        (head.slot, head.trigger, head.profile.as_deref()),
        (Some(TWO), Trigger::Schedule, Some("daily"))
    );
    assert_eq!(head.id.as_str(), "supabase_backup_20260110_020000");
    for seconds in [1, 60, 3_600] {
        watch.tick(TWO + Duration::seconds(seconds)).await;
    }
    assert_eq!(watch.runs(), 1);
    let health = watch.health();
    assert_eq!((health.status, health.running, health.next_run), (Level::Ok, false, Some(TWO + DAY)));
    let next = watch.run(TWO + DAY, 2).await;
    assert_eq!(next.slot, Some(TWO + DAY));
    watch.shows("runs_total{profile=\"daily\",result=\"complete\"} 2");
}

#[tokio::test]
async fn a_run_in_progress_is_seen() {
    let watch = Setting::of(Trial::default()).start();
    watch.trial.stack.set_globals(Script::of(GLOBALS).cut(10, Some(Step::Hang)));
    watch.tick(TWO).await;
    watch.trial.recorder.wait_for(|events| (events.len() > 1).then_some(())).await;
    assert!(watch.health().running);
    watch.shows("running{profile=\"daily\"} 1");
    assert_eq!(watch.ask("daily").await, Err(Code::Busy));
    watch.task.abort();
}

#[tokio::test]
async fn a_run_waits_for_the_lock_and_then_runs_for_its_slot() {
    let watch = Setting::with(vec![profile("daily", "0 * * * *")]).start();
    let other = watch.trial.memory.lock().expect("nobody has it");
    watch.tick(TWO).await;
    watch.tick(TWO + Duration::minutes(30)).await;
    assert_eq!(watch.runs(), 0);
    drop(other);
    let head = watch.run(TWO + Duration::minutes(40), 1).await;
    assert_eq!((head.slot, head.trigger), (Some(TWO), Trigger::Schedule));
    assert_eq!(head.started, TWO + Duration::minutes(40));
    assert!(watch.trial.recorder.skipped().is_empty());
}

#[tokio::test]
async fn a_run_that_waits_until_its_next_slot_is_skipped_visibly() {
    let watch = Setting::with(vec![profile("daily", "0 * * * *")]).start();
    let other = watch.trial.memory.lock().expect("nobody has it");
    watch.tick(TWO).await;
    watch.tick(THREE - Duration::SECOND).await;
    assert!(watch.trial.recorder.skipped().is_empty());
    watch.tick(THREE).await;
    assert_eq!(watch.trial.recorder.skipped(), ["another run was busy until the next slot"]);
    watch.shows("runs_total{profile=\"daily\",result=\"skipped\"} 1");
    let health = watch.health();
    assert_eq!((health.status, health.last_skipped), (Level::Degraded, Some(TWO)));
    assert!(health.reasons[0].contains("another run was busy"), "{:?}", health.reasons);
    drop(other);
    let head = watch.run(THREE + Duration::MINUTE, 1).await;
    assert_eq!(head.slot, Some(THREE));
    assert_eq!(watch.health().status, Level::Ok);
}

#[tokio::test]
async fn what_was_missed_while_it_was_off_is_made_up_for_once() {
    let old = head("supabase_backup_20260107_020000", Some("daily"), TWO - DAY * 3);
    let trial = Trial::with(MemoryRepository::with([manifest(old)]));
    trial.clock.set(TWO + Duration::hours(7));
    let watch = Setting::of(trial).start();
    let head = watch.run(TWO + Duration::hours(7), 1).await;
    assert_eq!((head.slot, head.trigger), (Some(TWO), Trigger::CatchUp));
    watch.tick(TWO + Duration::hours(8)).await;
    assert_eq!(watch.runs(), 1);
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_when_the_repository_can_be_read_at_last() {
    let old = head("supabase_backup_20260107_020000", Some("daily"), TWO - DAY * 3);
    let trial = Trial::with(MemoryRepository::with([manifest(old)]));
    trial.clock.set(TWO + Duration::hours(7));
    for operation in [Operation::Catalog, Operation::FirstStart, Operation::Prepare] {
        trial.repository.break_down(operation, Fault::Code(Code::RepositoryMissing));
    }
    let watch = Setting::of(trial).start();
    watch.tick(TWO + Duration::hours(7)).await;
    assert_eq!((watch.runs(), watch.status.health(watch.trial.now()).status), (0, Level::Failing));
    watch.trial.repository.heal();
    watch.tick(TWO + Duration::hours(7) + Duration::MINUTE).await;
    let head = watch.run(TWO + Duration::hours(7) + Duration::minutes(2), 1).await;
    assert_eq!((head.slot, head.trigger), (Some(TWO), Trigger::CatchUp));
}

#[tokio::test]
async fn what_was_missed_is_skipped_where_that_is_wanted() {
    let old = head("supabase_backup_20260109_020000", Some("daily"), TWO - DAY);
    let trial = Trial::with(MemoryRepository::with([manifest(old)]));
    let no_catch_up = Profile { catch_up: false, ..trial.profile.clone() };
    trial.clock.set(TWO + Duration::hours(7));
    let watch = Setting { profiles: vec![no_catch_up], ..Setting::of(trial) }.start();
    watch.tick(TWO + Duration::hours(7)).await;
    watch.tick(TWO + Duration::hours(8)).await;
    assert_eq!(watch.runs(), 0);
    assert_eq!(watch.trial.recorder.skipped(), ["missed, and catch_up is off"]);
    assert_eq!(watch.health().last_skipped, Some(TWO));
}

#[tokio::test]
async fn a_restart_neither_repeats_a_run_nor_forgets_one() {
    let trial = Trial::default();
    let memory = trial.memory.clone();
    let watch = Setting::of(trial).start();
    watch.run(TWO, 1).await;
    watch.stop.cancel();
    assert_eq!(watch.task.await.expect("no panic"), Ok(()));
    let again = Trial::with(memory);
    again.clock.set(TWO + Duration::MINUTE);
    let watch = Setting::of(again).start();
    watch.tick(TWO + Duration::MINUTE).await;
    watch.tick(TWO + Duration::hours(1)).await;
    assert_eq!(watch.runs(), 0);
    assert_eq!(watch.health().status, Level::Ok);
    assert_eq!(watch.run(TWO + DAY, 1).await.slot, Some(TWO + DAY));
}

#[tokio::test]
async fn a_machine_that_slept_makes_up_for_what_it_missed() {
    let watch = Setting::of(Trial::default()).start();
    watch.tick(START).await;
    let head = watch.run(TWO + DAY * 2 + Duration::hours(5), 1).await;
    assert_eq!((head.slot, head.trigger), (Some(TWO + DAY * 2), Trigger::CatchUp));
    watch.tick(TWO + DAY * 2 + Duration::hours(6)).await;
    assert_eq!(watch.runs(), 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_a_day_does_not_stop_the_schedule() {
    let watch = Setting::of(Trial::default()).start();
    watch.run(TWO, 1).await;
    watch.tick(TWO - DAY + Duration::hours(5)).await;
    assert_eq!(watch.runs(), 1, "nothing is due at once");
    assert_eq!(watch.health().next_run, Some(TWO));
    let again = watch.run(TWO, 2).await;
    assert_eq!((again.slot, again.id.as_str()), (Some(TWO), "supabase_backup_20260110_020000_2"));
    assert!(again.is_good());
    assert_eq!(watch.trial.memory.ids().len(), 2, "the first one is untouched");
}

#[tokio::test]
async fn profiles_that_are_due_together_run_one_after_the_other() {
    let watch = Setting::with(vec![profile("daily", "0 2 * * *"), profile("other", "0 2 * * *")]).start();
    watch.run(TWO, 1).await;
    let second = watch.run(TWO + Duration::SECOND, 2).await;
    assert_eq!(second.profile.as_deref(), Some("other"));
    assert_eq!(watch.trial.memory.ids().len(), 2);
    let connects = watch.trial.stack.calls();
    assert_eq!(connects.iter().filter(|call| matches!(call, Call::Connect(_))).count(), 2);
}

#[tokio::test]
async fn what_other_commands_do_is_seen_within_a_minute_or_so() {
    let watch = Setting::of(Trial::default()).start();
    watch.tick(START).await;
    assert_eq!(watch.status.catalog().backups().count(), 0);
    watch.trial.clock.set(START);
    let elsewhere = Trial::with(watch.trial.memory.clone());
    elsewhere.backup().await;
    watch.tick(START + Duration::minutes(2)).await;
    assert_eq!(watch.status.catalog().backups().count(), 1);
}

#[tokio::test]
async fn a_person_can_ask_for_a_run() {
    let watch = Setting::of(Trial::default()).start();
    assert_eq!(watch.ask("weekly").await, Err(Code::ProfileNotFound));
    assert_eq!(watch.ask("daily").await, Ok(()));
    let head = watch.trial.recorder.wait_for_runs(1).await;
    assert_eq!((head.trigger, head.slot, head.is_good()), (Trigger::Api, None, true));
    watch.settled().await;
    // While another process has the lock, it waits; and one is enough.
    let other = watch.trial.memory.lock().expect("nobody has it");
    assert_eq!(watch.ask("daily").await, Ok(()));
    assert_eq!(watch.ask("daily").await, Err(Code::Busy));
    watch.tick(START + Duration::minutes(1)).await;
    assert_eq!(watch.runs(), 1);
    drop(other);
    watch.run(START + Duration::minutes(2), 2).await;
    // It did not take the place of the scheduled one.
    assert_eq!(watch.run(TWO, 3).await.slot, Some(TWO));
}

#[tokio::test]
async fn a_run_that_a_person_asked_for_is_not_tried_again() {
    let watch = Setting::of(Trial::default()).start();
    watch.trial.stack.refuse([refused_by(Code::DatabaseLost)]);
    assert_eq!(watch.ask("daily").await, Ok(()));
    watch.trial.recorder.wait_for_runs(1).await;
    watch.settled().await;
    assert_eq!(watch.health().next_run, Some(TWO));
}

#[tokio::test]
async fn a_success_is_followed_by_retention() {
    let old = (1..=9).map(|days| head(&format!("b_{days}"), Some("daily"), TWO - DAY * days));
    let trial = Trial::with(MemoryRepository::with(old.map(manifest)));
    let mut keeps_a_week = trial.profile.clone();
    keeps_a_week.keep.days = Some(7);
    let watch = Setting { profiles: vec![keeps_a_week], ..Setting::of(trial) }.start();
    let made = watch.run(TWO, 1).await;
    assert!(made.is_good());
    assert_eq!(watch.trial.recorder.pruned(), ["b_8", "b_9"]);
    watch.shows("pruned_total 2");
    watch.shows("backups{profile=\"daily\"} 8");
}
