//! Profiles: a preset, what the configuration changes about it, or one of people's own.

use std::collections::{BTreeMap, BTreeSet};

use supakeep_model::dump::DumpSpec;
use supakeep_model::gate::GateSpec;
use supakeep_model::keep::KeepPolicy;
use supakeep_model::naming::check_name;
use supakeep_model::parts::Parts;
use supakeep_model::preset::{PRESETS, preset};
use supakeep_model::profile::Profile;
use supakeep_model::quantity::{parse_duration, show_duration};
use supakeep_model::schedule::Schedule;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};

use super::reader::{Reader, Section};

/// The profile that runs when nothing else is said.
const DEFAULT_PROFILE: &str = "daily";

/// Reads the dump settings of a section on top of `base`.
pub(super) fn dump(reader: &mut Reader<'_>, section: &mut Section, base: &DumpSpec) -> DumpSpec {
    let text = |value: &dyn std::fmt::Display| value.to_string();
    let format = reader.parsed(section, "format", &text(&base.format), str::parse);
    let scope = reader.parsed(section, "scope", &text(&base.scope), str::parse);
    let compression = reader.parsed(section, "compression", &text(&base.compression), str::parse);
    let rows = reader.parsed(section, "rows", &text(&base.rows), str::parse);
    let excluded: Vec<_> = base.exclude_table_data.iter().map(String::as_str).collect();
    let exclude_table_data = reader.list(section, "exclude_table_data", &excluded, ',');
    let spec = DumpSpec {
        format: format.unwrap_or(base.format),
        scope: scope.unwrap_or(base.scope),
        compression: compression.unwrap_or(base.compression),
        rows: rows.unwrap_or(base.rows),
        exclude_table_data,
    };
    if let Some(message) = spec.contradiction() {
        reader.complain(section, "rows", message);
    }
    spec
}

