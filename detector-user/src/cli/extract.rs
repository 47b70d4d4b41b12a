//! `detector extract`: labelled captures to a table of rows, by the code that serves.

use std::path::{Path, PathBuf};

use detector_common::{periods::Periods, record::FlowRecord};

use super::{failure::Failure, replay::captures::Captures, report};
use crate::{
    dataset::{
        flows::Flows,
        labels::Labels,
        snapshots::{Known, SnapshotsError, SnapshotsWriter},
    },
    decide::family::Family,
    drain::native::{NativeDrain, Stages},
    features::{extractor::Extractor, ways::Ends},
    flow::FLOWS_MAX_DEFAULT,
    wire::capture::CaptureReader,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory of captures; labels name files in it
    #[arg(value_name = "DIRECTORY")]
    captures: PathBuf,
    /// What is known of them: a TOML of [[capture]] entries with files, family, attackers, victims, others, group
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// The Parquet file to write: a column for each feature, then family, group, flow and packets
    #[arg(short = 'O', long, value_name = "FILE")]
    output: PathBuf,
    /// Rows of one flow at most: the first looks at it
    #[arg(long, default_value_t = 12, value_name = "N")]
    rows_per_flow_max: u32,
}

/// Family and group of a flow, by its way and ends; `None`: it is left out.
type KnownFlow<'a> = dyn Fn(u32, &Ends) -> Option<(Family, String)> + 'a;

/// Takes the rows of one capture.
struct Taker<'a> {
    extractor: Extractor,
    known: &'a KnownFlow<'a>,
    writer: &'a mut SnapshotsWriter,
    rows_per_flow_max: u32,
    /// By way: rows so far, and the flow's number.
    flows: Vec<(u32, u64)>,
    next_flow: &'a mut u64,
    result: Result<(), SnapshotsError>,
}

impl<'a> Taker<'a> {
    fn new(
        known: &'a KnownFlow<'a>,
        writer: &'a mut SnapshotsWriter,
        rows_per_flow_max: u32,
        next_flow: &'a mut u64,
    ) -> Self {
        Self {
            extractor: Extractor::default(),
            known,
            writer,
            rows_per_flow_max,
            flows: Vec::new(),
            next_flow,
            result: Ok(()),
        }
    }
}

impl Stages for Taker<'_> {
    fn flow(&mut self, way: u32, record: &FlowRecord, periods: Option<&Periods>, now_us: u64) {
        self.extractor.observe(way, record, periods, now_us);
    }

    fn tick(&mut self, now_us: u64) {
        let (flows, next_flow) = (&mut self.flows, &mut *self.next_flow);
        let (known, writer) = (self.known, &mut *self.writer);
        let (result, rows_max) = (&mut self.result, self.rows_per_flow_max);
        self.extractor.each(now_us, |some, _, _| {
            for due in some {
                let way = due.way as usize;
                if way >= flows.len() {
                    flows.resize(way + 1, (0, 0));
                }
                let flow = &mut flows[way];
                if due.change.begun {
                    *flow = (0, *next_flow);
                    *next_flow += 1;
                }
                flow.0 += 1;
                let Some((family, group)) = known(due.way, &due.ends) else {
                    continue;
                };
                if flow.0 <= rows_max && result.is_ok() {
                    let known = Known {
                        family,
                        group: &group,
                        flow: flow.1,
                        packets: due.change.packets,
                    };
                    *result = writer.write(&due.row, known);
                }
            }
        });
        self.extractor.end(now_us);
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let labels =
        Labels::read(&args.labels).map_err(|error| Failure::Configuration(error.to_string()))?;
    let captures = Captures::of(std::slice::from_ref(&args.captures));
    let failed = |error: SnapshotsError| Failure::Other(error.to_string());
    let mut writer = SnapshotsWriter::create(&args.output).map_err(failed)?;
    let mut next_flow = 0;
    let (mut taken, mut unlabelled) = (0, 0);
    for capture in &captures.files {
        let relative = capture
            .path
            .strip_prefix(&args.captures)
            .unwrap_or(&capture.path);
        let Some(label) = labels.of(relative) else {
            unlabelled += 1;
            continue;
        };
        let group = label.group(relative);
        let known = |_, ends: &Ends| Some((label.family(ends)?, group.clone()));
        let mut taker = Taker::new(&known, &mut writer, args.rows_per_flow_max, &mut next_flow);
        if let Err(error) = read(&capture.path, &mut taker) {
            report::complain(&error);
            continue;
        }
        taker.result.map_err(failed)?;
        taken += 1;
    }
    for labels in labels.tables() {
        let path = args.captures.join(&labels.file);
        let flows = match Flows::read(&path, &labels.column) {
            Ok(flows) => flows,
            Err(error) => {
                report::complain(&error.to_string());
                continue;
            }
        };
        let known = |way, _: &Ends| {
            let label = flows.label(way);
            Some((labels.family(label)?, labels.group(label)))
        };
        let mut taker = Taker::new(&known, &mut writer, args.rows_per_flow_max, &mut next_flow);
        flows.play(|label| labels.family(label).is_some(), &mut taker);
        taker.result.map_err(failed)?;
        taken += 1;
    }
    let rows = writer.finish().map_err(failed)?;
    report::note(&format!(
        "{rows} rows of {next_flow} flows from {taken} captures and tables ({unlabelled} without a label) in {}",
        args.output.display()
    ));
    if rows == 0 {
        return Err(Failure::Other(format!(
            "no row: no capture under {} has a label in {}",
            args.captures.display(),
            args.labels.display()
        )));
    }
    Ok(())
}

fn read(path: &Path, stages: &mut impl Stages) -> Result<(), String> {
    let mut drain = NativeDrain::new(FLOWS_MAX_DEFAULT);
    let result = (|| {
        let mut reader = CaptureReader::open(path)?;
        while let Some(frame) = reader.next_frame()? {
            drain.until(frame.time_ns, stages);
            drain.count(frame.time_ns, frame.bytes);
        }
        Ok(())
    })();
    drain.finish(stages);
    match result {
        Err(error @ crate::wire::capture::CaptureError::CutOff { .. }) => {
            report::warn(&error.to_string());
            Ok(())
        }
        other => other.map_err(|error: crate::wire::capture::CaptureError| error.to_string()),
    }
}
