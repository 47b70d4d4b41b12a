//! What the tests and the laboratory use beside the toolchain.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{tool, venv};

/// A program, and Debian's package that has it.
const PROGRAMS: [(&str, &str); 28] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("ping", "iputils-ping"),
    ("xdp-loader", "xdp-tools"),
    ("unshare", "util-linux"),
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("vsftpd", "vsftpd"),
    ("nmap", "nmap"),
    ("masscan", "masscan"),
    ("medusa", "medusa"),
    ("slowhttptest", "slowhttptest"),
    ("faketime", "faketime"),
    ("promtool", "prometheus"),
    ("prometheus", "prometheus"),
    ("chromium", "chromium"),
    ("openssl", "openssl"),
    ("setpriv", "util-linux"),
    ("systemd-analyze", "systemd"),
    ("nats-server", "nats-server"),
    ("debootstrap", "debootstrap"),
    ("buildah", "buildah"),
    ("runc", "runc"),
];

/// The version of cargo-deb that is installed where there is none.
const CARGO_DEB: &str = "3.8.0";

/// Installs what is missing, in one go.
///
/// # Errors
/// Where a package cannot be installed.
pub fn run() -> Result<()> {
    cargo_deb()?;
    let mut packages: Vec<&str> = missing().map(|(_, package)| package).collect();
    packages.dedup();
    if !packages.is_empty() {
        tool::install(&packages)?;
        let still: Vec<&str> = missing().map(|(program, _)| program).collect();
        if !still.is_empty() {
            bail!("installed, but not on PATH: {}", still.join(", "));
        }
    }
    venv::install()?;
    eprintln!("xtask: everything that the tests and the laboratory need is installed");
    Ok(())
}

/// What makes Debian packages; installed beside what is built where it is missing.
///
/// # Errors
/// Where it cannot be installed.
pub fn cargo_deb() -> Result<PathBuf> {
    let tools = tool::root().join("target/tools");
    let installed = tools.join("bin/cargo-deb");
    if let Some(found) =
        tool::find("cargo-deb").or_else(|| installed.exists().then(|| installed.clone()))
    {
        return Ok(found);
    }
    eprintln!(
        "xtask: installing cargo-deb {CARGO_DEB} into {}",
        tools.display()
    );
    tool::run(
        Command::new("cargo")
            .args([
                "install",
                "cargo-deb",
                "--version",
                CARGO_DEB,
                "--locked",
                "--root",
            ])
            .arg(&tools),
    )?;
    Ok(installed)
}

fn missing() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROGRAMS
        .into_iter()
        .filter(|(program, _)| tool::find(program).is_none())
}