/// Reads all profiles that are to run: those that `enable` names, or those that are configured, or
/// `daily`.
pub(super) fn profiles(
    reader: &mut Reader<'_>,
    top: &mut Section,
    bases: (&DumpSpec, &Parts),
    zone: &Zone,
    now: OffsetDateTime,
) -> Vec<Profile> {
    let configured = reader.section(top, "profiles");
    twins(reader, &configured);
    let enabled = reader.list(top, "enable", &[], ',');
    let enabled: Vec<_> = enabled.into_iter().map(|name| as_configured(name, &configured)).collect();
    for name in &enabled {
        if preset(name).is_none() && !configured.has(name) {
            let known: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            let message = format!("there is no profile {name:?}; built in are {}", known.join(", "));
            reader.complain(top, "enable", message);
        }
    }
    let mut names: Vec<String> =
        if enabled.is_empty() { configured.names().map(str::to_owned).collect() } else { enabled };
    if names.is_empty() {
        names.push(DEFAULT_PROFILE.to_owned());
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let all: Vec<_> =
        names.iter().filter_map(|name| profile(reader, &configured, name, bases, zone, now)).collect();
    // What is configured and not enabled is read for its faults alone.
    for name in configured.names().filter(|name| !names.iter().any(|other| other == name)) {
        profile(reader, &configured, name, bases, zone, now);
    }
    all
}

/// A name as people write it in a variable, where `_` stands for a dash too, and case says nothing.
pub(super) fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// The profile that `name` means: a variable's may be written in another way than the profile's own.
fn as_configured(name: String, configured: &Section) -> String {
    if preset(&name).is_some() || configured.has(&name) {
        return name;
    }
    let known = PRESETS.iter().map(|preset| preset.name).chain(configured.names());
    known.into_iter().find(|known| folded(known) == folded(&name)).map_or(name, str::to_owned)
}

/// Of two names that are one for a variable, one would be configured for the other.
fn twins(reader: &mut Reader<'_>, configured: &Section) {
    let mut seen = BTreeMap::new();
    for name in configured.names() {
        if let Some(other) = seen.insert(folded(name), name) {
            let message = format!("{other} is the same name to a variable; rename one of them");
            reader.complain(configured, name, message);
        }
    }
}

fn profile(
    reader: &mut Reader<'_>,
    configured: &Section,
    name: &str,
    (dump_base, parts_base): (&DumpSpec, &Parts),
    zone: &Zone,
    now: OffsetDateTime,
) -> Option<Profile> {
    if let Err(message) = check_name(name) {
        reader.complain(configured, name, message);
        return None;
    }
    let mut section = reader.named_section(configured, name);
    let base = preset(name);
    let schedule = schedule(reader, &mut section, base.map_or(&[], |preset| preset.schedule), zone);
    let default_labels =
        base.filter(|_| !section.has("schedule")).map_or(&[] as &[&str], |preset| preset.labels);
    let labels = labels(reader, &mut section, default_labels, schedule.as_ref());
    let keep = keep(reader, &mut section, base.map_or(KeepPolicy::default(), |preset| preset.keep));
    let parts = parts(reader, &mut section, parts_base);
    let mut dump_section = reader.section(&mut section, "dump");
    let dump = dump(reader, &mut dump_section, dump_base);
    reader.no_others(&dump_section);
    let gate = gate(reader, &mut section);
    let max_age = reader.optional(&mut section, "max_age", parse_duration);
    let catch_up = reader.boolean(&mut section, "catch_up", true);
    let jitter = reader.parsed(&mut section, "jitter", "0s", parse_duration);
    let retries = reader.parsed(&mut section, "retries", &Profile::RETRIES.to_string(), count);
    let retry_delay =
        reader.parsed(&mut section, "retry_delay", &show_duration(Profile::RETRY_DELAY), positive_duration);
    let deadline =
        reader.parsed(&mut section, "deadline", &show_duration(Profile::DEADLINE), positive_duration);
    reader.no_others(&section);
    let profile = Profile {
        name: name.to_owned(),
        schedule: schedule?,
        labels,
        keep,
        parts,
        dump,
        gate,
        max_age,
        catch_up,
        jitter: jitter?,
        retries: retries?,
        retry_delay: retry_delay?,
        deadline: deadline?,
    };
    check_jitter(reader, &section, &profile, now);
    check_max_age(reader, &section, &profile, now);
    Some(profile)
}

/// Without the key, `base`.
pub(super) fn parts(reader: &mut Reader<'_>, section: &mut Section, base: &Parts) -> Parts {
    if !section.has("parts") {
        reader.unset::<()>(section, "parts");
        return base.clone();
    }
    let names = reader.list(section, "parts", &[], ',');
    Parts::parse(&names).unwrap_or_else(|message| {
        reader.complain(section, "parts", message);
        base.clone()
    })
}

/// A run that is put off until its next slot would be one of that slot.
fn check_jitter(reader: &mut Reader<'_>, section: &Section, profile: &Profile, now: OffsetDateTime) {
    if let Some(gap) = profile.schedule.shortest_gap(now).filter(|gap| profile.jitter >= *gap) {
        let gap = show_duration(gap);
        let message =
            format!("the schedule has slots {gap} apart, and some would never run; write less than that");
        reader.complain(section, "jitter", message);
    }
}

/// A limit below the pause between two runs is overdue every day.
pub(super) fn check_max_age(
    reader: &mut Reader<'_>,
    section: &Section,
    profile: &Profile,
    now: OffsetDateTime,
) {
    let gap = profile.schedule.longest_gap(now) + profile.jitter;
    if profile.max_age.is_some_and(|max_age| max_age <= gap) {
        let gap = show_duration(gap);
        let message = format!(
            "the schedule pauses for up to {gap}, so every backup would be overdue before the next one; write more"
        );
        reader.complain(section, "max_age", message);
    }
}

fn schedule(
    reader: &mut Reader<'_>,
    section: &mut Section,
    default: &[&str],
    zone: &Zone,
) -> Option<Schedule> {
    if !section.has("schedule") && default.is_empty() {
        reader.complain(
            section,
            "schedule",
            "a profile of your own needs one, for example \"0 2 * * *\"".to_owned(),
        );
        return None;
    }
    let texts = reader.list(section, "schedule", default, ';');
    if texts.is_empty() {
        reader.complain(section, "schedule", "it is empty: no backup would ever be made".to_owned());
    }
    schedule_of(reader, section, "schedule", &texts, zone)
}

/// The schedule of these expressions; none where there is none that can be read.
pub(super) fn schedule_of(
    reader: &mut Reader<'_>,
    section: &Section,
    key: &str,
    texts: &[String],
    zone: &Zone,
) -> Option<Schedule> {
    let mut expressions = Vec::with_capacity(texts.len());
    for text in texts {
        match text.parse() {
            Ok(expression) => expressions.push(expression),
            Err(message) => reader.complain(section, key, message),
        }
    }
    (!expressions.is_empty()).then(|| Schedule::new(expressions, zone.clone()))
}

fn labels(
    reader: &mut Reader<'_>,
    section: &mut Section,
    default: &[&str],
    schedule: Option<&Schedule>,
) -> Vec<String> {
    let labels = reader.list(section, "labels", default, ',');
    for label in &labels {
        if let Err(message) = check_name(label) {
            reader.complain(section, "labels", message);
        }
    }
    let expressions = schedule.map_or(labels.len(), |schedule| schedule.expressions().len());
    if !labels.is_empty() && labels.len() != expressions {
        let message = format!("there are {} labels for {expressions} expressions in schedule", labels.len());
        reader.complain(section, "labels", message);
    }
    labels
}

/// Rules that are given replace those of the preset altogether: a union with rules that are not in the
/// file would keep more than it says.
pub(super) fn keep(reader: &mut Reader<'_>, section: &mut Section, default: KeepPolicy) -> KeepPolicy {
    let given = section.has("keep");
    let mut keep_section = reader.section(section, "keep");
    let mut policy = if given { KeepPolicy::default() } else { default };
    for name in KeepPolicy::RULES {
        let before = policy.rule_mut(name).and_then(|rule| *rule);
        let found = match before {
            Some(count_before) => reader.parsed(&mut keep_section, name, &count_before.to_string(), count),
            None => reader.optional(&mut keep_section, name, count),
        };
        if let Some(rule) = policy.rule_mut(name) {
            *rule = found;
        }
    }
    reader.no_others(&keep_section);
    policy
}

fn gate(reader: &mut Reader<'_>, section: &mut Section) -> GateSpec {
    let mut section = reader.section(section, "gate");
    let base = GateSpec::default();
    let enabled = reader.boolean(&mut section, "enabled", base.enabled);
    let max_shrink = reader.parsed(&mut section, "max_shrink", &base.max_shrink.to_string(), share);
    let min_rows = reader
        .parsed(&mut section, "min_rows", &base.min_rows.to_string(), |text| count(text).map(u64::from));
    let ignore_tables = reader.list(&mut section, "ignore_tables", &[], ',');
    reader.no_others(&section);
    GateSpec {
        enabled,
        max_shrink: max_shrink.unwrap_or(base.max_shrink),
        min_rows: min_rows.unwrap_or(base.min_rows),
        ignore_tables,
    }
}

pub(super) fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("`{text}` is not a number between 0 and 1")),
    }
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err("it must be more than nothing".to_owned()) } else { Ok(duration) }
}
