//! Speed and memory, side by side with what people use today, on the same data in one run.
//!
//! Every contender dumps the same database once a round, one after the other, so that whatever else the
//! machine does falls on all of them; the median of the rounds counts.

mod contender;
mod data;
mod files;
mod many;
mod measure;
mod profile;
mod report;
mod restoring;

use clap::{Parser, ValueEnum};
use supakeep_tests::Pg;

/// What is to be measured.
#[derive(Parser)]
#[command(name = "supakeep-bench")]
struct Arguments {
    /// Only this major version, 15 or 17
    #[arg(long)]
    server: Option<String>,
    /// Rounds
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Messages
    #[arg(long, default_value_t = 1_900_000)]
    rows: u32,
    /// Embeddings
    #[arg(long, default_value_t = 60_000)]
    vectors: u32,
    /// Backups in the large repository
    #[arg(long, default_value_t = 10_000)]
    backups: u32,
    /// How plain dumps travel to supakeep, as `dump.transport`
    #[arg(long, default_value = "auto")]
    transport: String,
    /// Measure this alone
    #[arg(long, value_enum)]
    only: Option<Subject>,
}

/// What can be measured alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Dumps
    Backup,
    /// Filling a database from them
    Restore,
    /// The files of Storage
    Files,
    /// A large repository, a daemon that waits, the image
    Facts,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |pg: &Pg| arguments.server.as_deref().is_none_or(|server| server == pg.major());
    let measures = |subject| arguments.only.is_none_or(|only| only == subject);
    let races = measures(Subject::Backup) || measures(Subject::Restore);
    let mut results = Vec::new();
    for pg in [Pg::V17, Pg::V15].into_iter().filter(|pg| races && wanted(pg)) {
        let stack = data::loaded(pg, arguments.rows, arguments.vectors);
        if measures(Subject::Backup) {
            let measured = contender::race(&stack, arguments.runs, &arguments.transport);
            report::print_race(pg, &measured);
            results.extend(report::rows(pg, &measured));
        }
        if measures(Subject::Restore) {
            let measured = restoring::race(&stack, arguments.runs);
            report::print_restores(pg, &measured);
            results.extend(report::restore_rows(pg, &measured));
        }
    }
    report::write(&results)?;
    if measures(Subject::Files) {
        report::print_files(&files::measure());
    }
    if measures(Subject::Facts) {
        report::print_facts(&many::measure(arguments.backups, arguments.runs));
    }
    Ok(())
}
