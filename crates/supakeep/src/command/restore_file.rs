//! `supakeep restore --file`: a dump that supakeep did not make, into a database of its own

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use supakeep_flow::cancel::Limits;
use supakeep_flow::ports::{Repository, Stored};
use supakeep_flow::read_back::decoded;
use supakeep_flow::restore::RestorePorts;
use supakeep_flow::restore::parts::{
    BesideSpec, DumpSource, Open, PartPorts, SourceFile, plan_beside, restore_beside,
};
use supakeep_model::artifact::Encoding;
use supakeep_model::code::Code;
use supakeep_model::dump::Format;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::id::BackupId;
use tokio::io::AsyncReadExt as _;

use super::restore::{DEADLINE, dry_run};
use super::restore_parts::{of_beside, show_beside, show_plan};
use super::{Context, Outcome};
use crate::failure::CommandError;

/// Bytes read and written at a time.
const CHUNK: usize = 256 * 1024;
/// How standard input is called while it is kept.
const KEPT: &str = "standard-input";
/// Where in a tar archive its mark is; `pg_dump -Ft` makes one.
const TAR_MARK: std::ops::Range<usize> = 257..262;

pub(super) async fn run(
    context: &Context,
    ports: &RestorePorts,
    file: &Path,
    spec: BesideSpec,
    is_dry_run: bool,
) -> Outcome {
    let output = context.output;
    for warning in [
        "nothing is known of this file but what is in it: it is executed as a superuser",
        "roles that it names have to be there; it has neither passwords nor the vault's key, and nothing to compare with",
    ] {
        output.note(format!("warning: {warning}"));
    }
    let site = context.unless_cancelled(ports.sites.live("restore-file")).await??;
    let id: BackupId = format!("file_{}", std::process::id())
        .parse()
        .map_err(|error| CommandError::new(Code::Internal, error))?;
    // It is gone when this is dropped.
    let kept = if file == Path::new("-") { Some(keep(context, &id).await?) } else { None };
    let open: Open = match &kept {
        Some(kept) => {
            let kept = Arc::clone(kept);
            Arc::new(move |path| Ok(kept.open(path)?))
        }
        None => Arc::new(open_file),
    };
    let path = if kept.is_some() { KEPT.to_owned() } else { text(file)? };
    let source = source(open, path).await?;
    let limits = Limits::new(context.cancel.clone(), DEADLINE);
    let observer = &ports.backup.observer;
    let progress = |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
    let ports =
        PartPorts { site: &*site, source: &source, recorded: None, progress: &progress, limits: &limits };
    let contents = ports.survey().await?;
    let plan = plan_beside(&spec, ports, &contents).await?;
    show_plan(output, &plan);
    if is_dry_run {
        return dry_run(context, &plan, plan.possible());
    }
    plan.possible()?;
    observer.observe(&RunEvent::Entered {
        id: id.clone(),
        phase: Phase::RestoreDatabase,
        subject: spec.name.clone(),
        expected_bytes: None,
    });
    let restored = restore_beside(&spec, ports, &contents).await;
    let report = restored.map_err(|failure| of_beside(&spec.name, failure))?;
    show_beside(context, &file.display().to_string(), &spec.name, &report)
}

fn text(file: &Path) -> Result<String, CommandError> {
    let text = file.to_str().map(str::to_owned);
    text.ok_or_else(|| CommandError::new(Code::UsageInvalid, "the file's name is not UTF-8"))
}

fn open_file(path: &str) -> Result<Stored, supakeep_flow::failure::Failure> {
    let unreadable = |error: std::io::Error| {
        supakeep_flow::failure::Failure::new(Code::UsageInvalid, format!("{path} cannot be read: {error}"))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is no file")));
    }
    Ok(Box::new(tokio::fs::File::from_std(file)))
}

/// Writes standard input into the repository for a while: it is read twice, and can be longer than memory.
async fn keep(
    context: &Context,
    id: &BackupId,
) -> Result<Arc<dyn supakeep_flow::ports::Staging>, CommandError> {
    let staging: Arc<dyn supakeep_flow::ports::Staging> = Arc::from(context.wire.repository.stage(id)?);
    let mut file = staging.files().create(KEPT)?;
    let unreadable = |error: std::io::Error| {
        CommandError::new(Code::RepositoryIo, format!("keeping standard input: {error}"))
    };
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?;
    let mut stdin = tokio::fs::File::from_std(stdin.into());
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        chunk.clear();
        let length = tokio::select! {
            length = stdin.read_buf(&mut chunk) => length.map_err(unreadable)?,
            () = context.cancel.cancelled() => {
                return Err(CommandError::new(Code::Cancelled, "nothing was touched"));
            }
        };
        if length == 0 {
            break;
        }
        file.write_all(&chunk).map_err(unreadable)?;
    }
    file.sync().map_err(unreadable)?;
    Ok(staging)
}

/// What kind of dump it is, by its first bytes.
async fn source(open: Open, path: String) -> Result<DumpSource, CommandError> {
    let mut first = Vec::new();
    let head = |error: std::io::Error| {
        CommandError::new(Code::UsageInvalid, format!("{path} cannot be read: {error}"))
    };
    open(&path)?.take(4).read_to_end(&mut first).await.map_err(head)?;
    let encoding = match first.as_slice() {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Encoding::Zstd,
        _ => Encoding::Identity,
    };
    let mut inside = Vec::new();
    decoded(open(&path)?, encoding).take(512).read_to_end(&mut inside).await.map_err(head)?;
    let format = match inside.as_slice() {
        [b'P', b'G', b'D', b'M', b'P', ..] => Format::Custom,
        bytes if bytes.get(TAR_MARK) == Some(b"ustar") => {
            let message =
                format!("{path} is a tar archive: pg_restore makes a plain dump of it, or a custom one");
            return Err(CommandError::new(Code::UsageInvalid, message));
        }
        _ => Format::Plain,
    };
    let file = SourceFile { path, encoding, bytes: 0, recorded: None };
    Ok(DumpSource::new(format, file, open))
}
