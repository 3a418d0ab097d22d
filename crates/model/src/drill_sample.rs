//! Which tables a drill of a sample restores.
//!
//! Nothing remembers what was sampled last: it would be noted with backups, and retention may have removed
//! those by the time it is needed. So whose turn it is follows from the day alone. The tables stand in a circle, in an
//! order that has nothing to do with their size, and each turn takes the next piece of it: after as many
//! turns as there are pieces every table has been taken once, whether it is large or small.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use time::OffsetDateTime;

/// How many of a backup's tables are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleSize {
    /// So many of a hundred; at least one.
    Percent(f64),
    /// So many, or all where there are fewer.
    Tables(u32),
}

impl SampleSize {
    /// How many of `all` tables.
    fn of(self, all: usize) -> usize {
        let wanted = match self {
            SampleSize::Percent(percent) => (all as f64 * percent / 100.0).ceil() as usize,
            SampleSize::Tables(tables) => tables as usize,
        };
        wanted.clamp(1, all.max(1))
    }
}

impl fmt::Display for SampleSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SampleSize::Percent(percent) => write!(f, "{percent}%"),
            SampleSize::Tables(1) => write!(f, "1 table"),
            SampleSize::Tables(tables) => write!(f, "{tables} tables"),
        }
    }
}

impl FromStr for SampleSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim_end().parse().ok().map(SampleSize::Percent),
            None => text.trim().parse().ok().map(SampleSize::Tables),
        };
        let fits = |size: &SampleSize| match size {
            SampleSize::Percent(percent) => *percent > 0.0 && *percent <= 100.0,
            SampleSize::Tables(tables) => *tables > 0,
        };
        let wrong = || format!("`{text}` is neither a share of the tables such as 10% nor a number of them");
        size.filter(fits).ok_or_else(wrong)
    }
}

/// How much is sampled, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleSpec {
    /// How many tables.
    pub size: SampleSize,
    /// Its day decides whose turn it is. Of a scheduled sample this is the slot, so that one that is made up
    /// for takes the tables that it would have taken.
    pub at: OffsetDateTime,
}

/// A table as it is told apart from all others of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TableId {
    /// Its database.
    pub database: String,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

