//! What a packet costs, by working set.

use anyhow::Result;
use detector_common::{
    config::{Control, active, feature},
    key::Address,
    signature::{Range, Signature, field},
    verdict::{Action, Kind, Verdict},
};
use detector_user::wire::tables::Tables;

use super::{
    peers::xdp_filter,
    report::{Goal, Report},
    subject::{ENTRIES, MODE_FLOWS, MODE_RANDOM, Plan, Subject, frame, run},
};

const SAMPLES: usize = 9;
const REPEAT: u32 = 100_000;
const ACTIVE: usize = std::mem::offset_of!(Control, active);
const SIGNATURES: usize = std::mem::offset_of!(Control, signatures) / 8;

/// A working set.
#[derive(Clone, Copy)]
pub struct WorkingSet {
    pub name: &'static str,
    /// `None`: no mutator.
    plan: Option<Plan>,
    /// Packets that fill the tables before the samples.
    fill: u32,
    repeat: u32,
}

fn working_sets() -> [WorkingSet; 5] {
    let flows = |name, flows: u32| WorkingSet {
        name,
        plan: Some(Plan { mode: MODE_FLOWS, flows: flows - 1, random: 1, ..Plan::default() }),
        fill: flows * 3,
        repeat: REPEAT.max(flows),
    };
    [
        WorkingSet { name: "1 flow", plan: None, fill: 1000, repeat: REPEAT },
        flows("1 k", 1 << 10),
        flows("64 k", 1 << 16),
        flows("512 k", 1 << 19),
        WorkingSet {
            name: "all new",
            plan: Some(Plan { mode: MODE_RANDOM, random: 0x9e37_79b9_7f4a_7c15, ..Plan::default() }),
            fill: ENTRIES * 3,
            repeat: REPEAT * 5,
        },
    ]
}

/// Least ns a packet of each subject, in turns, so that all meet the same noise.
fn measure_set(subjects: &[Subject], set: &WorkingSet) -> Result<Vec<u32>> {
    let frame = frame();
    let mutators = subjects
        .iter()
        .map(|subject| set.plan.map(|plan| subject.behind(plan)).transpose())
        .collect::<Result<Vec<_>>>()?;
    let fds: Vec<i32> = subjects
        .iter()
        .zip(&mutators)
        .map(|(subject, mutator)| mutator.as_ref().map_or(subject.fd(), |m| m.fd()))
        .collect();
    for fd in &fds {
        run(*fd, &frame, set.fill)?;
    }
    let mut least = vec![u32::MAX; fds.len()];
    for _ in 0..SAMPLES {
        for (least, fd) in least.iter_mut().zip(&fds) {
            *least = (*least).min(run(*fd, &frame, set.repeat)?);
        }
    }
    Ok(least)
}

pub fn measure(report: &mut Report) -> Result<()> {
    let mut rows: Vec<(&str, Vec<Option<u32>>)> = Vec::new();
    let sets = working_sets();
    for (column, set) in sets.iter().enumerate() {
        eprintln!("packets: {}", set.name);
        let subjects = subjects(report)?;
        let costs = measure_set(&subjects, set)?;
        for (n, (subject, cost)) in subjects.iter().zip(costs).enumerate() {
            if rows.len() <= n {
                rows.push((Box::leak(subject.name.clone().into_boxed_str()), vec![None; sets.len()]));
            }
            rows[n].1[column] = Some(cost);
        }
    }
    report.packets(&sets.map(|set| set.name), &rows);
    let cost = |name: &str, column: usize| {
        rows.iter().find(|(row, _)| *row == name).and_then(|(_, costs)| costs[column])
    };
    let ratio = |name: &str, column: usize| {
        Some(f64::from(cost(name, column)?) / f64::from(cost(BARE, column)?))
    };
    report.goal(Goal::at_most("drop by address, × bare drop, one flow", 2.5, ratio(DROP, 0)));
    report.goal(Goal::at_most("full accounting, × bare drop, one flow", 3.5, ratio(FULL, 0)));
    report.goal(Goal::at_most("full accounting, × bare drop, all new", 8.0, ratio(FULL, 4)));
    Ok(())
}

