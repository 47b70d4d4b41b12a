//! What the tests and the demonstration use beside the toolchain.

use anyhow::{Result, bail};

use crate::tool;

/// A program, and Debian's package that has it.
const PROGRAMS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("ping", "iputils-ping"),
    ("xdp-loader", "xdp-tools"),
];

/// Installs what is missing, in one go.
///
/// # Errors
/// Where a package cannot be installed.
pub fn run() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| tool::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        eprintln!("xtask: everything that the tests need is installed");
        return Ok(());
    }
    tool::install(&missing)?;
    let still: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| tool::find(program).is_none())
        .map(|(program, _)| *program)
        .collect();
    if !still.is_empty() {
        bail!("installed, but not on PATH: {}", still.join(", "));
    }
    Ok(())
}
