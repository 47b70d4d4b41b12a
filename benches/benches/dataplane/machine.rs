//! What this machine's memory costs: large working sets are that, and little else.

use std::{hint::black_box, time::Instant};

use anyhow::Result;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::report::{Cell, Report, Table};

const STEPS: u32 = 200_000;
const SAMPLES: u32 = 5;
const LINE: usize = 64;

/// Least ns of a load that depends on the one before, over lines in random order on
/// pages of 4 KiB, as the kernel's maps have them.
fn latency(bytes: usize) -> Result<f64> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let base =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, protection, MapFlags::PRIVATE) }?;
    // SAFETY: the mapping just made.
    let _ = unsafe { madvise(base, bytes, Advice::LinuxNoHugepage) };
    let lines = bytes / LINE;
    // SAFETY: the whole mapping, zeros until written, and not used otherwise.
    let words =
        unsafe { std::slice::from_raw_parts_mut(base.cast::<usize>(), bytes / size_of::<usize>()) };
    let mut order: Vec<usize> = (0..lines).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for n in (1..lines).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        order.swap(n, (random % (n as u64 + 1)) as usize);
    }
    let stride = LINE / size_of::<usize>();
    for n in 0..lines {
        words[order[n] * stride] = order[(n + 1) % lines] * stride;
    }
    let (mut at, mut least) = (order[0] * stride, f64::MAX);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        for _ in 0..STEPS {
            at = words[at];
        }
        least = least.min(begun.elapsed().as_nanos() as f64 / f64::from(STEPS));
        black_box(at);
    }
    // SAFETY: the mapping made above; the slice is not used any more.
    unsafe { munmap(base, bytes) }?;
    Ok(least)
}

pub fn measure(report: &mut Report) -> Result<()> {
    let mut table = Table::new("This machine's memory: a dependent load, ns", &["working set", "ns"])
        .note("Random order, 4 KiB pages. A table beyond the caches pays this for each line that it has to wait for.");
    for (name, bytes) in [
        ("512 KiB", 1 << 19),
        ("8 MiB", 8 << 20),
        ("64 MiB", 64 << 20),
        ("256 MiB", 256 << 20),
    ] {
        table.row(name, [Cell::Number(latency(bytes)?, 1)]);
    }
    report.table(table);
    Ok(())
}
