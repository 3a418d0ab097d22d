//! The configuration: defaults, then the file, then the environment; checked as a whole.
//!
//! Every fault is found in one go, and says which key it is about, where its value came from, and what
//! would be right. That is why the values are read one by one here and not derived.

mod drill;
mod environment;
mod exports;
mod layers;
mod profiles;
mod proofs;
mod reader;
mod settings;
mod volumes;

pub(crate) use layers::Sources;
pub(crate) use reader::{Fault, Shown};
pub(crate) use settings::{LogFormat, LogSettings, Settings, default_jobs};

use supakeep_model::OffsetDateTime;

/// What was read, and what each value is and came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) settings: Settings,
    /// Every key with its value (secrets redacted) and its origin, in the order of the documentation.
    pub(crate) shown: Vec<Shown>,
}

/// Everything that is wrong with the configuration.
#[derive(Debug)]
pub(crate) struct Faults(pub Vec<Fault>);

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.len();
        write!(f, "{count} fault{} in the configuration", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// Reads the configuration from `sources`. `now` is for checks that depend on the calendar.
pub(crate) fn load(sources: &Sources, now: OffsetDateTime) -> Result<Loaded, Faults> {
    let tree = layers::merge(sources).map_err(|fault| Faults(vec![fault]))?;
    let mut reader = reader::Reader::new(&tree);
    let settings = settings::read(&mut reader, sources, now);
    let (faults, shown) = reader.finish();
    match settings {
        Some(settings) if faults.is_empty() => Ok(Loaded { settings, shown }),
        _ => Err(Faults(faults)),
    }
}

#[cfg(test)]
mod tests;
