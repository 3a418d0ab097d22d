//! `supakeep drill`

use std::process::ExitCode;

use supakeep_flow::drill::{DrillReport, drill, page};
use supakeep_model::code::Code;
use supakeep_model::drill_sample::{SampleSize, SampleSpec};
use supakeep_model::manifest_head::Outcome as RunOutcome;

use super::{Context, Outcome, progress};
use crate::failure::CommandError;
use crate::output::{Output, Paint};

pub(crate) async fn run(context: &Context, id: Option<&str>, sample: Option<SampleSize>) -> Outcome {
    let head = context.find(&context.catalog()?, id.unwrap_or("latest"))?;
    if head.outcome == RunOutcome::Failed {
        let message = format!("{} is the record of a failed run: there is nothing to drill", head.id);
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let sample = sample.map(|size| SampleSpec { size, at: context.wire.clock.now() });
    let report = {
        let ports = context.wire.drill_ports(progress(context.output))?;
        drill(&context.wire.drill_spec(head.id, sample), &ports, &context.cancel).await?
    };
    if context.output.json {
        context.output.json(&report);
    } else {
        print(context.output, &report);
    }
    if report.ok { Ok(ExitCode::SUCCESS) } else { Err(differs(context.output, &report)) }
}

/// The report for people, with its result in colour.
fn print(output: Output, report: &DrillReport) {
    let paint = if report.ok { Paint::Good } else { Paint::Bad };
    for line in page(report).lines() {
        match line.strip_prefix("result").map(str::trim_start) {
            Some(result) => output.line(format!("{:<14}{}", "result", output.paint(result, paint))),
            None => output.line(line),
        }
    }
}

/// Why it ends with an error; the differences too where no page has told them.
fn differs(output: Output, report: &DrillReport) -> CommandError {
    let what = if report.sample.is_some() { "a sample of " } else { "" };
    let mut message = format!("{what}{} does not come back as it was recorded", report.backup);
    if output.json {
        message.push_str(&format!(":\n  {}", report.differences.join("\n  ")));
    }
    CommandError::new(Code::DrillFailed, message).after_result()
}
