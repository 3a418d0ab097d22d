//! The commands, one file each.

mod backup;
mod check;
mod cleanup;
mod completions;
mod config;
mod daemon;
mod delete;
mod drill;
mod export;
mod exports;
mod import;
mod info;
mod kept;
mod list;
mod porter;
mod question;
mod recover;
mod restore;
mod restore_file;
mod restore_files;
mod restore_parts;
mod restore_redis;
mod restore_volumes;
mod status;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;

use supakeep_flow::backup::link_with;
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::Repository as _;
use supakeep_flow::stopped::settle;
use supakeep_model::catalog::{Catalog, Query};
use supakeep_model::code::Code;
use supakeep_model::manifest_head::ManifestHead;
use supakeep_model::parts::PartName;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Command};
use crate::config::Loaded;
use crate::failure::CommandError;
use crate::logging;
use crate::output::Output;
use crate::wire::{Wire, load_configuration};

/// Threads that run tasks. A run and a drill each hold one while they put files on the disk.
const WORKERS: usize = 4;
/// How long what is still at work on the disk at the end may take.
const LAST_WORK: std::time::Duration = std::time::Duration::from_secs(2);

/// How a command ended.
pub(crate) type Outcome = Result<ExitCode, CommandError>;

/// What every command has.
pub(crate) struct Context {
    /// The ports.
    pub(crate) wire: Wire,
    /// How to print.
    pub(crate) output: Output,
    /// Cancelled by SIGINT and SIGTERM.
    pub(crate) cancel: CancellationToken,
}

impl Context {
    /// Reads the catalog; complains of manifests that cannot be read.
    pub(crate) fn catalog(&self) -> Result<Catalog, CommandError> {
        let catalog = self.wire.repository.catalog()?;
        for unreadable in catalog.unreadable() {
            self.output.note(format!(
                "warning[{}]: {}: {}",
                unreadable.error.code(),
                unreadable.folder,
                unreadable.error
            ));
        }
        Ok(catalog)
    }

    /// Starts what a run stopped for a while that died over it: whoever has just taken the lock does so before
    /// anything else. Where the engine cannot be reached, the next one tries.
    pub(crate) async fn settle(&self) {
        match self.wire.containers() {
            Ok(containers) => {
                let observer = progress(self.output);
                settle(&*self.wire.repository, &containers, &*observer).await;
            }
            Err(error) => tracing::debug!("cannot look for what was stopped: {}", error.message),
        }
    }

    /// Brings the links to the latest backups up to date, and those of profiles that have lost one. What
    /// was done is done, whether they can be set or not.
    pub(crate) fn link<'a>(&self, profiles: impl IntoIterator<Item = &'a str>) {
        if let Err(failure) = link_with(&*self.wire.repository, self.wire.clock.now(), profiles) {
            self.not_linked(&failure);
        }
    }

    /// Says that the links are as they were.
    pub(crate) fn not_linked(&self, failure: &Failure) {
        let (code, what) = (failure.code, "cannot update the links to the latest backups");
        self.output.note(format!("warning[{code}]: {what}: {failure}"));
    }

    /// What `work` comes to, unless a signal ends the wait for it.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, CommandError> {
        unless_cancelled(&self.cancel, work).await
    }

    /// The backup that a person means.
    pub(crate) fn find(&self, catalog: &Catalog, id: &str) -> Result<ManifestHead, CommandError> {
        let query: Query = id.parse().unwrap_or_else(|never| match never {});
        Ok(catalog.find(&query, self.wire.clock.now())?.clone())
    }
}

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli, output: Output) -> Outcome {
    match cli.command {
        Command::Completions { shell } => return Ok(completions::completions(shell)),
        Command::Man => return completions::man(),
        Command::Porter => return porter::run(),
        _ => {}
    }
    let loaded = load_configuration(&cli.global)?;
    if let Command::Config = cli.command {
        return Ok(config::run(&loaded, output));
    }
    start_log(&cli.command, &loaded, output);
    let runtime = runtime()?;
    let outcome = runtime.block_on(dispatch(cli.command, loaded, output));
    // A thread that waits for a disk that does not answer must not keep the process.
    runtime.shutdown_timeout(LAST_WORK);
    outcome
}

async fn dispatch(command: Command, loaded: Loaded, output: Output) -> Outcome {
    if let Command::Status { live: true } = command {
        return status::live(&loaded.settings, output).await;
    }
    let cancel = cancel_on_signal()?;
    let built = unless_cancelled(&cancel, Wire::build(loaded.settings, looks_only(&command))).await?;
    let wire = match (built, &command) {
        (Err(error), Command::Check) => return Ok(check::without_stack(output, error)),
        (built, _) => built?,
    };
    let context = Context { wire, output, cancel };
    let cancel = context.cancel.clone();
    let ends_itself = ends_itself(&command);
    let work = perform(command, context);
    if ends_itself { work.await } else { unless_cancelled(&cancel, work).await? }
}

