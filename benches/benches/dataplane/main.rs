//! The data plane beside a bare drop and its peers, in one run: `cargo bench -p
//! detector-benches`, as root. Prints a table, and writes it with the date, as Markdown
//! and as JSON, into `benches/results/`. Names of parts (`packets`, `egress`, `flood`,
//! `drain`, `agent`, `memory`, `replay`) as arguments measure only these, and write nothing.
//!
//! Costs are those of `BPF_PROG_TEST_RUN` on one pinned CPU, the least of several samples;
//! what counts is the ratio to a bare `XDP_DROP` in the same run. Nothing here fails for
//! being slow: a goal is met or not met.
mod agent;
mod drain;
mod flood;
mod machine;
mod memory;
mod packets;
mod peers;
mod replay;
mod report;
mod scratch;
mod subject;

use anyhow::{Result, bail};
use report::Report;

type Part = fn(&mut Report) -> Result<()>;

const PARTS: [(&str, Part); 8] = [
    ("machine", machine::measure),
    ("packets", packets::measure),
    ("egress", packets::measure_egress),
    ("flood", flood::measure),
    ("drain", drain::measure),
    ("agent", agent::measure),
    ("memory", memory::measure),
    ("replay", replay::measure),
];

fn main() -> Result<()> {
    // What `cargo test --benches` passes: measuring is no test.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("measuring programs in the kernel needs root");
    }
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let mut report = Report::new()?;
    subject::pin_to_last_cpu();
    for (name, measure) in PARTS {
        if asked.is_empty() || asked.iter().any(|part| part == name) {
            eprintln!("measuring: {name}");
            measure(&mut report)?;
        }
    }
    report.finish(asked.is_empty())
}
