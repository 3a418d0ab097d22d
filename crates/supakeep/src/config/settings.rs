//! The configuration as the rest of the program sees it.

use std::net::SocketAddr;
use std::path::PathBuf;

use supakeep_docker::{RootKey, StackSpec};
use supakeep_flow::backup::{StorageSpec, TransportChoice, VolumesSpec};
use supakeep_flow::redis::RedisSpec;
use supakeep_model::dump::{Compression, DumpSpec};
use supakeep_model::export::ExportProfile;
use supakeep_model::parts::Parts;
use supakeep_model::profile::Profile;
use supakeep_model::quantity::parse_bytes;
use supakeep_model::secret::Secret;
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, OffsetDateTime};

use super::drill::{DrillSettings, drill};
use super::exports::exports;
use super::layers::Sources;
use super::profiles::{dump, parts, positive_duration, profiles};
use super::proofs::{VerifySettings, proofs, verify};
use super::reader::{Reader, Section};
use super::volumes::{redis, volumes};

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The zone of schedules, names and retention.
    pub(crate) zone: Zone,
    /// The stack; its `project` is empty where the configuration does not say.
    pub(crate) stack: StackSpec,
    /// The databases to dump; empty means every non-template one.
    pub(crate) databases: Vec<String>,
    /// Folders of the stack that supakeep itself sees.
    pub(crate) folders: Folders,
    /// What backups hold where no profile says otherwise.
    pub(crate) parts: Parts,
    /// How the storage service's files are kept.
    pub(crate) storage: StorageSpec,
    /// Which volumes are kept.
    pub(crate) volumes: VolumesSpec,
    /// Which Redis servers are kept.
    pub(crate) redis: RedisSpec,
    /// The engine, where it is not the local socket.
    pub(crate) docker_host: Option<String>,
    /// The repository.
    pub(crate) repository: RepositorySettings,
    /// What is asked of pg_dump where no profile says otherwise.
    pub(crate) dump: DumpSpec,
    /// How dumps travel.
    pub(crate) transport: TransportChoice,
    /// How many threads compress.
    pub(crate) encoders: usize,
    /// The profiles that run.
    pub(crate) profiles: Vec<Profile>,
    /// Reading old backups again.
    pub(crate) verify: VerifySettings,
    /// Exports.
    pub(crate) exports: Vec<ExportProfile>,
    /// Drills.
    pub(crate) drill: DrillSettings,
    /// The HTTP interface.
    pub(crate) http: HttpSettings,
    /// How long a running backup may go on after SIGTERM.
    pub(crate) grace: Duration,
    /// The log.
    pub(crate) log: LogSettings,
}

/// Folders of the stack that supakeep itself sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folders {
    /// The stack's folder.
    pub(crate) stack: Option<PathBuf>,
    /// The folder of the storage service's files.
    pub(crate) storage: Option<PathBuf>,
}

/// Where backups go.
#[derive(Debug, Clone)]
pub(crate) struct RepositorySettings {
    /// The folder; one folder for each stack is made in it.
    pub(crate) path: PathBuf,
    /// Bytes that must be free for a backup to start.
    pub(crate) min_free_bytes: u64,
}

/// The HTTP interface.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// What a caller must show to start a run; without one there is no such call.
    pub(crate) token: Option<Secret<String>>,
}

/// The log.
#[derive(Debug, Clone)]
pub(crate) struct LogSettings {
    /// How lines look.
    pub(crate) format: LogFormat,
    /// What is logged, in the words of `RUST_LOG`.
    pub(crate) level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// An object a line, for log collectors.
    Json,
}

/// Compressing in more threads than this outruns the Docker stream.
const MOST_ENCODERS: usize = 4;

