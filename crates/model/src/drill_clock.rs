//! Whether a drill is due: a pure function of its schedule, the last one, and the time.
//!
//! Unlike a backup, a drill belongs to no moment: one that was missed is made up for, of several once, and
//! one that could not be tried is tried again.

use time::{Duration, OffsetDateTime};

use crate::catalog::Catalog;
use crate::manifest_head::ManifestHead;
use crate::schedule::Schedule;

/// How far the clock may lie behind the last handled slot before it counts as set back.
const CLOCK_TOLERANCE: Duration = Duration::MINUTE;
/// How often a drill that could not be tried is tried again, and the first pause, which then doubles.
const RETRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::minutes(10);

/// What is remembered of drills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillClock {
    handled_until: OffsetDateTime,
    attempt: u32,
    retry_at: Option<OffsetDateTime>,
}

impl DrillClock {
    /// Slots up to the last drill that any backup knows of are handled; where there is none, slots before
    /// `first_start`, when this repository was first used.
    pub fn from_catalog(catalog: &Catalog, first_start: OffsetDateTime) -> DrillClock {
        let drilled = catalog.entries().filter_map(|head| head.drilled.as_ref()).map(|proof| proof.at).max();
        DrillClock::handled(drilled, first_start)
    }

    /// The same for samples. Whoever drills all of a backup drills every sample of it.
    pub fn of_samples(catalog: &Catalog, first_start: OffsetDateTime) -> DrillClock {
        let sampled = |head: &ManifestHead| head.sampled.as_ref().map(|sampled| sampled.proof.at);
        let drilled = |head: &ManifestHead| head.drilled.as_ref().map(|proof| proof.at);
        let last = catalog.entries().flat_map(|head| [sampled(head), drilled(head)]).flatten().max();
        DrillClock::handled(last, first_start)
    }

    fn handled(last: Option<OffsetDateTime>, first_start: OffsetDateTime) -> DrillClock {
        DrillClock { handled_until: last.unwrap_or(first_start), attempt: 0, retry_at: None }
    }

    /// Whether one is to start at `now`. It stays due until [`DrillClock::start`].
    pub fn is_due(&mut self, schedule: &Schedule, now: OffsetDateTime) -> bool {
        let slot = schedule.last_until(now).map(|slot| slot.at);
        if now + CLOCK_TOLERANCE < self.handled_until {
            self.handled_until = slot.unwrap_or(now);
            self.retry_at = None;
        }
        slot.is_some_and(|at| at > self.handled_until) || self.retry_at.is_some_and(|at| at <= now)
    }

    /// Notes that one starts.
    pub fn start(&mut self, now: OffsetDateTime) {
        if self.retry_at.take().is_none() {
            self.attempt = 0;
        }
        self.handled_until = self.handled_until.max(now);
    }

    /// Notes that it could not be tried, for a reason that may pass. Returns when it is tried again.
    pub fn retry_later(&mut self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.attempt += 1;
        let pause = FIRST_PAUSE * 2_i32.pow(self.attempt.min(RETRIES) - 1);
        self.retry_at = (self.attempt <= RETRIES).then(|| now + pause);
        self.retry_at
    }

