//! What a packet costs, by program and by working set.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use detector_common::{
    config::feature,
    signature::{Range, Signature},
};
use detector_user::enforce::target::Target;

use super::{
    peers::xdp_filter,
    report::{Cell, Report, Table},
    subject::{ENTRIES, Hook, MODE_FLOWS, MODE_RANDOM, Plan, Subject, frame, run},
};

const SAMPLES: usize = 25;
const REPEAT: u32 = 50_000;
/// Slots of the detector's default table.
const SMALL: u32 = detector_common::abi::FLOW_SLOTS_DEFAULT;

const XDP_DROP: u32 = 1;
const BARE: &str = "bare XDP_DROP";
const DROP: &str = "detector: drop by address, hit";
const FULL: &str = "detector: full accounting";

/// A working set.
#[derive(Clone, Copy)]
struct WorkingSet {
    name: &'static str,
    /// `None`: no mutator.
    plan: Option<Plan>,
    /// Packets that fill the tables before the samples.
    fill: u32,
    repeat: u32,
}

const fn flows(name: &'static str, flows: u32) -> WorkingSet {
    WorkingSet {
        name,
        plan: Some(Plan {
            flows: flows - 1,
            mode: MODE_FLOWS,
            ..NO_PLAN
        }),
        fill: flows * 3,
        repeat: if flows > REPEAT { flows } else { REPEAT },
    }
}

const NO_PLAN: Plan = Plan {
    counter: 0,
    random: 0x9e37_79b9_7f4a_7c15,
    mode: MODE_FLOWS,
    flows: 0,
    spoofed: 0,
    sources: 0,
    two_way: 0,
    step: 0,
    legitimate: 0,
    reserved: 0,
};

const ALL_NEW: WorkingSet = WorkingSet {
    name: "all new",
    plan: Some(Plan {
        mode: MODE_RANDOM,
        ..NO_PLAN
    }),
    fill: ENTRIES * 3,
    repeat: 200_000,
};

const SETS: [WorkingSet; 6] = [
    WorkingSet {
        name: "1 flow",
        plan: None,
        fill: 1000,
        repeat: REPEAT,
    },
    flows("1 flow, mutated", 1),
    flows("1 k", 1 << 10),
    flows("64 k", 1 << 16),
    flows("512 k", 1 << 19),
    ALL_NEW,
];

/// Least ns a packet of each subject, in turns, so that all meet the same noise.
fn costs(subjects: &[Subject], set: &WorkingSet) -> Result<Vec<u32>> {
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
            *least = (*least).min(run(*fd, &frame, set.repeat)?.ns);
        }
    }
    Ok(least)
}

/// Costs of all subjects in all sets, by subject. Each set has tables of its own.
fn grid(
    sets: &[WorkingSet],
    mut subjects: impl FnMut() -> Result<Vec<Subject>>,
) -> Result<Vec<(String, Vec<u32>)>> {
    let mut rows: Vec<(String, Vec<u32>)> = Vec::new();
    for set in sets {
        eprintln!("  {}", set.name);
        let subjects = subjects()?;
        let costs = costs(&subjects, set)?;
        rows.resize_with(subjects.len(), Default::default);
        for ((row, subject), cost) in rows.iter_mut().zip(subjects).zip(costs) {
            row.0 = subject.name;
            row.1.push(cost);
        }
    }
    Ok(rows)
}

/// The rows as a table; the first is what the others are compared with.
fn table(title: &str, sets: &[WorkingSet], rows: &[(String, Vec<u32>)]) -> Table {
    let mut columns = vec!["program"];
    columns.extend(sets.iter().map(|set| set.name));
    let mut table = Table::new(title, &columns);
    for (name, costs) in rows {
        let ratios = costs.iter().zip(&rows[0].1);
        table.row(
            name,
            ratios.map(|(&ns, &bare)| Cell::Cost(ns, f64::from(ns) / f64::from(bare))),
        );
    }
    table
}

fn ratio(rows: &[(String, Vec<u32>)], name: &str, column: usize) -> Option<f64> {
    let own = rows.iter().find(|(row, _)| row == name)?.1.get(column)?;
    let bare = rows.first()?.1.get(column)?;
    Some(f64::from(*own) / f64::from(*bare))
}

pub fn measure(report: &mut Report) -> Result<()> {
    let rows = grid(&SETS, || subjects(report))?;
    let note = format!(
        "{ENTRIES} slots or entries. In brackets: × the bare drop of the same column. From the \
         second column on a mutator in front gives each packet its source, and is in every \
         figure of the column, the bare drop's too. xdp-filter's programs lack the fragments \
         flag; it has no flow table. `all new`: every packet has a random source, and the table is full.",
    );
    report.table(table("A packet at the XDP hook, ns", &SETS, &rows).note(&note));
    report.at_most(
        "drop by address, × bare drop, one flow",
        2.5,
        ratio(&rows, DROP, 0),
    );
    report.at_most(
        "full accounting, × bare drop, one flow",
        3.5,
        ratio(&rows, FULL, 0),
    );
    report.at_most(
        "full accounting, × bare drop, all new, 1 Mi slots",
        8.0,
        ratio(&rows, FULL, 5),
    );
    small(report)
}

