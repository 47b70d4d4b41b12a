//! The SSH server whose passwords are guessed. It has a host key of its own, and lets in who holds the laboratory's key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::namespace::Namespace;
use super::process::Process;
use super::stop::Stop;
use super::{SERVER, SSH_PORT};
use crate::tool;

/// What sshd must find where it looks, and where it must leave no trace of the guesses: both are the host's.
const PREPARE: &str = "mount -t tmpfs tmpfs /run\nmkdir /run/sshd\nmount -t tmpfs tmpfs /var/log";

/// Starts sshd.
pub(super) fn start(server: &Namespace, folder: &Path, stop: &Stop) -> Result<Process> {
    let home = folder.join("sshd");
    fs::create_dir_all(&home)?;
    let host = home.join("host_key");
    make_key(&host)?;
    make_key(&key(folder))?;
    let configuration = home.join("sshd_config");
    fs::write(&configuration, configured(&host, &key(folder)))?;
    let line = ["sshd", "-D", "-e", "-f", tool::text(&configuration)?];
    let mut process = Process::contained(server, PREPARE, &line, home.join("log"))?;
    process.until_it_listens(server, (SERVER, SSH_PORT).into(), stop)?;
    Ok(process)
}

/// The key that opens it.
pub(super) fn key(folder: &Path) -> PathBuf {
    folder.join("sshd/client_key")
}

fn make_key(path: &Path) -> Result<()> {
    let keygen = tool::find("ssh-keygen")
        .context("ssh-keygen is missing: run `cargo xtask setup` as root")?;
    let options = ["-q", "-t", "ed25519", "-N", "", "-C", "laboratory", "-f"];
    tool::output_of(Command::new(keygen).args(options).arg(path)).map(drop)
}

fn configured(host: &Path, client: &Path) -> String {
    format!(
        "Port {SSH_PORT}
ListenAddress {SERVER}
HostKey {}
PidFile none
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile {}.pub
StrictModes no
ForceCommand echo welcome
",
        host.display(),
        client.display()
    )
}
