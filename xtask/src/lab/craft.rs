//! Packets of attacks that are made here: floods as the known tools send them, and stand-ins for captures that are not
//! there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::network::{ATTACKER_MAC, SERVER_MAC};
use super::traffic::{ETHERTYPE_IPV4, TCP, UDP, folded, sum};
use super::{SERVER, SERVER6};

const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// A hop-by-hop header of padding, a destination header likewise, and what follows them is told in the latter's first
/// byte.
const EXTENSIONS: [u8; 16] = [60, 0, 1, 4, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0];
/// hping3's window.
const WINDOW: [u8; 2] = [2, 0];
const SYN: u8 = 2;

/// What an attack's packets look like.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Their transport.
    pub transport: Transport,
    /// Who they claim to be from.
    pub sources: Sources,
    /// Their source ports.
    pub source_port: Ports,
    /// Their destination ports.
    pub port: Ports,
    /// The least and the most bytes of payload; a SYN has none.
    pub payload: (u16, u16),
    /// Packets.
    pub count: u32,
}

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A SYN without options, as hping3 sends it.
    Syn,
    /// A datagram.
    Udp,
}

/// Who packets claim to be from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Another address of the whole Internet each.
    Random,
    /// Another IPv6 address each; the packets have extension headers.
    Random6,
}

/// Ports of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All the same.
    One(u16),
    /// Another one each.
    Random,
}

impl Recipe {
    /// Makes the frames, the same ones each time.
    #[must_use]
    pub fn craft(&self) -> Vec<Vec<u8>> {
        let mut dice = Dice(0);
        (0..self.count).map(|_| self.frame(&mut dice)).collect()
    }

    fn frame(&self, dice: &mut Dice) -> Vec<u8> {
        let source = match self.sources {
            Sources::Random => dice.address().into(),
            Sources::Random6 => dice.address6().into(),
        };
        let transport = self.segment(dice);
        let protocol = match self.transport {
            Transport::Syn => TCP,
            Transport::Udp => UDP,
        };
        let (ethertype, packet) = match source {
            IpAddr::V4(source) => (ETHERTYPE_IPV4, packet4(source, protocol, transport, dice)),
            IpAddr::V6(source) => (ETHERTYPE_IPV6, packet6(source, protocol, transport)),
        };
        [&SERVER_MAC[..], &ATTACKER_MAC, &ethertype, &packet].concat()
    }

    /// The transport header and the payload, without a checksum.
    fn segment(&self, dice: &mut Dice) -> Vec<u8> {
        let mut port = |ports| match ports {
            Ports::One(port) => port,
            Ports::Random => dice.between(1024, u16::MAX),
        };
        let ports = [port(self.source_port), port(self.port)].map(u16::to_be_bytes);
        match self.transport {
            Transport::Syn => {
                let sequence = (dice.roll() as u32).to_be_bytes();
                let acknowledged = [0; 4];
                let rest = [5 << 4, SYN, WINDOW[0], WINDOW[1], 0, 0, 0, 0];
                [&ports.concat()[..], &sequence, &acknowledged, &rest].concat()
            }
            Transport::Udp => {
                let (least, most) = self.payload;
                let length = dice.between(least, most);
                let payload = dice.bytes(length.into());
                let length = (payload.len() as u16 + 8).to_be_bytes();
                [&ports.concat()[..], &length, &[0, 0], &payload].concat()
            }
        }
    }
}

fn packet4(source: Ipv4Addr, protocol: u8, mut transport: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let ends = [source.octets(), SERVER.octets()].concat();
    check(&mut transport, protocol, &ends);
    let length = (20 + transport.len() as u16).to_be_bytes();
    let id = (dice.roll() as u16).to_be_bytes();
    let start = [
        0x45, 0, length[0], length[1], id[0], id[1], 0, 0, 64, protocol, 0, 0,
    ];
    let mut header = [&start[..], &ends].concat();
    let check = folded(sum(&header)).to_be_bytes();
    header[10..12].copy_from_slice(&check);
    [header, transport].concat()
}

fn packet6(source: Ipv6Addr, protocol: u8, mut transport: Vec<u8>) -> Vec<u8> {
    let ends = [source.octets(), SERVER6.octets()].concat();
    check(&mut transport, protocol, &ends);
    let mut extensions = EXTENSIONS;
    extensions[8] = protocol;
    let length = ((extensions.len() + transport.len()) as u16).to_be_bytes();
    let start = [0x60, 0, 0, 0, length[0], length[1], 0, 64];
    [&start[..], &ends, &extensions, &transport].concat()
}

/// Sets the checksum of the transport, whose field holds 0.
fn check(transport: &mut [u8], protocol: u8, ends: &[u8]) {
    let at = if protocol == TCP { 16 } else { 6 };
    let pseudo = sum(ends) + u32::from(protocol) + transport.len() as u32;
    let check = match folded(pseudo + sum(transport)) {
        // Of a datagram 0 would say that there is none.
        0 if protocol == UDP => u16::MAX,
        check => check,
    };
    transport[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

/// Throws the same numbers each time (splitmix64: Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 7);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.roll().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    fn between(&mut self, least: u16, most: u16) -> u16 {
        let width = u64::from(most - least) + 1;
        least + (self.roll() % width) as u16
    }

    /// An address that a host could have: the laboratory's are not among them.
    fn address(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from_bits(self.roll() as u32);
            let [a, b, ..] = address.octets();
            let taken = matches!((a, b), (0 | 10 | 127, _) | (224.., _) | (198, 18 | 19));
            if !taken {
                return address;
            }
        }
    }

    /// An address of those that are set aside for documents.
    fn address6(&mut self) -> Ipv6Addr {
        const PREFIX: u128 = 0x2001_0db8 << 96;
        let low = u128::from(self.roll()) << 64 | u128::from(self.roll());
        Ipv6Addr::from_bits(PREFIX | (low & (u128::MAX >> 32)))
    }
}

/// 0 where the checksums of an IPv4 frame are right: of the header, and of the transport.
#[cfg(test)]
pub(super) fn errors(frame: &[u8]) -> (u16, u16) {
    let packet = &frame[14..];
    let pseudo = sum(&packet[12..20]) + u32::from(packet[9]) + (packet.len() - 20) as u32;
    (
        folded(sum(&packet[..20])),
        folded(pseudo + sum(&packet[20..])),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const RECIPE: Recipe = Recipe {
        transport: Transport::Syn,
        sources: Sources::Random,
        source_port: Ports::Random,
        port: Ports::One(80),
        payload: (1, 700),
        count: 1000,
    };

    #[test]
    fn packets_are_whole_and_of_many_sources() {
        for transport in [Transport::Syn, Transport::Udp] {
            let frames = Recipe {
                transport,
                ..RECIPE
            }
            .craft();
            assert!(frames.iter().all(|frame| errors(frame) == (0, 0)));
            let sources: HashSet<_> = frames.iter().map(|frame| &frame[26..30]).collect();
            assert_eq!(sources.len(), 1000);
        }
    }

    #[test]
    fn packets_of_ipv6_are_whole() {
        let recipe = Recipe {
            sources: Sources::Random6,
            ..RECIPE
        };
        for frame in recipe.craft() {
            let packet = &frame[14..];
            assert_eq!(packet.len(), 40 + 16 + 20);
            assert_eq!((packet[6], packet[40], packet[48]), (0, 60, TCP));
            let pseudo = sum(&packet[8..40]) + u32::from(TCP) + 20;
            assert_eq!(folded(pseudo + sum(&packet[56..])), 0);
        }
    }
}
