//! Whether a profile is due now: a pure function of its schedule, what has been handled, and the time.
//!
//! A slot is handled when a run for it was started or given up. The watermark of handled slots comes
//! from the manifests, so a restart neither forgets a missed run nor repeats one. Of several missed
//! slots only the last is made up for. A clock that is set back does not stop the schedule: slots up
//! to the new time count as handled, and the next one runs.

use time::{Duration, OffsetDateTime};

use crate::catalog::Catalog;
use crate::code::Code;
use crate::manifest_head::{ManifestHead, Outcome, Trigger};
use crate::profile::Profile;
use crate::schedule::Slot;

/// How far the clock may lie behind the watermark before it counts as set back. Slots and ticks are
/// compared in seconds, and clocks are corrected by seconds all the time.
const CLOCK_TOLERANCE: Duration = Duration::MINUTE;

/// A run that is to start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlan {
    /// The profile's name.
    pub profile: String,
    /// The slot it is for.
    pub slot: Slot,
    /// The slot's label.
    pub label: Option<String>,
    /// What started it.
    pub trigger: Trigger,
    /// 0 for the first attempt at this slot.
    pub attempt: u32,
}

/// What to do about a profile at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Wait,
    /// Start this run.
    Run(RunPlan),
    /// This slot went by unseen and `catch_up` is off: say so, and go on.
    Missed(Slot),
}

/// What the planner remembers of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileClock {
    handled_until: OffsetDateTime,
    retry: Option<(OffsetDateTime, RunPlan)>,
}

impl ProfileClock {
    /// Slots up to the last run in the catalog are handled; where there is none, slots before
    /// `first_start`, when this repository was first used. A run that was cancelled, or that failed in a
    /// way that a retry may mend, handles nothing: the retry went with the process that had planned it.
    pub fn from_catalog(profile: &str, catalog: &Catalog, first_start: OffsetDateTime) -> ProfileClock {
        let last = catalog
            .of_profile(profile)
            .filter(|head| !wants_another_run(head))
            .map(|head| head.slot.unwrap_or(head.started))
            .max();
        ProfileClock { handled_until: last.unwrap_or(first_start), retry: None }
    }

    /// What to do at `now`. `awake_since` is when supakeep started or the machine woke from sleep: a
    /// slot before it was missed. Deciding on a slot handles it: the same call again says `Wait`.
    pub fn decide(
        &mut self,
        profile: &Profile,
        now: OffsetDateTime,
        awake_since: OffsetDateTime,
    ) -> Decision {
        let Some(slot) = profile.schedule.last_until(now) else { return Decision::Wait };
        if now + CLOCK_TOLERANCE < self.handled_until {
            self.handled_until = slot.at;
            self.retry = None;
        }
        let due_at = slot.at + profile.delay(&slot);
        if slot.at <= self.handled_until || now < due_at {
            return self.due_retry(now);
        }
        self.handled_until = slot.at;
        self.retry = None;
        let missed = due_at < awake_since;
        if missed && !profile.catch_up {
            return Decision::Missed(slot);
        }
        let label = profile.label(&slot).map(str::to_owned);
        let trigger = if missed { Trigger::CatchUp } else { Trigger::Schedule };
        Decision::Run(RunPlan { profile: profile.name.clone(), slot, label, trigger, attempt: 0 })
    }

    /// Notes that a run failed in a way that a retry may mend. Returns when it is tried again; never
    /// at or after the next slot, which is a new chance by itself.
    pub fn retry_later(
        &mut self,
        profile: &Profile,
        failed: &RunPlan,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let attempt = failed.attempt + 1;
        let at = now + profile.backoff(attempt);
        let next_slot = profile.schedule.next_after(failed.slot.at)?.at;
        if attempt > profile.retries || at >= next_slot {
            return None;
        }
        self.retry = Some((at, RunPlan { attempt, ..failed.clone() }));
        Some(at)
    }

    /// When the next run will start, as far as is known at `now`.
    pub fn next_run(&self, profile: &Profile, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let slot = profile.schedule.next_after(now)?;
        let next = slot.at + profile.delay(&slot);
        // A slot within its jitter is past, and not yet handled.
        let pending = profile.schedule.last_until(now).filter(|slot| slot.at > self.handled_until);
        let pending = pending.map(|slot| slot.at + profile.delay(&slot));
        [Some(next), pending, self.retry.as_ref().map(|(at, _)| *at)].into_iter().flatten().min()
    }

