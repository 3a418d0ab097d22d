//! Speed and memory, side by side with what people use today, on the same data in one run.
//!
//! Every contender dumps the same database once a round, one after the other, so that whatever else the
//! machine does falls on all of them; the median of the rounds counts.

mod contender;
mod data;
mod many;
mod measure;
mod profile;
mod report;

use clap::Parser;
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
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |pg: &Pg| arguments.server.as_deref().is_none_or(|server| server == pg.major());
    let mut results = Vec::new();
    for pg in [Pg::V17, Pg::V15].into_iter().filter(wanted) {
        let stack = data::loaded(pg, arguments.rows, arguments.vectors);
        let measured = contender::race(&stack, arguments.runs, &arguments.transport);
        report::print_race(pg, &measured);
        results.extend(report::rows(pg, &measured));
    }
    report::write(&results)?;
    report::print_facts(&many::measure(arguments.backups, arguments.runs));
    Ok(())
}
