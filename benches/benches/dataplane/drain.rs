//! Reading every live flow: the detector's mapped table beside the batch system call
//! on an LRU hash.

use std::{
    hint::black_box,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use aya::maps::Map;
use detector_common::config::feature;
use detector_user::drain::reader::Which;

use super::{
    report::{Cell, Report, Table},
    subject::{Hook, MODE_FLOWS, Plan, Subject, frame, run},
};

const SAMPLES: u32 = 7;
const BATCH: usize = 1 << 16;

fn plan(flows: u32) -> Plan {
    Plan {
        mode: MODE_FLOWS,
        flows: flows - 1,
        random: 1,
        ..Plan::default()
    }
}

/// Least ns a live flow, and how many were live.
fn mapped(flows: u32) -> Result<(f64, u32)> {
    // Twice the slots: the load of a table that is not overflowing.
    let (subject, tables) = Subject::detector("detector", Hook::XdpFrags, feature::ALL, flows * 2)?;
    run(subject.behind(plan(flows))?.fd(), &frame(), flows)?;
    let (mut least, mut live) = (f64::MAX, 0);
    for _ in 0..SAMPLES {
        let mut packets = 0;
        let begun = Instant::now();
        let pass = tables.scan(Which::Live, |snapshot| {
            packets += u64::from(snapshot.record.forward.packets)
        });
        let ns = begun.elapsed().as_nanos() as f64;
        black_box(packets);
        live = pass.flows;
        least = least.min(ns / f64::from(live));
    }
    Ok((least, live))
}

/// Least ns an entry by `BPF_MAP_LOOKUP_BATCH`.
fn batched(flows: u32) -> Result<f64> {
    let mut subject = Subject::peer("LRU_HASH", "peer_lru", Hook::XdpFrags, flows * 2)?;
    run(subject.behind(plan(flows))?.fd(), &frame(), flows)?;
    let Map::LruHashMap(data) = subject.ebpf.take_map("LRU").context("no map LRU")? else {
        bail!("LRU is no LRU hash");
    };
    let map = data.fd().as_fd().as_raw_fd();
    let mut keys = vec![0u8; BATCH * 40];
    let mut values = vec![0u8; BATCH * 128];
    let mut least = f64::MAX;
    for _ in 0..SAMPLES {
        let (mut entries, mut first) = (0u64, true);
        let (mut from, mut to) = ([0u8; 64], [0u8; 64]);
        let begun = Instant::now();
        loop {
            const BPF_MAP_LOOKUP_BATCH: i64 = 24;
            let mut attributes = [0u8; 56];
            let mut put =
                |at: usize, bytes: &[u8]| attributes[at..at + bytes.len()].copy_from_slice(bytes);
            put(
                0,
                &(if first { 0 } else { from.as_ptr() as u64 }).to_ne_bytes(),
            );
            put(8, &(to.as_mut_ptr() as u64).to_ne_bytes());
            put(16, &(keys.as_mut_ptr() as u64).to_ne_bytes());
            put(24, &(values.as_mut_ptr() as u64).to_ne_bytes());
            put(32, &(BATCH as u32).to_ne_bytes());
            put(36, &map.to_ne_bytes());
            // SAFETY: the attributes of this command; all buffers outlive the call.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    BPF_MAP_LOOKUP_BATCH,
                    attributes.as_mut_ptr(),
                    attributes.len(),
                )
            };
            let error = std::io::Error::last_os_error();
            entries += u64::from(u32::from_ne_bytes([
                attributes[32],
                attributes[33],
                attributes[34],
                attributes[35],
            ]));
            if result != 0 {
                // The end of the map is ENOENT.
                if error.raw_os_error() == Some(libc::ENOENT) {
                    break;
                }
                bail!("BPF_MAP_LOOKUP_BATCH: {error}");
            }
            from = to;
            first = false;
        }
        let ns = begun.elapsed().as_nanos() as f64;
        least = least.min(ns / entries.max(1) as f64);
    }
    Ok(least)
}

pub fn measure(report: &mut Report) -> Result<()> {
    let columns = [
        "flows",
        "live",
        "mapped table",
        "BPF_MAP_LOOKUP_BATCH on LRU_HASH",
        "×",
    ];
    let mut table = Table::new("Reading every live flow, ns a flow", &columns)
        .note("A table of twice as many slots or entries as there are flows; the batch call takes 64 Ki at once.");
    for (name, flows) in [("64 k", 1 << 16), ("512 k", 1 << 19), ("1 M", 1 << 20)] {
        let (ns, live) = mapped(flows)?;
        let batch = batched(flows)?;
        table.row(
            name,
            [
                Cell::Number(f64::from(live), 0),
                Cell::Number(ns, 1),
                Cell::Number(batch, 1),
                Cell::Number(batch / ns, 0),
            ],
        );
        if flows >= 1 << 19 {
            report.at_most(&format!("drain, ns a live flow, {name}"), 20.0, Some(ns));
        }
    }
    report.table(table);
    Ok(())
}
