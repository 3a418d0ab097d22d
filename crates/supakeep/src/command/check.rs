//! `supakeep check`

use std::process::ExitCode;

use supakeep_docker::check;
use supakeep_flow::backup::{plan_redis, plan_volumes, possible, possible_files};
use supakeep_flow::export::plan_export;
use supakeep_flow::ports::{Repository as _, ServerFacts};
use supakeep_model::code::{Code, Exit};
use supakeep_model::health::needed_bytes;
use supakeep_model::parts::{PartName, Parts, Wish};
use supakeep_model::quantity::{show_bytes, show_duration};

use super::{Context, Outcome};
use crate::failure::CommandError;
use crate::output::{Output, Paint};

/// A line of the report.
struct Line {
    subject: &'static str,
    result: Result<String, CommandError>,
}

pub(crate) async fn run(context: &Context) -> Outcome {
    let mut lines = vec![configuration(context), repository(context), space(context)];
    match context.wire.engine() {
        Ok(docker) => {
            let checked = check(&docker, &context.wire.stack_spec()).await;
            lines.extend(checked.findings.into_iter().map(|finding| Line {
                subject: finding.subject,
                result: finding.result.map_err(CommandError::from),
            }));
            if let Some(facts) = checked.facts {
                lines.push(dumps(context, &facts));
                lines.push(files(context).await);
                lines.extend(around(context).await);
                lines.extend(exports(context).await);
            }
        }
        Err(error) => lines.push(Line { subject: "docker", result: Err(error) }),
    }
    show(context.output, &lines);
    let worst = lines.iter().find_map(|line| line.result.as_ref().err());
    Ok(worst.map_or(ExitCode::SUCCESS, |_| ExitCode::from(Exit::Failed as u8)))
}

/// The report where not even the stack's name can be found out: everything else hangs on it.
pub(crate) fn without_stack(output: Output, error: CommandError) -> ExitCode {
    show(output, &[Line { subject: "stack", result: Err(error) }]);
    ExitCode::from(Exit::Failed as u8)
}

fn configuration(context: &Context) -> Line {
    let settings = &context.wire.settings;
    let now = context.wire.clock.now();
    let profiles: Vec<_> = settings
        .profiles
        .iter()
        .map(|profile| {
            let next = profile
                .schedule
                .next_after(now)
                .map_or("never".to_owned(), |slot| show_duration(slot.at - now));
            format!("{} (next in {next})", profile.name)
        })
        .collect();
    Line { subject: "profiles", result: Ok(format!("{} in {}", profiles.join(", "), settings.zone.name())) }
}

/// Whether the server has what the profiles ask for.
fn dumps(context: &Context, facts: &ServerFacts) -> Line {
    let settings = &context.wire.settings;
    let specs = settings.profiles.iter().map(|profile| &profile.dump).chain([&settings.dump]);
    let result = possible(&settings.databases, specs, settings.transport, facts)
        .map(|databases| format!("can be made of {}", databases.join(", ")))
        .map_err(CommandError::from);
    Line { subject: "dumps", result }
}

/// Whether the exports can be made as they are configured, in one line for all.
async fn exports(context: &Context) -> Option<Line> {
    let configured = &context.wire.settings.exports;
    let mut found = Vec::with_capacity(configured.len());
    for export in configured {
        let spec = context.wire.export_spec(&export.name, export.rows.clone());
        let planned = async { Ok(plan_export(&spec, &context.wire.looking()?).await?) };
        match planned.await {
            Ok((tables, _)) => found.push(format!("{} ({} tables)", export.name, tables.len())),
            Err(error) => {
                let CommandError { code, message, .. } = error;
                let error = CommandError::new(code, format!("{}: {message}", export.name));
                return Some(Line { subject: "exports", result: Err(error) });
            }
        }
    }
    (!found.is_empty()).then(|| Line { subject: "exports", result: Ok(found.join(", ")) })
}

/// Whether the stack's files can be packed, where a profile wants anything of them.
async fn files(context: &Context) -> Line {
    Line { subject: "files", result: look_for_files(context).await }
}

