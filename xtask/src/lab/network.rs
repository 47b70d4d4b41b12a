//! The four namespaces, the bridge, and who reaches whom.

use anyhow::Result;

use super::folder::Folder;
use super::namespace::{Namespace, Register};
use super::{CLIENT, INTERFACE, SERVER};

/// Bits of the network's prefix.
const PREFIX_BITS: u8 = 24;
/// The server's gateway. Nobody has the address: what the server sends there goes to the attacker's interface.
const GATEWAY: &str = "198.18.0.254";
const BRIDGE: &str = "bridge";

/// A MAC address.
pub type Mac = [u8; 6];

/// The server's interface. Locally administered, as all of these.
pub const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];
/// The attacker's interface.
pub const ATTACKER_MAC: Mac = [2, 0, 0, 0, 0, 3];

/// The namespaces, connected. The one with the bridge is dropped last.
pub(super) struct Network {
    pub(super) server: Namespace,
    pub(super) client: Namespace,
    pub(super) attacker: Namespace,
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
            client: namespace("client")?,
            attacker: namespace("attacker")?,
            wire: namespace("wire")?,
            _register: register,
        };
        network.connect()?;
        Ok(network)
    }

    pub(super) fn all(&self) -> [&Namespace; 4] {
        [&self.server, &self.client, &self.attacker, &self.wire]
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
            (&self.server, "server", SERVER_MAC),
            (&self.client, "client", CLIENT_MAC),
            (&self.attacker, "attacker", ATTACKER_MAC),
        ];
        for (namespace, port, mac) in ends {
            let end = ["peer", "name", INTERFACE, "netns", namespace.name()];
            wire.ip(&[&["link", "add", port, "type", "veth"], &end[..]].concat())?;
            wire.ip(&["link", "set", port, "master", BRIDGE, "up"])?;
            let mac = text(mac);
            namespace.ip(&["link", "set", INTERFACE, "address", &mac, "up"])?;
        }
        for (namespace, address) in [(&self.server, SERVER), (&self.client, CLIENT)] {
            let address = format!("{address}/{PREFIX_BITS}");
            namespace.ip(&["address", "add", &address, "dev", INTERFACE])?;
        }
        let gateway = text(ATTACKER_MAC);
        let neighbour = ["lladdr", &gateway, "dev", INTERFACE, "nud", "permanent"];
        self.server
            .ip(&[&["neighbour", "add", GATEWAY], &neighbour[..]].concat())?;
        self.server.ip(&["route", "add", "default", "via", GATEWAY])
    }
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
