//! A laboratory for attacks: a server, a client and an attacker, each in a network namespace of its own, joined by a
//! bridge in a fourth. Nothing of it can reach the host's network.
//!
//! ```text
//!   client    198.18.0.2 ──┐
//!                          ├── bridge (namespace `wire`) ── 198.18.0.1  server, nginx
//!   attacker  .254, the ───┘
//!             server's gateway: whatever source its packets claim, answers go back there
//! ```
//!
//! The addresses are of 198.18.0.0/15, which is set aside for measurements (RFC 2544).
//!
//! Everything is removed when [`Lab`] is dropped, be it at the end, on a failure or on Ctrl-C ([`stop::Stop`] turns the
//! signal into an error). What a killed process left behind, the next [`Lab`] sweeps away.

pub mod client;
mod folder;
mod namespace;
mod network;
mod nginx;
pub mod sender;
pub mod stop;
pub mod traffic;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use self::folder::{BpfFs, Folder};
pub use self::namespace::Namespace;
use self::network::Network;
use self::nginx::Nginx;
use self::stop::Stop;

/// The server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The port that nginx listens on.
pub const HTTP_PORT: u16 = 80;
/// The interface of the server, of the client and of the attacker, each in its namespace.
pub const INTERFACE: &str = "eth0";

/// The laboratory. Fields are dropped in their order: processes first, the folder last.
pub struct Lab {
    nginx: Nginx,
    bpf: BpfFs,
    network: Network,
    folder: Folder,
}

/// What must be gone after the end.
struct Traces {
    namespaces: Vec<PathBuf>,
    folder: PathBuf,
    nginx: PathBuf,
}

impl Lab {
    /// Builds it: as root, with iproute2 and nginx installed.
    ///
    /// # Errors
    /// Where something of it cannot be made; what was made by then is removed.
    pub fn new(stop: &Stop) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces and BPF take root: run `sudo cargo xtask demo`");
        }
        folder::sweep()?;
        let folder = Folder::new()?;
        let network = Network::new(&folder)?;
        let bpf = BpfFs::mount(folder.path().join("bpf"))?;
        let nginx = Nginx::start(&network.server, folder.path(), stop)?;
        Ok(Self {
            nginx,
            bpf,
            network,
            folder,
        })
    }

    /// Where the server is.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        &self.network.server
    }

    /// Where the client is.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.network.client
    }

    /// Where the attacker is.
    #[must_use]
    pub fn attacker(&self) -> &Namespace {
        &self.network.attacker
    }

    /// The namespaces' names.
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        self.network.all().map(Namespace::name)
    }

    /// The BPF file system.
    #[must_use]
    pub fn bpf(&self) -> &Path {
        self.bpf.path()
    }

    /// Whether nginx still runs.
    ///
    /// # Errors
    /// Where it ended, saying how.
    pub fn check(&mut self) -> Result<()> {
        self.nginx.check()
    }

    /// Removes everything, and makes sure of it.
    ///
    /// # Errors
    /// Names what is left.
    pub fn close(self) -> Result<()> {
        let traces = Traces {
            namespaces: self.network.all().map(Namespace::path).into(),
            folder: self.folder.path().to_owned(),
            nginx: PathBuf::from(format!("/proc/{}", self.nginx.pid())),
        };
        drop(self);
        let left = traces.left();
        if left.is_empty() {
            return Ok(());
        }
        bail!("left behind: {}", left.join(", "))
    }
}

impl Traces {
    fn left(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mounts
            .lines()
            .filter(|line| {
                line.split(' ')
                    .any(|field| Path::new(field).starts_with(&self.folder))
            })
            .map(|line| format!("mount {line}"));
        self.namespaces
            .iter()
            .chain([&self.folder, &self.nginx])
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .chain(mount)
            .collect()
    }
}

/// Tells of what could not be removed. Dropping goes on, and must not panic: standard error may be closed.
fn complain(what: &str, error: &dyn std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "xtask: {what}: {error}");
}
