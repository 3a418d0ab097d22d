//! All backups of a stack, as read from their manifests.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::code::Code;
use crate::dump::Scope;
use crate::id::BackupId;
use crate::manifest::ManifestError;
use crate::manifest_head::{ManifestHead, Outcome, Trigger};

/// The backups of a stack, newest first by the time in the manifest: sorting by name is not sorting
/// by time.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    entries: Vec<Arc<ManifestHead>>,
    unreadable: Vec<Unreadable>,
}

/// A folder with a manifest that cannot be read. It is shown, and left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The folder's name.
    pub folder: String,
    /// Why.
    pub error: ManifestError,
}

/// How a person names a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The newest good one of a profile, or the newest whole one of all.
    Latest(Option<String>),
    /// An id or the beginning of one.
    Prefix(String),
}

/// Why a query names no backup, or more than one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Nothing matches.
    #[error("there is no backup {0}")]
    NotFound(String),
    /// Several match.
    #[error("{0:?} is the beginning of {count} backups: {list}", count = .1.len(), list = .1.join(", "))]
    Ambiguous(String, Vec<String>),
}

impl QueryError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            QueryError::NotFound(_) => Code::BackupNotFound,
            QueryError::Ambiguous(..) => Code::BackupAmbiguous,
        }
    }
}

impl FromStr for Query {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            _ if text == "latest" => Query::Latest(None),
            Some(("latest", profile)) => Query::Latest(Some(profile.to_owned())),
            _ => Query::Prefix(text.to_owned()),
        })
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Query::Latest(None) => f.write_str("latest"),
            Query::Latest(Some(profile)) => write!(f, "latest:{profile}"),
            Query::Prefix(prefix) => f.write_str(prefix),
        }
    }
}

impl Catalog {
    /// Sorts `entries` newest first.
    pub fn new(mut entries: Vec<Arc<ManifestHead>>, mut unreadable: Vec<Unreadable>) -> Catalog {
        entries.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| b.id.cmp(&a.id)));
        unreadable.sort_by(|a, b| a.folder.cmp(&b.folder));
        Catalog { entries, unreadable }
    }

    /// Everything that could be read, newest first, failed runs included.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &ManifestHead> {
        self.entries.iter().map(Arc::as_ref)
    }

    /// The same catalog with more entries.
    pub fn with(&self, more: &[Arc<ManifestHead>]) -> Catalog {
        let entries = self.entries.iter().chain(more).cloned().collect();
        Catalog::new(entries, self.unreadable.clone())
    }

    /// What could not be read.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Backups: everything but the records of failed runs, newest first.
    pub fn backups(&self) -> impl Iterator<Item = &ManifestHead> {
        self.entries().filter(|head| head.outcome != Outcome::Failed)
    }

    /// Backups whose files were not what was written when they were last read.
    pub fn damaged(&self) -> impl Iterator<Item = &ManifestHead> {
        self.backups().filter(|head| head.verified.as_ref().is_some_and(|proof| !proof.ok))
    }

    /// Backups whose files were last read before `at`, or never: those that wait longest first.
    pub fn unread_since(&self, at: OffsetDateTime) -> Vec<&ManifestHead> {
        let read = |head: &ManifestHead| head.verified.as_ref().map(|proof| proof.at);
        let mut out: Vec<_> = self.backups().filter(|head| read(head).is_none_or(|read| read < at)).collect();
        out.sort_by_key(|head| read(head));
        out
    }

    /// Every run of `profile`, failed ones included, newest first.
    pub fn of_profile<'a>(&'a self, profile: &'a str) -> impl Iterator<Item = &'a ManifestHead> {
        self.entries().filter(move |head| head.profile.as_deref() == Some(profile))
    }

    /// The last backup of `profile` of which a sample did not come back, unless all of one came back since:
    /// another sample that is right is one of other tables, and says nothing of these.
    pub fn failed_sample<'a>(&'a self, profile: &'a str) -> Option<&'a ManifestHead> {
        let drilled = self.of_profile(profile).filter_map(|head| head.drilled.as_ref());
        let right = drilled.filter(|proof| proof.ok).map(|proof| proof.at).max();
        let proof =
            |head: &&ManifestHead| head.sampled.as_ref().map(|sampled| (sampled.proof.at, sampled.proof.ok));
        let is_failed = |head: &&ManifestHead| {
            proof(head).is_some_and(|(at, ok)| !ok && right.is_none_or(|right| right < at))
        };
        self.of_profile(profile).filter(is_failed).max_by_key(|head| proof(head).map(|(at, _)| at))
    }

    /// The newest good backup of `profile` that is not dated after `now`, or of all when `None`.
    pub fn newest_good(&self, profile: Option<&str>, now: OffsetDateTime) -> Option<&ManifestHead> {
        self.entries()
            .filter(|head| profile.is_none() || head.profile.as_deref() == profile)
            .find(|head| is_candidate(head, now))
    }

    /// What `latest` means: the newest good backup that holds definitions and rows, or where there is none
    /// the newest good one. Not what a restore has saved first: whoever restores the latest backup twice would get back
    /// what he has just got rid of.
    pub fn latest(&self, now: OffsetDateTime) -> Option<&ManifestHead> {
        self.entries()
            .filter(|head| is_candidate(head, now))
            .find(|head| head.dump.scope == Scope::Full)
            .or_else(|| self.newest_good(None, now))
    }

    /// The stored bytes of the largest among the newest good backups of each profile, and of those by hand.
    pub fn largest_of_the_newest(&self, now: OffsetDateTime) -> u64 {
        let mut seen = BTreeSet::new();
        self.entries()
            .filter(|head| head.is_good() && head.started <= now)
            .filter(|head| seen.insert(head.profile.as_deref()))
            .map(|head| head.totals.stored_bytes)
            .max()
            .unwrap_or(0)
    }

    /// The backup that `query` means.
    pub fn find(&self, query: &Query, now: OffsetDateTime) -> Result<&ManifestHead, QueryError> {
        let not_found = || QueryError::NotFound(query.to_string());
        match query {
            Query::Latest(None) => self.latest(now).ok_or_else(not_found),
            Query::Latest(Some(profile)) => self.newest_good(Some(profile), now).ok_or_else(not_found),
            Query::Prefix(prefix) => {
                if let Some(exact) = self.entries().find(|head| head.id.as_str() == prefix) {
                    return Ok(exact);
                }
                let matches: Vec<_> =
                    self.entries().filter(|head| head.id.as_str().starts_with(prefix)).collect();
                match matches.as_slice() {
                    _ if prefix.is_empty() => Err(not_found()),
                    [] => Err(not_found()),
                    [one] => Ok(one),
                    several => Err(QueryError::Ambiguous(
                        prefix.clone(),
                        several.iter().map(|head| head.id.to_string()).collect(),
                    )),
                }
            }
        }
    }

    /// Whether a folder of that name is known, readable or not.
    pub fn contains(&self, id: &BackupId) -> bool {
        self.entries().any(|head| head.id == *id)
            || self.unreadable.iter().any(|other| other.folder == id.as_str())
    }
}

