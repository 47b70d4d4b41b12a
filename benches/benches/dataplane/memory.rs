//! Kernel memory, as the kernel charges it.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result, bail};
use aya::{Ebpf, maps::Map};
use detector_common::{abi::map, config::feature};

use super::{
    report::{Cell, Report, Table},
    subject::{ENTRIES, Hook, Subject},
};

/// What `/proc/self/fdinfo` says that a map takes.
fn charged(ebpf: &Ebpf, name: &str) -> Result<u64> {
    let fd = match ebpf.map(name).with_context(|| format!("no map {name}"))? {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuLruHashMap(data) => data.fd().as_fd().as_raw_fd(),
        _ => bail!("{name}: of a kind that is not measured"),
    };
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    line.context("no memlock in fdinfo")?
        .trim()
        .parse()
        .context("memlock in fdinfo")
}

pub fn measure(report: &mut Report) -> Result<()> {
    let (subject, _) = Subject::detector("detector", Hook::XdpFrags, feature::ALL, ENTRIES)?;
    let peers = Subject::peer("peers", "bare", Hook::XdpFrags, ENTRIES)?;
    let mut table = Table::new("Kernel memory", &["maps", "bytes", "bytes a slot or entry"])
        .note(&format!("{ENTRIES} slots or entries; `memlock` of the maps' fdinfo. LRU_PERCPU_HASH takes that much on each CPU more."));
    let mut whole = 0;
    for name in [map::SETS, map::RECORDS, map::PERIODS, map::DOORKEEPER] {
        whole += charged(&subject.ebpf, name)?;
    }
    let per_entry = |bytes: u64| bytes as f64 / f64::from(ENTRIES);
    let mut row = |name: &str, bytes: u64| {
        table.row(
            name,
            [
                Cell::Number(bytes as f64, 0),
                Cell::Number(per_entry(bytes), 1),
            ],
        );
    };
    row("detector: sets, records, periods, doorkeeper", whole);
    row("flow counter on LRU_HASH", charged(&peers.ebpf, "LRU")?);
    row(
        "flow counter on LRU_PERCPU_HASH",
        charged(&peers.ebpf, "LRU_PERCPU")?,
    );
    row("flow counter on HASH", charged(&peers.ebpf, "HASH")?);
    report.table(table);
    report.at_most(
        "kernel memory, bytes a flow slot",
        320.0,
        Some(per_entry(whole)),
    );
    Ok(())
}
