//! What a command answers: a table for people, JSON for programs, on stdout; and what it
//! has to warn of, on stderr.

use std::io::{self, IsTerminal as _, StdoutLock, Write};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Row, Table, presets};
use serde::Serialize;

use crate::output::{printable, units::grouped};

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// JSON, one object a line.
    Jsonl,
}

#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct FormatArgs {
    /// How to answer
    #[arg(
        short = 'o',
        long,
        alias = "output-format",
        value_enum,
        default_value_t
    )]
    pub(super) format: Format,
}

/// Stdout, written at once when the answer is whole.
pub(super) struct Report {
    pub(super) format: Format,
    out: io::BufWriter<StdoutLock<'static>>,
}

impl Report {
    pub(super) fn new(args: FormatArgs) -> Self {
        Self {
            format: args.format,
            out: io::BufWriter::new(io::stdout().lock()),
        }
    }

    /// Goes on without end: a document that never ends is of use to nobody.
    pub(super) fn as_stream(&mut self) {
        if self.format == Format::Json {
            self.format = Format::Jsonl;
        }
    }

    /// Whether people read it.
    pub(super) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    pub(super) fn table(&mut self, table: &Table) -> io::Result<()> {
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Several things, as JSON.
    pub(super) fn items<T: Serialize>(&mut self, items: &[T]) -> io::Result<()> {
        if self.format == Format::Json {
            return self.document(&items);
        }
        for item in items {
            serde_json::to_writer(&mut self.out, item)?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    /// One thing, as JSON: pretty where it is the whole document.
    pub(super) fn document<T: Serialize>(&mut self, thing: &T) -> io::Result<()> {
        if self.format == Format::Json {
            serde_json::to_writer_pretty(&mut self.out, thing)?;
        } else {
            serde_json::to_writer(&mut self.out, thing)?;
        }
        writeln!(self.out)
    }

    /// Lets what was written be seen.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// An empty table under these titles.
pub(super) fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if !is_coloured(&io::stdout()) {
        table.force_no_tty();
    }
    if !titles.is_empty() {
        table.set_header(Row::from(
            titles
                .iter()
                .map(|title| Cell::new(title).add_attribute(Attribute::Bold))
                .collect::<Vec<_>>(),
        ));
    }
    table
}

/// Sets the columns apart; the numbered ones are aligned to the right. To be called when
/// all rows are in.
pub(super) fn align(table: &mut Table, right: &[usize]) {
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A cell that stands out: something is wrong.
pub(super) fn alarming(text: impl ToString) -> Cell {
    Cell::new(text)
        .fg(Color::Red)
        .add_attribute(Attribute::Bold)
}

/// A cell that stands out: something is worse than it could be.
pub(super) fn notable(text: impl ToString) -> Cell {
    Cell::new(text)
        .fg(Color::Yellow)
        .add_attribute(Attribute::Bold)
}

/// A cell that says that all is well.
pub(super) fn good(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Green)
}

/// So many of something.
pub(super) fn several(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{} {noun}s", grouped(n))
    }
}

/// Tells on stderr what the user should know though the command goes on.
pub(super) fn warn(text: &str) {
    say("Warning", "33", text);
}

/// Tells on stderr what failed.
pub(super) fn complain(text: &str) {
    say("Error", "31", text);
}

/// Tells on stderr what is going on.
pub(super) fn note(text: &str) {
    // Nobody is there to be told that nobody listens.
    let _ = writeln!(io::stderr(), "{text}");
}

fn say(title: &str, colour: &str, text: &str) {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let text = lines.join(" | ");
    let text = printable(&text);
    if is_coloured(&io::stderr()) {
        note(&format!("\x1b[1;{colour}m{title}:\x1b[0m {text}"));
    } else {
        note(&format!("{title}: {text}"));
    }
}

/// Whether escapes are wanted: on a terminal, unless `NO_COLOR` is set (no-color.org).
pub(super) fn is_coloured(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
