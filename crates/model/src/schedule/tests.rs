use super::*;
use time::macros::datetime;

const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Zurich",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
];

fn schedule(zone: &str, expressions: &[&str]) -> Schedule {
    let expressions = expressions.iter().map(|text| text.parse().expect("a valid expression")).collect();
    Schedule::new(expressions, Zone::parse(zone).expect("a known zone"))
}

#[test]
fn runs_a_slot_of_the_skipped_hour_right_after_it() {
    let nightly = schedule("Europe/Zurich", &["30 2 * * *"]);
    let slot = nightly.next_after(datetime!(2026-03-28 12:00 UTC)).expect("it fires");
    assert_eq!(slot.at, datetime!(2026-03-29 03:00 +2));
    let following = nightly.next_after(slot.at).expect("it fires");
    assert_eq!(following.at, datetime!(2026-03-30 02:30 +2));
}

#[test]
fn runs_several_slots_of_the_skipped_hour_once() {
    let often = schedule("Europe/Zurich", &["*/20 2 * * *", "0 3 * * *"]);
    let slot = often.next_after(datetime!(2026-03-28 12:00 UTC)).expect("it fires");
    assert_eq!(slot.at, datetime!(2026-03-29 03:00 +2));
    assert_eq!(often.next_after(slot.at).expect("it fires").at, datetime!(2026-03-30 02:00 +2));
}

#[test]
fn runs_a_slot_of_the_doubled_hour_once() {
    let nightly = schedule("Europe/Zurich", &["30 2 * * *"]);
    let slot = nightly.next_after(datetime!(2026-10-24 12:00 UTC)).expect("it fires");
    assert_eq!(slot.at, datetime!(2026-10-25 02:30 +2));
    assert_eq!(nightly.next_after(slot.at).expect("it fires").at, datetime!(2026-10-26 02:30 +1));
}

#[test]
fn hourly_pauses_one_hour_longer_when_the_clock_goes_back() {
    let hourly = schedule("Europe/Zurich", &["0 * * * *"]);
    let first = hourly.next_after(datetime!(2026-10-24 23:30 UTC)).expect("it fires").at;
    assert_eq!(first, datetime!(2026-10-25 02:00 +2));
    assert_eq!(hourly.next_after(first).expect("it fires").at, datetime!(2026-10-25 03:00 +1));
}

#[test]
fn remembers_in_the_second_half_of_a_doubled_hour_what_ran_in_the_first() {
    let often = schedule("Europe/Zurich", &["*/10 * * * *"]);
    // 02:15 for the second time: 02:50 has been, in the first half.
    let now = datetime!(2026-10-25 01:15 UTC);
    assert_eq!(often.last_until(now).expect("it fired").at, datetime!(2026-10-25 00:50 UTC));
    assert_eq!(often.next_after(now).expect("it fires").at, datetime!(2026-10-25 02:00 UTC));
}

#[test]
fn says_which_expression_made_the_slot() {
    let four = schedule("UTC", &["0 6 * * *", "0 12 * * *", "0 18 * * *", "59 23 * * *"]);
    let slot = four.next_after(datetime!(2026-01-01 13:00 UTC)).expect("it fires");
    assert_eq!((slot.at, slot.expression), (datetime!(2026-01-01 18:00 UTC), 2));
    let slot = four.last_until(datetime!(2026-01-01 05:59:59 UTC)).expect("it fired");
    assert_eq!((slot.at, slot.expression), (datetime!(2025-12-31 23:59 UTC), 3));
}

#[test]
fn measures_the_longest_gap() {
    let from = datetime!(2026-01-01 0:00 UTC);
    assert_eq!(schedule("UTC", &["0 2 * * *"]).longest_gap(from), Duration::hours(24));
    assert_eq!(schedule("Europe/Zurich", &["0 2 * * *"]).longest_gap(from), Duration::hours(25));
    assert_eq!(schedule("UTC", &["0 2 * * 0"]).longest_gap(from), Duration::days(7));
    assert_eq!(
        schedule("UTC", &["0 6 * * *", "0 12 * * *", "0 18 * * *", "59 23 * * *"]).longest_gap(from),
        Duration::minutes(361)
    );
    assert_eq!(schedule("UTC", &["0 4 1 * *"]).longest_gap(from), Duration::days(31));
    assert_eq!(schedule("UTC", &["0 0 29 2 *"]).longest_gap(from), Duration::days(1461));
}

/// What the policy promises, over 20 years in 12 zones: one run for every local day, in order, at the
/// wall-clock time or (in a gap) right after it; and looking back finds what looking ahead found.
#[test]
fn holds_the_daylight_saving_policy_for_twenty_years_in_twelve_zones() {
    for zone in ZONES {
        for expression in ["30 2 * * *", "0 0 * * *", "59 23 * * *", "15 1,3 * * *"] {
            let per_day = if expression.contains(',') { 2 } else { 1 };
            let schedule = schedule(zone, &[expression]);
            let end = datetime!(2030-01-01 0:00 UTC);
            let mut now = datetime!(2010-01-01 0:00 UTC);
            let mut days = std::collections::BTreeMap::<time::Date, usize>::new();
            while now < end {
                let slot = schedule.next_after(now).expect("it fires for ever");
                assert!(slot.at > now, "{zone} {expression}: {slot:?} is not after {now}");
                let found_again = schedule.last_until(slot.at).expect("it fired");
                assert_eq!(found_again.at, slot.at, "{zone} {expression}");
                let one_before = schedule.last_until(slot.at - Duration::SECOND).expect("it fired");
                assert!(
                    one_before.at <= now || days.is_empty(),
                    "{zone} {expression}: {one_before:?} was skipped"
                );
                *days.entry(slot.at.date()).or_default() += 1;
                now = slot.at;
            }
            let missing_day = time::macros::date!(2011 - 12 - 30);
            let mut expected = *days.keys().next().expect("some days");
            for (&date, &runs) in days.iter().skip(1).take(days.len() - 3) {
                expected = expected.next_day().expect("in range");
                if zone == "Pacific/Apia" && expected == missing_day {
                    expected = expected.next_day().expect("in range");
                    // The day that was skipped has its run at the first instant after it.
                    assert!(runs > per_day || expression.starts_with("0 0"), "{zone} {expression} {date}");
                    continue;
                }
                assert_eq!((date, runs), (expected, per_day), "{zone} {expression}");
            }
        }
    }
}
