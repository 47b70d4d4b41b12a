//! The demonstration: a tour of all scenarios, which runs by itself and says what happens.

use anyhow::Result;

use crate::lab::clients::PAGES_PER_SECOND;
use crate::lab::network::{ATTACKERS, CLIENTS};
use crate::lab::{SERVER, SERVER6};
use crate::trials::scenario::{ALL, Scenario};
use crate::trials::{Common, perform};

/// Show it at work.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

/// Runs the demonstration.
///
/// # Errors
/// Where something could not be done, or does not hold.
pub fn run(args: &Args) -> Result<()> {
    let scenarios: Vec<&'static Scenario> = ALL.iter().collect();
    perform(&scenarios, 1, &args.common, &introduction())
}

fn introduction() -> String {
    format!(
        "
A laboratory of network namespaces, which nothing leaves: a server ({SERVER}, {SERVER6}) with nginx, sshd and vsftpd;
{CLIENTS} clients who ask it for {PAGES_PER_SECOND} pages a second; and attackers, {ATTACKERS} with addresses of their own, the others with
forged ones. On the server runs, each time anew and knowing nothing of what comes:

  detector run -i eth0 --enforce

Each scenario: the clients alone for three seconds, then the attack, then the clients alone again. Times count from
the attack's first packet on the wire."
    )
}