/// Volumes and Redis servers, where anything wants them.
async fn around(context: &Context) -> Vec<Line> {
    let settings = &context.wire.settings;
    let wants = |part| {
        let mut all = settings.profiles.iter().map(|profile| &profile.parts).chain([&settings.parts]);
        all.any(|parts| parts.wish(part) != Wish::No)
    };
    let mut lines = Vec::new();
    if wants(PartName::Volumes) {
        lines.push(Line { subject: "volumes", result: look_for_volumes(context).await });
    }
    if wants(PartName::Redis) {
        lines.push(Line { subject: "redis", result: look_for_redis(context).await });
    }
    lines
}

async fn look_for_volumes(context: &Context) -> Result<String, CommandError> {
    let plan = plan_volumes(&context.wire.settings.volumes, &context.wire.containers()?).await?;
    let names = plan.volumes.iter().map(|volume| format!("{} ({})", volume.name, volume.mode));
    let mut words = vec![names.collect::<Vec<_>>().join(", ")];
    let stops: Vec<_> = plan.stops.iter().map(|service| service.name.as_str()).collect();
    if !stops.is_empty() {
        words.push(format!("{} stopped while cold ones are packed", stops.join(", ")));
    }
    words.extend(plan.notes);
    Ok(words.join("; "))
}

async fn look_for_redis(context: &Context) -> Result<String, CommandError> {
    let servers = plan_redis(&context.wire.settings.redis, &context.wire.containers()?).await?;
    Ok(servers.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", "))
}

async fn look_for_files(context: &Context) -> Result<String, CommandError> {
    let porters = context.wire.porters()?;
    let settings = &context.wire.settings;
    let named = settings
        .profiles
        .iter()
        .map(|profile| &profile.parts)
        .filter(|parts| matches!(parts, Parts::Named(_)));
    for parts in named {
        possible_files(parts, &porters).await?;
    }
    let (parts, notes) = possible_files(&settings.parts, &porters).await?;
    let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
    Ok(match (parts.as_slice(), notes.as_slice()) {
        ([], []) => "none are wanted, or there are none".to_owned(),
        ([], notes) => notes.join("; "),
        (parts, notes) => [&[format!("{} can be packed", parts.join(", "))], notes].concat().join("; "),
    })
}

fn repository(context: &Context) -> Line {
    let repository = &context.wire.repository;
    let result =
        repository.writable().and_then(|()| repository.catalog()).map_err(CommandError::from).and_then(
            |catalog| match catalog.unreadable() {
                [] => Ok(format!(
                    "{}: writable, {} backups",
                    repository.folder().display(),
                    catalog.backups().count()
                )),
                [first, ..] => Err(CommandError::new(
                    first.error.code(),
                    format!(
                        "{} manifests cannot be read, the first is {}: {}",
                        catalog.unreadable().len(),
                        first.folder,
                        first.error
                    ),
                )),
            },
        );
    Line { subject: "repository", result }
}

fn space(context: &Context) -> Line {
    let repository = &context.wire.repository;
    let measured = repository.space().and_then(|space| repository.catalog().map(|catalog| (space, catalog)));
    let result = measured.map_err(CommandError::from).and_then(|(space, catalog)| {
        let min_free_bytes = context.wire.settings.repository.min_free_bytes;
        let needed = needed_bytes(&catalog, None, min_free_bytes, context.wire.clock.now());
        let shown =
            format!("{} free, the next backup wants {}", show_bytes(space.free_bytes), show_bytes(needed));
        if space.free_bytes >= needed { Ok(shown) } else { Err(CommandError::new(Code::SpaceLow, shown)) }
    });
    Line { subject: "space", result }
}

fn show(output: Output, lines: &[Line]) {
    if output.json {
        let shown: Vec<_> = lines
            .iter()
            .map(|line| match &line.result {
                Ok(found) => serde_json::json!({ "subject": line.subject, "ok": true, "found": found }),
                Err(error) => serde_json::json!({
                    "subject": line.subject, "ok": false, "code": error.code, "message": error.message,
                    "hint": error.code.hint(),
                }),
            })
            .collect();
        output.json(&shown);
        return;
    }
    for line in lines {
        match &line.result {
            Ok(found) => {
                output.line(format!("{} {:<11} {found}", output.paint("ok  ", Paint::Good), line.subject))
            }
            Err(error) => output.line(format!(
                "{} {:<11} {} [{}]\n                 {}",
                output.paint("FAIL", Paint::Bad),
                line.subject,
                error.message,
                error.code,
                error.code.hint(),
            )),
        }
    }
}
