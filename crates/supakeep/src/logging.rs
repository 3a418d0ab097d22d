//! The log: lines on standard error.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::UtcTime;

use crate::config::{LogFormat, LogSettings};

/// Libraries that log what passes through them, at the level of debug: bodies of requests, with
/// everything that is in them. They stay at info whatever anybody asks for; the ticker has nothing to
/// say at all.
const CAPPED: [&str; 7] = [
    "bollard=info",
    "hyper=info",
    "hyper_util=info",
    "h2=info",
    "rustls=info",
    "tower_http=info",
    "tokio_cron_scheduler=warn",
];

/// RFC 3339 in milliseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Starts logging. `RUST_LOG` wins over the configuration.
pub(crate) fn start(settings: &LogSettings, color: bool) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let mut filter = EnvFilter::new(wanted.unwrap_or_else(|| settings.level.clone()));
    for cap in CAPPED {
        filter = filter.add_directive(cap.parse().expect("a constant that is a directive"));
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false)
        .with_timer(UtcTime::new(TIME));
    match settings.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
