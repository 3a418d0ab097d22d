//! Reading values out of the tree, collecting faults instead of stopping at the first.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use figment::value::{Dict, Num, Value};
use supakeep_model::secret::Secret;

use super::layers::Tree;

/// What the origin of a value is called that nobody has set.
const DEFAULT: &str = "default";

/// Something wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The key, or the file.
    pub(crate) key: String,
    /// Where the value came from.
    pub(crate) origin: Option<String>,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl Fault {
    pub(super) fn of_file(path: &Path, message: String) -> Fault {
        Fault { key: path.display().to_string(), origin: None, message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{} (from {origin}): {}", self.key, self.message),
            None => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

/// A key as `supakeep config` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Shown {
    /// The key.
    pub(crate) key: String,
    /// Its value, as TOML; secrets as `[redacted]`.
    pub(crate) value: String,
    /// Where it came from.
    pub(crate) origin: String,
}

/// Reads one tree.
pub(super) struct Reader<'a> {
    tree: &'a Tree,
    faults: Vec<Fault>,
    shown: Vec<Shown>,
}

/// A table of the configuration, and which of its keys have been read.
#[derive(Debug, Clone, Default)]
pub(super) struct Section {
    path: String,
    dict: Dict,
    known: BTreeSet<&'static str>,
}

impl Section {
    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.dict.keys().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.dict.contains_key(name)
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.insert(name);
        self.dict.get(name).cloned()
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(tree: &'a Tree) -> Reader<'a> {
        Reader { tree, faults: Vec::new(), shown: Vec::new() }
    }

    pub(super) fn finish(self) -> (Vec<Fault>, Vec<Shown>) {
        (self.faults, self.shown)
    }

    pub(super) fn top(&self) -> Section {
        Section { path: String::new(), dict: self.tree.top.clone(), known: BTreeSet::new() }
    }

    /// The table `name` of `section`; empty when it is not there.
    pub(super) fn section(&mut self, section: &mut Section, name: &'static str) -> Section {
        let path = section.key(name);
        let value = section.take(name);
        self.table(path, value)
    }

    /// The table `name` of a section whose keys are names of people's choice.
    pub(super) fn named_section(&mut self, section: &Section, name: &str) -> Section {
        self.table(section.key(name), section.dict.get(name).cloned())
    }

    /// The tables of a list (`[[name]]`); none when it is not there.
    pub(super) fn sections(&mut self, section: &mut Section, name: &'static str) -> Vec<Section> {
        let path = section.key(name);
        let value = section.take(name);
        match value.clone() {
            None => Vec::new(),
            Some(Value::Array(_, items)) => {
                self.show(section, name, format!("[{} tables]", items.len()), value.as_ref());
                let number = |(index, item)| self.table(format!("{path}[{index}]"), Some(item));
                items.into_iter().enumerate().map(number).collect()
            }
            Some(other) => {
                self.fault(&path, Some(&other), format!("a list of tables is wanted here: [[{path}]]"));
                Vec::new()
            }
        }
    }

    fn table(&mut self, path: String, value: Option<Value>) -> Section {
        let dict = match value {
            None => Dict::new(),
            Some(Value::Dict(_, dict)) => dict,
            Some(other) => {
                self.fault(&path, Some(&other), "a table with keys of its own is wanted here".to_owned());
                Dict::new()
            }
        };
        Section { path, dict, known: BTreeSet::new() }
    }

    /// Notes a fault of a section's key, wherever its value came from.
    pub(super) fn complain(&mut self, section: &Section, name: &str, message: String) {
        let value = section.dict.get(name).cloned();
        self.fault(&section.key(name), value.as_ref(), message);
    }

    fn fault(&mut self, key: &str, value: Option<&Value>, message: String) {
        let origin = value.map(|value| self.tree.origin(value));
        self.faults.push(Fault { key: key.to_owned(), origin, message });
    }

    fn show(&mut self, section: &Section, name: &str, value: String, from: Option<&Value>) {
        let origin = from.map_or_else(|| DEFAULT.to_owned(), |value| self.tree.origin(value));
        self.shown.push(Shown { key: section.key(name), value, origin });
    }

    /// Notes a value that came from a variable which is not one of ours.
    pub(super) fn show_foreign(&mut self, section: &Section, name: &str, value: &str, variable: &str) {
        let origin = format!("environment variable {variable}");
        self.shown.push(Shown { key: section.key(name), value: quoted(value), origin });
    }

    /// A value written as text (or a number, where one fits) and understood by `parse`.
    pub(super) fn parsed<T>(
        &mut self,
        section: &mut Section,
        name: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = section.take(name);
        let text = match value.as_ref().map(text) {
            None => default.to_owned(),
            Some(Some(text)) => text,
            Some(None) => {
                self.complain(section, name, format!("text is wanted here, such as \"{default}\""));
                return None;
            }
        };
        match parse(&text) {
            Ok(parsed) => {
                self.show(section, name, quoted(&text), value.as_ref());
                Some(parsed)
            }
            Err(message) => {
                self.complain(section, name, message);
                None
            }
        }
    }

    /// Like [`Reader::parsed`], without a default.
    pub(super) fn optional<T>(
        &mut self,
        section: &mut Section,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if section.has(name) {
            return self.parsed(section, name, "", parse);
        }
        section.known.insert(name);
        None
    }

    /// A key that nobody has set, and that means something else than any value.
    pub(super) fn unset<T: Default>(&mut self, section: &mut Section, name: &'static str) -> T {
        section.known.insert(name);
        T::default()
    }

    pub(super) fn boolean(&mut self, section: &mut Section, name: &'static str, default: bool) -> bool {
        let value = section.take(name);
        let found = match &value {
            None => Some(default),
            Some(Value::Bool(_, flag)) => Some(*flag),
            Some(Value::String(_, text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let Some(found) = found else {
            self.complain(section, name, "true or false is wanted here".to_owned());
            return default;
        };
        self.show(section, name, found.to_string(), value.as_ref());
        found
    }

    /// A list, which may also be one value, or in a variable several values between `separator`s.
    pub(super) fn list(
        &mut self,
        section: &mut Section,
        name: &'static str,
        default: &[&str],
        separator: char,
    ) -> Vec<String> {
        let value = section.take(name);
        let found = match &value {
            None => Some(default.iter().map(|text| (*text).to_owned()).collect()),
            Some(Value::Array(_, items)) => items.iter().map(text).collect(),
            Some(Value::String(_, text)) => Some(split(text, separator)),
            Some(_) => None,
        };
        let Some(found): Option<Vec<String>> = found else {
            self.complain(section, name, "a list of texts is wanted here".to_owned());
            return Vec::new();
        };
        let shown = found.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
        self.show(section, name, format!("[{shown}]"), value.as_ref());
        found
    }

    /// A table of texts whose keys are of people's choice.
    pub(super) fn texts(&mut self, section: &mut Section, name: &'static str) -> Vec<(String, String)> {
        let inner = self.section(section, name);
        let mut out = Vec::new();
        for (key, value) in inner.dict.clone() {
            match text(&value) {
                Some(found) => {
                    self.show(&inner, &quoted(&key), quoted(&found), Some(&value));
                    out.push((key, found));
                }
                None => self.complain(&inner, &key, "text is wanted here".to_owned()),
            }
        }
        out
    }

    /// A secret: `name` itself, or `name_file` with the path of a file that holds it.
    pub(super) fn secret(
        &mut self,
        section: &mut Section,
        name: &'static str,
        file_name: &'static str,
    ) -> Option<Secret<String>> {
        let (direct, file) = (section.take(name), section.take(file_name));
        let (direct, file) = self.later(section, (name, direct), (file_name, file));
        let (from, found) = match (&direct, &file) {
            (None, None) => return None,
            (_, Some(path)) => (file_name, self.secret_file(section, file_name, path)?),
            (Some(value), None) => match as_written(value) {
                Some(text) => (name, text),
                None => {
                    self.complain(section, name, "text is wanted here".to_owned());
                    return None;
                }
            },
        };
        if found.is_empty() {
            self.complain(section, from, "it is empty; leave the key out if there is no secret".to_owned());
            return None;
        }
        let origin = if from == name { &direct } else { &file };
        self.show(section, name, "[redacted]".to_owned(), origin.as_ref());
        Some(Secret::new(found))
    }

    /// Of two keys for the same thing the one of the later layer counts; both in one layer are a fault.
    fn later(
        &mut self,
        section: &Section,
        (name, one): (&str, Option<Value>),
        (other_name, other): (&str, Option<Value>),
    ) -> (Option<Value>, Option<Value>) {
        let (Some(a), Some(b)) = (&one, &other) else { return (one, other) };
        match self.tree.layer(a).cmp(&self.tree.layer(b)) {
            Ordering::Less => (None, other),
            Ordering::Greater => (one, None),
            Ordering::Equal => {
                let both = format!("{} is set too: leave one of them out", section.key(other_name));
                self.complain(section, name, both);
                (one, None)
            }
        }
    }

    fn secret_file(&mut self, section: &Section, name: &str, value: &Value) -> Option<String> {
        let path = text(value).unwrap_or_default();
        match std::fs::read_to_string(&path) {
            Ok(secret) => Some(secret.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.complain(section, name, format!("{path} cannot be read: {error}"));
                None
            }
        }
    }

    /// Complains of every key that nothing has asked for.
    pub(super) fn no_others(&mut self, section: &Section) {
        for (name, value) in &section.dict {
            if section.known.contains(name.as_str()) {
                continue;
            }
            let similar =
                section.known.iter().max_by(|a, b| closeness(a, name).total_cmp(&closeness(b, name)));
            let message = match similar.filter(|similar| closeness(similar, name) > 0.75) {
                Some(similar) => format!("unknown key; did you mean {}?", section.key(similar)),
                None => {
                    let known: Vec<_> = section.known.iter().copied().collect();
                    format!("unknown key; known here: {}", known.join(", "))
                }
            };
            let value = innermost(value).clone();
            self.fault(&section.key(name), Some(&value), message);
        }
    }
}

fn closeness(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}

/// A table made by a variable knows its origin only in its leaf.
fn innermost(value: &Value) -> &Value {
    match value {
        Value::Dict(_, dict) => dict.values().next().map_or(value, innermost),
        other => other,
    }
}

/// A scalar as text.
fn text(value: &Value) -> Option<String> {
    as_written(value).map(|text| text.trim().to_owned())
}

/// The same with the blanks around it: they can be part of a password.
fn as_written(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Num(_, Num::I64(number)) => Some(number.to_string()),
        Value::Num(_, number) => number
            .to_u128()
            .map(|number| number.to_string())
            .or_else(|| number.to_f64().map(|n| n.to_string())),
        Value::Bool(_, flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn split(text: &str, separator: char) -> Vec<String> {
    text.split(separator).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
