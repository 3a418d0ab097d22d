//! Who is told what of a plain dump.

use std::io;

use bytes::Bytes;
use futures_util::future::select_all;
use tokio::io::AsyncReadExt as _;

use super::lane::{Gone, Lane};
use super::sorter::{Piece, Sorter};
use crate::ports::{OnProgress, Stored};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// A table with fewer bytes of rows is left to the leading session: it is done before others have begun.
const HOLD_BYTES: usize = 1 << 20;
/// The end of a table's rows.
const END_OF_ROWS: &[u8] = b"\\.\n";

/// Why a dump was not dealt out to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A session has ended.
    Gone,
    /// The dump cannot be read on.
    Unreadable(io::Error),
}

impl From<Gone> for Trouble {
    fn from(_: Gone) -> Trouble {
        Trouble::Gone
    }
}

/// A table whose rows are read.
enum Table {
    /// It may be a small one: nobody has been told of it.
    Held { text: Vec<u8>, statement: Vec<u8>, rows: Vec<u8> },
    /// Its rows are dealt out.
    Dealt(Dealt),
}

struct Dealt {
    /// What a session has to be told before its first rows.
    statement: Vec<u8>,
    /// Which sessions have some.
    has_rows: Vec<bool>,
    /// Who has a row without its end.
    unended: Option<usize>,
}

/// Deals a dump out to sessions; the first of them leads.
pub(super) struct Dealer {
    lanes: Vec<Lane>,
    sorter: Sorter,
    /// Settings that the dump has made so far.
    settings: Vec<u8>,
    /// How much of them each session has been told.
    told: Vec<usize>,
    table: Option<Table>,
    /// Whose turn it is.
    next: usize,
}

impl Dealer {
    /// One that deals to `lanes`, of which there is at least one.
    pub(super) fn new(lanes: Vec<Lane>) -> Dealer {
        let told = vec![0; lanes.len()];
        Dealer { lanes, sorter: Sorter::default(), settings: Vec::new(), told, table: None, next: 0 }
    }

