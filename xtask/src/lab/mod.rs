//! A laboratory for attacks: a server, clients and attackers, each in a network namespace of its own, joined by a
//! bridge in a fourth. Nothing of it can reach the host's network.
//!
//! ```text
//!   clients    198.18.1.1 … .8 ────┐
//!              2001:2:0:1::1 … ::8 │
//!                                  ├── bridge (namespace `wire`) ── 198.18.0.1, 2001:2::1  server: nginx, sshd, vsftpd
//!   attackers  198.18.2.1 … .20, ──┘
//!              the server's gateway: whatever source their packets claim, answers go back there
//! ```
//!
//! The addresses are of 198.18.0.0/15 and 2001:2::/48, which are set aside for measurements (RFC 2544, RFC 5180).
//!
//! Everything is removed when [`Lab`] is dropped, be it at the end, on a failure or on Ctrl-C ([`stop::Stop`] turns the
//! signal into an error). What a killed process left behind, the next [`Lab`] sweeps away.

pub mod clients;
pub mod craft;
mod folder;
pub mod namespace;
pub mod network;
mod nginx;
mod packet_socket;
pub mod process;
pub mod sender;
mod sshd;
pub mod stop;
pub mod traffic;
mod vsftpd;
pub mod witness;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::folder::{BpfFs, Folder};
pub use self::namespace::Namespace;
use self::network::{Network, SERVER_PORT};
use self::process::Process;
use self::stop::Stop;

/// The server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The server, by IPv6.
pub const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
/// The port that nginx listens on.
pub const HTTP_PORT: u16 = 80;
/// The port that sshd listens on.
pub const SSH_PORT: u16 = 22;
/// The port that vsftpd listens on.
pub const FTP_PORT: u16 = 21;
/// The interface of the server, of the clients and of the attackers, each in its namespace.
pub const INTERFACE: &str = "eth0";

/// How long killed processes may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(3);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// The laboratory. Fields are dropped in their order: processes first, the folder last.
pub struct Lab {
    servers: [Process; 3],
    bpf: BpfFs,
    network: Network,
    folder: Folder,
}

/// What must be gone after the end.
struct Traces {
    namespaces: Vec<PathBuf>,
    folder: PathBuf,
}

impl Lab {
    /// Builds it: as root, with what [`crate::setup`] installs.
    ///
    /// # Errors
    /// Where something of it cannot be made; what was made by then is removed.
    pub fn new(stop: &Stop) -> Result<Self> {
        folder::sweep()?;
        let folder = Folder::new()?;
        let network = Network::new(&folder)?;
        let bpf = BpfFs::mount(folder.path().join("bpf"))?;
        let (server, home) = (&network.server, folder.path());
        let servers = [
            nginx::start(server, home, stop)?,
            sshd::start(server, home, stop)?,
            vsftpd::start(server, home, stop)?,
        ];
        Ok(Self {
            servers,
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

    /// Where the clients are.
    #[must_use]
    pub fn clients(&self) -> &Namespace {
        &self.network.clients
    }

    /// Where the attackers are.
    #[must_use]
    pub fn attackers(&self) -> &Namespace {
        &self.network.attackers
    }

    /// Where the bridge is.
    #[must_use]
    pub fn wire(&self) -> &Namespace {
        &self.network.wire
    }

    /// A folder for what is to be gone with the laboratory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The key that opens the SSH server.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        sshd::key(self.folder.path())
    }

    /// The BPF file system.
    #[must_use]
    pub fn bpf(&self) -> &Path {
        self.bpf.path()
    }

    /// Whether the servers still run.
    ///
    /// # Errors
    /// Where one ended, saying how.
    pub fn check(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(Process::check)
    }

    /// Frames on their way to the server that found its interface's ring full, since the laboratory was built.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn lost_on_the_wire(&self) -> Result<u64> {
        let link = self
            .network
            .wire
            .ip_shows(&["-s", "link", "show", SERVER_PORT])?;
        link.pointer("/0/stats64/tx/dropped")
            .and_then(serde_json::Value::as_u64)
            .context("`ip -s link` does not tell of dropped frames")
    }

    /// Removes everything, and makes sure of it.
    ///
    /// # Errors
    /// Names what is left.
    pub fn close(self) -> Result<()> {
        let traces = Traces {
            namespaces: self.network.all().map(Namespace::path).into(),
            folder: self.folder.path().to_owned(),
        };
        let Self {
            servers,
            bpf,
            network,
            folder,
        } = self;
        drop(servers);
        // While the namespaces have their names, whoever is in them can be told.
        let mut left = still_there(&traces.namespaces);
        drop((bpf, network));
        drop(folder);
        left.extend(traces.left());
        if left.is_empty() {
            return Ok(());
        }
        bail!("left behind: {}", left.join(", "))
    }
}

/// The processes in some namespaces, when those that were killed are gone.
fn still_there(namespaces: &[PathBuf]) -> Vec<String> {
    let end = Instant::now() + GONE_MAX;
    loop {
        let left: Vec<String> = namespaces
            .iter()
            .flat_map(|namespace| process::in_namespace(namespace))
            .collect();
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        thread::sleep(POLL);
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
            .chain([&self.folder])
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
