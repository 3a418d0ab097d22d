//! What a restore has done so far, on the disk: it survives the death of whoever does it.
//!
//! It answers what the next attempt has to know: which databases are half there, so that nobody serves or
//! saves them; what of the stack's own would be lost with them; and how much is left to do.

use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;

use crate::id::BackupId;
use crate::parts::PartName;
use crate::secret::Secret;

/// The newest format this version writes.
pub const FORMAT: u32 = 1;

/// How far a restore is. Each step begins when it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// What is there is being saved. Nothing is touched.
    SafetyBackup,
    /// Services are being stopped.
    StopServices,
    /// Files are being put back.
    Files,
    /// Roles are being restored.
    Globals,
    /// The vault's root key is being put in place.
    RootKey,
    /// Databases are being dropped, made and filled: from here on the stack must not be served.
    Databases,
    /// Everything is there and is being looked at.
    Compare,
    /// Services are being started again.
    StartServices,
}

/// What is left to do of a restore that did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remaining {
    /// All of it, from the beginning.
    Everything,
    /// The data is there: it is to be compared, and the services are to be started.
    Comparison,
    /// The data is there and was compared: the services are to be started. They may run for long already.
    Services,
}

/// A service that ran and was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedService {
    /// Its container.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A database that is missing or half filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfDatabase {
    /// Its name.
    pub name: String,
    /// Whether there was none of this name before: then nothing is lost with it.
    #[serde(default)]
    pub is_new: bool,
    /// The settings that belong to the stack, as statements, read before the database was dropped: there is
    /// a signing key among them.
    #[serde(default = "nothing", skip_serializing, deserialize_with = "secret")]
    pub own_settings: Secret<Vec<String>>,
}

/// A database that is filled and takes nobody but superusers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedDatabase {
    /// Its name.
    pub name: String,
    /// How many connections it takes when it is open, as the backup has it; -1 is any number.
    pub limit: i64,
}

/// A restore that has begun and not ended. Serialised as it is, it says nothing secret; what is on the disk
/// is [`Journal::to_json`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// What is being restored.
    pub backup: BackupId,
    /// The databases, where not all of the backup's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_database: Option<String>,
    /// Which of its parts that are files are put back too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PartName>,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// How far it is.
    pub step: Step,
    /// What there was before, if it was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<BackupId>,
    /// The services that ran and do not now.
    #[serde(default)]
    pub stopped: Vec<StoppedService>,
    /// The databases that this restore, or the one whose place it took, has left half done.
    #[serde(default)]
    pub half: Vec<HalfDatabase>,
    /// The databases that wait to be opened.
    #[serde(default)]
    pub closed: Vec<ClosedDatabase>,
    /// Whether `postgres` was made a superuser and is not known to be none.
    #[serde(default)]
    pub elevated: bool,
    /// The vault's root key that was there, while another one is in place beside the old databases.
    #[serde(default, skip_serializing, deserialize_with = "maybe_secret")]
    pub previous_key: Option<Secret<Vec<u8>>>,
}

impl Journal {
    /// Whether there is a database that must neither be served nor saved.
    pub fn is_half(&self) -> bool {
        self.step == Step::Databases || !self.half.is_empty()
    }

    /// What is left to do.
    pub fn remaining(&self) -> Remaining {
        match self.step {
            _ if self.is_half() => Remaining::Everything,
            Step::Compare => Remaining::Comparison,
            Step::StartServices => Remaining::Services,
            _ => Remaining::Everything,
        }
    }

    /// The databases that somebody would miss if the next restore did not make them.
    pub fn unsettled(&self) -> impl Iterator<Item = &str> {
        let half = self.half.iter().filter(|database| !database.is_new).map(|database| &database.name);
        half.chain(self.closed.iter().map(|database| &database.name)).map(String::as_str)
    }

    /// The backups that are needed until it has ended.
    pub fn backups(&self) -> impl Iterator<Item = &BackupId> {
        [Some(&self.backup), self.safety.as_ref()].into_iter().flatten()
    }

    /// As it is written to the disk, into a file that its owner alone may read: the stack's own secrets are
    /// in it, since after a crash they may be nowhere else.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_value(self)?;
        for (at, database) in self.half.iter().enumerate() {
            json["half"][at]["own_settings"] = serde_json::to_value(database.own_settings.expose())?;
        }
        if let Some(key) = &self.previous_key {
            json["previous_key"] = serde_json::to_value(key.expose())?;
        }
        serde_json::to_vec_pretty(&json)
    }

    /// The same, read again.
    pub fn parse(json: &[u8]) -> serde_json::Result<Journal> {
        serde_json::from_slice(json)
    }
}

fn nothing() -> Secret<Vec<String>> {
    Secret::new(Vec::new())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<Vec<String>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Secret::new)
}

fn maybe_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<Vec<u8>>>, D::Error> {
    Option::deserialize(deserializer).map(|key| key.map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(step: Step) -> Journal {
        Journal {
            format: FORMAT,
            backup: "b_1".parse().expect("a valid id"),
            only_database: None,
            files: Vec::new(),
            started: OffsetDateTime::UNIX_EPOCH,
            step,
            safety: None,
            stopped: Vec::new(),
            half: Vec::new(),
            closed: Vec::new(),
            elevated: false,
            previous_key: None,
        }
    }

    fn half(name: &str, is_new: bool) -> HalfDatabase {
        let own = vec![format!("ALTER DATABASE {name} SET \"app.settings.jwt_secret\" TO 'hunter2';")];
        HalfDatabase { name: name.into(), is_new, own_settings: Secret::new(own) }
    }

    #[test]
    fn keeps_secrets_on_the_disk_and_shows_them_nowhere_else() {
        let journal = Journal {
            half: vec![half("a", false), half("b", true)],
            previous_key: Some(Secret::new(b"hunter2".to_vec())),
            ..journal(Step::Databases)
        };
        let json = journal.to_json().expect("it can be written");
        assert_eq!(Journal::parse(&json).expect("it can be read"), journal);
        let shown = serde_json::to_string(&journal).expect("it can be shown") + &format!("{journal:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("104,117"), "{shown}");
    }

    #[test]
    fn reads_one_that_knows_less() {
        let json = br#"{"format":1,"backup":"b_1","started":"1970-01-01T00:00:00Z","step":"databases"}"#;
        let read = Journal::parse(json).expect("it can be read");
        assert_eq!(read, journal(Step::Databases));
        assert!(read.is_half());
    }

    #[test]
    fn knows_what_is_left_to_do() {
        let done = [
            (Step::StopServices, Remaining::Everything),
            (Step::RootKey, Remaining::Everything),
            (Step::Databases, Remaining::Everything),
            (Step::Compare, Remaining::Comparison),
            (Step::StartServices, Remaining::Services),
        ];
        for (step, remaining) in done {
            assert_eq!(journal(step).remaining(), remaining, "{step:?}");
            let half = Journal { half: vec![half("a", false)], ..journal(step) };
            assert_eq!(half.remaining(), Remaining::Everything, "{step:?}");
        }
    }

    #[test]
    fn only_what_was_there_is_missed() {
        let closed = vec![ClosedDatabase { name: "c".into(), limit: -1 }];
        let journal =
            Journal { half: vec![half("a", false), half("b", true)], closed, ..journal(Step::Databases) };
        assert_eq!(journal.unsettled().collect::<Vec<_>>(), ["a", "c"]);
    }
}
