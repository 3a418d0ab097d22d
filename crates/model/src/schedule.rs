//! When a profile is due: a list of cron expressions read in one time zone.
//!
//! Daylight saving: a slot in the hour that is skipped runs once, right after it; a slot in the hour
//! that happens twice runs once, the first time. Expressions are therefore walked on the wall clock,
//! and each wall-clock slot is then placed on the line of instants by [`Zone`].

use jiff::{SignedDuration, Timestamp, ToSpan};
use time::{Duration, OffsetDateTime};

use crate::cron::CronExpr;
use crate::zone::{Zone, instant, timestamp};

/// How many slots [`Schedule::longest_gap`] looks at: more than a year of `four-times-daily`.
const GAP_SLOTS: usize = 2_000;
/// How far it looks ahead at most: beyond the longest pause of any calendar rule (29 February around
/// a century that has none).
const GAP_YEARS: i64 = 9;

/// A moment at which a run is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// When, with the zone's offset at that moment.
    pub at: OffsetDateTime,
    /// Which expression of the schedule made it.
    pub expression: usize,
}

/// Cron expressions and the zone they are read in.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    expressions: Vec<CronExpr>,
    zone: Zone,
}

impl Schedule {
    /// A schedule of at least one expression; an empty one never fires.
    pub fn new(expressions: Vec<CronExpr>, zone: Zone) -> Schedule {
        Schedule { expressions, zone }
    }

    /// The expressions, in the order they were written.
    pub fn expressions(&self) -> &[CronExpr] {
        &self.expressions
    }

    /// The zone they are read in.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first slot after `now`.
    pub fn next_after(&self, now: OffsetDateTime) -> Option<Slot> {
        let now = timestamp(now);
        self.best(|expression| self.place_after(expression, now), |a, b| a < b)
    }

    /// The last slot at or before `now`.
    pub fn last_until(&self, now: OffsetDateTime) -> Option<Slot> {
        let now = timestamp(now);
        self.best(|expression| self.place_until(expression, now), |a, b| a > b)
    }

    /// The longest pause between two neighbouring slots that lie ahead of `from`.
    pub fn longest_gap(&self, from: OffsetDateTime) -> Duration {
        self.gaps(from).max().unwrap_or(Duration::ZERO)
    }

    /// The shortest one; `None` for a schedule that does not fire twice.
    pub fn shortest_gap(&self, from: OffsetDateTime) -> Option<Duration> {
        self.gaps(from).min()
    }

    fn gaps(&self, from: OffsetDateTime) -> impl Iterator<Item = Duration> {
        let horizon = from + Duration::days(366 * GAP_YEARS);
        let first = self.next_after(from).map(|slot| slot.at);
        let slots = std::iter::successors(first, move |&before| {
            // The pause that reaches beyond the horizon is the last one that counts.
            (before <= horizon).then(|| self.next_after(before)).flatten().map(|slot| slot.at)
        });
        let slots = slots.take(GAP_SLOTS);
        slots.scan(None, |before, at| Some(before.replace(at).map(|before| at - before))).flatten()
    }

    fn best(
        &self,
        find: impl Fn(&CronExpr) -> Option<Timestamp>,
        better: impl Fn(Timestamp, Timestamp) -> bool,
    ) -> Option<Slot> {
        let mut best: Option<(Timestamp, usize)> = None;
        for (index, expression) in self.expressions.iter().enumerate() {
            let Some(found) = find(expression) else { continue };
            if best.is_none_or(|(best, _)| better(found, best)) {
                best = Some((found, index));
            }
        }
        best.map(|(at, expression)| Slot { at: self.zone.local(instant(at)), expression })
    }

    fn place_after(&self, expression: &CronExpr, now: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.wall_clock(now);
        loop {
            wall = expression.next_after(wall)?;
            let placed = self.zone.place(wall)?;
            // In the second half of a doubled hour the wall clock names instants that have passed.
            if placed.instant > now {
                return Some(placed.instant);
            }
        }
    }

    fn place_until(&self, expression: &CronExpr, now: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.wall_clock(now);
        let fold = self.zone.place(wall)?.fold_seconds;
        // In a doubled hour later wall-clock times may already have had their (first) occurrence.
        wall = wall.checked_add(fold.seconds()).ok()?;
        loop {
            wall = expression.last_until(wall)?;
            let placed = self.zone.place(wall)?;
            if placed.instant <= now {
                return Some(placed.instant);
            }
            wall = wall.checked_sub(SignedDuration::from_secs(1)).ok()?;
        }
    }
}

#[cfg(test)]
mod tests;
