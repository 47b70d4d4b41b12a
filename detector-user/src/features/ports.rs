//! Ports as classes. A model never sees a port itself: it would learn the ports of the laboratory that it was trained in.

use detector_common::packet::protocol;

/// What a port is for. The numbers are part of the feature set: a class is added at the end or in a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PortClass {
    /// The protocol has no ports.
    None = 0,
    /// 32768 and above: what clients are given by their system.
    Ephemeral = 1,
    /// 1024 to 32767.
    Registered = 2,
    /// Below 1024, and none of the others.
    System = 3,
    /// HTTP, plain or not.
    Web = 4,
    /// Where one logs in: SSH, FTP, Telnet, RDP, SMB, mail boxes, databases.
    Login = 5,
    /// UDP services that answer much to little, from published lists of amplifiers (US-CERT TA14-017A and its updates).
    Amplifier = 6,
}

const WEB: [u16; 9] = [80, 443, 8000, 8008, 8080, 8081, 8443, 8888, 5000];
const LOGIN: [u16; 22] = [
    21, 22, 23, 25, 110, 139, 143, 389, 445, 465, 587, 993, 995, 1433, 1521, 2222, 3306, 3389,
    5432, 5900, 6379, 27017,
];
const AMPLIFIERS: [u16; 26] = [
    17, 19, 53, 69, 111, 123, 137, 161, 389, 427, 500, 520, 1434, 1900, 3283, 3389, 3478, 3702,
    5093, 5353, 5683, 10001, 11211, 27960, 32414, 37810,
];

impl PortClass {
    /// The class of a port of a protocol.
    #[must_use]
    pub fn of(protocol: u8, port: u16) -> Self {
        match protocol {
            protocol::TCP if WEB.contains(&port) => Self::Web,
            protocol::TCP if LOGIN.contains(&port) => Self::Login,
            // QUIC.
            protocol::UDP if port == 443 => Self::Web,
            protocol::UDP if AMPLIFIERS.contains(&port) => Self::Amplifier,
            protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP => match port {
                0..1024 => Self::System,
                1024..32768 => Self::Registered,
                _ => Self::Ephemeral,
            },
            _ => Self::None,
        }
    }
}
