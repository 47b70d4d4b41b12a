//! The four namespaces, the bridge, and who reaches whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::folder::Folder;
use super::namespace::{Namespace, Register};
use super::{INTERFACE, SERVER, SERVER6};

/// Bits of the network's prefix.
const PREFIX_BITS: u8 = 16;
/// Bits of the network's IPv6 prefix.
const PREFIX6_BITS: u8 = 48;
/// The server's gateways. Nobody has the addresses: what the server sends there goes to the attacker's interface.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 254);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0xffff, 0xfffe);
const BRIDGE: &str = "bridge";
/// The bridge's port to the server, in the namespace of the bridge.
pub const SERVER_PORT: &str = "server";

/// Clients, each with an address of its own.
pub const CLIENTS: u8 = 8;
/// Attackers with an address of their own.
pub const ATTACKERS: u8 = 20;

/// A MAC address.
pub type Mac = [u8; 6];

/// The server's interface. Locally administered, as all of these.
pub const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The clients' interface.
pub const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];
/// The attackers' interface, and nobody else's: by it their packets are told from others, whatever source they claim.
pub const ATTACKER_MAC: Mac = [2, 0, 0, 0, 0, 3];

/// The address of a client, counted from 1.
#[must_use]
pub fn client(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 1, n)
}

/// The IPv6 address of a client, counted from 1.
#[must_use]
pub fn client6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, n.into())
}

/// The address of an attacker, counted from 1.
#[must_use]
pub fn attacker(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 2, n)
}

/// The addresses of all clients.
pub fn clients() -> impl Iterator<Item = IpAddr> {
    (1..=CLIENTS).flat_map(|n| [client(n).into(), client6(n).into()])
}

/// Whether an address is a client's.
#[must_use]
pub fn is_client(address: IpAddr) -> bool {
    clients().any(|client| client == address)
}

/// The namespaces, connected. The one with the bridge is dropped last.
pub(super) struct Network {
    pub(super) server: Namespace,
    pub(super) clients: Namespace,
    pub(super) attackers: Namespace,
    pub(super) wire: Namespace,
    _register: Register,
}

impl Network {
    pub(super) fn new(folder: &Folder) -> Result<Self> {
        let register = Register::new(&folder.marker())?;
        let prefix = folder.name();
        let namespace = |role: &str| Namespace::new(format!("{prefix}-{role}"));
        let network = Self {
            server: namespace("server")?,
            clients: namespace("clients")?,
            attackers: namespace("attackers")?,
            wire: namespace("wire")?,
            _register: register,
        };
        network.connect()?;
        network.number()?;
        Ok(network)
    }

    pub(super) fn all(&self) -> [&Namespace; 4] {
        [&self.server, &self.clients, &self.attackers, &self.wire]
    }

    fn connect(&self) -> Result<()> {
        let wire = &self.wire;
        // Without snooping the bridge asks nobody for multicast groups.
        wire.ip(&[
            "link",
            "add",
            BRIDGE,
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ])?;
        wire.ip(&["link", "set", BRIDGE, "up"])?;
        let ends = [
            (&self.server, SERVER_PORT, SERVER_MAC),
            (&self.clients, "clients", CLIENT_MAC),
            (&self.attackers, "attackers", ATTACKER_MAC),
        ];
        for (namespace, port, mac) in ends {
            let end = ["peer", "name", INTERFACE, "netns", namespace.name()];
            wire.ip(&[&["link", "add", port, "type", "veth"], &end[..]].concat())?;
            wire.ip(&["link", "set", port, "master", BRIDGE, "up"])?;
            let mac = text(mac);
            // No link-local address: IPv6 would speak of it.
            namespace.ip(&["link", "set", INTERFACE, "addrgenmode", "none"])?;
            namespace.allow_ipv6(INTERFACE)?;
            namespace.ip(&["link", "set", INTERFACE, "address", &mac, "up"])?;
        }
        Ok(())
    }

    /// Gives everybody addresses, and tells everybody where the others are, so that nobody has to ask.
    fn number(&self) -> Result<()> {
        let servers = [address(SERVER), address6(SERVER6)];
        let clients = (1..=CLIENTS).flat_map(|n| [address(client(n)), address6(client6(n))]);
        let attackers = (1..=ATTACKERS).map(|n| address(attacker(n)));
        let at = |whom: IpAddr, mac: Mac| {
            let mac = text(mac);
            format!("neighbour add {whom} lladdr {mac} dev {INTERFACE} nud permanent")
        };
        let to_server = [
            at(SERVER.into(), SERVER_MAC),
            at(SERVER6.into(), SERVER_MAC),
        ];
        let to_clients = (1..=CLIENTS)
            .flat_map(|n| [client(n).into(), client6(n).into()].map(|whom| at(whom, CLIENT_MAC)));
        let to_attackers = (1..=ATTACKERS).map(|n| at(attacker(n).into(), ATTACKER_MAC));
        let to_gateways = [
            at(GATEWAY.into(), ATTACKER_MAC),
            at(GATEWAY6.into(), ATTACKER_MAC),
            format!("route add default via {GATEWAY}"),
            format!("route add default via {GATEWAY6}"),
        ];
        let of_server: Vec<String> = servers
            .into_iter()
            .chain(to_clients)
            .chain(to_attackers)
            .chain(to_gateways)
            .collect();
        self.server.ip_all(&of_server)?;
        let of_clients: Vec<String> = clients.chain(to_server.clone()).collect();
        self.clients.ip_all(&of_clients)?;
        let of_attackers: Vec<String> = attackers.chain(to_server).collect();
        self.attackers.ip_all(&of_attackers)
    }
}

fn address(address: Ipv4Addr) -> String {
    format!("address add {address}/{PREFIX_BITS} dev {INTERFACE}")
}

/// Without asking first whether anybody else has it.
fn address6(address: Ipv6Addr) -> String {
    format!("address add {address}/{PREFIX6_BITS} dev {INTERFACE} nodad")
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
