//! `supakeep list`

use std::process::ExitCode;

use comfy_table::Cell;
use supakeep_model::code::Code;
use supakeep_model::manifest_head::{ManifestHead, Outcome as RunOutcome};
use supakeep_model::quantity::{show_bytes, show_duration};
use supakeep_model::view::BackupView;
use supakeep_model::{Duration, OffsetDateTime};

use super::{Context, Outcome};
use crate::failure::CommandError;
use crate::output::{Output, Paint, right};

const HEADER: [&str; 9] = ["ID", "PROFILE", "KIND", "AGE", "SIZE", "TOOK", "VERIFIED", "DRILLED", "OFF-SITE"];

pub(crate) fn run(context: &Context, profile: Option<&str>) -> Outcome {
    let catalog = context.catalog()?;
    let now = context.wire.clock.now();
    let known = |name: &str| context.wire.settings.profiles.iter().any(|profile| profile.name == name);
    if let Some(name) = profile
        && !known(name)
        && catalog.of_profile(name).next().is_none()
    {
        return Err(CommandError::new(Code::ProfileNotFound, format!("there is no profile {name:?}")));
    }
    let wanted = |head: &&ManifestHead| profile.is_none_or(|name| head.profile.as_deref() == Some(name));
    let entries: Vec<_> = catalog.entries().filter(wanted).collect();
    let output = context.output;
    if output.json {
        let views: Vec<_> = entries.iter().map(|head| BackupView::of(head, now)).collect();
        output.json(&views);
    } else if entries.is_empty() {
        output.note("no backups yet; `supakeep backup` takes one");
    } else {
        let mut table = output.table(&HEADER);
        for head in entries {
            table.add_row(row(output, head, now));
        }
        output.print(&table);
    }
    Ok(ExitCode::SUCCESS)
}

fn row(output: Output, head: &ManifestHead, now: OffsetDateTime) -> Vec<Cell> {
    let took = show_duration(Duration::seconds_f64(head.duration_seconds.ceil()));
    let size = match head.outcome {
        RunOutcome::Failed => "-".to_owned(),
        _ => show_bytes(head.totals.stored_bytes),
    };
    let offsite: Vec<_> = head.copies.iter().map(|copy| copy.remote.as_str()).collect();
    vec![
        Cell::new(&head.id),
        Cell::new(head.profile.as_deref().unwrap_or("-")),
        Cell::new(head.kind.as_str()),
        right(show_duration(head.age(now))),
        right(size),
        right(took),
        Cell::new(verified(output, head)),
        Cell::new(drilled(head)),
        Cell::new(if offsite.is_empty() { "-".to_owned() } else { offsite.join(",") }),
    ]
}

fn verified(output: Output, head: &ManifestHead) -> String {
    let (word, paint) = match (head.outcome, &head.verified) {
        (RunOutcome::Failed, _) => {
            let code = head.error.as_ref().map_or("failed", |error| error.code.as_str());
            return output.paint(&format!("failed: {code}"), Paint::Bad);
        }
        (_, Some(proof)) if !proof.ok => ("DAMAGED", Paint::Bad),
        (_, None) => ("no", Paint::Warn),
        (RunOutcome::Suspect, Some(_)) if !head.is_good() => ("suspect", Paint::Warn),
        (_, Some(_)) => ("yes", Paint::Good),
    };
    output.paint(word, paint)
}

fn drilled(head: &ManifestHead) -> &'static str {
    let whole = head.drilled.as_ref().map(|proof| proof.ok);
    drill_word(whole, head.sampled.as_ref().map(|sampled| sampled.proof.ok))
}

/// A sample that came back is less than a drill that did; whatever did not come back is told.
fn drill_word(whole: Option<bool>, sample: Option<bool>) -> &'static str {
    match (whole, sample) {
        (Some(false), _) => "FAILED",
        (_, Some(false)) => "sample FAILED",
        (Some(true), _) => "yes",
        (None, Some(true)) => "sample",
        (None, None) => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_never_shown_as_a_drill() {
        let rows = [
            (None, None, "-"),
            (None, Some(true), "sample"),
            (None, Some(false), "sample FAILED"),
            (Some(true), Some(true), "yes"),
            (Some(true), Some(false), "sample FAILED"),
            (Some(false), Some(true), "FAILED"),
        ];
        for (whole, sample, word) in rows {
            assert_eq!(drill_word(whole, sample), word, "{whole:?} {sample:?}");
        }
    }
}