const BARE: &str = "bare XDP_DROP";
const DROP: &str = "detector: drop by address, hit";
const FULL: &str = "detector: full accounting";

fn subjects(report: &mut Report) -> Result<Vec<Subject>> {
    let mut all = vec![Subject::peer(BARE, "bare", true, 1)?];
    for (name, object, program, listed) in [
        ("xdp-filter, IP list: miss", "xdpfilt_alw_ip.o", "xdpfilt_alw_ip", false),
        ("xdp-filter, IP list: hit", "xdpfilt_alw_ip.o", "xdpfilt_alw_ip", true),
        ("xdp-filter, all features: miss", "xdpfilt_alw_all.o", "xdpfilt_alw_all", false),
        ("xdp-filter, all features: hit", "xdpfilt_alw_all.o", "xdpfilt_alw_all", true),
    ] {
        match xdp_filter(name, object, program, listed) {
            Ok(subject) => all.push(subject),
            Err(error) => report.remark(&format!("{name}: could not be had: {error:#}")),
        }
    }
    all.push(Subject::peer("flow counter on LRU_HASH", "peer_lru", true, ENTRIES)?);
    all.push(Subject::peer("flow counter on HASH", "peer_hash", true, ENTRIES)?);
    let without = |bits: u32| feature::ALL & !bits;
    let (parse, _) = Subject::detector("detector: parse and count only", without(feature::FLOWS), 64)?;
    all.push(parse);
    let (drop, tables) = Subject::detector(DROP, feature::ALL, ENTRIES)?;
    address_verdict(tables, [10, 0, 0, 1])?;
    all.push(drop);
    let (full, _) = Subject::detector(FULL, feature::ALL, ENTRIES)?;
    all.push(full);
    let (miss, tables) = Subject::detector("detector: … and an address verdict, miss", feature::ALL, ENTRIES)?;
    address_verdict(tables, [192, 0, 2, 1])?;
    all.push(miss);
    for number in [1, 64] {
        let name = format!("detector: … and {number} signatures, miss");
        let (subject, tables) = Subject::detector(&name, feature::ALL, ENTRIES)?;
        signatures(&tables, number);
        all.push(subject);
    }
    Ok(all)
}

/// Written by hand: the writer wants a pinned clock, and these never expire.
fn verdict(kind: Kind) -> Verdict {
    Verdict { kind, action: Action::DROP, expires_jiffies: u64::MAX - 1, ..Verdict::FREE }
}

fn address_verdict(mut tables: Tables, address: [u8; 4]) -> Result<()> {
    tables.verdicts.store(1, &verdict(Kind::ADDRESS));
    tables.address_verdicts.insert(Address::from_ipv4(address).octets(), 1, 0)?;
    tables.control.half(0, ACTIVE).store(active::ADDRESSES, std::sync::atomic::Ordering::Release);
    Ok(())
}

/// UDP to a port that no packet here goes to, as a flood's signature would be.
fn signatures(tables: &Tables, number: u32) {
    use std::sync::atomic::Ordering::Release;
    tables.verdicts.store(1, &verdict(Kind::SIGNATURE));
    let signature = Signature {
        slot: 1,
        protocol: 17,
        any_protocol: 0,
        destination_ports: Range { min: 53, max: 53 },
        ..Signature::ANY
    };
    let bits = u64::MAX >> (64 - number);
    for word in 0..field::WORDS {
        let value = if signature.takes(word) { bits } else { 0 };
        tables.signature_bits.store(word, &value);
    }
    for n in 0..number {
        tables.signatures.store(n, &signature);
    }
    tables.control.words(0)[SIGNATURES].store(bits, Release);
    tables.control.half(0, ACTIVE).store(active::SIGNATURES, Release);
}
