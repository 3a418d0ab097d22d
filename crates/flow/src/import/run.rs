//! The import itself.

use std::sync::Arc;

use supakeep_model::code::Code;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::convert::Converter;
use super::plan::ImportPlan;
use super::read::{ImportSource, RowReader, Surveyed};
use super::script::{DONE, Frame, frame};
use super::target::Target;
use super::{ImportSpec, Mode};
use crate::cancel::Limits;
use crate::failure::Failure;
use crate::kill_point::kill_point;
use crate::ports::{Site, StackError};
use crate::read_back::decoded;
use crate::stage::digest::Digest;

/// Bytes on their way to psql.
const ON_THE_WAY: usize = 256 * 1024;
/// What ends psql in the middle of rows.
const GIVE_UP: &[u8] = b"\\.\nROLLBACK;\n\\q\n";
/// How long ending the sessions on the server may take.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(15);
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// What an import has done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImportReport {
    /// The table.
    pub table: String,
    /// Rows that came from the file.
    pub rows: u64,
    /// What became of the rows that were there.
    pub mode: Mode,
    /// Sequences that were moved on, where they were behind.
    pub sequences: Vec<String>,
}

/// Carries out a plan that is possible. Whatever fails, the table is as it was.
pub async fn import(
    spec: &ImportSpec,
    plan: &ImportPlan,
    source: &ImportSource,
    surveyed: &Surveyed,
    site: &dyn Site,
    progress: impl Fn(u64) + Send + Sync + 'static,
    limits: &Limits,
) -> Result<ImportReport, Failure> {
    plan.possible()?;
    let Some(target) = &plan.target else {
        return Err(Failure::new(Code::ImportUnfit, "there is no table"));
    };
    let is_ours = source.record.is_some();
    let feeding = Feeding {
        frame: frame(spec, plan, target, is_ours),
        converter: converter(plan, target, is_ours),
        source: source.clone(),
        surveyed: surveyed.clone(),
        progress: Arc::new(progress),
    };
    let (there, here) = tokio::io::duplex(ON_THE_WAY);
    let feeding = tokio::spawn(feeding.run(there));
    let said = limits.apply(async {
        let script = Box::new(here);
        Ok(site.psql_session(&spec.database, script, &mut |_| {}).await)
    });
    let said = said.await;
    if said.is_err() {
        // Cancelled: what is open on the server is rolled back when its session ends.
        let _ = tokio::time::timeout(CLEAN_UP, site.server().terminate()).await;
    }
    kill_point("import-fed");
    // It ends when nobody reads any more; what stopped it is the cause of what psql says.
    let fed = feeding.await.map_err(|_| Failure::new(Code::Internal, "the import has died"))?;
    match (said?, fed) {
        (Ok(said), Ok(())) if said.lines().any(|line| line == DONE) => Ok(ImportReport {
            table: spec.table.to_string(),
            rows: plan.rows,
            mode: spec.mode,
            sequences: plan.sequences.clone(),
        }),
        (_, Err(Stopped::Source(failure))) => Err(failure),
        (Err(error), _) => Err(explained(error)),
        (Ok(said), _) => {
            let message =
                format!("psql ended before the transaction did; the table is as it was. {}", said.trim());
            Err(Failure::new(Code::ImportFailed, message))
        }
    }
}

fn converter(plan: &ImportPlan, target: &Target, is_ours: bool) -> Converter {
    let columns = plan.columns.iter().filter_map(|name| target.facts.column(name));
    Converter::new(columns, is_ours)
}

/// Why rows were not fed to their end.
enum Stopped {
    /// The file.
    Source(Failure),
    /// Nobody reads any more: psql says why.
    Closed,
}

