//! Frames, put together layer by layer, each with what a parser must say of it.
#![allow(dead_code, reason = "every test crate takes the part that it needs")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use detector_common::packet::protocol;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// A transport header with its payload, and what a summary must say of them.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    pub protocol: u8,
    pub bytes: Vec<u8>,
    pub source_port: u16,
    pub destination_port: u16,
    pub window: u16,
    pub tcp_flags: u8,
    pub header_bytes: u8,
}

impl Transport {
    pub fn payload_bytes(&self) -> u32 {
        self.bytes.len() as u32 - u32::from(self.header_bytes)
    }
}

/// Payload whose bytes are like nothing that a header holds: a wrong offset shows.
pub fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| 0xa0 | (n % 13) as u8).collect()
}

pub fn tcp_with(
    (source_port, destination_port): (u16, u16),
    tcp_flags: u8,
    window: u16,
    option_words: u8,
    payload_bytes: usize,
) -> Transport {
    let mut bytes = Vec::new();
    bytes.extend(source_port.to_be_bytes());
    bytes.extend(destination_port.to_be_bytes());
    bytes.extend([0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24]);
    bytes.extend([(5 + option_words) << 4, tcp_flags]);
    bytes.extend(window.to_be_bytes());
    bytes.extend([0xee, 0xef, 0, 0]);
    bytes.extend(vec![1; usize::from(option_words) * 4]);
    bytes.extend(payload(payload_bytes));
    Transport {
        protocol: protocol::TCP,
        bytes,
        source_port,
        destination_port,
        window,
        tcp_flags,
        header_bytes: (5 + option_words) * 4,
    }
}

pub fn tcp(ports: (u16, u16), tcp_flags: u8, payload_bytes: usize) -> Transport {
    tcp_with(ports, tcp_flags, 0x7210, 0, payload_bytes)
}

/// A transport that begins with its ports and has a header of `header_bytes`.
fn with_ports(
    protocol: u8,
    header_bytes: u8,
    (source_port, destination_port): (u16, u16),
    payload_bytes: usize,
) -> Transport {
    let mut bytes = Vec::new();
    bytes.extend(source_port.to_be_bytes());
    bytes.extend(destination_port.to_be_bytes());
    bytes.extend(vec![0x5a; usize::from(header_bytes) - 4]);
    bytes.extend(payload(payload_bytes));
    Transport {
        protocol,
        bytes,
        source_port,
        destination_port,
        header_bytes,
        ..Transport::default()
    }
}

pub fn udp(ports: (u16, u16), payload_bytes: usize) -> Transport {
    let mut transport = with_ports(protocol::UDP, 8, ports, payload_bytes);
    transport.bytes[4..6].copy_from_slice(&(8 + payload_bytes as u16).to_be_bytes());
    transport
}

pub fn udp_lite(ports: (u16, u16), payload_bytes: usize) -> Transport {
    with_ports(protocol::UDP_LITE, 8, ports, payload_bytes)
}

pub fn sctp(ports: (u16, u16), payload_bytes: usize) -> Transport {
    with_ports(protocol::SCTP, 12, ports, payload_bytes)
}

pub fn dccp(ports: (u16, u16), payload_bytes: usize) -> Transport {
    with_ports(protocol::DCCP, 12, ports, payload_bytes)
}

/// An ICMP or ICMPv6 message; `ports` are what must stand in the ports' place.
pub fn icmp(
    protocol: u8,
    (kind, code): (u8, u8),
    ports: (u16, u16),
    payload_bytes: usize,
) -> Transport {
    let mut bytes = vec![kind, code, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f];
    bytes.extend(payload(payload_bytes));
    Transport {
        protocol,
        bytes,
        source_port: ports.0,
        destination_port: ports.1,
        header_bytes: 8,
        ..Transport::default()
    }
}

/// A transport of which the parser knows nothing but its number.
pub fn other(protocol: u8, payload_bytes: usize) -> Transport {
    Transport {
        protocol,
        bytes: payload(payload_bytes),
        ..Transport::default()
    }
}

