//! The command line.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use supakeep_flow::import::Mode;
use supakeep_flow::inspect::select::Name;
use supakeep_model::Duration;
use supakeep_model::drill_sample::SampleSize;
use supakeep_model::dump::{Compression, Format};
use supakeep_model::export::{ColumnPattern, RowFormat, TablePattern};
use supakeep_model::parts::PartName;
use supakeep_model::quantity::parse_duration;
use supakeep_model::volume::VolumeWish;

/// Backs up a self-hosted Supabase: on schedule, complete, verified.
#[derive(Debug, Parser)]
#[command(name = "supakeep", version = version(), propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The configuration file [default: /etc/supakeep/supakeep.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "SUPAKEEP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON on standard output, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only errors on standard error
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Whether to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the profiles' schedules and serve HTTP until SIGTERM
    Daemon,
    /// Take a backup now
    Backup {
        /// Keep it until it is deleted, under this name and the time: before-migration, emergency-disk, …
        name: Option<String>,
        /// Take it as one of this profile's (its format, its retention) instead of one by hand
        #[arg(long, value_name = "PROFILE")]
        profile: Option<String>,
        /// plain, custom or directory, whatever the configuration says
        #[arg(long)]
        format: Option<Format>,
        /// What it is to hold: database, storage, functions, config, volumes, redis [default: as the configuration
        /// says]
        #[arg(long, value_name = "PARTS", value_delimiter = ',')]
        parts: Vec<String>,
        /// Also this volume, or folder of the host, instead of those that the configuration names: NAME, NAME:cold
        /// (those that use it are stopped meanwhile) or NAME:hot; more than once for several
        #[arg(long = "volume", value_name = "NAME")]
        volumes: Vec<VolumeWish>,
        /// Show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List the backups, newest first
    List {
        /// Only those of this profile
        #[arg(long, value_name = "PROFILE")]
        profile: Option<String>,
    },
    /// Show everything that is known of a backup
    Info {
        /// An id, the beginning of one, `latest` or `latest:PROFILE`
        id: String,
        /// Show the pages of its last drill and of the last drill of a sample of it instead
        #[arg(long)]
        drill: bool,
    },
    /// Read a backup's files again and compare them with what was written
    #[command(group(clap::ArgGroup::new("which").required(true).args(["id", "latest", "all"])))]
    Verify {
        /// An id, the beginning of one, `latest` or `latest:PROFILE`
        id: Option<String>,
        /// The newest good one
        #[arg(long)]
        latest: bool,
        /// All of them
        #[arg(long, conflicts_with = "accept")]
        all: bool,
        /// If the files are right, count the backup as good although it is suspect
        #[arg(long)]
        accept: bool,
    },
    /// Put a backup back in place of what is there, or a part of it
    #[command(group(clap::ArgGroup::new("what").required(true).args(["id", "resume", "file"])))]
    #[command(group(clap::ArgGroup::new("place").multiple(true).args(["into", "only_database"])))]
    Restore {
        /// An id, the beginning of one, `latest` or `latest:PROFILE`
        id: Option<String>,
        /// Only this database; roles, root key and the other databases stay
        #[arg(long, value_name = "DATABASE", conflicts_with = "resume")]
        only_database: Option<String>,
        /// Which parts of it: storage, functions, config, each alone while everything runs; with database among
        /// them, in place of what is there [default: database, and storage where the backup has it]
        #[arg(
            long = "parts", value_name = "PARTS", value_delimiter = ',',
            conflicts_with_all = ["resume", "only_database", "tables", "into", "data_only", "roles_only", "file"]
        )]
        which: Vec<PartName>,
        /// Only this volume, or folder of the host: it is made anew where it is gone, and emptied where it is not, and
        /// those that use it are stopped meanwhile; more than once for several
        #[arg(
            long = "volume", value_name = "NAME",
            conflicts_with_all = ["resume", "only_database", "which", "tables", "into", "data_only", "roles_only", "file"]
        )]
        volumes: Vec<String>,
        /// Finish the restore that was interrupted
        #[arg(long)]
        resume: bool,
        /// Do not save first what is there
        #[arg(long)]
        no_safety_backup: bool,
        /// How many jobs of pg_restore, or sessions of psql, work side by side [default: one for each core, four at
        /// most]
        #[arg(long, short, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
        jobs: Option<usize>,
        /// Verify the files, look at the stack and show what would be done
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Which part
        #[command(flatten)]
        parts: Parts,
    },
    /// Make a stack from nothing but a backup and its .env, on a machine that has none: folder, containers, files, databases
    Recover {
        /// An id, the beginning of one, `latest` or `latest:PROFILE`
        id: String,
        /// The stack's folder, which is made: the engine must see it at the same path
        #[arg(long, value_name = "FOLDER")]
        into: PathBuf,
        /// The stack's .env with its secrets, which no backup has
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
        /// Go on where a recovery into this folder was interrupted
        #[arg(long)]
        resume: bool,
        /// Show what would be done
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Restore a backup into a scratch container, and compare with what it recorded
    Drill {
        /// An id, the beginning of one, `latest` or `latest:PROFILE` [default: latest]
        id: Option<String>,
        /// The newest good one, as without an id
        #[arg(long, conflicts_with = "id")]
        latest: bool,
        /// Only the definitions, and the rows of a share of the tables (10%) or of so many (5): other tables
        /// each day, each in its turn
        #[arg(long, value_name = "SIZE")]
        sample: Option<SampleSize>,
    },
    /// Write rows of tables as JSON lines or CSV, of one moment, beside the backups
    Export(ExportArgs),
    /// List the exports, newest first, or look at one
    Exports {
        /// An id, the beginning of one, `latest` or `latest:NAME`: show what is in it
        id: Option<String>,
        /// Read its files again and compare them with what was written
        #[arg(long, requires = "id")]
        verify: bool,
        /// Remove it
        #[arg(long, requires = "id", conflicts_with = "verify")]
        delete: bool,
        /// Do not ask
        #[arg(long, short, requires = "delete")]
        yes: bool,
    },
    /// Put the rows of an export, or of a file like one, into a table
    Import(ImportArgs),
    /// Delete backups
    Delete {
        /// Ids, or the beginnings of ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Apply the profiles' retention, or remove everything older than an age
    Cleanup {
        /// Remove what is older (30d, 12w) instead; what was made by hand and the newest stay
        #[arg(long, value_name = "AGE", value_parser = parse_duration)]
        older_than: Option<Duration>,
        /// Show what would be removed, and why the rest stays
        #[arg(long)]
        dry_run: bool,
    },
    /// Show how the profiles are doing; exit 1 when something is overdue or failed
    Status {
        /// Only whether the daemon answers: for a container's health check
        #[arg(long)]
        live: bool,
    },
    /// Do one task at a folder, for a supakeep elsewhere
    #[command(hide = true)]
    Porter,
    /// Check the configuration and everything it points to
    Check,
    /// Show the configuration that is in force and where each value came from
    Config,
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Parts of a backup: no service is stopped for them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Parts, while everything runs")]
pub(crate) struct Parts {
    /// A table with its schema: its rows are replaced, or it is made where it is gone; more than once for
    /// several. Of the database `postgres` unless --only-database says otherwise
    #[arg(long = "table", value_name = "SCHEMA.TABLE", conflicts_with_all = ["into", "resume", "file"])]
    pub(crate) tables: Vec<Name>,
    /// Make the tables in this schema instead, which is made if it is missing
    #[arg(long, value_name = "SCHEMA", requires = "tables")]
    pub(crate) into_schema: Option<String>,
    /// Make a new database beside the live one
    #[arg(long, value_name = "DATABASE", conflicts_with = "resume")]
    pub(crate) into: Option<String>,
    /// Only definitions
    #[arg(long, requires = "into")]
    pub(crate) schema_only: bool,
    /// Only rows, into the tables that are there: of all tables that the backup has
    #[arg(long, conflicts_with_all = ["into", "tables", "resume", "file"])]
    pub(crate) data_only: bool,
    /// Only roles, memberships and role settings
    #[arg(long, conflicts_with_all = ["into", "tables", "data_only", "only_database", "resume", "file"])]
    pub(crate) roles_only: bool,
    /// A dump that supakeep did not make, plain or custom, gzip, zstd or neither; `-` is standard input. Into a
    /// new database (--into), or in place of one while the services are stopped (--only-database)
    #[arg(long, value_name = "FILE", requires = "place")]
    pub(crate) file: Option<PathBuf>,
}

impl Parts {
    /// Whether a part is asked for, and not all of a backup.
    pub(crate) fn any(&self) -> bool {
        !self.tables.is_empty() || self.into.is_some() || self.data_only || self.roles_only
    }
}

/// What is exported.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// Configured exports; all of them where neither they nor tables are named
    pub(crate) names: Vec<String>,
    /// A table with its schema, `*` and `?` allowed; more than once for several. With a name only these of its tables,
    /// as it says; else an export by hand, which is kept until it is deleted
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    pub(crate) tables: Vec<TablePattern>,
    /// Leave this column out
    #[arg(long, value_name = "SCHEMA.TABLE.COLUMN")]
    pub(crate) exclude: Vec<ColumnPattern>,
    /// Write a hash instead of this column's values, which cannot be tried without the repository's key
    #[arg(long, value_name = "SCHEMA.TABLE.COLUMN")]
    pub(crate) hash: Vec<ColumnPattern>,
    /// The database [default: postgres]
    #[arg(long, value_name = "DATABASE", conflicts_with = "names")]
    pub(crate) database: Option<String>,
    /// jsonl or csv, whatever the configuration says
    #[arg(long)]
    pub(crate) format: Option<RowFormat>,
    /// zstd:1-19, gzip:1-9 or none, whatever the configuration says
    #[arg(long)]
    pub(crate) compression: Option<Compression>,
    /// Show what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What is imported, and where.
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["export", "file"])))]
pub(crate) struct ImportArgs {
    /// An export: its id, the beginning of one, `latest` or `latest:NAME`
    pub(crate) export: Option<String>,
    /// A file instead, of JSON lines or CSV with a header, .gz or .zst or neither
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The table, as the export names it
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub(crate) table: Name,
    /// Another table to put the rows into
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub(crate) into: Option<Name>,
    /// The database [default: the one that was exported, or postgres]
    #[arg(long, value_name = "DATABASE")]
    pub(crate) database: Option<String>,
    /// append adds the rows, replace removes those that are there first, upsert changes those with the same primary key
    #[arg(long, value_name = "MODE", default_value = "append")]
    pub(crate) mode: Mode,
    /// With replace, remove the old rows as DELETE does: what refers to them goes with them, where its foreign key says so
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Go on although columns were hashed or left out: hashes are what is imported then, and defaults what is missing
    #[arg(long)]
    pub(crate) accept_loss: bool,
    /// Do not export first what is there
    #[arg(long)]
    pub(crate) no_safety_backup: bool,
    /// Read the file, look at the table and show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// The version, and the commit where it is known.
fn version() -> String {
    match option_env!("SUPAKEEP_REVISION") {
        Some(revision) => format!("{} ({revision})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}
