//! What is sent of a captured attack: its packets, turned on the laboratory's server.
//!
//! Of a packet the Ethernet header and the destination are new, and the checksums are what they must be for that;
//! source, ports, flags, payload, length and fragmentation are as captured.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Result, bail};
use detector_user::wire::capture::CaptureReader;

use super::SERVER;
use super::network::{ATTACKER_MAC, SERVER_MAC};

/// Packets of one attack that are kept at most.
pub const PACKETS_MAX: usize = 200_000;

pub(super) const ETHERNET: usize = 14;
pub(super) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// Which packets of a capture are the attack's, and where they go.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// What is sent to this host.
    pub victim: Ipv4Addr,
    /// By this IP protocol: what else a capture holds is not the attack's.
    pub protocol: u8,
    /// Instead of the captured port.
    pub port: Option<u16>,
}

/// The attack in a capture.
///
/// # Errors
/// Where it cannot be read, or has no packet of the attack.
pub fn read(path: &Path, turn: &Turn) -> Result<Vec<Vec<u8>>> {
    let mut reader = CaptureReader::open(path)?;
    let mut packets = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        packets.extend(turn.turn(frame.bytes));
        if packets.len() == PACKETS_MAX {
            break;
        }
    }
    if packets.is_empty() {
        bail!("{}: no packet of the attack ({turn:?})", path.display());
    }
    Ok(packets)
}

impl Turn {
    /// A packet of the attack, turned on the server; `None` for any other packet, and for one that was not captured
    /// whole.
    fn turn(&self, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.get(12..ETHERNET)? != ETHERTYPE_IPV4 {
            return None;
        }
        let packet = frame.get(ETHERNET..)?;
        let header = usize::from(*packet.first()? & 0x0f) * 4;
        let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        if header < 20 || length < header || packet.len() < length {
            return None;
        }
        if packet[9] != self.protocol || packet[16..20] != self.victim.octets() {
            return None;
        }
        let mut turned = [&SERVER_MAC[..], &ATTACKER_MAC, &ETHERTYPE_IPV4, packet].concat();
        self.mend(&mut turned[ETHERNET..ETHERNET + length], header);
        Some(turned)
    }

    /// Sets the destination, and what it changes in the checksums: of a fragment the rest is not known.
    fn mend(&self, packet: &mut [u8], header: usize) {
        let fragment_offset = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff;
        let check = match self.protocol {
            _ if fragment_offset > 0 => None,
            TCP => Some(header + 16),
            UDP => Some(header + 6),
            _ => None,
        };
        // Where the packet has such a field; a UDP checksum of 0 says that there is none.
        let check = check
            .filter(|at| packet.len() >= at + 2)
            .filter(|at| self.protocol == TCP || packet[*at..at + 2] != [0, 0]);
        let put = |packet: &mut [u8], at: usize, new: [u8; 2], checks: &[usize]| {
            let old = [packet[at], packet[at + 1]];
            packet[at..at + 2].copy_from_slice(&new);
            for check in checks {
                amend(packet, *check, old, new);
            }
        };
        let [a, b, c, d] = SERVER.octets();
        let both = [Some(10), check].into_iter().flatten().collect::<Vec<_>>();
        put(packet, 16, [a, b], &both);
        put(packet, 18, [c, d], &both);
        let has_ports = fragment_offset == 0 && packet.len() >= header + 4;
        if let Some(port) = self.port.filter(|_| has_ports) {
            let of_transport = check.into_iter().collect::<Vec<_>>();
            put(packet, header + 2, port.to_be_bytes(), &of_transport);
        }
    }
}

/// Amends a checksum for one changed word (RFC 1624, equation 3).
fn amend(packet: &mut [u8], at: usize, old: [u8; 2], new: [u8; 2]) {
    let word = |bytes: [u8; 2]| u32::from(u16::from_be_bytes(bytes));
    let check = word([packet[at], packet[at + 1]]);
    let sum = (!check & 0xffff) + (!word(old) & 0xffff) + word(new);
    packet[at..at + 2].copy_from_slice(&folded(sum).to_be_bytes());
}

/// The sum of the 16-bit words.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    pairs
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

/// The checksum of a sum.
pub(super) fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::craft::{Ports, Recipe, Sources, Transport, errors};
    use super::*;

    const RECIPE: Recipe = Recipe {
        transport: Transport::Udp,
        sources: Sources::Random,
        source_port: Ports::Random,
        port: Ports::One(30_120),
        payload: (100, 400),
        count: 20,
    };
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 10);

    fn turn(protocol: u8) -> Turn {
        Turn {
            victim: SERVER,
            protocol,
            port: Some(4444),
        }
    }

    #[test]
    fn turned_packets_are_whole() {
        for (transport, protocol) in [(Transport::Udp, UDP), (Transport::Syn, TCP)] {
            let recipe = Recipe {
                transport,
                ..RECIPE
            };
            for frame in recipe.craft() {
                let there = turn(protocol).turn(&frame).unwrap();
                assert_eq!(errors(&there), (0, 0));
                assert_eq!(there[36..38], 4444u16.to_be_bytes());
                // What is on its way to another host is not of the attack.
                let mut other = frame.clone();
                other[30..34].copy_from_slice(&ELSEWHERE.octets());
                assert_eq!(turn(protocol).turn(&other), None);
            }
        }
    }

    #[test]
    fn of_a_fragment_the_address_changes_and_nothing_else() {
        let mut frame = RECIPE.craft()[3].clone();
        frame[30..34].copy_from_slice(&ELSEWHERE.octets());
        let to_elsewhere = Turn {
            victim: ELSEWHERE,
            ..turn(UDP)
        };
        frame[ETHERNET + 7] = 3;
        let turned = to_elsewhere.turn(&frame).unwrap();
        assert_eq!(turned[34..], frame[34..]);
        assert_eq!(turned[30..34], SERVER.octets());
    }

    #[test]
    fn packets_that_are_not_whole_are_left_out() {
        let frame = RECIPE.craft()[3].clone();
        for (at, value) in [(16, 0xff), (14, 0x44), (12, 0x86), (23, 1)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(turn(UDP).turn(&other), None, "{at}");
        }
        assert_eq!(turn(UDP).turn(&frame[..40]), None);
    }
}