impl TableId {
    /// A table's place in the circle: by its name alone, mixed well, so that tables of one kind, which are mostly
    /// called alike, do not come together. FNV-1a, and the end of SplitMix64, since the former alone
    /// leaves names that differ at their end side by side.
    fn place(&self) -> u64 {
        let parts = [&self.database, &self.schema, &self.name];
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

/// The tables whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The tables, by name.
    pub tables: Vec<TableId>,
    /// Which piece of the circle they are, from 1.
    pub turn: usize,
    /// In how many pieces it is cut: after as many turns every table was taken.
    pub turns: usize,
}

/// Takes the tables whose turn it is from `all`.
pub fn choose(spec: SampleSpec, mut all: Vec<TableId>) -> Sample {
    all.sort_by_cached_key(|table| (table.place(), table.clone()));
    let turns = all.len().div_ceil(spec.size.of(all.len())).max(1);
    let turn = turn(i64::from(spec.at.date().to_julian_day()), turns);
    let bound = |turn: usize| turn * all.len() / turns;
    let mut tables = all[bound(turn)..bound(turn + 1)].to_vec();
    tables.sort();
    Sample { tables, turn: turn + 1, turns }
}

/// Whose turn it is on a day. From a week to the next it is that of the next piece, so a weekly sample, and
/// one on several days of each week, passes none by; and the days of a week are so far apart that a
/// daily sample is round in a seventh of the time.
fn turn(day: i64, turns: usize) -> usize {
    let apart = turns.div_ceil(7) as i64;
    let at = day.div_euclid(7) + day.rem_euclid(7) * apart;
    at.rem_euclid(turns as i64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use time::Duration;
    use time::macros::datetime;

    /// A Saturday.
    const SLOT: OffsetDateTime = datetime!(2026-01-10 3:00 UTC);

    fn tables(count: usize) -> Vec<TableId> {
        let table =
            |n| TableId { database: "postgres".into(), schema: "public".into(), name: format!("t{n}") };
        (0..count).map(table).collect()
    }

    fn sample(size: &str, count: usize, at: OffsetDateTime) -> Sample {
        choose(SampleSpec { size: size.parse().expect("a size"), at }, tables(count))
    }

    /// How often each table is taken by samples that are `days` apart.
    fn taken(size: &str, count: usize, days: i64, times: i64) -> Vec<usize> {
        let samples: Vec<_> =
            (0..times).flat_map(|n| sample(size, count, SLOT + Duration::days(days * n)).tables).collect();
        tables(count).iter().map(|table| samples.iter().filter(|other| *other == table).count()).collect()
    }

    #[test]
    fn every_table_has_its_turn_once_in_as_many_weeks_as_there_are_turns() {
        for (size, count, turns) in
            [("10%", 45, 9), ("10%", 100, 10), ("5", 45, 9), ("33%", 7, 3), ("1", 14, 14)]
        {
            assert_eq!(sample(size, count, SLOT).turns, turns, "{size} of {count}");
            let taken = taken(size, count, 7, turns as i64);
            assert!(taken.iter().all(|times| *times == 1), "{size} of {count}: {taken:?}");
        }
    }

    #[test]
    fn a_daily_sample_is_round_in_a_seventh_of_the_time() {
        for count in [7, 70, 365] {
            // A week more, as it does not begin with one.
            let taken = taken("1", count, 1, (count.div_ceil(7) * 7 + 7) as i64);
            assert!(taken.iter().all(|times| (1..=3).contains(times)), "{count}: {taken:?}");
        }
    }

    #[test]
    fn samples_are_of_one_size_and_never_more_than_was_asked_for() {
        for week in 0..20 {
            let at = SLOT + Duration::weeks(week);
            let tables = sample("10%", 45, at).tables.len();
            assert!((4..=5).contains(&tables), "{tables} in week {week}");
        }
        assert_eq!(sample("0.1%", 45, SLOT).tables.len(), 1);
        for all in ["100%", "45", "1000"] {
            assert_eq!(sample(all, 45, SLOT).tables, {
                let mut all = tables(45);
                all.sort();
                all
            });
        }
        assert_eq!(sample("10%", 0, SLOT), Sample { tables: vec![], turn: 1, turns: 1 });
    }

    #[test]
    fn the_same_day_takes_the_same_tables_in_whatever_order_they_come() {
        let spec = SampleSpec { size: SampleSize::Percent(10.0), at: SLOT };
        let mut backwards = tables(45);
        backwards.reverse();
        assert_eq!(choose(spec, backwards), sample("10%", 45, SLOT + Duration::hours(20)));
    }

    #[test]
    fn tables_that_are_called_alike_do_not_come_together() {
        let names: BTreeSet<_> =
            sample("10%", 100, SLOT).tables.into_iter().map(|table| table.name).collect();
        let neighbours =
            (0..99).filter(|n| names.contains(&format!("t{n}")) && names.contains(&format!("t{}", n + 1)));
        assert!(neighbours.count() <= 3, "{names:?}");
    }

    #[test]
    fn a_new_table_moves_the_others_by_one_place_at_most() {
        let (before, after) = (sample("10%", 100, SLOT).tables, sample("10%", 101, SLOT).tables);
        let stayed = before.iter().filter(|table| after.contains(table)).count();
        assert!(stayed >= before.len() - 2, "{before:?} {after:?}");
    }

    #[test]
    fn a_size_is_a_share_or_a_number() {
        assert_eq!("10%".parse(), Ok(SampleSize::Percent(10.0)));
        assert_eq!("0.5 %".parse(), Ok(SampleSize::Percent(0.5)));
        assert_eq!("5".parse(), Ok(SampleSize::Tables(5)));
        for wrong in ["", "%", "0", "0%", "-1", "101%", "NaN%", "inf%", "ten", "10.5"] {
            assert!(wrong.parse::<SampleSize>().is_err(), "{wrong}");
        }
        let shown =
            ["10%", "0.5%", "5", "1"].map(|text| text.parse::<SampleSize>().expect("a size").to_string());
        assert_eq!(shown, ["10%", "0.5%", "5 tables", "1 table"]);
    }
}