/// Whether a command sees to it itself that a signal ends it: it has something to clean up, or is at
/// work on the disk. The others only look.
fn ends_itself(command: &Command) -> bool {
    matches!(
        command,
        Command::Daemon
            | Command::Backup { dry_run: false, .. }
            | Command::Verify { .. }
            | Command::Restore { .. }
            | Command::Recover { .. }
            | Command::Drill { .. }
            | Command::Export(_)
            | Command::Import(_)
            | Command::Delete { .. }
            | Command::Cleanup { .. }
    )
}

/// Whether a command may take the one stack of the repository for the one that is meant, when Docker cannot
/// be asked: the backups of one stack must not go among those of another.
fn looks_only(command: &Command) -> bool {
    !matches!(
        command,
        Command::Daemon
            | Command::Backup { .. }
            | Command::Restore { .. }
            | Command::Drill { .. }
            | Command::Export(_)
            | Command::Import(_)
    )
}

async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, CommandError> {
    let cancelled = || CommandError::new(Code::Cancelled, "nothing was changed");
    cancel.run_until_cancelled(work).await.ok_or_else(cancelled)
}

async fn perform(command: Command, context: Context) -> Outcome {
    match command {
        Command::Daemon => daemon::run(context).await,
        Command::Backup { name, profile, format, parts, volumes, dry_run } => {
            backup::run(&context, backup::Wish { name, profile, format, parts, volumes, dry_run }).await
        }
        Command::List { profile } => list::run(&context, profile.as_deref()),
        Command::Info { id, drill: true } => kept::run(&context, &id).await,
        Command::Info { id, drill: false } => info::run(&context, &id),
        Command::Verify { id, latest: _, all, accept } => {
            verify::run(&context, verify::Which { id, all, accept }).await
        }
        Command::Restore { id, only_database, no_safety_backup, jobs, dry_run, yes, parts, .. }
            if parts.any() =>
        {
            let wish = restore_parts::Wish { id, only_database, no_safety_backup, jobs, dry_run, yes, parts };
            restore_parts::run(&context, wish).await
        }
        Command::Restore { id: Some(id), which, volumes, dry_run, yes, .. }
            if !volumes.is_empty() || which == [PartName::Volumes] =>
        {
            restore_volumes::run(&context, restore_volumes::Wish { id, volumes, dry_run, yes }).await
        }
        Command::Restore { id: Some(id), which, dry_run, yes, .. } if which == [PartName::Redis] => {
            restore_redis::run(&context, restore_redis::Wish { id, dry_run, yes }).await
        }
        Command::Restore { id: Some(id), which, dry_run, yes, .. }
            if !which.is_empty() && !which.contains(&PartName::Database) =>
        {
            restore_files::run(&context, restore_files::Wish { id, parts: which, dry_run, yes }).await
        }
        Command::Restore {
            id,
            only_database,
            which,
            resume,
            no_safety_backup,
            jobs,
            dry_run,
            yes,
            parts,
            volumes: _,
        } => {
            let file = parts.file;
            let wish = restore::Wish {
                id,
                file,
                only_database,
                parts: which,
                resume,
                no_safety_backup,
                jobs,
                dry_run,
                yes,
            };
            restore::run(&context, wish).await
        }
        Command::Recover { id, into, env_file, resume, dry_run, yes } => {
            recover::run(&context, recover::Wish { id, into, env_file, resume, dry_run, yes }).await
        }
        Command::Drill { id, latest: _, sample } => drill::run(&context, id.as_deref(), sample).await,
        Command::Export(wish) => export::run(&context, wish).await,
        Command::Exports { id, verify, delete, yes } => {
            exports::run(&context, exports::Wish { id, verify, delete, yes }).await
        }
        Command::Import(wish) => import::run(&context, wish).await,
        Command::Delete { ids, yes } => delete::run(&context, &ids, yes).await,
        Command::Cleanup { older_than, dry_run } => cleanup::run(&context, older_than, dry_run).await,
        Command::Status { .. } => status::run(&context).await,
        Command::Check => check::run(&context).await,
        Command::Config | Command::Completions { .. } | Command::Man | Command::Porter => {
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Commands speak for themselves; only what goes wrong beside them is logged.
fn start_log(command: &Command, loaded: &Loaded, output: Output) {
    let mut settings = loaded.settings.log.clone();
    if !matches!(command, Command::Daemon) {
        "warn".clone_into(&mut settings.level);
    }
    if output.quiet {
        "error".clone_into(&mut settings.level);
    }
    logging::start(&settings, output.error_color);
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(Code::Internal, format!("cannot start: {error}")))
}

fn cancel_on_signal() -> Result<CancellationToken, CommandError> {
    let cancel = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signals = signal(kind).map_err(|error| {
            CommandError::new(Code::Internal, format!("cannot listen for signals: {error}"))
        })?;
        let cancel = cancel.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if cancel.is_cancelled() {
                    // Whoever asks twice does not want to wait for things to be put in order.
                    std::process::exit(Code::Cancelled.exit() as i32);
                }
                cancel.cancel();
            }
        });
    }
    Ok(cancel)
}

/// An observer for a command that a person waits for.
fn progress(output: Output) -> Arc<crate::progress::Progress> {
    Arc::new(crate::progress::Progress::new(output))
}