    fn due_retry(&mut self, now: OffsetDateTime) -> Decision {
        match self.retry.take_if(|(at, _)| *at <= now) {
            Some((_, plan)) => Decision::Run(plan),
            None => Decision::Wait,
        }
    }
}

fn wants_another_run(head: &ManifestHead) -> bool {
    head.outcome == Outcome::Failed
        && head.error.as_ref().is_some_and(|error| error.code == Code::Cancelled || error.code.is_retryable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::head;
    use crate::schedule::Schedule;
    use crate::zone::Zone;
    use time::macros::datetime;

    fn profile(expressions: &[&str]) -> Profile {
        let expressions = expressions.iter().map(|text| text.parse().expect("valid")).collect();
        Profile::new("daily", Schedule::new(expressions, Zone::utc()))
    }

    fn clock(handled_until: OffsetDateTime) -> ProfileClock {
        ProfileClock { handled_until, retry: None }
    }

    fn trigger(decision: &Decision) -> Option<(OffsetDateTime, Trigger)> {
        match decision {
            Decision::Run(plan) => Some((plan.slot.at, plan.trigger)),
            _ => None,
        }
    }

    const MIDNIGHT: OffsetDateTime = datetime!(2026-01-10 0:00 UTC);
    const TWO: OffsetDateTime = datetime!(2026-01-10 2:00 UTC);

    #[test]
    fn runs_each_slot_once() {
        let profile = profile(&["0 2 * * *"]);
        let mut clock = clock(MIDNIGHT);
        assert_eq!(clock.decide(&profile, TWO - Duration::SECOND, MIDNIGHT), Decision::Wait);
        let decision = clock.decide(&profile, TWO, MIDNIGHT);
        assert_eq!(trigger(&decision), Some((TWO, Trigger::Schedule)));
        assert_eq!(clock.decide(&profile, TWO, MIDNIGHT), Decision::Wait);
        assert_eq!(clock.decide(&profile, TWO + Duration::hours(23), MIDNIGHT), Decision::Wait);
    }

    #[test]
    fn makes_up_for_the_last_of_several_missed_slots_once() {
        let profile = profile(&["0 2 * * *"]);
        let started = datetime!(2026-01-14 9:00 UTC);
        let mut clock = clock(TWO);
        let decision = clock.decide(&profile, started, started);
        assert_eq!(trigger(&decision), Some((datetime!(2026-01-14 2:00 UTC), Trigger::CatchUp)));
        assert_eq!(clock.decide(&profile, started + Duration::MINUTE, started), Decision::Wait);
    }

    #[test]
    fn reports_a_missed_slot_when_catch_up_is_off() {
        let profile = Profile { catch_up: false, ..profile(&["0 2 * * *"]) };
        let started = datetime!(2026-01-14 9:00 UTC);
        let mut clock = clock(TWO);
        assert!(
            matches!(clock.decide(&profile, started, started), Decision::Missed(slot) if slot.at.day() == 14)
        );
        assert_eq!(clock.decide(&profile, started, started), Decision::Wait);
    }

    #[test]
    fn a_slot_that_came_while_another_run_was_busy_is_not_a_missed_one() {
        let profile = profile(&["0 2 * * *"]);
        let decision = clock(MIDNIGHT).decide(&profile, TWO + Duration::hours(1), MIDNIGHT);
        assert_eq!(trigger(&decision), Some((TWO, Trigger::Schedule)));
    }

    #[test]
    fn takes_what_is_handled_from_the_catalog() {
        let mut failed = head("b", Some("daily"), TWO + Duration::MINUTE);
        failed.slot = Some(TWO);
        let catalog = Catalog::new(
            [failed, head("a", Some("other"), TWO + Duration::DAY)].map(Into::into).to_vec(),
            vec![],
        );
        let profile = profile(&["0 2 * * *"]);
        let mut seen = ProfileClock::from_catalog("daily", &catalog, MIDNIGHT);
        assert_eq!(seen.decide(&profile, TWO + Duration::hours(2), TWO), Decision::Wait);
        let mut new = ProfileClock::from_catalog("new", &catalog, MIDNIGHT);
        assert!(trigger(&new.decide(&profile, TWO + Duration::hours(2), TWO + Duration::HOUR)).is_some());
        let mut newer = ProfileClock::from_catalog("new", &catalog, TWO + Duration::HOUR);
        assert_eq!(newer.decide(&profile, TWO + Duration::hours(2), TWO + Duration::HOUR), Decision::Wait);
    }

    #[test]
    fn a_run_that_was_cancelled_or_waited_for_a_retry_is_made_up_for_after_a_restart() {
        let profile = profile(&["0 2 * * *"]);
        let restarted = TWO + Duration::HOUR;
        let decision = |code: Code| {
            let mut failed = head("b", Some("daily"), TWO);
            failed.outcome = Outcome::Failed;
            failed.error =
                Some(crate::manifest_head::RunError { code, message: String::new(), hint: String::new() });
            let before = head("a", Some("daily"), TWO - Duration::DAY);
            let catalog = Catalog::new([failed, before].map(Into::into).to_vec(), vec![]);
            ProfileClock::from_catalog("daily", &catalog, MIDNIGHT).decide(&profile, restarted, restarted)
        };
        for code in [Code::Cancelled, Code::DatabaseLost] {
            assert_eq!(trigger(&decision(code)), Some((TWO, Trigger::CatchUp)), "{code}");
        }
        assert_eq!(decision(Code::PrivilegesMissing), Decision::Wait);
    }

    #[test]
    fn a_clock_set_back_a_day_runs_the_next_slot_of_the_new_time() {
        let profile = profile(&["0 2 * * *"]);
        let mut clock = clock(datetime!(2026-01-11 2:00 UTC));
        assert_eq!(clock.decide(&profile, datetime!(2026-01-10 2:30 UTC), MIDNIGHT), Decision::Wait);
        let again = clock.decide(&profile, datetime!(2026-01-11 2:00 UTC), MIDNIGHT);
        assert_eq!(trigger(&again), Some((datetime!(2026-01-11 2:00 UTC), Trigger::Schedule)));
    }

    #[test]
    fn jitter_delays_a_run_by_an_amount_of_its_own() {
        let mut profile = profile(&["0 2 * * *"]);
        profile.jitter = Duration::minutes(30);
        let slot = profile.schedule.next_after(MIDNIGHT).expect("it fires");
        let delay = profile.delay(&slot);
        assert!(delay > Duration::ZERO && delay <= Duration::minutes(30), "{delay}");
        let mut clock = clock(MIDNIGHT);
        assert_eq!(clock.next_run(&profile, TWO + Duration::SECOND), Some(TWO + delay));
        assert_eq!(clock.decide(&profile, TWO + delay - Duration::SECOND, MIDNIGHT), Decision::Wait);
        assert!(trigger(&clock.decide(&profile, TWO + delay, MIDNIGHT)).is_some());
    }

    #[test]
    fn retries_with_growing_pauses_and_then_gives_up() {
        let profile = profile(&["0 2 * * *"]);
        let mut clock = clock(MIDNIGHT);
        let Decision::Run(first) = clock.decide(&profile, TWO, MIDNIGHT) else { panic!("it is due") };
        let at = clock.retry_later(&profile, &first, TWO + Duration::MINUTE).expect("a first retry");
        assert_eq!(at, TWO + Duration::minutes(6));
        assert_eq!(clock.next_run(&profile, TWO + Duration::MINUTE), Some(at));
        assert_eq!(clock.decide(&profile, at - Duration::SECOND, MIDNIGHT), Decision::Wait);
        let Decision::Run(second) = clock.decide(&profile, at, MIDNIGHT) else { panic!("it is due") };
        assert_eq!((second.attempt, second.slot.at), (1, TWO));
        let at = clock.retry_later(&profile, &second, at).expect("a second retry");
        assert_eq!(at, TWO + Duration::minutes(16));
        let Decision::Run(third) = clock.decide(&profile, at, MIDNIGHT) else { panic!("it is due") };
        assert_eq!(clock.retry_later(&profile, &third, at), None);
    }

    #[test]
    fn the_next_slot_replaces_a_retry() {
        let mut profile = profile(&["0 * * * *"]);
        profile.retry_delay = Duration::minutes(50);
        let mut clock = clock(MIDNIGHT);
        let Decision::Run(first) = clock.decide(&profile, TWO, MIDNIGHT) else { panic!("it is due") };
        assert_eq!(clock.retry_later(&profile, &first, TWO + Duration::minutes(15)), None);
        assert!(clock.retry_later(&profile, &first, TWO + Duration::minutes(5)).is_some());
        let Decision::Run(next) = clock.decide(&profile, TWO + Duration::HOUR, MIDNIGHT) else {
            panic!("it is due")
        };
        assert_eq!((next.attempt, next.slot.at), (0, TWO + Duration::HOUR));
        assert_eq!(clock.decide(&profile, TWO + Duration::minutes(61), MIDNIGHT), Decision::Wait);
    }
}
