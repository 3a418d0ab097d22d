//! `supakeep cleanup`

use std::process::ExitCode;

use comfy_table::Cell;
use supakeep_flow::ports::Repository as _;
use supakeep_flow::prune::{PruneReport, prune};
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::quantity::{show_bytes, show_duration};
use supakeep_model::retention::{PrunePlan, plan, plan_older_than};

use super::{Context, Outcome, progress};
use crate::failure::CommandError;
use crate::output::{Paint, right};

pub(crate) async fn run(context: &Context, older_than: Option<Duration>, dry_run: bool) -> Outcome {
    let observer = progress(context.output);
    let (repository, now) = (&context.wire.repository, context.wire.clock.now());
    // A dry run reads only; it need not wait for a backup that is running.
    let lock = if dry_run { None } else { Some(repository.lock()?) };
    if lock.is_some() {
        context.settle().await;
    }
    let catalog = context.catalog()?;
    let plan = context.wire.retention().with_rules(&**repository, now, |rules| match older_than {
        Some(age) => plan_older_than(&catalog, age, rules),
        None => plan(&catalog, rules),
    })?;
    let report = lock.as_ref().map(|lock| prune(&**repository, &plan, &*observer, &**lock));
    show(context, &plan, report);
    if lock.is_some() {
        context.link([]);
    }
    drop(lock);
    match report {
        Some(PruneReport { failed, .. }) if failed > 0 => Err(CommandError::new(
            Code::RepositoryIo,
            format!("{failed} backups could not be removed; see above"),
        )
        .after_result()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn show(context: &Context, plan: &PrunePlan, report: Option<PruneReport>) {
    let output = context.output;
    if output.json {
        let done = report.unwrap_or_default();
        output.json(&serde_json::json!({
            "dry_run": report.is_none(), "items": plan.items,
            "removed": done.removed, "freed_bytes": done.freed_bytes, "failed": done.failed,
        }));
        return;
    }
    if plan.items.is_empty() {
        output.note("no backups, so nothing to clean up");
        return;
    }
    let now = context.wire.clock.now();
    let mut table = output.table(&["", "ID", "AGE", "SIZE", "WHY"]);
    for item in &plan.items {
        let word =
            if item.keep { output.paint("keep", Paint::Good) } else { output.paint("remove", Paint::Warn) };
        table.add_row(vec![
            Cell::new(word),
            Cell::new(&item.id),
            right(show_duration(now - item.started)),
            right(show_bytes(item.stored_bytes)),
            Cell::new(item.reasons.join(", ")),
        ]);
    }
    output.print(&table);
    let (count, bytes) =
        plan.removals().fold((0, 0), |(count, bytes), item| (count + 1, bytes + item.stored_bytes));
    let verb = if report.is_some() { "removed" } else { "would remove" };
    output.line(format!("{verb} {count} of {}, {}", plan.items.len(), show_bytes(bytes)));
}
