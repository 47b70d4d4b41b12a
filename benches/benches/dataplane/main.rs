//! The data plane beside a bare drop and its peers, in one run: `cargo bench -p
//! detector-benches`, as root. Writes a dated table into `benches/results/`.
//!
//! Costs are those of `BPF_PROG_TEST_RUN` on one pinned CPU, the least of several samples;
//! what counts is the ratio to a bare `XDP_DROP` behind the same harness.
mod drain;
mod flood;
mod packets;
mod peers;
mod replay;
mod report;
mod subject;

use anyhow::{Result, bail};
use report::Report;

fn main() -> Result<()> {
    // What `cargo test --benches` passes: measuring is no test.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("measuring programs in the kernel needs root");
    }
    subject::pin_to_last_cpu();
    let mut report = Report::new();
    packets::measure(&mut report)?;
    flood::measure(&mut report)?;
    drain::measure(&mut report)?;
    replay::measure(&mut report)?;
    report.write()
}
