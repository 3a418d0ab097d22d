//! Exports: `[[exports]]`, a table for each.

use std::collections::{BTreeMap, BTreeSet};

use supakeep_model::OffsetDateTime;
use supakeep_model::export::{ExportProfile, RowFormat, RowsSpec, TablePattern};
use supakeep_model::keep::KeepPolicy;
use supakeep_model::naming::check_name;
use supakeep_model::profile::Profile;
use supakeep_model::quantity::{parse_duration, show_duration};
use supakeep_model::zone::Zone;

use super::profiles::{check_max_age, count, keep, positive_duration, schedule_of};
use super::reader::{Reader, Section};
use super::settings::not_empty;

/// What is in front of the time in the names of exports that belong to none that is configured.
const OURS: [&str; 2] = ["export", "pre-import"];

/// Reads all exports.
pub(super) fn exports(
    reader: &mut Reader<'_>,
    top: &mut Section,
    zone: &Zone,
    now: OffsetDateTime,
) -> Vec<ExportProfile> {
    let mut names = BTreeSet::new();
    let sections = reader.sections(top, "exports");
    sections.into_iter().filter_map(|section| export(reader, section, zone, now, &mut names)).collect()
}

fn export(
    reader: &mut Reader<'_>,
    mut section: Section,
    zone: &Zone,
    now: OffsetDateTime,
    names: &mut BTreeSet<String>,
) -> Option<ExportProfile> {
    let section = &mut section;
    for key in ["name", "tables"] {
        if !section.has(key) {
            reader.complain(section, key, "an export needs a name and tables".to_owned());
        }
    }
    let name = reader.optional(section, "name", |text| {
        check_name(text)?;
        if OURS.contains(&text) {
            return Err(format!("{text} is what exports by hand are called; choose another name"));
        }
        Ok(text.to_owned())
    });
    if name.as_ref().is_some_and(|name| !names.insert(name.clone())) {
        reader.complain(section, "name", "another export has this name".to_owned());
    }
    let rows = rows(reader, section);
    let texts = reader.list(section, "schedule", &[], ';');
    let schedule = schedule_of(reader, section, "schedule", &texts, zone);
    let keep = keep(reader, section, KeepPolicy::default());
    let max_age = reader.optional(section, "max_age", parse_duration);
    let catch_up = reader.boolean(section, "catch_up", true);
    let retries = reader.parsed(section, "retries", &Profile::RETRIES.to_string(), count);
    let retry_delay =
        reader.parsed(section, "retry_delay", &show_duration(Profile::RETRY_DELAY), positive_duration);
    let deadline =
        reader.parsed(section, "deadline", &show_duration(ExportProfile::DEADLINE), positive_duration);
    reader.no_others(section);
    let export = ExportProfile {
        name: name?,
        rows: rows?,
        keep,
        schedule,
        max_age,
        catch_up,
        retries: retries?,
        retry_delay: retry_delay?,
        deadline: deadline?,
    };
    match export.timing() {
        Some(timing) => check_max_age(reader, section, &timing, now),
        None if export.max_age.is_some() => {
            let message = "without a schedule nothing can be overdue".to_owned();
            reader.complain(section, "max_age", message);
        }
        None => {}
    }
    Some(export)
}

fn rows(reader: &mut Reader<'_>, section: &mut Section) -> Option<RowsSpec> {
    let tables: Vec<TablePattern> = parsed_list(reader, section, "tables");
    if tables.is_empty() && section.has("tables") {
        reader.complain(section, "tables", "no table is named here".to_owned());
    }
    let database = reader.parsed(section, "database", RowsSpec::DATABASE, not_empty);
    let format = reader.parsed(section, "format", RowFormat::default().as_str(), str::parse);
    let compression = reader.parsed(section, "compression", &RowsSpec::COMPRESSION.to_string(), str::parse);
    let (exclude, hash) = (parsed_list(reader, section, "exclude"), parsed_list(reader, section, "hash"));
    let mut filters = BTreeMap::new();
    for (table, filter) in reader.texts(section, "where") {
        match check_filter(&filter).and_then(|()| table.parse::<TablePattern>()) {
            Ok(pattern) => {
                filters.insert(pattern, filter);
            }
            Err(message) => reader.complain(section, "where", format!("{table}: {message}")),
        }
    }
    Some(RowsSpec {
        database: database?,
        tables,
        only: Vec::new(),
        format: format?,
        compression: compression?,
        exclude,
        hash,
        filters,
    })
}

/// A filter becomes part of a script for psql, to which a back-slash is an order of its own.
fn check_filter(filter: &str) -> Result<(), String> {
    match filter.trim() {
        "" => Err("the filter is empty".to_owned()),
        text if text.contains('\\') => {
            Err("a filter has no back-slash in it; write chr(92) for the character".to_owned())
        }
        _ => Ok(()),
    }
}

fn parsed_list<T: std::str::FromStr<Err = String>>(
    reader: &mut Reader<'_>,
    section: &mut Section,
    key: &'static str,
) -> Vec<T> {
    let texts = reader.list(section, key, &[], ',');
    let mut out = Vec::with_capacity(texts.len());
    for text in texts {
        match text.parse() {
            Ok(parsed) => out.push(parsed),
            Err(message) => reader.complain(section, key, message),
        }
    }
    out
}