    /// Deals `dump` out to its end, and returns when all of it is done.
    pub(super) async fn deal(mut self, mut dump: Stored, progress: OnProgress<'_>) -> Result<(), Trouble> {
        let mut chunk = vec![0; CHUNK];
        let mut taken = 0;
        loop {
            let length = dump.read(&mut chunk).await.map_err(Trouble::Unreadable)?;
            if length == 0 {
                break;
            }
            for piece in self.sorter.push(&chunk[..length]) {
                self.take(piece).await?;
            }
            taken += length as u64;
            progress(taken);
        }
        if self.sorter.is_among_rows() {
            // No session would ever say that it is done.
            return Err(Trouble::Unreadable(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it stops among rows",
            )));
        }
        let rest = self.sorter.rest();
        self.lanes[0].say(rest).await?;
        self.settle(&[0]).await?;
        for lane in self.lanes {
            lane.end().await?;
        }
        Ok(())
    }

    async fn take(&mut self, piece: Piece) -> Result<(), Trouble> {
        match piece {
            Piece::Text(text) => self.lanes[0].say(text).await?,
            Piece::Setting(statement) => self.settings.extend([&statement, &b"\n"[..]].concat()),
            Piece::RowsBegin { text, statement } => {
                self.table = Some(Table::Held { text, statement, rows: Vec::new() });
            }
            Piece::Rows(rows) => self.rows(rows).await?,
            Piece::RowsEnd => self.end_of_rows().await?,
        }
        Ok(())
    }

    async fn rows(&mut self, new: Vec<u8>) -> Result<(), Trouble> {
        let Some(Table::Held { statement, rows, .. }) = &mut self.table else {
            return self.deal_rows(new).await;
        };
        rows.extend_from_slice(&new);
        if rows.len() < HOLD_BYTES {
            return Ok(());
        }
        let (statement, rows) = (std::mem::take(statement), std::mem::take(rows));
        let has_rows = vec![false; self.lanes.len()];
        self.table = Some(Table::Dealt(Dealt { statement, has_rows, unended: None }));
        // Nobody else sees the table before the leading session has made it.
        self.settle(&[0]).await?;
        self.deal_rows(rows).await
    }

    /// Gives rows to whoever takes some first.
    async fn deal_rows(&mut self, rows: Vec<u8>) -> Result<(), Trouble> {
        let Some(Table::Dealt(table)) = &mut self.table else { return Ok(()) };
        let index = match table.unended {
            Some(index) => index,
            None => {
                // Those first that have waited longest.
                let turn = (0..self.lanes.len()).map(|later| (self.next + later) % self.lanes.len());
                let turn: Vec<_> = turn.collect();
                let lanes = turn.iter().map(|index| Box::pin(self.lanes[*index].ready()));
                let (ready, first, _) = select_all(lanes).await;
                ready?;
                turn[first]
            }
        };
        self.next = (index + 1) % self.lanes.len();
        table.unended = (!rows.ends_with(b"\n")).then_some(index);
        if !std::mem::replace(&mut table.has_rows[index], true) {
            // The leading session has made the settings itself.
            let settings = if index == 0 { &[] } else { &self.settings[self.told[index]..] };
            let begin = [settings, &table.statement, b"\n"].concat();
            self.told[index] = self.settings.len();
            self.lanes[index].say(begin).await?;
        }
        Ok(self.lanes[index].say(rows).await?)
    }

    async fn end_of_rows(&mut self) -> Result<(), Trouble> {
        match self.table.take() {
            Some(Table::Held { text, rows, .. }) => {
                self.lanes[0].say([&text, &rows, END_OF_ROWS].concat()).await?;
            }
            Some(Table::Dealt(Dealt { has_rows, .. })) => {
                let with_rows: Vec<_> = (0..has_rows.len()).filter(|index| has_rows[*index]).collect();
                for index in &with_rows {
                    self.lanes[*index].say(Bytes::from_static(END_OF_ROWS)).await?;
                }
                self.settle(&with_rows).await?;
            }
            None => {}
        }
        Ok(())
    }

    /// Waits until these sessions have done all that they were told.
    async fn settle(&mut self, lanes: &[usize]) -> Result<(), Trouble> {
        for index in lanes {
            self.lanes[*index].ask().await?;
        }
        for index in lanes {
            self.lanes[*index].answer().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::restore::fan::lane::lane;

    const ROWS: usize = 60_000;

    fn dump() -> String {
        let rows: String = (0..ROWS).map(|row| format!("{row}\t{}\n", "x".repeat(row % 90))).collect();
        format!(
            "SET client_encoding = 'UTF8';\nCREATE TABLE big (a int, b text);\nCREATE TABLE small (a int);\n\
             COPY small (a) FROM stdin;\n1\n\\.\n\nSET row_security = off;\nCOPY big (a, b) FROM stdin;\n{rows}\\.\n\
             CREATE INDEX ON big (a);\n"
        )
    }

    async fn dealt(dump: &str, pauses: &[u64]) -> Vec<String> {
        let (lanes, sessions): (Vec<_>, Vec<_>) = pauses.iter().map(|_| lane()).unzip();
        let pretend = sessions
            .into_iter()
            .zip(pauses)
            .map(|(session, pause)| tokio::spawn(session.pretend(Duration::from_millis(*pause))));
        let pretend: Vec<_> = pretend.collect();
        let stored: Stored = Box::new(std::io::Cursor::new(dump.as_bytes().to_vec()));
        Dealer::new(lanes).deal(stored, &|_| {}).await.expect("all sessions live");
        let mut out = Vec::new();
        for session in pretend {
            out.push(session.await.expect("a session does not panic"));
        }
        out
    }

    #[tokio::test(start_paused = true)]
    async fn every_row_goes_to_one_session_and_all_else_to_the_first() {
        let dump = dump();
        let sessions = dealt(&dump, &[5, 3, 4]).await;
        let is_row = |line: &&str| line.contains('\t');
        let mut rows: Vec<_> =
            sessions.iter().flat_map(|session| session.lines().filter(is_row)).map(str::to_owned).collect();
        let mut expected: Vec<_> = dump.lines().filter(is_row).map(str::to_owned).collect();
        rows.sort_unstable();
        expected.sort_unstable();
        assert!(rows == expected, "{} rows instead of {ROWS}", rows.len());
        let is_its = |line: &&str| !line.starts_with("SELECT 'supakeep") && !["", "\\q"].contains(line);
        let text = |script: &'_ str| -> Vec<String> {
            script.lines().filter(|line| !is_row(line)).filter(is_its).map(str::to_owned).collect()
        };
        let (leading, expected) = (text(&sessions[0]), text(&dump));
        assert_eq!(leading, expected);
        for session in &sessions[1..] {
            let begin =
                "SET client_encoding = 'UTF8';\nSET row_security = off;\nCOPY big (a, b) FROM stdin;\n";
            assert!(session.starts_with(begin), "{}", &session[..200]);
            assert!(session.lines().any(|line| is_row(&line)), "nobody is left idle");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_is_made_before_others_see_it_and_whole_before_anything_follows() {
        let sessions = dealt(&dump(), &[1, 50]).await;
        let leading = &sessions[0];
        let asked = leading.find("SELECT 'supakeep: done 1.'").expect("a question");
        assert!(leading.find("CREATE TABLE big").expect("a table") < asked);
        assert!(asked < leading.find("COPY big").expect("rows"));
        assert!(sessions[1].contains("\\.\n\nSELECT 'supakeep: done 1.';\n"), "it was waited for");
    }

    #[tokio::test]
    async fn a_dump_that_stops_among_rows_is_cut_short() {
        let (lanes, sessions): (Vec<_>, Vec<_>) = (0..2).map(|_| lane()).unzip();
        for session in sessions {
            tokio::spawn(session.pretend(Duration::ZERO));
        }
        let stored: Stored = Box::new(std::io::Cursor::new(b"COPY t FROM stdin;\n1\n".to_vec()));
        let dealt = Dealer::new(lanes).deal(stored, &|_| {}).await;
        assert!(matches!(dealt, Err(Trouble::Unreadable(_))));
    }

    /// Nobody is told of rows before the table is there, nor of what follows before all rows are: here one session
    /// never says that it is done.
    #[tokio::test(start_paused = true)]
    async fn nothing_goes_on_before_every_session_has_answered() {
        for silent in [0, 1] {
            let (lanes, sessions): (Vec<_>, Vec<_>) = (0..2).map(|_| lane()).unzip();
            let mut told = Vec::new();
            for (index, session) in sessions.into_iter().enumerate() {
                told.push(session.told(index != silent));
            }
            let stored: Stored = Box::new(std::io::Cursor::new(dump().into_bytes()));
            let dealing = Dealer::new(lanes).deal(stored, &|_| {});
            let dealt = tokio::time::timeout(Duration::from_secs(60), dealing).await;
            assert!(dealt.is_err(), "it waits");
            let told: Vec<String> =
                told.iter().map(|told| told.lock().expect("nobody panics").clone()).collect();
            assert!(!told[0].contains("CREATE INDEX"), "{silent}");
            assert!(silent != 0 || told[1].is_empty(), "rows of a table that may not be there");
        }
    }

    #[tokio::test]
    async fn a_session_that_is_gone_ends_it() {
        let (lanes, sessions): (Vec<_>, Vec<_>) = (0..2).map(|_| lane()).unzip();
        drop(sessions);
        let stored: Stored = Box::new(std::io::Cursor::new(dump().into_bytes()));
        let dealt = Dealer::new(lanes).deal(stored, &|_| {}).await;
        assert!(matches!(dealt, Err(Trouble::Gone)));
    }
}
