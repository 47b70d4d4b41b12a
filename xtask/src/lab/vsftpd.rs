//! The FTP server whose passwords are guessed.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::namespace::Namespace;
use super::process::Process;
use super::stop::Stop;
use super::{FTP_PORT, SERVER};
use crate::tool;

/// The guesses are not to be found in the host's logs.
const PREPARE: &str = "mount -t tmpfs tmpfs /run\nmount -t tmpfs tmpfs /var/log";

/// Starts vsftpd.
pub(super) fn start(server: &Namespace, folder: &Path, stop: &Stop) -> Result<Process> {
    let home = folder.join("vsftpd");
    let empty = home.join("empty");
    fs::create_dir_all(&empty)?;
    let configuration = home.join("vsftpd.conf");
    fs::write(&configuration, configured(tool::text(&empty)?))?;
    let line = ["vsftpd", tool::text(&configuration)?];
    let mut process = Process::contained(server, PREPARE, &line, home.join("log"))?;
    process.until_it_listens(server, (SERVER, FTP_PORT).into(), stop)?;
    Ok(process)
}

/// Local users, as Debian's configuration has it. Without the sandboxes, which ask for more of the kernel than a
/// container may have.
fn configured(empty: &str) -> String {
    format!(
        "listen=YES
listen_ipv6=NO
listen_address={SERVER}
listen_port={FTP_PORT}
background=NO
anonymous_enable=NO
local_enable=YES
pam_service_name=vsftpd
secure_chroot_dir={empty}
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
"
    )
}
