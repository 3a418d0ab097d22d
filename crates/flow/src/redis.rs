//! Talking to a Redis server with its own client, in its own container.

use std::time::Duration;

use supakeep_model::code::Code;
use supakeep_model::journal::StoppedService;
use supakeep_model::secret::Secret;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::ports::{Containers, Program, SourceStream};

/// How long a server may take to write its file, or to read it when it starts, unless the configuration says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(1_800);
/// Pause between two questions.
const POLL: Duration = Duration::from_millis(200);
/// Hands the password, which comes over standard input, to the client by its own variable. Without one the
/// container's own variable counts.
const CLIENT: &str = r#"if [ -n "${PGPASSWORD-}" ]; then REDISCLI_AUTH=$PGPASSWORD; export REDISCLI_AUTH; fi; exec redis-cli --raw "$@""#;

/// Which Redis servers are kept.
#[derive(Debug, Clone)]
pub struct RedisSpec {
    /// Their services, or their containers' names; those that a label marks come on top.
    pub services: Vec<String>,
    /// Their password, where the container has no REDISCLI_AUTH.
    pub password: Option<Secret<String>>,
    /// How long one may take to write its file, or to read it.
    pub patience: Duration,
}

impl Default for RedisSpec {
    fn default() -> RedisSpec {
        RedisSpec { services: Vec::new(), password: None, patience: PATIENCE }
    }
}

/// A Redis server.
pub(crate) struct Redis<'a> {
    pub(crate) containers: &'a dyn Containers,
    pub(crate) container: StoppedService,
    pub(crate) spec: &'a RedisSpec,
}

/// Where a server writes its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RdbPlace {
    pub(crate) folder: String,
    pub(crate) file: String,
}

impl RdbPlace {
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.folder.trim_end_matches('/'), self.file)
    }
}

/// What a file holds, by `redis-check-rdb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckedRdb {
    pub(crate) keys: u64,
    /// How many of them go by themselves after a while.
    pub(crate) expires: u64,
}

impl Redis<'_> {
    pub(crate) async fn ask(&self, words: &[&str]) -> Result<String, Failure> {
        let program = ["sh", "-c", CLIENT, "redis-cli"].into_iter().chain(words.iter().copied());
        let arguments: Vec<_> = program.map(str::to_owned).collect();
        let program = Program { arguments: &arguments, password: self.spec.password.as_ref() };
        let said = self
            .containers
            .run(&self.container, program)
            .await
            .map_err(|error| self.failed(error.message))?;
        // The client ends with 0 whatever the server says.
        let refused = ["ERR ", "NOAUTH ", "WRONGPASS ", "NOPERM ", "LOADING ", "AUTH failed"];
        match said.lines().find(|line| refused.iter().any(|refused| line.starts_with(refused))) {
            Some(line) => Err(self.failed(format!("{}: {line}", words.join(" ")))),
            None => Ok(said),
        }
    }

    pub(crate) fn failed(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(Code::RedisFailed, format!("{}: {what}", self.container.name))
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let ran =
            self.containers.run(&self.container, Program { arguments: &arguments, password: None }).await;
        ran.map_err(|error| self.failed(error.message))
    }

    pub(crate) async fn read(&self, path: &str) -> Result<Box<dyn SourceStream>, Failure> {
        let arguments = ["cat".to_owned(), path.to_owned()];
        let program = Program { arguments: &arguments, password: None };
        self.containers.read(&self.container, program).await.map_err(|error| self.failed(error.message))
    }

    /// The value of a setting.
    pub(crate) async fn setting(&self, name: &str) -> Result<String, Failure> {
        let said = self.ask(&["CONFIG", "GET", name]).await?;
        let value = said.lines().nth(1).map(str::to_owned);
        value.ok_or_else(|| self.failed(format!("CONFIG GET {name} tells nothing")))
    }

    pub(crate) async fn place(&self) -> Result<RdbPlace, Failure> {
        Ok(RdbPlace { folder: self.setting("dir").await?, file: self.setting("dbfilename").await? })
    }

    pub(crate) async fn last_save(&self) -> Result<u64, Failure> {
        let said = self.ask(&["LASTSAVE"]).await?;
        said.trim().parse().map_err(|_| self.failed(format!("LASTSAVE says {said:?}")))
    }

    async fn now(&self) -> Result<u64, Failure> {
        let said = self.ask(&["TIME"]).await?;
        let seconds = said.lines().next().and_then(|line| line.trim().parse().ok());
        seconds.ok_or_else(|| self.failed(format!("TIME says {said:?}")))
    }

    async fn is_saving(&self) -> Result<bool, Failure> {
        let said = self.ask(&["INFO", "persistence"]).await?;
        let value = field(&said, "rdb_bgsave_in_progress");
        Ok(value.ok_or_else(|| self.failed("INFO persistence tells nothing of saving"))? != "0")
    }

    /// Has the server write its file, and waits for it.
    pub(crate) async fn save(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.spec.patience;
        while self.is_saving().await? {
            self.pause(deadline, "it goes on saving").await?;
        }
        let before = self.last_save().await?;
        // Times are in seconds: one that is written within the same would not be seen as newer.
        while self.now().await? <= before {
            self.pause(deadline, "its clock does not go on").await?;
        }
        let said = self.ask(&["BGSAVE", "SCHEDULE"]).await?;
        let has_started = said.contains("started");
        loop {
            let is_saving = self.is_saving().await?;
            // Asked only then: the file was in its place before the server said so.
            if !is_saving && self.last_save().await? > before {
                return Ok(());
            }
            if has_started && !is_saving {
                return Err(self.failed("it could not write its file; its log says why"));
            }
            self.pause(deadline, "it does not end saving").await?;
        }
    }

    /// Looks at the file with the server's own tool.
    pub(crate) async fn check(&self, path: &str) -> Result<CheckedRdb, Failure> {
        let said = self.run(&["redis-check-rdb", path]).await?;
        let count = |words: &str| {
            let line = said.lines().find(|line| line.trim_end().ends_with(words))?;
            line.trim_end().strip_suffix(words)?.split_whitespace().last()?.parse().ok()
        };
        match (said.contains("RDB looks OK"), count("keys read")) {
            (true, Some(keys)) => Ok(CheckedRdb { keys, expires: count("expires").unwrap_or(0) }),
            _ => Err(self.failed(format!("redis-check-rdb says: {}", said.trim()))),
        }
    }

    /// How many keys it has, in all its databases.
    pub(crate) async fn keys(&self) -> Result<u64, Failure> {
        let said = self.ask(&["INFO", "keyspace"]).await?;
        let keys = said.lines().filter_map(|line| {
            let (name, values) = line.trim().split_once(':')?;
            let is_database = name.strip_prefix("db").is_some_and(|number| number.parse::<u32>().is_ok());
            let keys = values.split(',').find_map(|value| value.strip_prefix("keys="));
            keys.filter(|_| is_database)?.parse::<u64>().ok()
        });
        Ok(keys.sum())
    }

    /// Waits until it has read its file.
    pub(crate) async fn loaded(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.spec.patience;
        loop {
            let said = self.ask(&["INFO", "persistence"]).await;
            if said.as_ref().is_ok_and(|said| field(said, "loading") == Some("0")) {
                return Ok(());
            }
            self.pause(deadline, "it does not answer, or goes on loading").await?;
        }
    }

    async fn pause(&self, deadline: Instant, what: &str) -> Result<(), Failure> {
        if Instant::now() > deadline {
            return Err(self.failed(format!("{what} for {} seconds", self.spec.patience.as_secs())));
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }
}

fn field<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    said.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
}
