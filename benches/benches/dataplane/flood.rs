//! Who survives a flood: 50 spoofed packets to one legitimate, from ten times as many
//! sources as the table has slots. The share of the legitimate flows' packets that the
//! table still holds at the end, in records of these very flows.

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map};
use detector_common::{config::feature, key::FlowKey};
use detector_user::drain::reader::Which;

use super::{
    report::{Goal, Report},
    subject::{MODE_MIXED, Plan, Subject, frame, run},
};

const SLOTS: u32 = 1 << 17;
const FLOWS: u32 = 10_000;
/// Each flow sends this many times.
const ROUNDS: u32 = 20;
const SPOOFED: u32 = 50;
/// 2²¹ sources: sixteen times the slots.
const SOURCES: u32 = (1 << 21) - 1;

fn plan(two_way: bool, spoofed: u32) -> Plan {
    Plan {
        mode: MODE_MIXED,
        random: 0x1234_5678_9abc_def1,
        flows: FLOWS - 1,
        spoofed,
        sources: SOURCES,
        two_way: u32::from(two_way),
        ..Plan::default()
    }
}

/// Whether a key is one of the legitimate flows': the other end is in 10.0.0.0/8.
fn is_legitimate(key: &FlowKey) -> bool {
    [key.low, key.high].iter().any(|address| address.octets()[12] == 10)
}

/// Packets of legitimate flows that the detector's table holds, after `before` rounds
/// without a flood and [`ROUNDS`] with it.
fn detector(two_way: bool, before: u32) -> Result<f64> {
    let (subject, tables) = Subject::detector("detector", feature::ALL, SLOTS)?;
    let frame = frame();
    let mut mutator = subject.behind(plan(two_way, 0))?;
    if before > 0 {
        run(mutator.fd(), &frame, FLOWS * before)?;
    }
    mutator.plan(plan(two_way, SPOOFED))?;
    run(mutator.fd(), &frame, FLOWS * ROUNDS * (SPOOFED + 1))?;
    let mut held = 0;
    tables.scan(Which::Live, |snapshot| {
        if is_legitimate(&snapshot.record.key) {
            held += snapshot.record.totals().0;
        }
    });
    let (off, _) = tables.account()?.difference();
    anyhow::ensure!(off == 0, "the books are off by {off} packets");
    Ok(held as f64 / f64::from(FLOWS * (ROUNDS + before)))
}

/// The same of the peer on an LRU hash of as many entries.
fn lru(two_way: bool, before: u32) -> Result<f64> {
    let mut subject = Subject::peer("LRU_HASH", "peer_lru", true, SLOTS)?;
    let frame = frame();
    let mut mutator = subject.behind(plan(two_way, 0))?;
    if before > 0 {
        run(mutator.fd(), &frame, FLOWS * before)?;
    }
    mutator.plan(plan(two_way, SPOOFED))?;
    run(mutator.fd(), &frame, FLOWS * ROUNDS * (SPOOFED + 1))?;
    let map: Map = subject.ebpf.take_map("LRU").context("no map LRU")?;
    let map: HashMap<_, [u8; 40], [u8; 128]> = map.try_into()?;
    let mut held = 0;
    for entry in map.iter().flatten() {
        let key: FlowKey = bytemuck::pod_read_unaligned(&entry.0);
        if is_legitimate(&key) {
            let packets = |at: usize| u64::from_ne_bytes(entry.1[at..at + 8].try_into().unwrap_or([0; 8]));
            held += packets(16) + packets(24);
        }
    }
    Ok(held as f64 / f64::from(FLOWS * (ROUNDS + before)))
}

pub fn measure(report: &mut Report) -> Result<()> {
    eprintln!("flood");
    let mut rows = Vec::new();
    for (name, two_way, before) in [
        ("two-way flows, there before the flood", true, 4),
        ("two-way flows that begin within it", true, 0),
        ("one-way flows, there before the flood", false, 4),
        ("one-way flows that begin within it", false, 0),
    ] {
        rows.push((name, detector(two_way, before)?, lru(two_way, before)?));
    }
    report.goal(Goal::at_least(
        "legitimate packet counts kept in a flood (two-way, there before)",
        0.99,
        rows.first().map(|row| row.1),
    ));
    report.flood(&rows);
    Ok(())
}
