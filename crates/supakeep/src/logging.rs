//! The log: lines on standard error.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogSettings};

/// Libraries that log what passes through them, at the level of debug: bodies of requests and answers,
/// with the secrets that are in a container's environment. They stay at info whatever anybody asks for;
/// the ticker has nothing to say at all.
const CAPPED: [(&str, LevelFilter); 7] = [
    ("bollard", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("tower_http", LevelFilter::INFO),
    ("tokio_cron_scheduler", LevelFilter::WARN),
];

/// RFC 3339 in milliseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Starts logging. `RUST_LOG` wins over the configuration.
pub(crate) fn start(settings: &LogSettings, color: bool) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let filter = EnvFilter::new(wanted.unwrap_or_else(|| settings.level.clone()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false)
        .with_timer(UtcTime::new(TIME));
    match settings.format {
        LogFormat::Text => builder.finish().with(filter_fn(is_allowed)).init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).finish().with(filter_fn(is_allowed)).init();
        }
    }
}

/// A filter of its own: among the directives of one filter the longest target wins, so
/// `bollard::docker=debug` would beat any cap that is a directive for `bollard`.
fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let cap = CAPPED.iter().find(|(library, _)| is_of(library, metadata.target()));
    cap.is_none_or(|(_, cap)| metadata.level() <= cap)
}

/// Whether a target is the library or a module of it.
fn is_of(library: &str, target: &str) -> bool {
    target.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
