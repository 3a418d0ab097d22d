//! A stack in Docker as a place to restore into.

use async_trait::async_trait;
use supakeep_flow::ports::{
    ArchiveRestore, Elevation, Input, OnError, OnOutput, OnProgress, Placed, Room, Server, Service, Site,
    StackError, Stored,
};
use supakeep_model::code::Code;
use supakeep_model::secret::Secret;

use crate::arguments::conninfo;
use crate::elevation::DockerElevation;
use crate::exec::{Command, run};
use crate::feed::{feed, feed_from, feed_reading};
use crate::own_container::own_id;
use crate::psql::Client;
use crate::server::DockerServer;
use crate::services;
use crate::stack::{DockerStack, RootKey};
use crate::tar::Tar;

/// What a restore sets for its sessions: limits are for people's queries; nothing of it has to survive a
/// crash before its end, since a restore that did not end is done again.
const OPTIONS: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 \
-c idle_session_timeout=0 -c synchronous_commit=off -c maintenance_work_mem=256MB -c lc_messages=C";
/// The first version that limits transactions.
const FIRST_WITH_TRANSACTION_TIMEOUT: u32 = 170_000;
/// Parallel builders of a vector index share as much memory as `maintenance_work_mem` says, and building fails where
/// the container has less of it; Docker gives it 64 MiB unless it is asked for more.
const SHARED_BYTES: u64 = (256 + 64) << 20;
/// Where the container has its shared memory.
const SHARED_MEMORY: &str = "/dev/shm";
/// Where files are placed in the database's container.
const PLACE: &str = "/tmp/supakeep-restore";
/// The most that a statement of ours may answer.
const MAX_ANSWER: usize = 16 << 20;

/// Unpacks the archive that standard input holds: with one program from its beginning to its end, since no two
/// can share a pipe of which each reads as much as it likes.
const UNPACK: &str = r#"set -e
umask 077
rm -rf "$1"
mkdir -p "$1"
tar -x -f - -C "$1""#;

/// Puts the key that standard input holds at `$1`, with the owner of the folder's other files: the server's
/// user, whose number differs between images.
const WRITE_KEY: &str = r#"set -e
umask 077
cat >"$1.new"
if [ "$(id -u)" = 0 ]; then chown "$(stat -c %u:%g "$2")" "$1.new"; fi
chmod 600 "$1.new"
mv -f "$1.new" "$1""#;

/// A live stack, or a scratch server.
pub(crate) struct DockerSite {
    stack: DockerStack,
    server: DockerServer,
    is_scratch: bool,
    /// The host by which the engine is reached, where it is one.
    engine_host: Option<String>,
    /// What is set for its sessions.
    options: String,
}

impl DockerSite {
    /// The stack's site, as soon as its server answers. `run` names the run on the server.
    pub(crate) async fn open(
        stack: DockerStack,
        run: &str,
        engine_host: Option<String>,
    ) -> Result<DockerSite, StackError> {
        let server = stack.wait_for_server(run).await?;
        let mut site = DockerSite::scratch(stack, server).await;
        (site.is_scratch, site.engine_host) = (false, engine_host);
        Ok(site)
    }

    /// A scratch server, which has no services around it.
    pub(crate) async fn scratch(stack: DockerStack, server: DockerServer) -> DockerSite {
        let mut options = OPTIONS.to_owned();
        if server.facts.record.server_version_num >= FIRST_WITH_TRANSACTION_TIMEOUT {
            options.push_str(" -c transaction_timeout=0");
        }
        let mut site = DockerSite { stack, server, is_scratch: true, engine_host: None, options };
        if site.free_bytes_at(SHARED_MEMORY).await.is_ok_and(|bytes| bytes >= SHARED_BYTES) {
            return site;
        }
        site.options.push_str(" -c max_parallel_maintenance_workers=0");
        site
    }

    fn client(&self) -> &Client {
        &self.server.client
    }

    /// A program of PostgreSQL's with the options of a restore.
    fn tool(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.client().command(program, arguments.iter().map(|text| (*text).to_owned()));
        command.environment.retain(|variable| !variable.starts_with("PGOPTIONS="));
        command.environment.push(format!("PGOPTIONS={}", self.options));
        command
    }