/// An IPv4 header.
#[derive(Clone, Debug)]
pub struct V4 {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub option_words: u8,
    /// Flags and fragment offset, as in the header.
    pub fragment: u16,
}

/// More fragments, in [`V4::fragment`].
pub const MORE: u16 = 0x2000;
/// Don't fragment, in [`V4::fragment`].
pub const DONT: u16 = 0x4000;

impl V4 {
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            source,
            destination,
            option_words: 0,
            fragment: DONT,
        }
    }

    pub fn around(&self, protocol: u8, body: &[u8]) -> Vec<u8> {
        let header = 20 + usize::from(self.option_words) * 4;
        let mut bytes = vec![0x45 + self.option_words, 0xfc];
        bytes.extend(((header + body.len()) as u16).to_be_bytes());
        bytes.extend([0xab, 0xcd]);
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([63, protocol, 0x77, 0x78]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(vec![1; header - 20]);
        bytes.extend(body);
        bytes
    }
}

/// An extension header of IPv6, but for its next-header byte.
#[derive(Clone, Debug)]
pub struct Extension {
    pub number: u8,
    rest: Vec<u8>,
}

impl Extension {
    /// One whose length is counted in eight bytes beyond the first eight.
    pub fn of(number: u8, units: u8) -> Self {
        let mut rest = vec![units];
        rest.extend(vec![0x5a; 6 + usize::from(units) * 8]);
        Self { number, rest }
    }

    /// An authentication header of `words` 32-bit words, at least 2.
    pub fn ah(words: u8) -> Self {
        let mut rest = vec![words - 2];
        rest.extend(vec![0x5a; usize::from(words) * 4 - 2]);
        Self {
            number: protocol::AH,
            rest,
        }
    }

    /// A fragment header; `field` is offset, reserved bits and the more flag, as there.
    pub fn fragment(field: u16) -> Self {
        let [high, low] = field.to_be_bytes();
        Self {
            number: protocol::FRAGMENT,
            // The reserved byte is not a length.
            rest: vec![0xff, high, low, 0xde, 0xad, 0xbe, 0xef],
        }
    }

    pub fn bytes(&self) -> usize {
        1 + self.rest.len()
    }
}

/// An IPv6 header and its extension headers.
#[derive(Clone, Debug)]
pub struct V6 {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub chain: Vec<Extension>,
}

impl V6 {
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            source,
            destination,
            chain: Vec::new(),
        }
    }

    pub fn around(&self, protocol: u8, body: &[u8]) -> Vec<u8> {
        let next = |n: usize| self.chain.get(n).map_or(protocol, |e| e.number);
        let extensions: usize = self.chain.iter().map(Extension::bytes).sum();
        let mut bytes = vec![0x6f, 0xc1, 0x23, 0x45];
        bytes.extend(((extensions + body.len()) as u16).to_be_bytes());
        bytes.extend([next(0), 63]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        for (n, extension) in self.chain.iter().enumerate() {
            bytes.push(next(n + 1));
            bytes.extend(&extension.rest);
        }
        bytes.extend(body);
        bytes
    }
}

/// An Ethernet frame with a VLAN tag for each of `tags`, outermost first.
pub fn ethernet(tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 0xb, 0x02, 0, 0, 0, 0, 0xa];
    for tag in tags {
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0x4f, 0xfe]);
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(packet);
    bytes
}

/// A plain frame between two addresses of one family.
pub fn frame(source: IpAddr, destination: IpAddr, transport: &Transport) -> Vec<u8> {
    let (number, body) = (transport.protocol, &transport.bytes);
    match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => ethernet(&[], IPV4, &V4::new(a, b).around(number, body)),
        (IpAddr::V6(a), IpAddr::V6(b)) => ethernet(&[], IPV6, &V6::new(a, b).around(number, body)),
        _ => unreachable!("one family"),
    }
}