/// Reads the whole tree. `None` only together with a fault.
pub(super) fn read(reader: &mut Reader<'_>, sources: &Sources, now: OffsetDateTime) -> Option<Settings> {
    let mut top = reader.top();
    let zone = reader.parsed(&mut top, "timezone", "UTC", Zone::parse);
    let stack = stack(reader, &mut top);
    let docker_host = docker(reader, &mut top, sources);
    let repository = repository(reader, &mut top);
    let dumping = dumping(reader, &mut top);
    let zone = zone.unwrap_or_else(Zone::utc);
    let dump_base = dumping.as_ref().map(|(dump, ..)| dump.clone()).unwrap_or_default();
    let parts = parts(reader, &mut top, &Parts::default());
    let storage = storage(reader, &mut top);
    let volumes = volumes(reader, &mut top);
    let redis = redis(reader, &mut top);
    let profiles = profiles(reader, &mut top, (&dump_base, &parts), &zone, now);
    let proofs = proofs(reader, &mut top);
    let verify = verify(reader, &mut top, proofs, &zone);
    let drill = drill(reader, &mut top, proofs, &zone);
    let exports = exports(reader, &mut top, &zone, now);
    let http = http(reader, &mut top);
    let grace = daemon(reader, &mut top);
    let log = log(reader, &mut top);
    reader.no_others(&top);
    // Only now: everything has been read, and every fault noted.
    let (stack, databases, folders, timing) = stack?;
    let (dump, transport, encoders, stall, lock_wait) = dumping?;
    let spec = StackSpec { wait: timing, stall, lock_wait, ..stack };
    Some(Settings {
        zone,
        stack: spec,
        databases,
        folders,
        parts,
        storage: storage?,
        volumes: volumes?,
        redis: redis?,
        docker_host,
        repository: repository?,
        dump,
        transport,
        encoders,
        profiles,
        verify: verify?,
        exports,
        drill: drill?,
        http: http?,
        grace: grace?,
        log: log?,
    })
}

type StackPart = (StackSpec, Vec<String>, Folders, std::time::Duration);

fn stack(reader: &mut Reader<'_>, top: &mut Section) -> Option<StackPart> {
    let mut section = reader.section(top, "stack");
    let section = &mut section;
    let project = reader.optional(section, "project", not_empty);
    let service = reader.parsed(section, "service", "db", not_empty);
    let container = reader.optional(section, "container", not_empty);
    let user = reader.parsed(section, "user", "supabase_admin", not_empty);
    let port =
        reader.optional(section, "port", |text| text.parse().map_err(|_| format!("`{text}` is not a port")));
    let password = reader.secret(section, "password", "password_file");
    let root_key = reader.parsed(section, "root_key", "/etc/postgresql-custom/pgsodium_root.key", root_key);
    let databases = reader.list(section, "databases", &[], ',');
    let folder = |text: &str| Ok(PathBuf::from(text));
    let folders = Folders {
        stack: reader.optional(section, "folder", folder),
        storage: reader.optional(section, "storage_folder", folder),
    };
    let wait = reader.parsed(section, "wait", "1m", positive_duration);
    reader.no_others(section);
    let spec = StackSpec {
        project: project.unwrap_or_default(),
        service: service?,
        container,
        user: user?,
        port,
        password,
        root_key: root_key?,
        wait: std::time::Duration::ZERO,
        stall: std::time::Duration::ZERO,
        lock_wait: std::time::Duration::ZERO,
    };
    Some((spec, databases, folders, wait?.unsigned_abs()))
}

fn root_key(text: &str) -> Result<RootKey, String> {
    match text {
        "none" => Ok(RootKey::None),
        path if path.starts_with('/') => Ok(RootKey::At(path.to_owned())),
        other => {
            Err(format!("`{other}` is neither an absolute path in the database's container nor \"none\""))
        }
    }
}

/// `DOCKER_HOST` is Docker's own name for it.
fn docker(reader: &mut Reader<'_>, top: &mut Section, sources: &Sources) -> Option<String> {
    let mut section = reader.section(top, "docker");
    let given = reader.optional(&mut section, "host", docker_host);
    reader.no_others(&section);
    let variable =
        sources.environment.iter().find(|(name, value)| name == "DOCKER_HOST" && !value.is_empty());
    given.or_else(|| {
        let (name, value) = variable?;
        reader.show_foreign(&section, "host", value, name);
        Some(value.clone())
    })
}

fn docker_host(text: &str) -> Result<String, String> {
    if ["unix://", "tcp://", "http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not an engine's address; write unix:///var/run/docker.sock or tcp://host:2375"))
}

