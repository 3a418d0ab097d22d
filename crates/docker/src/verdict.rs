//! What a program's last words mean.

use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

/// The shell's exit codes for a program that cannot be run and one that is not there.
const CANNOT_RUN: i64 = 126;
const NOT_THERE: i64 = 127;

/// The error for a `program` that ended with `exit_code` after writing `stderr`.
pub(crate) fn failed(program: &str, exit_code: i64, stderr: &str) -> StackError {
    let words = last_words(stderr);
    let message = match (exit_code, words.is_empty()) {
        (CANNOT_RUN | NOT_THERE, _) => {
            format!("{program} cannot be run in the database's container: {words}")
        }
        (code @ 129..=192, true) => format!("{program} was ended by signal {}", code - 128),
        (code, true) => format!("{program} ended with code {code} and said nothing"),
        (code, false) => format!("{program} ended with code {code}: {words}"),
    };
    StackError::new(code(exit_code, stderr), message).saying(stderr)
}

/// Looked for in this order: a full disk also loses connections, and a lost connection is also an error
/// of pg_dump.
fn code(exit_code: i64, stderr: &str) -> Code {
    if matches!(exit_code, CANNOT_RUN | NOT_THERE) {
        return Code::DumpToolMissing;
    }
    let known = [
        (Code::DatabaseDiskFull, ["No space left on device", "could not extend file"].as_slice()),
        (
            Code::DatabaseLost,
            &[
                "server closed the connection",
                "terminating connection",
                "connection to server was lost",
                "the database system is shutting down",
                "the database system is in recovery mode",
                "no connection to the server",
                "SSL SYSCALL error",
            ],
        ),
        (
            Code::DatabaseRefused,
            &[
                "the database system is starting up",
                "the database system is not yet accepting connections",
                "Connection refused",
                "no pg_hba.conf entry",
                "authentication failed",
                "fe_sendauth: no password supplied",
                "could not translate host name",
                "too many clients",
                "remaining connection slots",
            ],
        ),
        // pg_dumpall looks for pg_dump although it only dumps roles.
        (Code::DumpToolMissing, &["is needed by", "but was not found"]),
        (Code::DatabaseMissing, &["does not exist, so it cannot be dumped"]),
        (Code::PrivilegesMissing, &["permission denied for", "must be superuser"]),
        (Code::DumpUnsupported, &["does not support compression with", "server version mismatch"]),
    ];
    let found = known.iter().find(|(_, signs)| signs.iter().any(|sign| stderr.contains(sign)));
    found.map_or(Code::DumpFailed, |(code, _)| *code)
}

/// The longest line that is repeated whole: pg_dump quotes queries that name every table.
const MAX_LINE: usize = 240;

/// How many lines are repeated.
const LINES: usize = 4;

/// The last few lines, in one; the first of them is the one that names the error, since its context can be
/// longer than that. The whole of what was said is in the manifest.
pub(crate) fn last_words(stderr: &str) -> String {
    let lines: Vec<_> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).map(clip).collect();
    let (before, mut last) = lines.split_at(lines.len().saturating_sub(LINES));
    let names_error =
        |line: &&String| ["ERROR:  ", "FATAL:  ", "error: "].iter().any(|word| line.contains(word));
    let error = before.iter().rfind(names_error).filter(|_| !last.iter().any(|line| names_error(&line)));
    if error.is_some() {
        last = &last[1..];
    }
    error.into_iter().chain(last).cloned().collect::<Vec<_>>().join(" / ")
}

fn clip(line: &str) -> String {
    let clipped: String = line.chars().take(MAX_LINE).collect();
    if clipped.len() < line.len() { format!("{clipped}…") } else { clipped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_happened_by_the_words() {
        let code = |exit, words: &str| failed("pg_dump", exit, words).code;
        assert_eq!(code(127, "sh: 4: pg_dump: not found"), Code::DumpToolMissing);
        assert_eq!(
            code(1, "pg_dump: error: query failed: server closed the connection unexpectedly"),
            Code::DatabaseLost
        );
        assert_eq!(
            code(
                1,
                "psql: error: connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  the database system is starting up"
            ),
            Code::DatabaseRefused
        );
        assert_eq!(
            code(1, "ERROR:  could not extend file \"base/5/1\": No space left on device"),
            Code::DatabaseDiskFull
        );
        assert_eq!(code(1, "pg_dump: error: something else"), Code::DumpFailed);
    }

    #[test]
    fn names_the_error_however_long_its_context_is() {
        let said = "a\npsql:<stdin>:7: ERROR:  relation \"x\" does not exist\nLINE 1: …\n  ^\nQUERY: …\nCONTEXT: …\nCOPY t\n";
        assert_eq!(
            last_words(said),
            "psql:<stdin>:7: ERROR:  relation \"x\" does not exist / QUERY: … / CONTEXT: … / COPY t"
        );
        assert_eq!(last_words("ERROR:  one\na\nb\nERROR:  two\nc\nd\n"), "b / ERROR:  two / c / d");
    }

    #[test]
    fn repeats_the_last_lines_and_signals() {
        let error = failed("pg_dump", 1, "a\nb\n\nc\nd\ne\n");
        assert_eq!(error.message, "pg_dump ended with code 1: b / c / d / e");
        assert_eq!(error.stderr, "a\nb\n\nc\nd\ne\n", "the record has all of it");
        assert_eq!(failed("pg_dump", 137, "").message, "pg_dump was ended by signal 9");
    }
}
