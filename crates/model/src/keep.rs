//! A retention policy, in restic's terms.

use serde::{Deserialize, Serialize};
use time::Duration;

/// What a profile keeps: the union of all rules that are set. With none set, every good backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepPolicy {
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// Everything within so many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<u32>,
    /// Everything within so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// Everything within so many weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weeks: Option<u32>,
    /// Everything within so many calendar months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub months: Option<u32>,
    /// Everything within so many calendar years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub years: Option<u32>,
    /// The newest of each of the last so many hours that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u32>,
    /// The newest of each of the last so many days that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// The newest of each of the last so many ISO weeks that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    /// The newest of each of the last so many months that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    /// The newest of each of the last so many years that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
}

impl KeepPolicy {
    /// No rule: the default, as a constant.
    pub const EMPTY: KeepPolicy = KeepPolicy {
        last: None,
        hours: None,
        days: None,
        weeks: None,
        months: None,
        years: None,
        hourly: None,
        daily: None,
        weekly: None,
        monthly: None,
        yearly: None,
    };

    /// No rule at all: retention removes no good backup.
    pub fn is_empty(&self) -> bool {
        *self == KeepPolicy::EMPTY
    }

    /// The names of the rules, as they are written in the configuration.
    pub const RULES: [&'static str; 11] = [
        "last", "hours", "days", "weeks", "months", "years", "hourly", "daily", "weekly", "monthly", "yearly",
    ];

    /// The rule called `name`, to read or to set it.
    pub fn rule_mut(&mut self, name: &str) -> Option<&mut Option<u32>> {
        Some(match name {
            "last" => &mut self.last,
            "hours" => &mut self.hours,
            "days" => &mut self.days,
            "weeks" => &mut self.weeks,
            "months" => &mut self.months,
            "years" => &mut self.years,
            "hourly" => &mut self.hourly,
            "daily" => &mut self.daily,
            "weekly" => &mut self.weekly,
            "monthly" => &mut self.monthly,
            "yearly" => &mut self.yearly,
            _ => return None,
        })
    }

    /// Everything within this long, of the rules whose units have a fixed length.
    pub(crate) fn fixed_window(&self) -> Option<(Duration, String)> {
        let rules = [
            (self.hours, Duration::HOUR, "hours"),
            (self.days, Duration::DAY, "days"),
            (self.weeks, Duration::WEEK, "weeks"),
        ];
        rules
            .into_iter()
            .filter_map(|(count, unit, name)| {
                count.map(|count| {
                    (unit.saturating_mul(count.min(i32::MAX as u32) as i32), format!("within {count} {name}"))
                })
            })
            .max_by_key(|(window, _)| *window)
    }
}
