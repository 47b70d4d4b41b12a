//! Feeds captures to a sink, and what the sink hands out to the output.

use std::path::Path;
use std::sync::Arc;

use detector_common::record::FLOW_TIMEOUT_US;

use super::captures::{Capture, Captures};
use super::progress::Progress;
use super::report::Report;
use super::{Args, ReplayError};
use crate::flow::{Flow, FrameSink};
use crate::output::{FlowOutput, Format};
use crate::wire::capture::{CaptureError, CaptureReader, CaptureStats};

/// Frames between two looks at the progress and the output.
const FRAMES_BETWEEN_LOOKS: u32 = 16 * 1024;

/// A capture that begins at most this long after the end of the one before it goes on with its flows, ns: no flow
/// survives a longer pause.
const CONTINUES_WITHIN_NS: u64 = FLOW_TIMEOUT_US * 1000;

/// Rotated captures may overlap by this much, ns, where several CPUs captured.
const OVERLAP_NS: u64 = 1_000_000_000;

/// The flows' clock in captures is Unix time.
const EPOCH_US: u64 = 0;

/// Reads all captures. What fails of one is reported and the next is read.
pub(super) fn feed<S: FrameSink>(args: &Args, sink: S) -> Result<Report, ReplayError> {
    let captures = Captures::of(&args.files);
    let to_terminal = args.output.output.is_none() && is_terminal();
    let quiet = to_terminal && args.output.format() != Format::Table;
    let mut feed = Feed {
        sink,
        output: args.output.open(args.filter.clone())?,
        progress: Progress::new(&captures.files, quiet),
        report: Report::default(),
        origins: Origins::default(),
        last_ns: None,
    };
    for (path, cause) in &captures.failed {
        feed.progress.say(&format!(
            "error: cannot read directory {}: {cause}; check its permissions",
            path.display()
        ));
        feed.report.captures_failed += 1;
    }
    for capture in &captures.files {
        feed.capture(capture)?;
        if feed.output.has_failed() {
            break;
        }
    }
    feed.end()
}

fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stdout().is_terminal()
}

struct Feed<S> {
    sink: S,
    output: FlowOutput,
    progress: Progress,
    report: Report,
    origins: Origins,
    /// The latest time in the captures that belong together so far.
    last_ns: Option<u64>,
}

impl<S: FrameSink> Feed<S> {
    fn capture(&mut self, capture: &Capture) -> Result<(), ReplayError> {
        self.progress.begin(&capture.path);
        let mut reader = match CaptureReader::open(&capture.path) {
            Ok(reader) => reader,
            Err(
                CaptureError::Format { .. }
                | CaptureError::HeaderCutOff { .. }
                | CaptureError::Empty { .. },
            ) if capture.may_be_other => {
                self.report.passed_over += 1;
                return Ok(());
            }
            Err(error) => {
                self.failed(&error);
                return Ok(());
            }
        };
        let ended = self.frames(&mut reader, &capture.path)?;
        match ended {
            Ok(()) => self.report.captures_read += 1,
            Err(error) if error.is_cut_off() => {
                self.progress.say(&format!("warning: {error}"));
                self.report.captures_read += 1;
                self.report.captures_cut_off += 1;
            }
            Err(error) => self.failed(&error),
        }
        self.count(reader.stats());
        self.progress.end(reader.progress().consumed);
        Ok(())
    }

    /// Feeds one capture's frames. The inner result is how reading it ended.
    fn frames(
        &mut self,
        reader: &mut CaptureReader,
        path: &Path,
    ) -> Result<Result<(), CaptureError>, ReplayError> {
        match reader.next_frame() {
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
            Ok(Some(frame)) => {
                self.join(frame.time_ns, path)?;
                self.frame(frame.time_ns, frame.bytes)?;
            }
        }
        loop {
            for _ in 0..FRAMES_BETWEEN_LOOKS {
                match reader.next_frame() {
                    Ok(Some(frame)) => self.frame(frame.time_ns, frame.bytes)?,
                    Ok(None) => return Ok(Ok(())),
                    Err(error) => return Ok(Err(error)),
                }
            }
            self.progress.at(reader.progress().consumed);
            if self.output.has_failed() {
                return Ok(Ok(()));
            }
        }
    }

    #[inline]
    fn frame(&mut self, time_ns: u64, bytes: &[u8]) -> Result<(), ReplayError> {
        let (output, origins) = (&mut self.output, &self.origins);
        self.sink
            .frame(time_ns, bytes, &mut |record, periods| {
                output.take(origins.mark(Flow::new(record, periods, EPOCH_US)));
            })
            .map_err(sink_failed)
    }

    /// Goes on with the flows of the captures before, or ends them, as the time of the next capture's first frame says.
    fn join(&mut self, first_ns: u64, path: &Path) -> Result<(), ReplayError> {
        let continues = self.last_ns.is_some_and(|last_ns| {
            first_ns.saturating_add(OVERLAP_NS) >= last_ns
                && first_ns <= last_ns.saturating_add(CONTINUES_WITHIN_NS)
        });
        if !continues {
            self.finish()?;
            self.origins.clear();
            self.last_ns = None;
        }
        self.origins.add(first_ns / 1000, path);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReplayError> {
        let (output, origins) = (&mut self.output, &self.origins);
        self.sink
            .finish(&mut |record, periods| {
                output.take(origins.mark(Flow::new(record, periods, EPOCH_US)));
            })
            .map_err(sink_failed)
    }

    fn count(&mut self, stats: &CaptureStats) {
        let report = &mut self.report;
        report.frames += stats.frames;
        report.frames_truncated += stats.truncated;
        report.frames_clamped += stats.clamped;
        for (link, packets) in &stats.skipped {
            *report.skipped.entry(*link).or_default() += packets;
        }
        if let Some((_, last_ns)) = stats.time_span_ns {
            self.last_ns = Some(self.last_ns.map_or(last_ns, |before| before.max(last_ns)));
        }
    }

    fn failed(&mut self, error: &CaptureError) {
        self.progress.say(&format!("error: {error}"));
        self.report.captures_failed += 1;
    }

    fn end(mut self) -> Result<Report, ReplayError> {
        self.finish()?;
        self.report.account = self.sink.account().map_err(sink_failed)?;
        // The bar goes before what is printed to the same terminal.
        drop(self.progress);
        self.report.shown = self.output.finish()?;
        Ok(self.report)
    }
}

fn sink_failed(cause: impl std::error::Error + Send + Sync + 'static) -> ReplayError {
    ReplayError::Sink {
        cause: Box::new(cause),
    }
}

/// Which capture a flow began in: those that belong together, by the time of their first frame.
#[derive(Default)]
struct Origins {
    captures: Vec<(u64, Arc<str>)>,
}

impl Origins {
    fn clear(&mut self) {
        self.captures.clear();
    }

    fn add(&mut self, first_us: u64, path: &Path) {
        // Times must not fall, whatever the captures say.
        let first_us = match self.captures.last() {
            Some((before_us, _)) => first_us.max(*before_us),
            None => first_us,
        };
        self.captures
            .push((first_us, path.to_string_lossy().into()));
    }

    fn mark(&self, mut flow: Flow) -> Flow {
        let after = self
            .captures
            .partition_point(|(first_us, _)| *first_us <= flow.record.first_us);
        flow.capture = self
            .captures
            .get(after.saturating_sub(1))
            .map(|(_, name)| name.clone());
        flow
    }
}