/// A flood on tables of the default size.
fn small(report: &mut Report) -> Result<()> {
    let rows = grid(&[ALL_NEW], || {
        Ok(vec![
            Subject::peer(BARE, "bare", Hook::XdpFrags, 1)?,
            Subject::peer(
                "flow counter on LRU_HASH",
                "peer_lru",
                Hook::XdpFrags,
                SMALL,
            )?,
            Subject::peer(
                "flow counter on LRU_PERCPU_HASH",
                "peer_lru_percpu",
                Hook::XdpFrags,
                SMALL,
            )?,
            Subject::peer("flow counter on HASH", "peer_hash", Hook::XdpFrags, SMALL)?,
            Subject::detector(FULL, Hook::XdpFrags, feature::ALL, SMALL)?.0,
        ])
    })?;
    report.table(
        table(
            "A flood on tables of the default size, ns",
            &[ALL_NEW],
            &rows,
        )
        .note(&format!("{SMALL} slots or entries, full.")),
    );
    let reached = ratio(&rows, FULL, 0);
    report.at_most(
        "full accounting, × bare drop, all new, default table",
        8.0,
        reached,
    );
    Ok(())
}

fn subjects(report: &mut Report) -> Result<Vec<Subject>> {
    let frags = Hook::XdpFrags;
    let mut all = vec![
        Subject::peer(BARE, "bare", frags, 1)?,
        Subject::peer("bare XDP_DROP, no fragments", "bare_plain", Hook::Xdp, 1)?,
        Subject::peer("bare XDP_DROP and the clock", "bare_clock", frags, 1)?,
    ];
    for (name, program, listed) in [
        ("xdp-filter, IP list: miss", "xdpfilt_alw_ip", false),
        ("xdp-filter, IP list: hit", "xdpfilt_alw_ip", true),
        ("xdp-filter, all features: miss", "xdpfilt_alw_all", false),
        ("xdp-filter, all features: hit", "xdpfilt_alw_all", true),
    ] {
        match xdp_filter(name, program, listed) {
            Ok(subject) => {
                drops(&subject, listed)?;
                all.push(subject);
            }
            Err(error) => report.remark(format!("{name}: not measured: {error}")),
        }
    }
    all.push(Subject::peer(
        "flow counter on LRU_HASH",
        "peer_lru",
        frags,
        ENTRIES,
    )?);
    all.push(Subject::peer(
        "flow counter on LRU_PERCPU_HASH",
        "peer_lru_percpu",
        frags,
        ENTRIES,
    )?);
    all.push(Subject::peer(
        "flow counter on HASH",
        "peer_hash",
        frags,
        ENTRIES,
    )?);
    let parse_only = feature::ALL & !feature::FLOWS;
    let listed = Target::Address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let other = Target::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    for (name, features, verdicts) in [
        ("detector: parse and count only", parse_only, vec![]),
        (DROP, feature::ALL, vec![listed]),
        (FULL, feature::ALL, vec![]),
        (
            "detector: … the clock read for each packet",
            feature::ALL & !feature::BURST_CLOCK,
            vec![],
        ),
        (
            "detector: … and an address verdict, miss",
            feature::ALL,
            vec![other],
        ),
        (
            "detector: … and 1 signature, miss",
            feature::ALL,
            signatures(1),
        ),
        (
            "detector: … and 64 signatures, miss",
            feature::ALL,
            signatures(64),
        ),
    ] {
        let (subject, _) = Subject::detector_with(name, frags, features, ENTRIES, &verdicts)?;
        drops(&subject, verdicts.contains(&listed))?;
        if let (FULL, Some(verified)) = (name, subject.verified) {
            report.remark(format!(
                "the verifier looked at {verified} instructions of detector_ingress"
            ));
        }
        all.push(subject);
    }
    Ok(all)
}

/// Whether the frame is dropped, or not, as it should be.
fn drops(subject: &Subject, dropped: bool) -> Result<()> {
    let returned = run(subject.fd(), &frame(), 1)?.returned;
    ensure!(
        (returned == XDP_DROP) == dropped,
        "{}: returned {returned} for the frame",
        subject.name
    );
    Ok(())
}

/// UDP to ports that no packet here goes to, as floods' signatures would be.
fn signatures(number: u16) -> Vec<Target> {
    (0..number)
        .map(|n| {
            Target::Signature(Signature {
                protocol: 17,
                any_protocol: 0,
                destination_ports: Range {
                    min: 1024 + n,
                    max: 1024 + n,
                },
                ..Signature::ANY
            })
        })
        .collect()
}

pub fn measure_egress(report: &mut Report) -> Result<()> {
    let rows = grid(&SETS, || {
        Ok(vec![
            Subject::peer("bare TC_ACT_UNSPEC", "bare_tc", Hook::Tc, 1)?,
            Subject::detector("detector: egress", Hook::Tc, feature::ALL, ENTRIES)?.0,
        ])
    })?;
    report.table(
        table("A frame at the TC egress hook, ns", &SETS, &rows)
            .note("In brackets: × the bare program of the same column."),
    );
    Ok(())
}
