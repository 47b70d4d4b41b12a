//! Which of the flows are written, and in what order.

use crate::flow::{Flow, FlowFilter};

use super::{Destination, FlowWriter, Format, OutputError};

/// What flows are put in order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// First packet, earliest first
    First,
    /// Packets of both directions, most first
    Packets,
    /// Bytes of both directions, most first
    Bytes,
    /// Duration, longest first
    Duration,
}

impl Sort {
    /// What is smaller comes first; the last two parts only make the order the same every time.
    fn key(self, flow: &Flow) -> (u64, u64, [u64; 5]) {
        let primary = match self {
            Self::First => flow.first_unix_us(),
            Self::Packets => u64::MAX - flow.packets(),
            Self::Bytes => u64::MAX - flow.bytes(),
            Self::Duration => u64::MAX - u64::from(flow.record.last_us),
        };
        let key = &flow.record.key;
        let ports = u64::from(key.low_port) << 48
            | u64::from(key.high_port) << 32
            | u64::from(key.zone_protocol);
        let [low, high] = [key.low.words, key.high.words];
        (
            primary,
            flow.first_unix_us(),
            [low[0], low[1], high[0], high[1], ports],
        )
    }
}

/// More than this many flows beyond the limit are not kept before the last of them are dropped.
const SLACK: usize = 1024;

/// Takes flows, and writes those that are wanted: in the order in which they come, or sorted.
pub struct FlowOutput {
    filter: FlowFilter,
    sort: Option<Sort>,
    limit: usize,
    kept: Vec<Flow>,
    writer: FlowWriter,
    error: Option<OutputError>,
    shown: Shown,
}

/// How many flows there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// All that came.
    pub flows: u64,
    /// Those that the filter took.
    pub matched: u64,
    /// Those that were written.
    pub written: u64,
}

impl FlowOutput {
    /// Opens the output. `limit` 0 is none. Without `sort` a flow is written when it comes, and memory stays bounded.
    ///
    /// # Errors
    /// Where the destination cannot take the format.
    pub fn new(
        format: Format,
        destination: Destination,
        filter: FlowFilter,
        sort: Option<Sort>,
        limit: usize,
    ) -> Result<Self, OutputError> {
        Ok(Self {
            filter,
            sort,
            limit: if limit == 0 { usize::MAX } else { limit },
            kept: Vec::new(),
            writer: FlowWriter::new(format, destination)?,
            error: None,
            shown: Shown::default(),
        })
    }

    /// Takes one flow. After a failure there is nothing to be done with another; [`FlowOutput::finish`] tells of it.
    pub fn take(&mut self, flow: Flow) {
        self.shown.flows += 1;
        if !self.filter.takes(&flow) {
            return;
        }
        self.shown.matched += 1;
        match self.sort {
            None if self.shown.written < self.limit as u64 => self.write(&flow),
            None => {}
            Some(sort) => {
                self.kept.push(flow);
                if self.kept.len() - SLACK.min(self.kept.len()) > self.limit.saturating_mul(2) {
                    self.kept
                        .select_nth_unstable_by_key(self.limit, |flow| sort.key(flow));
                    self.kept.truncate(self.limit);
                }
            }
        }
    }

    fn write(&mut self, flow: &Flow) {
        if self.error.is_some() {
            return;
        }
        match self.writer.write(flow) {
            Ok(()) => self.shown.written += 1,
            Err(error) => self.error = Some(error),
        }
    }

    /// Whether writing has failed, so that whoever has flows may stop.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Writes what was kept and finishes the output.
    ///
    /// # Errors
    /// The first that there was.
    pub fn finish(mut self) -> Result<Shown, OutputError> {
        if let Some(sort) = self.sort {
            let mut kept = std::mem::take(&mut self.kept);
            kept.sort_by_cached_key(|flow| sort.key(flow));
            for flow in kept.iter().take(self.limit) {
                self.write(flow);
            }
        }
        match self.error {
            Some(error) => Err(error),
            None => self.writer.finish().map(|()| self.shown),
        }
    }
}
