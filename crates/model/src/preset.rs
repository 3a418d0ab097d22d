//! The built-in profiles, usable by name alone.

use crate::keep::KeepPolicy;

/// A built-in profile as it would be written in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Its schedule.
    pub schedule: &'static [&'static str],
    /// The labels of its schedule's expressions.
    pub labels: &'static [&'static str],
    /// Its retention.
    pub keep: KeepPolicy,
}

/// All of them.
pub const PRESETS: [Preset; 7] = [
    Preset {
        name: "hourly",
        schedule: &["0 * * * *"],
        labels: &[],
        keep: KeepPolicy { hours: Some(24), ..KeepPolicy::EMPTY },
    },
    Preset {
        name: "daily",
        schedule: &["0 2 * * *"],
        labels: &[],
        keep: KeepPolicy { days: Some(7), ..KeepPolicy::EMPTY },
    },
    Preset {
        name: "four-times-daily",
        schedule: &["0 6 * * *", "0 12 * * *", "0 18 * * *", "59 23 * * *"],
        labels: &["morning", "noon", "evening", "nightly"],
        keep: KeepPolicy { days: Some(60), ..KeepPolicy::EMPTY },
    },
    Preset {
        name: "weekly",
        schedule: &["0 2 * * 0"],
        labels: &[],
        keep: KeepPolicy { days: Some(90), ..KeepPolicy::EMPTY },
    },
    Preset {
        name: "monthly",
        schedule: &["0 4 1 * *"],
        labels: &[],
        keep: KeepPolicy { months: Some(12), ..KeepPolicy::EMPTY },
    },
    Preset {
        name: "yearly",
        schedule: &["0 4 1 1 *"],
        labels: &[],
        keep: KeepPolicy { years: Some(7), ..KeepPolicy::EMPTY },
    },
    Preset {
        name: "gfs",
        schedule: &["0 2 * * *"],
        labels: &[],
        keep: KeepPolicy {
            daily: Some(7),
            weekly: Some(4),
            monthly: Some(12),
            yearly: Some(5),
            ..KeepPolicy::EMPTY
        },
    },
];

/// The preset called `name`.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}