fn repository(reader: &mut Reader<'_>, top: &mut Section) -> Option<RepositorySettings> {
    let mut section = reader.section(top, "repository");
    let path = reader.parsed(&mut section, "path", "/backups", |text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(format!("`{text}` is not an absolute path")) }
    });
    let min_free = reader.parsed(&mut section, "min_free", "1GiB", parse_bytes);
    reader.no_others(&section);
    Some(RepositorySettings { path: path?, min_free_bytes: min_free? })
}

type DumpPart = (DumpSpec, TransportChoice, usize, std::time::Duration, std::time::Duration);

fn dumping(reader: &mut Reader<'_>, top: &mut Section) -> Option<DumpPart> {
    let mut section = reader.section(top, "dump");
    let section = &mut section;
    let spec = dump(reader, section, &DumpSpec::default());
    let transport = reader.parsed(section, "transport", "auto", transport);
    let encoders = reader.optional(section, "threads", |text| match text.parse() {
        Ok(threads @ 1..=64) => Ok(threads),
        _ => Err(format!("`{text}` is not a number of threads between 1 and 64")),
    });
    let stall = reader.parsed(section, "stall_timeout", "10m", positive_duration);
    let lock_wait = reader.parsed(section, "lock_wait", "5m", positive_duration);
    reader.no_others(section);
    let encoders = encoders.unwrap_or_else(default_jobs);
    Some((spec, transport?, encoders, stall?.unsigned_abs(), lock_wait?.unsigned_abs()))
}

/// One for each core, up to a few: the stack has work to do too.
pub(crate) fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_ENCODERS)
}

fn storage(reader: &mut Reader<'_>, top: &mut Section) -> Option<StorageSpec> {
    let mut section = reader.section(top, "storage");
    let usual = StorageSpec::default();
    let compression =
        reader.parsed(&mut section, "compression", &usual.compression.to_string(), str::parse::<Compression>);
    let full_every =
        reader.parsed(&mut section, "full_every", &usual.full_every.to_string(), |text| match text.parse() {
            Ok(number @ 1..=1_000) => Ok(number),
            _ => Err(format!("`{text}` is not a number of backups between 1 and 1000")),
        });
    reader.no_others(&section);
    Some(StorageSpec { compression: compression?, full_every: full_every? })
}

fn transport(text: &str) -> Result<TransportChoice, String> {
    if text == "auto" {
        return Ok(TransportChoice::Auto);
    }
    let compression: Compression = text.parse().map_err(|message| format!("{message}, or auto"))?;
    Ok(TransportChoice::Always(compression))
}

fn http(reader: &mut Reader<'_>, top: &mut Section) -> Option<HttpSettings> {
    let mut section = reader.section(top, "http");
    let listen = reader.parsed(&mut section, "listen", "0.0.0.0:9177", |text| {
        let address = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
        address.parse().map_err(|_| format!("`{text}` is not an address; write for example 0.0.0.0:9177"))
    });
    let token = reader.secret(&mut section, "token", "token_file");
    reader.no_others(&section);
    Some(HttpSettings { listen: listen?, token })
}

fn daemon(reader: &mut Reader<'_>, top: &mut Section) -> Option<Duration> {
    let mut section = reader.section(top, "daemon");
    let grace = reader.parsed(&mut section, "grace", "30s", positive_duration);
    reader.no_others(&section);
    grace
}

fn log(reader: &mut Reader<'_>, top: &mut Section) -> Option<LogSettings> {
    let mut section = reader.section(top, "log");
    let format = reader.parsed(&mut section, "format", "text", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("`{other}` is neither text nor json")),
    });
    let level = reader.parsed(&mut section, "level", "info", |text| {
        let parsed: Result<tracing_subscriber::filter::Targets, _> = text.parse();
        parsed
            .map(|_| text.to_owned())
            .map_err(|_| format!("`{text}` is not a level; write error, warn, info, debug or trace"))
    });
    reader.no_others(&section);
    Some(LogSettings { format: format?, level: level? })
}

pub(super) fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}
