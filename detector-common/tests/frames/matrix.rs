//! Every header combination, with the packet summary that it must give.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use detector_common::{
    frame::Parser,
    key::Address,
    packet::{Packet, protocol, tcp},
};

use crate::build::{self, DONT, Extension, MORE, Transport, V4, V6};

/// A frame, and what it must give.
pub struct Case {
    pub name: String,
    pub parser: Parser,
    pub frame: Vec<u8>,
    pub version: u8,
    /// Where the IP header begins.
    pub network_at: usize,
    /// Where the extension headers or the transport begin.
    pub transport_at: usize,
    pub expected: Packet,
}

pub const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub const DESTINATION_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 250);
pub const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf);
pub const DESTINATION_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 7);

pub const RAW: Parser = Parser {
    ethernet: false,
    ..Parser::FULL
};

/// What becomes of the transport behind a network header.
#[derive(Clone, Copy, PartialEq)]
enum Behind {
    /// It is read.
    Read,
    /// It is part of a later fragment.
    Later,
    /// It is out of reach: the extension header of this number is one too many,
    /// with this many bytes of extension headers from there on.
    Beyond(u8, u32),
}

/// Puts a network header in front of a transport.
type Around = Box<dyn Fn(&Transport) -> Vec<u8>>;

struct Network {
    name: &'static str,
    packet: Around,
    version: u8,
    header_bytes: usize,
    addresses: (IpAddr, IpAddr),
    behind: Behind,
}

fn v4(name: &'static str, option_words: u8, fragment: u16) -> Network {
    let header = V4 {
        option_words,
        fragment,
        ..V4::new(SOURCE_V4, DESTINATION_V4)
    };
    Network {
        name,
        version: 4,
        header_bytes: 20 + usize::from(option_words) * 4,
        addresses: (SOURCE_V4.into(), DESTINATION_V4.into()),
        behind: if fragment & 0x1fff == 0 {
            Behind::Read
        } else {
            Behind::Later
        },
        packet: Box::new(move |t| header.around(t.protocol, &t.bytes)),
    }
}

fn v6(name: &'static str, chain: Vec<Extension>, behind: Behind) -> Network {
    let header = V6 {
        chain,
        ..V6::new(SOURCE_V6, DESTINATION_V6)
    };
    Network {
        name,
        version: 6,
        header_bytes: 40,
        addresses: (SOURCE_V6.into(), DESTINATION_V6.into()),
        behind,
        packet: Box::new(move |t| header.around(t.protocol, &t.bytes)),
    }
}

fn mapped() -> Network {
    let header = V6::new(SOURCE_V4.to_ipv6_mapped(), DESTINATION_V4.to_ipv6_mapped());
    Network {
        addresses: (SOURCE_V4.into(), DESTINATION_V4.into()),
        packet: Box::new(move |t| header.around(t.protocol, &t.bytes)),
        ..v6("mapped", vec![], Behind::Read)
    }
}

fn networks() -> Vec<Network> {
    use protocol::{DESTINATION_OPTIONS, HIP, HOP_BY_HOP, MOBILITY, ROUTING, SHIM6};
    let one = |number| Extension::of(number, 0);
    let eight = || {
        vec![
            one(HOP_BY_HOP),
            Extension::of(DESTINATION_OPTIONS, 2),
            Extension::of(ROUTING, 1),
            Extension::fragment(1),
            Extension::ah(6),
            one(MOBILITY),
            one(HIP),
            one(SHIM6),
        ]
    };
    let nine = || {
        let mut chain = eight();
        chain.push(Extension::of(DESTINATION_OPTIONS, 1));
        chain
    };
    let ten = || {
        let mut chain = nine();
        chain.push(Extension::ah(3));
        chain
    };
    let mut networks = vec![
        v4("ipv4", 0, DONT),
        v4("ipv4 flags 0", 0, 0),
        // The reserved bit is no fragment.
        v4("ipv4 evil bit", 0, 0x8000),
        v4("ipv4 options", 1, DONT),
        v4("ipv4 most options", 10, DONT),
        v4("ipv4 first fragment", 0, MORE),
        v4("ipv4 options first fragment", 3, MORE),
        v4("ipv4 middle fragment", 0, MORE | 1),
        v4("ipv4 last fragment", 0, 0x1fff),
        v4("ipv4 options last fragment", 2, 185),
        v6("ipv6", vec![], Behind::Read),
        mapped(),
        v6("fragment first", vec![Extension::fragment(1)], Behind::Read),
        v6(
            "fragment atomic",
            vec![Extension::fragment(0)],
            Behind::Read,
        ),
        // The two reserved bits are no offset.
        v6(
            "fragment atomic reserved",
            vec![Extension::fragment(6)],
            Behind::Read,
        ),
        v6(
            "fragment middle",
            vec![Extension::fragment(8 | 1)],
            Behind::Later,
        ),
        v6(
            "fragment last",
            vec![Extension::fragment(0xfff8)],
            Behind::Later,
        ),
        v6("ah least", vec![Extension::ah(2)], Behind::Read),
        v6("ah odd words", vec![Extension::ah(7)], Behind::Read),
        v6(
            "longest",
            vec![Extension::of(DESTINATION_OPTIONS, 255)],
            Behind::Read,
        ),
        v6(
            "hop-by-hop, fragment later",
            vec![one(HOP_BY_HOP), Extension::fragment(16)],
            Behind::Later,
        ),
        v6(
            "fragment first, destination options",
            vec![Extension::fragment(1), one(DESTINATION_OPTIONS)],
            Behind::Read,
        ),
        v6(
            "two fragment headers, atomic then first",
            vec![Extension::fragment(0), Extension::fragment(1)],
            Behind::Read,
        ),
        v6(
            "two fragment headers, first then later",
            vec![Extension::fragment(1), Extension::fragment(8)],
            Behind::Later,
        ),
        v6("eight", eight(), Behind::Read),
        v6("nine", nine(), Behind::Beyond(DESTINATION_OPTIONS, 16)),
        v6("ten", ten(), Behind::Beyond(DESTINATION_OPTIONS, 16 + 12)),
    ];
    for (name, number) in [
        ("hop-by-hop", HOP_BY_HOP),
        ("routing", ROUTING),
        ("destination options", DESTINATION_OPTIONS),
        ("mobility", MOBILITY),
        ("hip", HIP),
        ("shim6", SHIM6),
    ] {
        for units in [0, 1, 5] {
            networks.push(v6(name, vec![Extension::of(number, units)], Behind::Read));
        }
    }
    networks
}

