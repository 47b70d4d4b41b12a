//! `detector replay`: capture files through the same record and update as live traffic, out as flows.

pub(super) mod captures;
mod decide;
mod feed;
mod progress;
mod report;

use std::path::PathBuf;
use std::time::Instant;

pub use report::Report;

use detector_common::abi;

use crate::cli::output::OutputArgs;
use crate::flow::{FLOWS_MAX_DEFAULT, FlowFilter, FrameSink, Table};
use crate::output::OutputError;
use crate::wire::load::Settings;
use crate::wire::testrun::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, TestRun, TestRunError};

/// Slots of the table in the kernel, 312 MiB, unless fewer flows are asked for.
const KERNEL_FLOWS_MAX: u32 = 1 << 20;

/// Options of `detector replay`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Capture files (pcap or pcapng, plain or compressed with gzip or Zstandard), directories of such, or - for
    /// standard input
    ///
    /// A directory is read with all below it, files in the order of their names, numbers in them by value. A capture
    /// that begins within 120 s after the end of the one before goes on with its flows; any other begins anew.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Hold at most this many flows at once, about 270 bytes each; packets of one more are counted as not admitted
    #[arg(long, value_name = "FLOWS", default_value_t = FLOWS_MAX_DEFAULT)]
    pub flows_max: u32,
    /// Run the frames through the programs in the kernel, with the captures' own time: needs root, attaches nothing
    #[arg(long)]
    pub kernel: bool,
    /// Run the agent over them, in the captures' own time: out come alerts and verdicts, a line a capture or, with -o
    /// jsonl, EVE events
    #[arg(long, conflicts_with = "kernel")]
    pub decide: bool,
    /// With --decide: drop what the verdicts would drop
    #[arg(long, requires = "decide")]
    pub enforce: bool,
    /// With --decide: model to score by [default: the one that is built in]
    #[arg(long, requires = "decide", value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// With --decide: decide by plain thresholds alone
    #[arg(long, requires = "decide", conflicts_with = "model")]
    pub no_model: bool,
    /// With --decide: configuration file, of which the section [decide] counts [default: /etc/detector/detector.toml]
    #[arg(long, requires = "decide", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which flows.
    #[command(flatten)]
    pub filter: FlowFilter,
    /// How they are shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Why a replay failed. What failed of single captures was reported when it happened.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The configuration is bad.
    #[error(transparent)]
    Config(#[from] crate::agent::config::ConfigError),
    /// Decisions have other formats than flows.
    #[error("with --decide -o is table, json or jsonl: decisions are no rows")]
    Format,
    /// The model cannot be used.
    #[error(transparent)]
    Scorer(#[from] crate::score::ScorerError),
    /// Captures could not be read to the end.
    #[error("{failed} of {total} captures could not be read; the others were")]
    Captures {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
    },
    /// Only directories were named, and none has a capture.
    #[error(
        "no capture found in what was named; name pcap or pcapng files, or a directory that holds some"
    )]
    NoCaptures,
    /// The flows could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The sink failed to count a frame.
    #[error("cannot count the frames: {cause}")]
    Sink {
        /// Its reason.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The programs could not be loaded.
    #[error(transparent)]
    Kernel(#[from] TestRunError),
    /// The counters contradict each other.
    #[error(
        "the counters do not add up: {seen} packets were seen and {accounted} are accounted for; this is a defect of \
         this program, please report it"
    )]
    NotConserved {
        /// Packets that were seen.
        seen: u64,
        /// Packets of all fates and flows.
        accounted: u64,
    },
}

impl ReplayError {
    /// What the process ends with; 0 where merely nobody reads the output any more.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) => error.exit_code(),
            Self::NoCaptures | Self::Format => 2,
            Self::Config(_) => 78,
            Self::Kernel(error) if error.is_permission() => 77,
            Self::Kernel(_) => 69,
            _ => 1,
        }
    }
}

/// Runs the command: over the native flow table, or over the programs in the kernel.
///
/// # Errors
/// See [`ReplayError`]; a closed pipe is none.
pub fn run(args: &Args) -> Result<(), ReplayError> {
    if args.decide {
        return match decide::run(args) {
            Err(ReplayError::Output(error)) if error.is_closed_pipe() => Ok(()),
            other => other,
        };
    }
    if !args.kernel {
        return replay(args, Table::new(args.flows_max)).map(drop);
    }
    let flow_slots = args
        .flows_max
        .clamp(abi::FLOW_SLOTS_MIN, KERNEL_FLOWS_MAX)
        .next_power_of_two();
    let mut kernel = TestRun::new(Settings {
        flow_slots,
        ..Settings::default()
    })?;
    let result = replay(args, &mut kernel).map(drop);
    if kernel.left_out() > 0 {
        eprintln!(
            "warning: {} frames left out: the kernel's test run takes {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX} bytes",
            kernel.left_out()
        );
    }
    result
}

/// Runs the command over any sink: the native table, or the programs in the kernel. Messages go to standard error.
///
/// # Errors
/// See [`ReplayError`]; a closed pipe is none.
pub fn replay<S: FrameSink>(args: &Args, sink: S) -> Result<Report, ReplayError> {
    let begun = Instant::now();
    match feed::feed(args, sink) {
        Ok(report) => {
            report.print(begun.elapsed());
            report.verdict().map(|()| report)
        }
        Err(ReplayError::Output(error)) if error.is_closed_pipe() => Ok(Report::default()),
        Err(error) => Err(error),
    }
}