    /// psql, printing what is read from standard input.
    fn asking(&self, database: &str) -> Command {
        let arguments =
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &conninfo(database), "-f", "-"];
        self.tool("psql", &arguments)
    }

    async fn run_sql(&self, command: Command, statements: &str) -> Result<String, StackError> {
        let input = Input {
            stored: Box::new(std::io::Cursor::new(statements.as_bytes().to_vec())),
            bytes: statements.len() as u64,
        };
        let outcome = feed(self.client(), command, input, &|_| {}).await.map_err(of_restore)?;
        Ok(String::from_utf8_lossy(&outcome.stdout).into_owned())
    }

    fn shell(&self, script: &str, parameters: &[&str]) -> Command {
        let fixed = ["sh", "-c", script, "supakeep"];
        let mut command = self.client().psql("template1", &[]);
        command.arguments = fixed.iter().chain(parameters).map(|text| (*text).to_owned()).collect();
        command.password = None;
        command
    }

    async fn free_bytes_at(&self, path: &str) -> Result<u64, StackError> {
        let script = r#"df -P -k "$1" | tail -n 1"#;
        let answer = self.answer(self.shell(script, &[path])).await?;
        let kibibytes = answer.split_whitespace().nth(3).and_then(|word| word.parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| {
            StackError::new(Code::DockerRefused, format!("df in the database's container says {answer:?}"))
        })
    }

    async fn answer(&self, command: Command) -> Result<String, StackError> {
        let stream = run(&self.client().docker, &self.client().container, command).await?;
        Ok(String::from_utf8_lossy(&stream.collect(MAX_ANSWER).await?).into_owned())
    }
}

/// PostgreSQL's words are those of a restore here, not of a dump.
fn of_restore(error: StackError) -> StackError {
    let code = if error.code == Code::DumpFailed { Code::RestoreFailed } else { error.code };
    StackError { code, ..error }
}

#[async_trait]
impl Site for DockerSite {
    fn server(&self) -> &dyn Server {
        &self.server
    }

    async fn services(&self) -> Result<Vec<Service>, StackError> {
        if self.is_scratch {
            return Ok(Vec::new());
        }
        let docker = &self.client().docker;
        let mut spared = vec![self.client().container.clone()];
        spared.extend(own_id());
        let project = &self.server.facts.record.project;
        services::services(docker, project, &spared, self.engine_host.as_deref()).await
    }

    async fn stop(&self, service: &Service) -> Result<(), StackError> {
        services::stop(&self.client().docker, service).await
    }

    async fn start(&self, service: &Service) -> Result<(), StackError> {
        services::start(&self.client().docker, service).await
    }

    async fn restart_server(&self) -> Result<(), StackError> {
        let name = &self.server.facts.record.container;
        services::restart(&self.client().docker, &self.client().container, name).await?;
        self.stack.wait_for_server("restarted").await.map(|_| ())
    }

    async fn put_root_key(&self, key: &Secret<Vec<u8>>) -> Result<(), StackError> {
        let RootKey::At(path) = &self.client().spec.root_key else {
            return Err(StackError::new(
                Code::RootKeyUnreadable,
                "stack.root_key is none: there is no place for the key",
            ));
        };
        // The server's own user owns its data.
        let data = self.sql("template1", "SELECT current_setting('data_directory')").await?;
        let bytes = key.expose().clone();
        let length = bytes.len() as u64;
        let input = Input { stored: Box::new(std::io::Cursor::new(bytes)), bytes: length };
        let command = self.shell(WRITE_KEY, &[path, data.trim()]);
        let placed = feed(self.client(), command, input, &|_| {}).await;
        placed.map(|_| ()).map_err(|error| {
            StackError::new(
                Code::RestoreFailed,
                format!("placing the vault's root key at {path}: {}", error.message),
            )
        })
    }

    async fn free_bytes(&self) -> Result<u64, StackError> {
        let data = self.sql("template1", "SELECT current_setting('data_directory')").await?;
        self.free_bytes_at(data.trim()).await
    }

