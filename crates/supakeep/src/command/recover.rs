//! `supakeep recover`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use supakeep_flow::ports::Repository as _;
use supakeep_flow::recover::{RecoverPlan, RecoverPorts, RecoverReport, RecoverSpec, plan, recover};
use supakeep_flow::restore::check_parents;
use supakeep_folder::LocalHome;
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::manifest_head::{ManifestHead, Outcome as RunOutcome};
use supakeep_model::quantity::{show_duration, show_time};
use supakeep_model::secret::Secret;

use super::restore::report::{Compared, show_databases};
use super::restore::{DEADLINE, check_files, confirm, dry_run};
use super::restore_files::{different, show_files};
use super::{Context, Outcome, progress};
use crate::compose::ComposeProgram;
use crate::config::default_jobs;
use crate::failure::CommandError;

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which backup.
    pub(crate) id: String,
    /// The stack's folder.
    pub(crate) into: PathBuf,
    /// The `.env` with its secrets.
    pub(crate) env_file: Option<PathBuf>,
    /// Go on with what was interrupted.
    pub(crate) resume: bool,
    /// Only show the plan.
    pub(crate) dry_run: bool,
    /// Do not ask.
    pub(crate) yes: bool,
}

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let restore = context.wire.restore_ports(progress(context.output))?;
    let lock = restore.backup.repository.lock()?;
    context.settle().await;
    let head = context.find(&context.catalog()?, &wish.id)?;
    if head.outcome == RunOutcome::Failed {
        let message = format!("{} is the record of a failed run: there is nothing to recover from", head.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let spec = specify(context, &wish, &head)?;
    let compose = ComposeProgram {
        docker: context.wire.engine()?,
        docker_host: context.wire.settings.docker_host.clone(),
    };
    let ports = RecoverPorts { restore, compose: Arc::new(compose), home: Arc::new(LocalHome) };
    let plan = context.unless_cancelled(plan(&spec, &ports, wish.resume)).await??;
    show_plan(context, &spec, &plan, &head);
    if wish.dry_run && plan.possible().is_err() {
        return dry_run(context, &plan, plan.possible());
    }
    plan.possible()?;
    let parents = check_parents(&spec.manifest, &*ports.restore.backup.repository);
    context.unless_cancelled(parents).await??;
    if wish.dry_run {
        return dry_run(context, &plan, Ok(()));
    }
    check_files(context, &spec.manifest, &*ports.restore.backup.observer).await?;
    if !wish.yes {
        confirm(context, &head.stack).await?;
    }
    match recover(&spec, &plan, &ports, &*lock, &context.cancel).await {
        Ok(report) => show_report(context, &report, &spec),
        Err(failure) => {
            let (id, folder) = (&head.id, spec.folder.display());
            let env = wish
                .env_file
                .as_ref()
                .map_or_else(String::new, |file| format!(" --env-file {}", file.display()));
            let message = format!(
                "{failure}\n  what was done is done; to go on: supakeep recover {id} --into {folder} --resume --yes{env}",
            );
            Err(CommandError::new(failure.code, message))
        }
    }
}

fn specify(context: &Context, wish: &Wish, head: &ManifestHead) -> Result<RecoverSpec, CommandError> {
    let cannot = |path: &PathBuf, error: std::io::Error| {
        CommandError::new(Code::UsageInvalid, format!("{}: {error}", path.display()))
    };
    let env = wish
        .env_file
        .as_ref()
        .map(|file| std::fs::read(file).map(Secret::new).map_err(|error| cannot(file, error)));
    Ok(RecoverSpec {
        manifest: context.wire.repository.manifest(&head.id)?,
        folder: std::path::absolute(&wish.into).map_err(|error| cannot(&wish.into, error))?,
        env: env.transpose()?,
        db: context.wire.settings.stack.service.clone(),
        jobs: default_jobs(),
        deadline: DEADLINE,
    })
}

fn show_plan(context: &Context, spec: &RecoverSpec, plan: &RecoverPlan, head: &ManifestHead) {
    let output = context.output;
    if output.json {
        return;
    }
    let say = |name: &str, value: String| output.note(format!("{name:<12}{value}"));
    say("recover", format!("{} of {}", head.id, show_time(head.started)));
    say("into", format!("{}, project {}", spec.folder.display(), plan.project.name));
    let parts: Vec<_> = plan.parts.iter().map(ToString::to_string).collect();
    say("files", if parts.is_empty() { "none".to_owned() } else { parts.join(", ") });
    say("image", plan.image.clone());
    say("databases", plan.databases.join(", "));
    let step = serde_json::to_value(plan.from).ok().and_then(|step| step.as_str().map(str::to_owned));
    say("from step", step.unwrap_or_default());
    plan.notes.iter().for_each(|note| say("note", note.clone()));
}

fn show_report(context: &Context, report: &RecoverReport, spec: &RecoverSpec) -> Outcome {
    let output = context.output;
    if output.json {
        output.json(report);
    } else {
        show_databases(output, &report.databases, Compared::WithRecord);
        show_files(output, &report.files);
        let took = show_duration(Duration::seconds_f64(report.duration_seconds.ceil()));
        output.line(format!(
            "{} runs again, made of {}, in {took}",
            spec.manifest.head.stack.project, spec.manifest.head.id
        ));
        output.note("files that end in .redacted are beside those that secrets were taken out of");
    }
    let of_databases: Vec<_> = report
        .databases
        .iter()
        .flat_map(|database| {
            database.differences.iter().map(move |what| format!("{}: {what}", database.name))
        })
        .collect();
    if !of_databases.is_empty() {
        return Err(CommandError::new(Code::RestoreDiffers, of_databases.join("\n  ")).after_result());
    }
    different(&report.files).map_or(Ok(ExitCode::SUCCESS), |error| Err(error.after_result()))
}
