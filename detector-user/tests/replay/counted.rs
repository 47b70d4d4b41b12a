//! What is counted.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use detector_common::counters::{Event, Fate};
use detector_user::flow::{Collector, Table};
use detector_user::wire::capture::CaptureReader;

use crate::inputs::{collect, shared_captures, tcp};
use crate::plain::{Plain, sorted};

#[test]
fn every_shared_capture_is_accounted_for_and_counted_as_by_the_plainest_table() {
    let Some(shared) = shared_captures() else {
        return;
    };
    // The manifest does not name the many small ones.
    let with_flows: HashSet<PathBuf> = csv::Reader::from_path(shared.join("MANIFEST.csv"))
        .unwrap()
        .deserialize::<HashMap<String, String>>()
        .map(Result::unwrap)
        .filter(|row| row["flows"].parse().is_ok_and(|flows: u64| flows > 0))
        .map(|row| shared.join(&row["file"]))
        .collect();
    let directories = fs::read_dir(&shared)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = directories
        .filter(|path| path.is_dir())
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path());
    let (mut captures, mut packets, mut flows) = (0, 0, 0);
    for path in files {
        let name = path.display();
        let Some((records, account, frames)) = collect(&path) else {
            println!("passed over, no capture: {name}");
            continue;
        };
        let seen = account.counters.tally(Fate::Seen);
        assert!(account.is_conserved(), "{name}: {account:?}");
        assert_eq!(seen.packets, frames, "{name}");
        let in_flows: u64 = records.iter().map(|(record, _)| record.totals().0).sum();
        let ended = account.counters.tally(Fate::Ended).packets;
        assert_eq!(in_flows, account.in_records.packets + ended, "{name}");
        if with_flows.contains(&path) {
            assert!(!records.is_empty(), "{name}");
        }

        let mut plain = Plain::default();
        let mut reader = CaptureReader::open(&path).unwrap();
        while let Ok(Some(frame)) = reader.next_frame() {
            plain.frame(frame.time_ns, frame.bytes);
        }
        let (plain_records, plain_counters) = plain.finish();
        assert_eq!(account.counters, plain_counters, "{name}");
        assert!(sorted(records.clone()) == plain_records, "{name}");
        captures += 1;
        packets += frames;
        flows += records.len();
    }
    println!("{captures} captures, {packets} packets, {flows} flows");
    assert!(captures > 400);
}

#[test]
fn no_clock_breaks_anything() {
    let times = [
        0,
        u64::MAX,
        5_000_000_000,
        u64::MAX / 2,
        1,
        1_700_000_000_000_000_000,
        1_700_000_006_000_000_000,
        1_699_999_000_000_000_000,
        1_700_000_130_000_000_000,
        1 << 60,
        0,
    ];
    let (mut plain, mut collector) = (Plain::default(), Collector::new(Table::default()));
    for round in 0..40u32 {
        for (n, time) in times.iter().enumerate() {
            let frame = tcp(round % 7, n % 2 == 1, [2, 18, 16, 17, 4][n % 5], n);
            collector.frame(*time, &frame).unwrap();
            plain.frame(*time, &frame);
        }
    }
    let (records, account) = collector.finish().unwrap();
    assert!(account.is_conserved());
    assert_eq!(account.counters.tally(Fate::Seen).packets, 440);
    assert!(account.counters.event(Event::FlowsEnded) > 100);
    let (plain_records, plain_counters) = plain.finish();
    assert_eq!(account.counters, plain_counters);
    assert!(sorted(records) == plain_records);
}

#[test]
fn what_finds_the_table_full_is_counted() {
    let mut collector = Collector::new(Table::new(100));
    for n in 0..250 {
        collector.frame(n, &tcp(n as u32, false, 2, 0)).unwrap();
    }
    for n in 0..250 {
        collector.frame(n, &tcp(n as u32, true, 18, 0)).unwrap();
    }
    let (records, account) = collector.finish().unwrap();
    assert_eq!(records.len(), 100);
    assert!(records.iter().all(|(record, _)| record.totals().0 == 2));
    assert_eq!(account.counters.tally(Fate::NotAdmitted).packets, 300);
    assert!(account.is_conserved());
}