    /// When the next one starts, as far as is known at `now`.
    pub fn next_run(&self, schedule: &Schedule, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let slot = schedule.next_after(now).map(|slot| slot.at);
        [slot, self.retry_at].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest_head::{Proof, SampleProof};
    use crate::sample::head;
    use crate::zone::Zone;
    use time::macros::datetime;

    /// Sunday, 11 January 2026 is one.
    const SLOT: OffsetDateTime = datetime!(2026-01-11 3:00 UTC);

    fn sundays() -> Schedule {
        Schedule::new(vec!["0 3 * * 0".parse().expect("valid")], Zone::utc())
    }

    fn clock(handled_until: OffsetDateTime) -> DrillClock {
        DrillClock::from_catalog(&Catalog::default(), handled_until)
    }

    #[test]
    fn each_slot_is_due_until_a_drill_has_started() {
        let mut clock = clock(SLOT - Duration::DAY);
        assert!(!clock.is_due(&sundays(), SLOT - Duration::SECOND));
        assert!(clock.is_due(&sundays(), SLOT) && clock.is_due(&sundays(), SLOT + Duration::HOUR));
        clock.start(SLOT + Duration::HOUR);
        assert!(!clock.is_due(&sundays(), SLOT + Duration::days(6)));
        assert!(clock.is_due(&sundays(), SLOT + Duration::WEEK));
    }

    #[test]
    fn several_missed_slots_are_one_drill() {
        let mut clock = clock(SLOT - Duration::DAY);
        let later = SLOT + Duration::weeks(3) + Duration::HOUR;
        assert!(clock.is_due(&sundays(), later));
        clock.start(later);
        assert!(!clock.is_due(&sundays(), later + Duration::DAY));
    }

    #[test]
    fn a_drill_by_hand_counts_too() {
        let mut drilled = head("a", Some("daily"), SLOT - Duration::DAY);
        let at = SLOT + Duration::HOUR;
        drilled.drilled = Some(Proof { at, ok: false, duration_seconds: 1.0, differences: vec![] });
        let catalog = Catalog::new(vec![drilled.into()], vec![]);
        let mut clock = DrillClock::from_catalog(&catalog, SLOT - Duration::WEEK);
        assert!(!clock.is_due(&sundays(), SLOT + Duration::DAY));
    }

    #[test]
    fn a_drill_is_a_sample_too_and_a_sample_is_no_drill() {
        let at = SLOT + Duration::HOUR;
        let proof = Proof { at, ok: true, duration_seconds: 1.0, differences: vec![] };
        let (mut drilled, mut sampled) = (head("a", None, SLOT), head("b", None, SLOT));
        drilled.drilled = Some(proof.clone());
        sampled.sampled = Some(SampleProof { proof, tables: 1, of_tables: 9 });
        let due = |head: ManifestHead| {
            let (catalog, before) = (Catalog::new(vec![head.into()], vec![]), SLOT - Duration::WEEK);
            let mut clocks =
                [DrillClock::from_catalog(&catalog, before), DrillClock::of_samples(&catalog, before)];
            clocks.each_mut().map(|clock| clock.is_due(&sundays(), SLOT + Duration::DAY))
        };
        assert_eq!((due(drilled), due(sampled)), ([false, false], [true, false]));
    }

    #[test]
    fn what_could_not_be_tried_is_tried_again_with_growing_pauses() {
        let mut clock = clock(SLOT - Duration::DAY);
        let mut now = SLOT;
        for minutes in [10, 20, 40] {
            assert!(clock.is_due(&sundays(), now));
            clock.start(now);
            let at = clock.retry_later(now).expect("it is tried again");
            assert_eq!(at - now, Duration::minutes(minutes));
            assert!(!clock.is_due(&sundays(), at - Duration::SECOND));
            assert_eq!(clock.next_run(&sundays(), now), Some(at));
            now = at;
        }
        clock.start(now);
        assert_eq!(clock.retry_later(now), None);
        assert!(!clock.is_due(&sundays(), now + Duration::DAY));
        assert!(clock.is_due(&sundays(), SLOT + Duration::WEEK));
        clock.start(SLOT + Duration::WEEK);
        let again = clock.retry_later(SLOT + Duration::WEEK).expect("a new slot has retries of its own");
        assert_eq!(again - SLOT - Duration::WEEK, Duration::minutes(10));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_them() {
        let mut clock = clock(SLOT + Duration::weeks(52));
        assert!(!clock.is_due(&sundays(), SLOT + Duration::HOUR));
        assert!(clock.is_due(&sundays(), SLOT + Duration::WEEK));
    }
}