fn transports() -> Vec<Transport> {
    use protocol::{ICMP, ICMPV6};
    let ports = (0x9c41, 443);
    vec![
        build::tcp(ports, tcp::SYN, 0),
        build::tcp_with(ports, 0xff, 0xffff, 5, 3),
        build::tcp_with(ports, tcp::ACK | tcp::PSH, 0, 10, 17),
        build::udp(ports, 0),
        build::udp(ports, 19),
        build::udp_lite(ports, 5),
        build::icmp(ICMP, (8, 0), (8, 0), 12),
        build::icmp(ICMP, (0, 0), (0, 8), 12),
        build::icmp(ICMP, (3, 1), (3, 1), 28),
        build::icmp(ICMPV6, (128, 0), (128, 129), 12),
        build::icmp(ICMPV6, (136, 0), (136, 135), 16),
        build::icmp(ICMPV6, (1, 4), (1, 4), 40),
        build::sctp(ports, 16),
        build::dccp(ports, 8),
        build::other(47, 9),
        build::other(50, 24),
        build::other(59, 0),
        build::other(253, 1),
    ]
}

/// What stands before the IP header: VLAN tags, or no Ethernet at all.
const LINKS: [(&str, Option<&[u16]>); 7] = [
    ("untagged", Some(&[])),
    ("802.1Q", Some(&[0x8100])),
    ("802.1ad", Some(&[0x88a8])),
    ("QinQ", Some(&[0x88a8, 0x8100])),
    ("9100", Some(&[0x9100])),
    ("9100 and 802.1Q", Some(&[0x9100, 0x8100])),
    ("raw", None),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (link, tags) in LINKS {
        for network in networks() {
            for transport in transports() {
                let packet = (network.packet)(&transport);
                let ethertype = if network.version == 4 {
                    build::IPV4
                } else {
                    build::IPV6
                };
                let frame = match tags {
                    Some(tags) => build::ethernet(tags, ethertype, &packet),
                    None => packet.clone(),
                };
                let network_at = frame.len() - packet.len();
                cases.push(Case {
                    name: format!("{link}, {}, {transport:?}", network.name),
                    parser: if tags.is_some() { Parser::FULL } else { RAW },
                    version: network.version,
                    network_at,
                    transport_at: network_at + network.header_bytes,
                    expected: expected(&network, &transport, frame.len() as u32),
                    frame,
                });
            }
        }
    }
    cases
}

fn expected(network: &Network, transport: &Transport, wire_bytes: u32) -> Packet {
    let unread = Packet {
        source: Address::from(network.addresses.0),
        destination: Address::from(network.addresses.1),
        source_port: 0,
        destination_port: 0,
        window: 0,
        protocol: transport.protocol,
        tcp_flags: 0,
        header_bytes: 0,
        later_fragment: false,
        short_transport: false,
        payload_bytes: transport.bytes.len() as u32,
        wire_bytes,
        segments: 1,
        segment_bytes: 0,
    };
    match network.behind {
        Behind::Later => Packet {
            later_fragment: true,
            ..unread
        },
        Behind::Beyond(number, bytes) => Packet {
            protocol: number,
            payload_bytes: unread.payload_bytes + bytes,
            ..unread
        },
        Behind::Read => Packet {
            source_port: transport.source_port,
            destination_port: transport.destination_port,
            window: transport.window,
            tcp_flags: transport.tcp_flags,
            header_bytes: transport.header_bytes,
            payload_bytes: transport.payload_bytes(),
            ..unread
        },
    }
}
