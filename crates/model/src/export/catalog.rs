//! All exports of a stack.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;

use super::manifest::ExportManifest;
use crate::code::Code;
use crate::id::BackupId;
use crate::manifest::ManifestError;

/// A folder whose manifest cannot be read. It is listed, and never removed by anybody but a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableExport {
    /// Its name.
    pub folder: String,
    /// Why.
    pub error: ManifestError,
}

/// All exports, newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExportCatalog {
    entries: Vec<Arc<ExportManifest>>,
    unreadable: Vec<UnreadableExport>,
}

/// What a person types to name an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportQuery {
    /// The newest.
    Latest,
    /// The newest of a configured export.
    LatestOf(String),
    /// An id, or the beginning of one.
    Prefix(String),
}

/// Why nothing, or not one thing, is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportQueryError {
    /// There is none.
    #[error("there is no export {0}")]
    None(String),
    /// There are several.
    #[error("{0} is the beginning of several exports: {1}")]
    Several(String, String),
}

impl ExportQueryError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            ExportQueryError::None(_) => Code::ExportNotFound,
            ExportQueryError::Several(..) => Code::BackupAmbiguous,
        }
    }
}

impl FromStr for ExportQuery {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<ExportQuery, Infallible> {
        Ok(match text.strip_prefix("latest:") {
            Some(name) => ExportQuery::LatestOf(name.to_owned()),
            None if text == "latest" => ExportQuery::Latest,
            None => ExportQuery::Prefix(text.to_owned()),
        })
    }
}

impl ExportCatalog {
    /// Of these, in any order.
    pub fn new(
        mut entries: Vec<Arc<ExportManifest>>,
        mut unreadable: Vec<UnreadableExport>,
    ) -> ExportCatalog {
        entries.sort_by(|a, b| (b.started, &b.id).cmp(&(a.started, &a.id)));
        unreadable.sort_by(|a, b| a.folder.cmp(&b.folder));
        ExportCatalog { entries, unreadable }
    }

    /// All of them, newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &ExportManifest> {
        self.entries.iter().map(Arc::as_ref)
    }

    /// Folders whose manifest cannot be read.
    pub fn unreadable(&self) -> &[UnreadableExport] {
        &self.unreadable
    }

    /// Those of a configured export, newest first.
    pub fn of<'a>(&'a self, export: &'a str) -> impl Iterator<Item = &'a ExportManifest> {
        self.entries().filter(move |entry| entry.export.as_deref() == Some(export))
    }

    /// The newest of a configured export that is not dated in the future.
    pub fn newest(&self, export: &str, now: OffsetDateTime) -> Option<&ExportManifest> {
        let is_of = |entry: &&ExportManifest| entry.export.as_deref() == Some(export);
        self.entries().filter(is_of).find(|entry| entry.started <= now)
    }

    /// Whether there is one of this id, whether it can be read or not.
    pub fn contains(&self, id: &BackupId) -> bool {
        self.entries().any(|entry| entry.id == *id)
            || self.unreadable.iter().any(|other| other.folder == id.as_str())
    }

    /// The one that is meant.
    pub fn find(
        &self,
        query: &ExportQuery,
        now: OffsetDateTime,
    ) -> Result<&ExportManifest, ExportQueryError> {
        let none = |what: String| ExportQueryError::None(what);
        match query {
            ExportQuery::Latest => {
                let past = self.entries().find(|entry| entry.started <= now);
                past.ok_or_else(|| none("yet: `supakeep export` makes one".to_owned()))
            }
            ExportQuery::LatestOf(name) => self.newest(name, now).ok_or_else(|| none(format!("of {name:?}"))),
            ExportQuery::Prefix(prefix) => {
                let mut found = self.entries().filter(|entry| entry.id.as_str().starts_with(prefix.as_str()));
                if let Some(exact) = self.entries().find(|entry| entry.id.as_str() == prefix) {
                    return Ok(exact);
                }
                match (found.next(), found.next()) {
                    (Some(one), None) if !prefix.is_empty() => Ok(one),
                    (Some(one), Some(other)) => {
                        let both = format!("{}, {}, …", one.id, other.id);
                        Err(ExportQueryError::Several(prefix.clone(), both))
                    }
                    _ => Err(none(format!("{prefix:?}"))),
                }
            }
        }
    }
}