/// Good, not of the future, and not what a restore has saved before it began.
fn is_candidate(head: &ManifestHead, now: OffsetDateTime) -> bool {
    head.is_good() && head.started <= now && head.trigger != Trigger::PreRestore
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::head;
    use time::macros::datetime;

    fn catalog() -> Catalog {
        let mut broken = head("z_failed", Some("daily"), datetime!(2026-01-04 02:00 UTC));
        broken.outcome = Outcome::Failed;
        Catalog::new(
            [
                head("z_old", Some("daily"), datetime!(2026-01-01 02:00 UTC)),
                head("a_new", Some("daily"), datetime!(2026-01-03 02:00 UTC)),
                broken,
                head("m_weekly", Some("weekly"), datetime!(2026-01-02 02:00 UTC)),
                head("future", Some("weekly"), datetime!(2027-01-01 02:00 UTC)),
            ]
            .map(Arc::new)
            .to_vec(),
            vec![],
        )
    }

    fn find(text: &str) -> Result<String, QueryError> {
        let query = text.parse().expect("any text is a query");
        catalog().find(&query, datetime!(2026-01-05 0:00 UTC)).map(|head| head.id.to_string())
    }

    #[test]
    fn sorts_by_time_and_not_by_name() {
        let ids: Vec<_> = catalog().entries().map(|head| head.id.to_string()).collect();
        assert_eq!(ids, ["future", "z_failed", "a_new", "m_weekly", "z_old"]);
    }

    #[test]
    fn latest_is_the_newest_good_one_and_never_from_the_future() {
        assert_eq!(find("latest"), Ok("a_new".into()));
        assert_eq!(find("latest:weekly"), Ok("m_weekly".into()));
        assert_eq!(find("latest:none"), Err(QueryError::NotFound("latest:none".into())));
    }

    #[test]
    fn latest_is_a_whole_database_where_there_is_one() {
        let day = |day| datetime!(2026-01-01 02:00 UTC) + time::Duration::days(day);
        let mut schema = head("schema", Some("schema"), day(1));
        schema.dump.scope = Scope::Schema;
        let full = head("full", Some("daily"), day(0));
        let latest = |heads: &[&ManifestHead]| {
            let heads = heads.iter().map(|&head| Arc::new(head.clone())).collect();
            Catalog::new(heads, vec![]).latest(day(2)).map(|head| head.id.to_string())
        };
        assert_eq!(latest(&[&schema, &full]), Some("full".into()));
        assert_eq!(latest(&[&schema]), Some("schema".into()));
        let saved = ManifestHead { trigger: Trigger::PreRestore, ..head("pre-restore", None, day(1)) };
        assert_eq!(
            latest(&[&saved, &full]),
            Some("full".into()),
            "what a restore has saved is no latest one"
        );
        assert_eq!(latest(&[&saved]), None);
        assert_eq!(latest(&[]), None);
    }

    #[test]
    fn an_unambiguous_beginning_is_enough() {
        assert_eq!(find("a"), Ok("a_new".into()));
        assert_eq!(find("z_old"), Ok("z_old".into()));
        assert!(matches!(find("z_"), Err(QueryError::Ambiguous(_, ids)) if ids.len() == 2));
        assert!(matches!(find("nothing"), Err(QueryError::NotFound(_))));
        assert!(matches!(find(""), Err(QueryError::NotFound(_))));
    }
}
