//! The arguments of PostgreSQL's tools.

use std::time::Duration;

use supakeep_flow::ports::{DumpKind, DumpRequest};
use supakeep_model::dump::{Compression, Format, Rows, Scope};

use crate::stack::StackSpec;

/// Where every tool finds the server: on the container's own loopback address, which a stock stack
/// trusts.
pub(crate) fn connection(spec: &StackSpec) -> Vec<String> {
    let mut out =
        vec!["-h".to_owned(), "127.0.0.1".to_owned(), "-U".to_owned(), spec.user.clone(), "-w".to_owned()];
    if let Some(port) = spec.port {
        out.extend(["-p".to_owned(), port.to_string()]);
    }
    out
}

/// A database as a connection string, so that a name with `=` or `://` in it is nothing but a name.
pub(crate) fn conninfo(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Zero is for ever, and so for nothing else; the server takes no more than an `int`.
pub(crate) fn lock_wait_milliseconds(lock_wait: Duration) -> u128 {
    lock_wait.as_nanos().div_ceil(1_000_000).min(i32::MAX.cast_unsigned().into())
}

/// The arguments of `pg_dump`, after those of the connection.
pub(crate) fn pg_dump(
    database: &str,
    snapshot: &str,
    request: &DumpRequest<'_>,
    lock_wait: Duration,
) -> Vec<String> {
    let mut out = vec![
        "-d".to_owned(),
        conninfo(database),
        format!("--snapshot={snapshot}"),
        format!("--lock-wait-timeout={}", lock_wait_milliseconds(lock_wait)),
    ];
    match request.kind {
        DumpKind::Create => {
            // The least of a dump that still has the database's own statements in it.
            let least = ["--create", "--schema-only", "--section=pre-data", "--exclude-schema=*"];
            out.extend(least.map(str::to_owned));
        }
        DumpKind::Content => content(&mut out, request),
    }
    out
}

fn content(out: &mut Vec<String>, request: &DumpRequest<'_>) {
    let spec = request.spec;
    let format = match spec.format {
        Format::Plain => "--format=plain",
        // A directory cannot be written to a stream; it is made of a custom archive here.
        Format::Custom | Format::Directory => "--format=custom",
    };
    out.push(format.to_owned());
    match (request.source_compression, spec.format) {
        (Compression::None, Format::Plain) => {}
        (Compression::None, _) => out.push("--compress=0".to_owned()),
        // Servers before 16 know only the level.
        (Compression::Gzip(level), _) => out.push(format!("--compress={level}")),
        (Compression::Zstd(level), _) => out.push(format!("--compress=zstd:{level}")),
    }
    match spec.scope {
        Scope::Full => {}
        Scope::Schema => out.push("--schema-only".to_owned()),
        Scope::Data => out.push("--data-only".to_owned()),
    }
    match spec.rows {
        Rows::Copy => {}
        Rows::Inserts => out.push("--inserts".to_owned()),
        Rows::ColumnInserts => out.push("--column-inserts".to_owned()),
    }
    out.extend(spec.exclude_table_data.iter().map(|pattern| format!("--exclude-table-data={pattern}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_waits_for_a_lock_for_ever() {
        let shown = [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(900), Duration::MAX]
            .map(lock_wait_milliseconds);
        assert_eq!(shown, [0, 1, 900, 2_147_483_647]);
    }
    use supakeep_model::dump::DumpSpec;

    fn dump(spec: &DumpSpec, source_compression: Compression) -> String {
        let request = DumpRequest { spec, kind: DumpKind::Content, source_compression };
        pg_dump("postgres", "0-1", &request, Duration::from_secs(300)).join(" ")
    }

    #[test]
    fn a_database_is_only_ever_a_name() {
        assert_eq!(conninfo("postgres"), "dbname='postgres'");
        assert_eq!(conninfo("a b' host=evil\\"), "dbname='a b\\' host=evil\\\\'");
    }

    #[test]
    fn says_what_the_profile_asks_for() {
        let common = "-d dbname='postgres' --snapshot=0-1 --lock-wait-timeout=300000";
        let mut spec = DumpSpec::default();
        assert_eq!(dump(&spec, Compression::None), format!("{common} --format=plain"));
        assert_eq!(dump(&spec, Compression::Zstd(1)), format!("{common} --format=plain --compress=zstd:1"));
        spec.rows = Rows::ColumnInserts;
        spec.scope = Scope::Data;
        spec.exclude_table_data = vec!["public.\"Log\"".into()];
        assert_eq!(
            dump(&spec, Compression::Gzip(1)),
            format!(
                "{common} --format=plain --compress=1 --data-only --column-inserts --exclude-table-data=public.\"Log\""
            )
        );
        let custom = DumpSpec { format: Format::Custom, scope: Scope::Schema, ..DumpSpec::default() };
        assert_eq!(
            dump(&custom, Compression::None),
            format!("{common} --format=custom --compress=0 --schema-only")
        );
    }
}