/// Feeds the script.
struct Feeding {
    frame: Frame,
    converter: Converter,
    source: ImportSource,
    surveyed: Surveyed,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Feeding {
    async fn run(mut self, mut out: DuplexStream) -> Result<(), Stopped> {
        send(&mut out, self.frame.before.as_bytes()).await?;
        if let Err(stopped) = self.rows(&mut out).await {
            // psql waits for more, and nobody closes its input: it is told that this is all.
            let _ = send(&mut out, GIVE_UP).await;
            return Err(stopped);
        }
        // Only now, and only for the very bytes that were looked at before: without these words nothing has happened.
        send(&mut out, self.frame.after.as_bytes()).await?;
        out.shutdown().await.map_err(|_| Stopped::Closed)
    }

    async fn rows(&mut self, out: &mut DuplexStream) -> Result<(), Stopped> {
        let stored = (self.source.open)().map_err(Stopped::Source)?;
        let mut decoded = decoded(stored, self.source.encoding);
        let mut reader = RowReader::new(self.source.format);
        let (mut chunk, mut digest) = (vec![0; CHUNK], Digest::default());
        let changed = |what: String| {
            let message = format!("{} has changed while it was imported: {what}", self.source.name);
            Stopped::Source(Failure::new(Code::VerifyFailed, message))
        };
        loop {
            let length = decoded.read(&mut chunk).await.map_err(|error| changed(error.to_string()))?;
            if length == 0 {
                break;
            }
            digest.push(&chunk[..length]);
            reader.push(&chunk[..length], &mut self.converter).map_err(changed)?;
            send(out, &self.converter.out).await?;
            self.converter.out.clear();
            (self.progress)(digest.bytes());
        }
        reader.finish(&mut self.converter).map_err(changed)?;
        if digest.finish() != self.surveyed.source {
            return Err(changed("its bytes are others".to_owned()));
        }
        send(out, &self.converter.out).await
    }
}

async fn send(out: &mut DuplexStream, bytes: &[u8]) -> Result<(), Stopped> {
    out.write_all(bytes).await.map_err(|_| Stopped::Closed)
}

/// PostgreSQL's words, with the row and the column in front.
fn explained(error: StackError) -> Failure {
    let failure = Failure::from(error);
    if failure.code != Code::RestoreFailed {
        // Nothing but psql's word tells a COMMIT, and that may be what was lost.
        let message = format!(
            "the import was cut off, and the table is as it was unless that came after the COMMIT: look before it is \
             tried again: {}",
            failure.message
        );
        return Failure { message, ..failure };
    }
    let said = if failure.stderr.is_empty() { &failure.message } else { &failure.stderr };
    let why = said
        .lines()
        .find_map(|line| line.split_once("ERROR:").map(|(_, why)| why.trim()))
        .unwrap_or(failure.message.trim());
    let detail = said.lines().find_map(|line| line.trim().strip_prefix("DETAIL:")).map(str::trim);
    let place = said.lines().find_map(place);
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
    let message = format!("{place}{why}{detail}; the table is as it was");
    Failure { code: Code::ImportFailed, message, stderr: failure.stderr }
}

/// The row and the column, in `CONTEXT:  COPY orders, line 3, column amount: "abc"`.
fn place(line: &str) -> Option<String> {
    let (_, rest) =
        line.trim().strip_prefix("CONTEXT:")?.trim().strip_prefix("COPY ")?.split_once(", line ")?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = rest.split_at(digits);
    let column = rest.strip_prefix(", column ").and_then(|rest| rest.split(": ").next());
    let column =
        column.map(|column| format!(", column {}", column.trim_end_matches(':'))).unwrap_or_default();
    (!number.is_empty()).then(|| format!("row {number}{column}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stderr: &str) -> String {
        explained(StackError::new(Code::RestoreFailed, "psql ended with code 3").saying(stderr)).message
    }

    #[test]
    fn an_error_names_the_row_and_the_column() {
        let said = "psql:<stdin>:20: ERROR:  invalid input syntax for type integer: \"abc\"\nCONTEXT:  COPY orders, line 3, column amount: \"abc\"\n";
        assert_eq!(
            of(said),
            "row 3, column amount: invalid input syntax for type integer: \"abc\"; the table is as it was"
        );
        let said = "psql:<stdin>:20: ERROR:  duplicate key value violates unique constraint \"k\"\nDETAIL:  Key (id)=(1) already exists.\nCONTEXT:  COPY orders, line 7\n";
        assert_eq!(
            of(said),
            "row 7: duplicate key value violates unique constraint \"k\" (Key (id)=(1) already exists.); the table is as it was"
        );
        assert_eq!(of(""), "psql ended with code 3; the table is as it was");
        let lost = explained(StackError::new(Code::DatabaseLost, "terminating connection"));
        assert_eq!(lost.code, Code::DatabaseLost);
        assert!(lost.message.contains("unless that came after the COMMIT"), "{lost}");
    }
}
