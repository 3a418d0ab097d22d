//! A time zone by its IANA name, with the database compiled in.
//!
//! `time` stores instants but knows no zones; `jiff` knows them. This module and `schedule` are the
//! only places where the two meet.

use std::fmt;

use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, civil};
use time::{OffsetDateTime, UtcOffset};

/// An IANA time zone such as `Europe/Zurich`.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// Where a wall-clock time falls on the line of instants.
pub(crate) struct Placed {
    /// The instant that a slot at this wall-clock time runs at.
    pub instant: Timestamp,
    /// How long the wall clock repeats itself here; zero nearly always.
    pub fold_seconds: i32,
}

impl Zone {
    /// Finds a zone by its IANA name; abbreviations such as `CET` that IANA knows work too.
    pub fn parse(name: &str) -> Result<Zone, String> {
        TimeZone::get(name)
            .map(|rules| Zone { name: name.to_owned(), rules })
            .map_err(|_| format!("`{name}` is not an IANA time zone; write for example Europe/Zurich or UTC"))
    }

    /// Coordinated Universal Time.
    pub fn utc() -> Zone {
        Zone { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// The name it was found by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same instant with this zone's offset at that instant.
    pub fn local(&self, instant: OffsetDateTime) -> OffsetDateTime {
        let offset = self.rules.to_offset(timestamp(instant));
        let offset = UtcOffset::from_whole_seconds(offset.seconds()).unwrap_or(UtcOffset::UTC);
        instant.to_offset(offset)
    }

    /// The same wall-clock time so many calendar months earlier; the last day of the month where that
    /// day does not exist.
    pub(crate) fn months_before(&self, now: OffsetDateTime, months: u32) -> OffsetDateTime {
        let wall = self.wall_clock(timestamp(now));
        wall.checked_sub(jiff::Span::new().months(months.min(12 * 9_000)))
            .ok()
            .and_then(|earlier| self.place(earlier))
            .map_or(OffsetDateTime::UNIX_EPOCH, |placed| instant(placed.instant))
    }

    pub(crate) fn wall_clock(&self, instant: Timestamp) -> civil::DateTime {
        self.rules.to_datetime(instant)
    }

    /// The policy for daylight saving in one place: a wall-clock time that is skipped is placed at the
    /// first instant after the gap, one that happens twice at its first occurrence.
    pub(crate) fn place(&self, wall: civil::DateTime) -> Option<Placed> {
        let ambiguous = self.rules.to_ambiguous_timestamp(wall);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                Some(Placed { instant: offset.to_timestamp(wall).ok()?, fold_seconds: 0 })
            }
            AmbiguousOffset::Fold { before, after } => Some(Placed {
                instant: before.to_timestamp(wall).ok()?,
                fold_seconds: before.seconds() - after.seconds(),
            }),
            AmbiguousOffset::Gap { before, .. } => {
                // With the offset of before the gap, a skipped time reads as an instant after the
                // change, and the change is the last one before it.
                let inside = before.to_timestamp(wall).ok()?;
                let after_inside = inside.checked_add(SignedDuration::from_secs(1)).ok()?;
                let change = self.rules.preceding(after_inside).next()?.timestamp();
                Some(Placed { instant: change, fold_seconds: 0 })
            }
        }
    }
}

pub(crate) fn timestamp(instant: OffsetDateTime) -> Timestamp {
    Timestamp::from_second(instant.unix_timestamp()).unwrap_or(Timestamp::MAX)
}

pub(crate) fn instant(timestamp: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(timestamp.as_second())
        .expect("jiff's range of years lies inside time's: both end at 9999")
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn shows_the_offset_of_that_day() {
        let zurich = Zone::parse("Europe/Zurich").expect("a known zone");
        assert_eq!(
            zurich.local(datetime!(2026-01-01 12:00 UTC)).offset(),
            UtcOffset::from_hms(1, 0, 0).expect("in range")
        );
        assert_eq!(
            zurich.local(datetime!(2026-07-01 12:00 UTC)).offset(),
            UtcOffset::from_hms(2, 0, 0).expect("in range")
        );
    }

    #[test]
    fn refuses_a_zone_that_does_not_exist() {
        assert!(Zone::parse("Europe/Zuerich").is_err());
        assert!(Zone::parse("").is_err());
    }

    #[test]
    fn places_a_skipped_time_right_after_the_gap() {
        let zurich = Zone::parse("Europe/Zurich").expect("a known zone");
        for minute in [0, 1, 30, 59] {
            let placed = zurich.place(civil::date(2026, 3, 29).at(2, minute, 0, 0)).expect("in range");
            assert_eq!(instant(placed.instant), datetime!(2026-03-29 01:00 UTC));
        }
    }

    #[test]
    fn places_a_doubled_time_at_its_first_occurrence() {
        let zurich = Zone::parse("Europe/Zurich").expect("a known zone");
        let placed = zurich.place(civil::date(2026, 10, 25).at(2, 30, 0, 0)).expect("in range");
        assert_eq!(instant(placed.instant), datetime!(2026-10-25 00:30 UTC));
        assert_eq!(placed.fold_seconds, 3_600);
    }

    #[test]
    fn places_a_skipped_day_at_the_day_after() {
        // Samoa moved across the date line: 30 December 2011 does not exist there.
        let apia = Zone::parse("Pacific/Apia").expect("a known zone");
        let placed = apia.place(civil::date(2011, 12, 30).at(2, 0, 0, 0)).expect("in range");
        assert_eq!(instant(placed.instant), datetime!(2011-12-30 10:00 UTC));
    }
}
