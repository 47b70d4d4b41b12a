//! The agent's own cost: a tick over a full table, by how much of it changed since the last.

use std::time::Instant;

use anyhow::Result;
use detector_common::{config::feature, set};
use detector_user::{
    agent::{live::monotonic_ns, pipeline::Pipeline},
    decide::policy::Policy,
    drain::reader::Which,
    score::Scorer,
};

use super::{
    report::{Cell, Report, Table},
    subject::{Hook, MODE_FLOWS, Plan, Subject, frame, run},
};

const FLOWS: u32 = 1 << 20;
const TICKS: u32 = 10;
const TICKS_PER_SECOND: f64 = 10.0;

pub fn measure(report: &mut Report) -> Result<()> {
    let columns = [
        "packets a second",
        "flows changed a tick",
        "scored a tick",
        "ms a tick",
        "share of a core",
    ];
    let mut table = Table::new("The agent over 1 Mi live flows, 10 ticks a second", &columns).note(
        "Drain, features, scores by the built-in model, decisions. Packets are of random flows, so that nearly each \
         changes another.",
    );
    let (subject, tables) = Subject::detector("detector", Hook::XdpFrags, feature::ALL, FLOWS * 2)?;
    let plan = Plan {
        mode: MODE_FLOWS,
        flows: FLOWS - 1,
        random: 1,
        ..Plan::default()
    };
    let traffic = subject.behind(plan)?;
    run(traffic.fd(), &frame(), FLOWS)?;
    let scorer = Scorer::of(None).ok().map(std::sync::Arc::new);
    let mut pipeline = Pipeline::new(Policy::default(), scorer);
    let mut since_ns = 0;
    // What was there before the agent is looked at over several ticks.
    for packets_per_second in [0, 10_000, 100_000, 1_000_000_u32] {
        let per_tick = packets_per_second / TICKS_PER_SECOND as u32;
        let (mut took, mut changed) = (0.0, 0u64);
        let before = pipeline.counts().scored;
        for tick in 0..TICKS + 2 {
            if per_tick > 0 {
                run(traffic.fd(), &frame(), per_tick)?;
            }
            let now_ns = monotonic_ns();
            let begun = Instant::now();
            let which = match since_ns {
                0 => Which::Live,
                since => Which::SeenSince(set::coarse(since)),
            };
            since_ns = now_ns;
            tables.scan(which, |snapshot| {
                changed += u64::from(tick >= 2);
                let periods = tables.periods_of(snapshot);
                pipeline.observe(
                    snapshot.way,
                    &snapshot.record,
                    periods.as_ref(),
                    now_ns / 1000,
                );
            });
            pipeline.tick(&|_| None, now_ns / 1000);
            if tick >= 2 {
                took += begun.elapsed().as_secs_f64();
            }
        }
        let tick_s = took / f64::from(TICKS);
        let scored = (pipeline.counts().scored - before) as f64 / f64::from(TICKS + 2);
        table.row(
            &packets_per_second.to_string(),
            [
                Cell::Number(changed as f64 / f64::from(TICKS), 0),
                Cell::Number(scored, 0),
                Cell::Number(tick_s * 1e3, 2),
                Cell::Number(tick_s * TICKS_PER_SECOND, 3),
            ],
        );
        if packets_per_second == 100_000 {
            let share = tick_s * TICKS_PER_SECOND;
            report.at_most(
                "agent, share of a core, 1 M live flows, 100 k packets/s",
                0.5,
                Some(share),
            );
        }
    }
    report.table(table);
    Ok(())
}
