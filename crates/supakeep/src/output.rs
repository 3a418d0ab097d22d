//! What commands print on standard output.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};
use serde::Serialize;

use crate::args::{Color, Global};

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON, and nothing else.
    pub(crate) json: bool,
    /// Whether standard output takes colours.
    pub(crate) color: bool,
    /// Whether standard error takes colours and moving bars.
    pub(crate) error_color: bool,
    /// Whether only errors are said.
    pub(crate) quiet: bool,
}

impl Output {
    /// As the command line and the terminals say.
    pub(crate) fn new(global: &Global) -> Output {
        let wanted = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Output {
            json: global.json,
            color: wanted(io::stdout().is_terminal()),
            error_color: wanted(io::stderr().is_terminal()),
            quiet: global.quiet,
        }
    }

    /// Prints a line. A reader that has gone away (`| head`) is no error.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stdout(), "{}", text.as_ref());
    }

    /// Prints a value as JSON.
    pub(crate) fn json(&self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).expect("what commands print has string keys");
        self.line(text);
    }

    /// Says something that is no result, on standard error.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", text.as_ref());
        }
    }

    /// A table with this header.
    pub(crate) fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        table
    }

    /// Prints a table without the blanks at the ends of lines. Only the first cell's padding goes at their
    /// beginning: a header's first cell may be empty.
    pub(crate) fn print(&self, table: &Table) {
        let unpadded = |line: String| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned();
        let lines: Vec<_> = table.lines().map(unpadded).collect();
        self.line(lines.join("\n"));
    }

    /// Marks a word by how bad it is.
    pub(crate) fn paint(&self, word: &str, paint: Paint) -> String {
        if !self.color {
            return word.to_owned();
        }
        let code = match paint {
            Paint::Good => 32,
            Paint::Warn => 33,
            Paint::Bad => 31,
            Paint::Dim => 2,
        };
        format!("\x1b[{code}m{word}\x1b[0m")
    }
}

/// How a word is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it should be.
    Good,
    /// Wants attention.
    Warn,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
}

/// A cell with a number in it.
pub(crate) fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
