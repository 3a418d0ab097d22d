//! Putting the layers on top of each other; each value remembers which one it came from.

use std::path::PathBuf;

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider as _};

use super::environment;
use super::reader::Fault;

/// Where the configuration is looked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// A file that must exist: `--config`.
    pub(crate) file: Option<PathBuf>,
    /// A file that is read if it exists.
    pub(crate) default_file: PathBuf,
    /// The environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// All layers as one tree.
#[derive(Debug)]
pub(super) struct Tree {
    figment: Figment,
    pub(super) top: Dict,
}

/// Where a value can come from, in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// A variable that people have anyway.
    OldVariable,
    /// The file.
    File,
    /// A variable of ours.
    OwnVariable,
}

impl Tree {
    /// Which layer a value came from.
    pub(super) fn layer(&self, value: &Value) -> Layer {
        let metadata = self.figment.get_metadata(value.tag());
        match metadata.map(|metadata| (metadata.source.is_some(), metadata.name.as_ref())) {
            Some((false, name)) if environment::is_own(name) => Layer::OwnVariable,
            Some((false, _)) => Layer::OldVariable,
            _ => Layer::File,
        }
    }

    /// Where a value came from, for people.
    pub(super) fn origin(&self, value: &Value) -> String {
        let Some(metadata) = self.figment.get_metadata(value.tag()) else {
            return "the configuration".to_owned();
        };
        match metadata.source.as_ref().and_then(|source| source.file_path()) {
            Some(path) => path.display().to_string(),
            None => metadata.name.to_string(),
        }
    }
}

pub(super) fn merge(sources: &Sources) -> Result<Tree, Fault> {
    let mut figment = Figment::new();
    for variable in environment::old(&sources.environment) {
        figment = figment.merge(variable);
    }
    let file = sources.file.as_ref().unwrap_or(&sources.default_file);
    if sources.file.is_some() || file.exists() {
        // Read here, so that what cannot be read is said in the words of the file system.
        let text = std::fs::read_to_string(file)
            .map_err(|error| Fault::of_file(file, format!("cannot be read: {error}")))?;
        toml_or_fault(file, &text)?;
        figment = figment.merge(Toml::file_exact(file));
    }
    let profiles = profiles_of(&figment);
    for variable in environment::own(&sources.environment, &profiles) {
        figment = figment.merge(variable);
    }
    let data = figment.data().map_err(|error| Fault::of_file(file, error.to_string()))?;
    let top = data.get(&Profile::Default).cloned().unwrap_or_default();
    Ok(Tree { figment, top })
}

/// The names of the profiles that the file has.
fn profiles_of(figment: &Figment) -> Vec<String> {
    let found = figment.find_value("profiles").ok().and_then(Value::into_dict);
    found.map(|profiles| profiles.into_keys().collect()).unwrap_or_default()
}

/// Where the parser stopped and why. Its own display would show the line, and with it a password that
/// somebody forgot to close the quotes of.
fn toml_or_fault(file: &std::path::Path, text: &str) -> Result<(), Fault> {
    Toml::from_str::<Value>(text).map(|_| ()).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let reason = error.message().lines().collect::<Vec<_>>().join(", ");
        Fault::of_file(file, format!("line {line} is not TOML: {reason}"))
    })
}
