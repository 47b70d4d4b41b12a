//! Who survives a flood: 50 spoofed packets to one legitimate, from ten times as many
//! sources as the table has slots. The share of the legitimate flows' packets that the
//! table still holds at the end, in records of these very flows.

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map};
use detector_common::{config::feature, key::FlowKey};
use detector_user::drain::reader::Which;

use super::{
    report::{Cell, Report, Table},
    subject::{Hook, MODE_MIXED, Plan, Subject, frame, run},
};

const SLOTS: u32 = 1 << 17;
const FLOWS: u32 = 10_000;
/// Each flow sends this many times.
const ROUNDS: u32 = 20;
/// Packets of each flow before the flood, where it was there before.
const BEFORE: u32 = 4;
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
    [key.low, key.high]
        .iter()
        .any(|address| address.octets()[12] == 10)
}

/// Packets of legitimate flows that the detector's table holds, after `before` rounds
/// without a flood and [`ROUNDS`] with it.
fn detector(two_way: bool, before: u32) -> Result<f64> {
    let (subject, tables) = Subject::detector("detector", Hook::XdpFrags, feature::ALL, SLOTS)?;
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
    let mut subject = Subject::peer("LRU_HASH", "peer_lru", Hook::XdpFrags, SLOTS)?;
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
            let packets =
                |at: usize| u64::from_ne_bytes(entry.1[at..at + 8].try_into().unwrap_or([0; 8]));
            held += packets(16) + packets(24);
        }
    }
    Ok(held as f64 / f64::from(FLOWS * (ROUNDS + before)))
}

pub fn measure(report: &mut Report) -> Result<()> {
    let mut table = Table::new("Legitimate packet counts kept in a flood", &["flows", "detector", "LRU_HASH"]).note(
        &format!(
            "{SPOOFED} spoofed packets to one legitimate, from {} sources; {SLOTS} slots or entries; \
             {FLOWS} legitimate flows of {ROUNDS} packets each within the flood (and {BEFORE} \
             before it, where there was one before). Packets in records of these very flows at the end.",
            SOURCES + 1
        ),
    );
    for (name, two_way, before) in [
        ("two-way, there before the flood", true, BEFORE),
        ("two-way, begun within it", true, 0),
        ("one-way, there before the flood", false, BEFORE),
        ("one-way, begun within it", false, 0),
    ] {
        let own = detector(two_way, before)?;
        table.row(name, [Cell::Share(own), Cell::Share(lru(two_way, before)?)]);
        if two_way && before > 0 {
            let what = "legitimate packet counts kept in a flood, share (two-way, there before)";
            report.at_least(what, 0.99, Some(own));
        }
    }
    report.table(table);
    Ok(())
}
