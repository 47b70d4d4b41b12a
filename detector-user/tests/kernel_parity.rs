//! Every shared capture through the native table and through the programs in the
//! kernel: the same flow records, field by field, and the same books.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod needs;

use std::path::{Path, PathBuf};

use detector_common::{counters::Event, periods::Periods, record::FlowRecord};
use detector_user::{
    flow::{Account, FrameSink, Table},
    wire::{
        capture::{CaptureError, CaptureReader},
        load::Settings,
        testrun::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, TestRun},
    },
};

/// Slots enough that no capture's flows push one another out: with 37 thousand at once,
/// nine of them fall into one of 2¹⁷ sets in fewer than one run of 100,000.
const FLOW_SLOTS: u32 = 1 << 20;

type Flow = (FlowRecord, Option<Periods>);

fn captures() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let extension = path.extension().and_then(|e| e.to_str());
            if path.is_dir() {
                walk(&path, found);
            } else if matches!(extension, Some("pcap" | "pcapng" | "cap")) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&needs::captures(), &mut found);
    found.sort();
    found
}

fn run<S: FrameSink>(sink: &mut S, path: &Path) -> (Vec<Flow>, u64) {
    let mut flows = Vec::new();
    let mut ended = |record: &FlowRecord, periods: Option<&Periods>| {
        flows.push((*record, periods.copied()));
    };
    let mut frames = 0;
    let Ok(mut reader) = CaptureReader::open(path) else {
        return (Vec::new(), 0);
    };
    loop {
        match reader.next_frame() {
            // What the kernel's test run does not take is left out on both sides.
            Ok(Some(frame)) if (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&frame.bytes.len()) => {
                frames += 1;
                sink.frame(frame.time_ns, frame.bytes, &mut ended).unwrap();
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) if error.is_cut_off() => break,
            Err(CaptureError::OnlyUnsupportedLinks { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    sink.finish(&mut ended).unwrap();
    (flows, frames)
}

fn sorted(mut flows: Vec<Flow>) -> Vec<Flow> {
    flows.sort_by_key(|(record, _)| {
        let key = bytemuck::bytes_of(&record.key).to_vec();
        (key, record.first_us, bytemuck::bytes_of(record).to_vec())
    });
    flows
}

/// What must be equal of the books. Promotions are counted by slot in the kernel, and
/// what is released differs by design.
fn comparable(account: &Account) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
    let c = &account.counters;
    (
        c.tallies
            .iter()
            .take(3)
            .flat_map(|t| [t.packets, t.bytes])
            .collect(),
        [
            Event::FlowsCreated,
            Event::FlowsEnded,
            Event::ShortTransport,
        ]
        .map(|e| c.event(e))
        .to_vec(),
        c.malformed.to_vec(),
    )
}

#[test]
fn every_capture_gives_identical_flow_records() {
    let captures = captures();
    if captures.is_empty() {
        return needs::skip("the shared captures are not at ../shared/data/pcap");
    }
    let settings = Settings {
        flow_slots: FLOW_SLOTS,
        ..Settings::default()
    };
    let mut kernel = match TestRun::new(settings) {
        Ok(kernel) => kernel,
        Err(error) => return needs::skip(&error.to_string()),
    };
    let mut native = Table::default();
    let (mut all_frames, mut all_flows) = (0, 0);
    for path in &captures {
        let (of_kernel, frames) = run(&mut kernel, path);
        let (of_native, _) = run(&mut native, path);
        assert_eq!(
            of_kernel.len(),
            of_native.len(),
            "{}: flows",
            path.display()
        );
        let (of_kernel, of_native) = (sorted(of_kernel), sorted(of_native));
        for (k, n) in of_kernel.iter().zip(&of_native) {
            assert_eq!(k, n, "{}: in the kernel, natively", path.display());
        }
        all_frames += frames;
        all_flows += of_native.len();
    }
    let (kernel, native) = (kernel.account().unwrap(), native.account().unwrap());
    assert_eq!(comparable(&kernel), comparable(&native));
    assert_eq!(kernel.ethertypes, native.ethertypes);
    assert!(kernel.is_conserved() && native.is_conserved());
    println!(
        "{} captures, {all_frames} frames, {all_flows} flows: identical",
        captures.len()
    );
}
