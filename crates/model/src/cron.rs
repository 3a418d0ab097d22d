//! A cron expression in the classic five fields, or six with leading seconds.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil;

/// A checked cron expression: it parses, and it fires at least once in the years to come.
///
/// It is evaluated on the wall clock alone; what happens when the wall clock jumps is `Zone`'s matter.
#[derive(Clone)]
pub struct CronExpr {
    text: String,
    cron: Cron,
}

impl CronExpr {
    /// The first matching wall-clock time after `wall`.
    pub(crate) fn next_after(&self, wall: civil::DateTime) -> Option<civil::DateTime> {
        self.cron.find_next_occurrence(&wall, false).ok()
    }

    /// The last matching wall-clock time at or before `wall`.
    pub(crate) fn last_until(&self, wall: civil::DateTime) -> Option<civil::DateTime> {
        self.cron.find_previous_occurrence(&wall, true).ok()
    }
}

impl FromStr for CronExpr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let expression = match trimmed.to_ascii_lowercase().as_str() {
            "@midnight" => "@daily",
            "@reboot" => {
                return Err(
                    "`@reboot` is not a time; a missed run is caught up after a start by itself".to_owned()
                );
            }
            _ => trimmed,
        };
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build()
            .parse(expression)
            .map_err(|error| explain(trimmed, &error))?;
        // Any date serves: the calendar repeats, so what does not fire after it never does.
        if cron.find_next_occurrence(&civil::date(2024, 1, 1).at(0, 0, 0, 0), true).is_err() {
            return Err(format!("`{trimmed}` never fires: no such day exists"));
        }
        Ok(CronExpr { text: trimmed.to_owned(), cron })
    }
}

fn explain(text: &str, error: &CronError) -> String {
    let reason = match error {
        CronError::EmptyPattern => "it is empty".to_owned(),
        CronError::InvalidPattern(_) => {
            "it needs five fields (minute hour day month weekday), or six with leading seconds".to_owned()
        }
        CronError::IllegalCharacters(reason) | CronError::ComponentError(reason) => reason.clone(),
        other => other.to_string(),
    };
    format!("`{text}` is not a cron expression: {}", reason.trim_end_matches('.'))
}

impl fmt::Debug for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronExpr({})", self.text)
    }
}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for CronExpr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str) -> String {
        let cron: CronExpr = expression.parse().expect("a valid expression");
        // A Thursday.
        cron.next_after(civil::date(2026, 1, 1).at(0, 0, 0, 0)).expect("it fires").to_string()
    }

    #[test]
    fn accepts_what_cron_accepts() {
        assert_eq!(next("0 2 * * *"), "2026-01-01T02:00:00");
        assert_eq!(next("0 2 * * 0"), "2026-01-04T02:00:00");
        assert_eq!(next("0 2 * * 7"), "2026-01-04T02:00:00");
        assert_eq!(next("0 2 * * SUN"), "2026-01-04T02:00:00");
        assert_eq!(next("0 4 1 FEB *"), "2026-02-01T04:00:00");
        assert_eq!(next("@daily"), "2026-01-02T00:00:00");
        assert_eq!(next("@midnight"), "2026-01-02T00:00:00");
        assert_eq!(next("30 0 2 * * *"), "2026-01-01T02:00:30");
        assert_eq!(next("*/15 * * * *"), "2026-01-01T00:15:00");
        assert_eq!(next("0 0 29 2 *"), "2028-02-29T00:00:00");
    }

    #[test]
    fn says_what_is_wrong() {
        for (expression, part) in [
            ("0 0 31 2 *", "never fires"),
            ("61 * * * *", "out of bounds"),
            ("0 2 * *", "five fields"),
            ("* * * * * * 2024", "five fields"),
            ("", "empty"),
            ("0 2 * * *; rm -rf /", "fields"),
            ("@reboot", "not a time"),
            ("tomorrow", "five fields"),
        ] {
            let error = expression.parse::<CronExpr>().expect_err(expression);
            assert!(error.contains(part), "{expression}: {error}");
        }
    }
}