    async fn room(&self) -> Result<Room, StackError> {
        // The folder itself is made when something is placed there.
        let (parent, _) = PLACE.rsplit_once('/').unwrap_or_default();
        Ok(Room { path: PLACE.to_owned(), free_bytes: self.free_bytes_at(parent).await? })
    }

    async fn sql(&self, database: &str, statements: &str) -> Result<String, StackError> {
        let mut command = self.asking(database);
        command.environment.retain(|variable| !variable.starts_with("PGOPTIONS="));
        // We are a superuser, and whoever may make functions could have made one that is called like ours.
        command.environment.push(format!("PGOPTIONS={} -c search_path=pg_catalog", self.options));
        command.environment.push("PGCLIENTENCODING=UTF8".to_owned());
        self.run_sql(command, statements).await
    }

    async fn sql_as_configured(&self, database: &str, statements: &str) -> Result<String, StackError> {
        self.run_sql(self.asking(database), statements).await
    }

    async fn psql(
        &self,
        database: &str,
        input: Input,
        on_error: OnError,
        progress: OnProgress<'_>,
    ) -> Result<String, StackError> {
        let stop = match on_error {
            OnError::Stop => "ON_ERROR_STOP=1",
            OnError::GoOn => "ON_ERROR_STOP=0",
        };
        let arguments =
            ["-X", "-q", "-A", "-t", "-v", stop, "-o", "/dev/null", "-d", &conninfo(database), "-f", "-"];
        let outcome = feed(self.client(), self.tool("psql", &arguments), input, progress).await;
        outcome.map(|outcome| outcome.stderr).map_err(of_restore)
    }

    async fn psql_printing(
        &self,
        database: &str,
        input: Input,
        progress: OnProgress<'_>,
        output: OnOutput<'_>,
    ) -> Result<String, StackError> {
        feed_reading(self.client(), self.asking(database), input, progress, output).await.map_err(of_restore)
    }

    async fn psql_session(
        &self,
        database: &str,
        mut script: Stored,
        output: OnOutput<'_>,
    ) -> Result<String, StackError> {
        let command = self.asking(database);
        feed_from(self.client(), command, &mut script, None, &|_| {}, output).await.map_err(of_restore)
    }

    async fn place(&self, files: Vec<Placed<'_>>, progress: OnProgress<'_>) -> Result<(), StackError> {
        let mut packed = Tar::of(files)?;
        let bytes = packed.bytes();
        let command = self.shell(UNPACK, &[PLACE]);
        let placed = feed_from(self.client(), command, &mut packed, Some(bytes), progress, &mut |_| {}).await;
        placed.map(|_| ()).map_err(of_restore)
    }

    async fn pg_restore(&self, database: &str, restore: &ArchiveRestore) -> Result<String, StackError> {
        let jobs = restore.jobs.max(1).to_string();
        let (target, archive) = (conninfo(database), format!("{PLACE}/{}", restore.archive));
        let mut arguments = vec!["--exit-on-error", "-d", &target, "-j", &jobs];
        if restore.is_before_rows {
            arguments.extend(["--section", "pre-data"]);
        }
        if !restore.entries.is_empty() {
            arguments.extend(["-L", "/dev/stdin"]);
        }
        arguments.push(&archive);
        let list: String = restore.entries.iter().map(|entry| format!("{entry};\n")).collect();
        let bytes = list.len() as u64;
        let input = Input { stored: Box::new(std::io::Cursor::new(list.into_bytes())), bytes };
        let outcome = feed(self.client(), self.tool("pg_restore", &arguments), input, &|_| {}).await;
        outcome.map(|outcome| outcome.stderr).map_err(of_restore)
    }

    async fn clear(&self) -> Result<(), StackError> {
        self.answer(self.shell(r#"rm -rf "$1""#, &[PLACE])).await.map(|_| ())
    }

    async fn elevate(&self, role: &str) -> Result<Box<dyn Elevation>, StackError> {
        Ok(Box::new(DockerElevation::begin(self.client(), role).await?))
    }
}
