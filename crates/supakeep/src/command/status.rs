//! `supakeep status`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use supakeep_daemon::{RepositoryView, Status, StatusSpec};
use supakeep_flow::ports::{Exports as _, Repository as _};
use supakeep_model::OffsetDateTime;
use supakeep_model::export::ExportHealth;
use supakeep_model::health::{DrillHealth, Health, Level, ProfileHealth};
use supakeep_model::journal::Journal;
use supakeep_model::quantity::{show_bytes, show_duration, show_time};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Context, Outcome};
use crate::config::Settings;
use crate::output::{Output, Paint, right};

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const MOST_ANSWER: u64 = 4 << 20;

/// Whether the daemon answers, and nothing else.
pub(crate) async fn live(settings: &Settings, output: Output) -> Outcome {
    let answers = ask(settings.http.listen, "/health/live").await.is_some();
    if output.json {
        output.json(&serde_json::json!({ "live": answers }));
    } else {
        output.note(if answers { "the daemon answers" } else { "the daemon does not answer" });
    }
    Ok(if answers { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn run(context: &Context) -> Outcome {
    let answer = ask(context.wire.settings.http.listen, "/health").await;
    let from_daemon: Option<Health> = answer.and_then(|body| serde_json::from_slice(&body).ok());
    // Another stack's daemon may listen on the same port of this machine.
    let from_daemon = from_daemon.filter(|health| health.stack == context.wire.stack_name);
    let daemon_up = from_daemon.is_some();
    let health = match from_daemon {
        Some(health) => health,
        None => from_repository(context)?,
    };
    let unfinished = context.wire.repository.journal()?;
    show(context, &health, daemon_up, unfinished.as_ref());
    let is_bad = health.status == Level::Failing || unfinished.is_some();
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The same, computed from the manifests: the daemon is down.
fn from_repository(context: &Context) -> Result<Health, crate::failure::CommandError> {
    let now = context.wire.clock.now();
    let settings = &context.wire.settings;
    let spec = StatusSpec {
        version: crate::wire::build().version,
        stack: context.wire.stack_name.clone(),
        profiles: settings.profiles.clone(),
        min_free_bytes: settings.repository.min_free_bytes,
        exports: settings.exports.clone(),
    };
    let view = RepositoryView::looking(&*context.wire.repository, now);
    let status = Status::new(spec, Ok(context.catalog()?), view);
    status.set_exports(context.wire.exports.catalog());
    for profile in &settings.profiles {
        status.set_next_run(&profile.name, None);
    }
    Ok(status.health(now))
}

/// A GET over a connection of its own. An HTTP client would be more code than this exchange has.
async fn ask(listen: SocketAddr, path: &str) -> Option<Vec<u8>> {
    let mut address = listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.take(MOST_ANSWER).read_to_end(&mut answer).await.ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let is_http = answer.starts_with(b"HTTP/1.");
        is_http.then(|| answer.split_off(end + 4))
    };
    tokio::time::timeout(ANSWER, exchange).await.ok().flatten()
}

fn show(context: &Context, health: &Health, daemon_up: bool, unfinished: Option<&Journal>) {
    let output = context.output;
    if output.json {
        output.json(&serde_json::json!({
            "daemon": daemon_up, "health": health, "unfinished_restore": unfinished,
        }));
        return;
    }
    let now = context.wire.clock.now();
    let daemon = if daemon_up { output.paint("up", Paint::Good) } else { output.paint("down", Paint::Bad) };
    output.line(format!("stack {}  daemon {daemon}  {}", health.stack, level(output, health.status)));
    let mut table =
        output.table(&["PROFILE", "STATUS", "LAST RUN", "LAST GOOD", "LIMIT", "NEXT RUN", "BACKUPS"]);
    for profile in &health.profiles {
        table.add_row(row(output, profile, now));
    }
    output.line("");
    output.print(&table);
    let repository = &health.repository;
    output.line(format!(
        "\nrepository  {} free of {}, the next backup wants {}",
        show_bytes(repository.free_bytes),
        show_bytes(repository.total_bytes),
        show_bytes(repository.needed_bytes),
    ));
    for export in &health.exports {
        output.line(exported(export, now));
    }
    if let Some(drills) = drills(&health.drill, now) {
        output.line(format!("drills      {drills}"));
    }
    if let Some(journal) = unfinished {
        let (id, since) = (&journal.backup, show_time(journal.started));
        let what = format!("the restore of {id}, begun {since}, has not ended: supakeep restore --resume");
        output.line(format!("{} {what}", output.paint("!", Paint::Bad)));
    }
    for reason in &health.reasons {
        output.line(format!("{} {reason}", output.paint("!", Paint::Bad)));
    }
}

fn exported(export: &ExportHealth, now: OffsetDateTime) -> String {
    let last = match (export.last_success, export.rows) {
        (Some(at), rows) => format!("{} rows, {} ago", rows.unwrap_or(0), show_duration(now - at)),
        (None, _) => "never made".to_owned(),
    };
    let next = match (export.running, export.next_run) {
        (true, _) => ", running".to_owned(),
        (false, Some(next)) => format!(", next in {}", show_duration((next - now).max(time::Duration::ZERO))),
        (false, None) => String::new(),
    };
    format!("export      {}: {last}{next}", export.export)
}

/// When the next ones are; nothing where none is scheduled, or the daemon, which knows, is down.
fn drills(drill: &DrillHealth, now: OffsetDateTime) -> Option<String> {
    let next = |what: &str, at: Option<OffsetDateTime>| {
        at.map(|at| format!("next {what}in {}", show_duration((at - now).max(time::Duration::ZERO))))
    };
    let running = drill.running.then(|| "running".to_owned());
    let parts = [running, next("", drill.next_run), next("sample ", drill.next_sample)];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn row(output: Output, profile: &ProfileHealth, now: OffsetDateTime) -> Vec<Cell> {
    let ago = |at: Option<OffsetDateTime>| {
        at.map_or("never".to_owned(), |at| format!("{} ago", show_duration(now - at)))
    };
    let next = match (profile.running, profile.next_run) {
        (true, _) => "running".to_owned(),
        (false, Some(next)) => format!("in {}", show_duration(next - now)),
        (false, None) => "-".to_owned(),
    };
    let last = profile.last_outcome.map_or(String::new(), |outcome| format!(" ({})", outcome.as_str()));
    vec![
        Cell::new(&profile.profile),
        Cell::new(level(output, profile.status)),
        Cell::new(format!("{}{last}", ago(profile.last_attempt))),
        Cell::new(ago(profile.last_success)),
        right(show_duration(time::Duration::seconds(profile.max_age_seconds))),
        Cell::new(next),
        right(profile.backups),
    ]
}

fn level(output: Output, level: Level) -> String {
    let paint = match level {
        Level::Ok => Paint::Good,
        Level::Degraded => Paint::Warn,
        Level::Failing => Paint::Bad,
    };
    output.paint(level.as_str(), paint)
}
