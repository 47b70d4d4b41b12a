//! Native replay: parse and count small frames in memory, one core.

use std::time::Instant;

use anyhow::Result;
use detector_user::flow::Table as FlowTable;

use super::{
    report::{Cell, Report, Table},
    subject::frame,
};

const FRAMES: u32 = 4_000_000;
const SAMPLES: u32 = 5;

/// Most packets a second over `flows` flows.
fn rate(flows: u32) -> f64 {
    let mut frames: Vec<[u8; 64]> = Vec::new();
    for n in 0..flows {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&frame());
        bytes[27..30].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes()[1..]);
        bytes[34..36].copy_from_slice(&(n as u16).to_be_bytes());
        frames.push(bytes);
    }
    let mut most: f64 = 0.0;
    for _ in 0..SAMPLES {
        let mut table = FlowTable::default();
        let begun = Instant::now();
        for n in 0..FRAMES {
            let frame = &frames[(n % flows) as usize];
            table.count(u64::from(n) * 100, frame, &mut |_, _| {});
        }
        most = most.max(f64::from(FRAMES) / begun.elapsed().as_secs_f64());
    }
    most
}

pub fn measure(report: &mut Report) -> Result<()> {
    let mut table = Table::new(
        "Native replay from memory, one core",
        &["flows", "packets a second"],
    )
    .note(
        "64-byte frames, parsed and counted into flow records by the library that reads captures.",
    );
    for (name, flows) in [
        ("1 flow", 1),
        ("1 k", 1 << 10),
        ("64 k", 1 << 16),
        ("512 k", 1 << 19),
    ] {
        let rate = rate(flows);
        table.row(name, [Cell::Number(rate, 0)]);
        if flows == 1 << 10 {
            report.at_least(
                "native replay, packets a second a core, 1 k flows",
                1e7,
                Some(rate),
            );
        }
    }
    report.table(table);
    Ok(())
}
