//! The options of every command that lists flows: how, where, in what order, how many.

use std::path::PathBuf;

use crate::flow::FlowFilter;
use crate::output::{Destination, FlowOutput, Format, OutputError, Sort};

/// Flows that a table shows unless told otherwise.
const TABLE_LIMIT: usize = 50;

/// How flows are shown.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// How to write flows [default: by the ending of --output's name, else table]
    #[arg(short = 'o', long, value_enum)]
    pub format: Option<Format>,
    /// Write flows to this file instead of standard output; it appears when it is complete
    #[arg(long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Put flows in this order, which holds them in memory [default: first in a table, else as they end]
    #[arg(long, value_enum)]
    pub sort: Option<Sort>,
    /// Write at most this many flows; 0: all [default: 50 in a table, else all]
    #[arg(long, value_name = "FLOWS")]
    pub limit: Option<usize>,
}

impl OutputArgs {
    /// The format, by option or file name.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
            .or_else(|| Format::of_path(self.output.as_deref()?))
            .unwrap_or(Format::Table)
    }

    /// Opens the output.
    ///
    /// # Errors
    /// Where it cannot be written to, or not in this format.
    pub fn open(&self, filter: FlowFilter) -> Result<FlowOutput, OutputError> {
        let format = self.format();
        let (sort, limit) = match format {
            Format::Table => (Some(self.sort.unwrap_or(Sort::First)), TABLE_LIMIT),
            _ => (self.sort, 0),
        };
        FlowOutput::new(
            format,
            Destination::open(self.output.as_deref())?,
            filter,
            sort,
            self.limit.unwrap_or(limit),
        )
    }
}
