//! `supakeep restore --parts redis`: Redis servers alone, each stopped while it gets its file

use std::process::ExitCode;

use supakeep_flow::restore::{PlannedRedis, plan_redis_restore, restore_redis};
use supakeep_flow::stopped::start_again;
use supakeep_model::code::Code;
use supakeep_model::manifest_head::StackRecord;

use super::restore::{confirm, dry_run};
use super::restore_volumes::manifest_of;
use super::{Context, Outcome, progress};
use crate::failure::CommandError;

/// What the command line asks for.
pub(crate) struct Wish {
    /// Which backup.
    pub(crate) id: String,
    /// Only show the plan.
    pub(crate) dry_run: bool,
    /// Do not ask.
    pub(crate) yes: bool,
}

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let ports = context.wire.ports(progress(context.output))?;
    let _lock = ports.repository.lock()?;
    let manifest = manifest_of(context, &wish.id, &ports).await?;
    let spec = &context.wire.settings.redis;
    let planning = plan_redis_restore(&manifest, spec, &ports);
    let planned = context.unless_cancelled(planning).await??;
    if !context.output.json {
        planned.iter().for_each(|one| context.output.note(in_words(one)));
    }
    if wish.dry_run {
        return dry_run(context, &planned, Ok(()));
    }
    if !wish.yes {
        let project = context.wire.stack_name.clone();
        confirm(context, &StackRecord { project, ..StackRecord::default() }).await?;
    }
    let restoring = restore_redis(&manifest, &planned, spec, &ports);
    let Some(restored) = context.cancel.run_until_cancelled(restoring).await else {
        start_again(&*ports.repository, &*ports.containers).await?;
        return Err(CommandError::new(Code::Cancelled, "what was stopped was started again"));
    };
    let reports = restored?;
    if context.output.json {
        context.output.json(&serde_json::json!({ "restored": manifest.head.id, "redis": reports }));
    } else {
        reports.iter().for_each(|report| {
            context.output.line(format!("{}: {} keys", report.service, report.keys));
        });
        context.output.line(format!("restored Redis of {}", manifest.head.id));
    }
    let differences: Vec<_> = reports.iter().flat_map(|report| report.differences.iter().cloned()).collect();
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError::new(Code::RestoreDiffers, differences.join("\n  ")).after_result())
}

fn in_words(planned: &PlannedRedis) -> String {
    let PlannedRedis { service, keys, has_keys, .. } = planned;
    format!("{:<12}{service} is stopped, and gets {keys} keys in place of its {has_keys}", "redis")
}
