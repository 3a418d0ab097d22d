//! `supakeep restore --file`: a dump that supakeep did not make, into a database of its own

mod kept;

use std::path::Path;
use std::sync::Arc;

use supakeep_flow::cancel::Limits;
use supakeep_flow::ports::Repository as _;
use supakeep_flow::restore::parts::{
    BesideSpec, DumpSource, Open, PartPorts, SourceFile, plan_beside, restore_beside,
};
use supakeep_flow::restore::{DUMP, RestorePorts, sniff};
use supakeep_model::code::Code;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::id::BackupId;

use kept::{is_standard_input, open_file, text};
pub(super) use kept::{keep, name};

use super::restore::{DEADLINE, dry_run};
use super::restore_parts::{of_beside, show_beside, show_plan};
use super::{Context, Outcome};
use crate::failure::CommandError;

/// What is not known.
pub(super) const WARNINGS: [&str; 2] = [
    "nothing is known of this file but what is in it: it is executed as a superuser",
    "roles that it names have to be there; it has neither passwords nor the vault's key, and nothing to compare with",
];

pub(super) async fn run(
    context: &Context,
    ports: &RestorePorts,
    file: &Path,
    spec: BesideSpec,
    is_dry_run: bool,
) -> Outcome {
    let output = context.output;
    for warning in WARNINGS {
        output.note(format!("warning: {warning}"));
    }
    let site = context.unless_cancelled(ports.sites.live("restore-file")).await??;
    let id: BackupId = format!("file_{}", std::process::id())
        .parse()
        .map_err(|error| CommandError::new(Code::Internal, error))?;
    // It is gone when this is dropped.
    let (open, path): (Open, String) = if is_standard_input(file) {
        let kept = context.wire.repository.stage(&id)?;
        keep(context, &*kept, file).await?;
        (Arc::new(move |_| Ok(kept.open(DUMP)?)), name(file))
    } else {
        (Arc::new(|path| Ok(Box::new(tokio::fs::File::from_std(open_file(Path::new(path))?)))), text(file)?)
    };
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

/// What kind of dump it is, by its first bytes.
async fn source(open: Open, path: String) -> Result<DumpSource, CommandError> {
    let (format, encoding) = sniff(&path, || open(&path)).await?;
    let file = SourceFile { path, encoding, bytes: 0, recorded: None };
    Ok(DumpSource::new(format, file, open))
}
