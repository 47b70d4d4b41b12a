//! Headers that do not say what is there.

use detector_common::{
    frame::{Malformed, Parser, Rejected, ethertype},
    key::Address,
    packet::{Packet, protocol, tcp},
};

use crate::{
    build::{self, Extension, MORE, V4, V6},
    matrix::{DESTINATION_V4, DESTINATION_V6, RAW, SOURCE_V4, SOURCE_V6},
};

const PORTS: (u16, u16) = (40_001, 443);
const V4_HEADER: usize = 14;
const V4_TCP: usize = 34;

fn parse(frame: &[u8]) -> Result<Packet, Rejected> {
    Parser::FULL.parse(frame)
}

fn tcp_v4() -> Vec<u8> {
    let transport = build::tcp_with(PORTS, tcp::ACK, 512, 0, 10);
    build::frame(SOURCE_V4.into(), DESTINATION_V4.into(), &transport)
}

fn around_v6(chain: Vec<Extension>, number: u8, body: &[u8]) -> Vec<u8> {
    let header = V6 {
        chain,
        ..V6::new(SOURCE_V6, DESTINATION_V6)
    };
    build::ethernet(&[], build::IPV6, &header.around(number, body))
}

fn around_v4(number: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
    let header = V4 {
        fragment,
        ..V4::new(SOURCE_V4, DESTINATION_V4)
    };
    build::ethernet(&[], build::IPV4, &header.around(number, body))
}

fn malformed(frame: &[u8], reason: Malformed) {
    assert_eq!(parse(frame), Err(Rejected::Malformed(reason)));
}

#[test]
fn three_tags_are_not_ip() {
    let packet = &tcp_v4()[V4_HEADER..];
    for tags in [[0x8100, 0x8100, 0x8100], [0x88a8, 0x8100, 0x9100]] {
        let frame = build::ethernet(&tags, build::IPV4, packet);
        assert_eq!(parse(&frame), Err(Rejected::NonIp(tags[2])));
        // Nor may a cut one be anything but malformed or that.
        for n in 0..frame.len() {
            let expected = match n {
                0..14 => Rejected::Malformed(Malformed::EthernetTruncated),
                14..22 => Rejected::Malformed(Malformed::VlanTruncated),
                _ => Rejected::NonIp(tags[2]),
            };
            assert_eq!(parse(&frame[..n]), Err(expected), "{n}");
        }
    }
}

#[test]
fn what_the_parser_is_told_to_leave_is_not_ip() {
    let tagged = build::ethernet(&[0x88a8, 0x8100], build::IPV4, &tcp_v4()[V4_HEADER..]);
    let no_vlan = Parser {
        vlan: false,
        ..Parser::FULL
    };
    let expected = Err(Rejected::NonIp(ethertype::QINQ));
    assert_eq!(no_vlan.parse(tagged.as_slice()), expected);
    assert!(no_vlan.parse(tcp_v4().as_slice()).is_ok());
    let v6 = around_v6(vec![], protocol::TCP, &[0; 20]);
    for ethernet in [true, false] {
        let no_v6 = Parser {
            ethernet,
            vlan: true,
            ipv6: false,
        };
        let frame = if ethernet { &v6[..] } else { &v6[14..] };
        let expected = Err(Rejected::NonIp(ethertype::IPV6));
        assert_eq!(no_v6.parse(frame), expected);
    }
}

#[test]
fn other_ethertypes_and_lengths_are_told() {
    for number in [0, 46, 1500, 0x05ff, ethertype::ARP, 0x8847, 0x8864, 0xffff] {
        let frame = build::ethernet(&[], number, &tcp_v4()[V4_HEADER..]);
        assert_eq!(parse(&frame), Err(Rejected::NonIp(number)));
        let frame = build::ethernet(&[0x8100], number, &[]);
        assert_eq!(parse(&frame), Err(Rejected::NonIp(number)));
    }
}

#[test]
fn without_ethernet_the_version_decides() {
    let empty = Err(Rejected::Malformed(Malformed::Ipv4Truncated));
    assert_eq!(RAW.parse(&[][..]), empty);
    assert_eq!(RAW.parse(&[0x45][..]), empty);
    for version in (0..16u8).filter(|v| ![4, 6].contains(v)) {
        let mut packet = tcp_v4()[V4_HEADER..].to_vec();
        packet[0] = version << 4 | 5;
        assert_eq!(RAW.parse(packet.as_slice()), Err(Rejected::NonIp(0)));
    }
}

#[test]
fn header_length_below_twenty() {
    for ihl in 0..5 {
        let mut frame = tcp_v4();
        frame[V4_HEADER] = 0x40 | ihl;
        malformed(&frame, Malformed::Ipv4Header);
    }
}

#[test]
fn version_that_is_not_the_ethertypes() {
    for version in 0..16 {
        let mut frame = tcp_v4();
        frame[V4_HEADER] = version << 4 | 5;
        if version != 4 {
            malformed(&frame, Malformed::Ipv4Header);
        }
        let mut frame = around_v6(vec![], protocol::TCP, &[0; 20]);
        frame[14] = version << 4;
        if version != 6 {
            malformed(&frame, Malformed::Ipv6Header);
        }
    }
}

#[test]
fn lengths_beyond_the_frame_or_below_the_header() {
    let whole = tcp_v4();
    let total = (whole.len() - V4_HEADER) as u16;
    for stated in [1, 19, total + 1, 1500, 0xffff] {
        let mut frame = whole.clone();
        frame[V4_HEADER + 2..][..2].copy_from_slice(&stated.to_be_bytes());
        malformed(&frame, Malformed::Ipv4Length);
    }
    // Options that reach beyond the packet, though not beyond the frame.
    let mut frame = whole.clone();
    frame[V4_HEADER] = 0x4f;
    frame.extend([0; 60]);
    malformed(&frame, Malformed::Ipv4Length);
    // And beyond the frame, where the total length is 0.
    let mut frame = whole;
    frame.resize(V4_HEADER + 59, 0);
    frame[V4_HEADER] = 0x4f;
    frame[V4_HEADER + 2..][..2].fill(0);
    malformed(&frame, Malformed::Ipv4Length);
    let mut frame = around_v6(vec![], protocol::TCP, &[0; 20]);
    for stated in [21u16, 1280, 0xffff] {
        frame[14 + 4..][..2].copy_from_slice(&stated.to_be_bytes());
        malformed(&frame, Malformed::Ipv6Length);
    }
}

#[test]
fn data_offset_below_five_or_beyond_the_packet() {
    for offset in (0..5).chain(8..16) {
        let mut frame = tcp_v4();
        frame[V4_TCP + 12] = offset << 4 | 0x0f;
        // Padding is no part of the header either.
        frame.extend([0xff; 64]);
        let packet = parse(&frame).unwrap();
        assert!(packet.short_transport, "{offset}");
        assert_eq!((packet.header_bytes, packet.payload_bytes), (0, 0));
        assert_eq!((packet.source_port, packet.destination_port), PORTS);
        assert_eq!((packet.tcp_flags, packet.window), (tcp::ACK, 512));
        assert_eq!(packet.source, Address::from(SOURCE_V4));
    }
    for (offset, payload) in [(5, 10), (6, 6), (7, 2)] {
        let mut frame = tcp_v4();
        frame[V4_TCP + 12] = offset << 4;
        let packet = parse(&frame).unwrap();
        assert!(!packet.short_transport);
        let sizes = (packet.header_bytes, packet.payload_bytes);
        assert_eq!(sizes, (offset * 4, payload));
    }
}

#[test]
fn a_tiny_first_fragment_shows_its_ports() {
    let whole = build::tcp(PORTS, tcp::SYN, 0).bytes;
    for bytes in 0..20 {
        let v4 = around_v4(protocol::TCP, MORE, &whole[..bytes]);
        let chain = vec![Extension::fragment(1)];
        let v6 = around_v6(chain, protocol::TCP, &whole[..bytes]);
        for mut frame in [v4, v6] {
            // What follows in the frame is not the packet's.
            frame.extend([0x42; 40]);
            let packet = parse(&frame).unwrap();
            assert!(packet.short_transport && !packet.later_fragment);
            assert_eq!((packet.header_bytes, packet.payload_bytes), (0, 0));
            assert_eq!((packet.tcp_flags, packet.window), (0, 0));
            let ports = (packet.source_port, packet.destination_port);
            assert_eq!(ports, if bytes < 4 { (0, 0) } else { PORTS }, "{bytes}");
        }
    }
}

#[test]
fn other_transports_that_are_too_short() {
    use protocol::{DCCP, ICMP, ICMPV6, SCTP, UDP, UDP_LITE};
    for (number, header, known) in [
        (UDP, 8, 4),
        (UDP_LITE, 8, 4),
        (SCTP, 12, 4),
        (DCCP, 12, 4),
        (ICMP, 8, 2),
        (ICMPV6, 8, 2),
    ] {
        for bytes in 0..=header {
            let mut frame = around_v4(number, 0, &[3; 12][..bytes]);
            frame.extend([0x42; 20]);
            let packet = parse(&frame).unwrap();
            assert_eq!(packet.short_transport, bytes < header, "{number} {bytes}");
            assert_eq!(packet.payload_bytes, 0);
            let ports = match (bytes < known, known) {
                (true, _) => (0, 0),
                (false, 4) => (0x0303, 0x0303),
                (false, _) => (3, 3),
            };
            let found = (packet.source_port, packet.destination_port);
            assert_eq!(found, ports, "{number} {bytes}");
        }
    }
}

#[test]
fn an_extension_header_longer_than_the_packet_ends_the_walk() {
    use protocol::{AH, DESTINATION_OPTIONS, HOP_BY_HOP, ROUTING};
    for number in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, AH] {
        // Its next header is TCP, and it claims 255 units.
        let mut body = vec![protocol::TCP, 255];
        body.extend(build::tcp(PORTS, tcp::SYN, 100).bytes);
        let frame = around_v6(vec![Extension::of(ROUTING, 0)], number, &body);
        let packet = parse(&frame).unwrap();
        assert_eq!(packet.protocol, number);
        assert_eq!((packet.source_port, packet.tcp_flags), (0, 0));
        assert_eq!(packet.payload_bytes, body.len() as u32);
        assert_eq!(packet.source.to_ip(), SOURCE_V6);
        assert_eq!(packet.destination.to_ip(), DESTINATION_V6);
    }
    // The last header ends one byte behind the packet, but within the frame's padding.
    for bytes in 0..8 {
        let body = &[protocol::TCP, 0, 0, 0, 0, 0, 0, 0][..bytes];
        let mut frame = around_v6(
            vec![Extension::of(HOP_BY_HOP, 0)],
            DESTINATION_OPTIONS,
            body,
        );
        frame.extend(build::tcp(PORTS, tcp::SYN, 0).bytes);
        let packet = parse(&frame).unwrap();
        assert_eq!(packet.protocol, DESTINATION_OPTIONS, "{bytes}");
        assert_eq!(packet.payload_bytes, bytes as u32);
        assert_eq!((packet.source_port, packet.tcp_flags), (0, 0));
    }
}

#[test]
fn segments_that_cannot_be_are_one_packet() {
    let frame = tcp_v4();
    let packet = parse(&frame).unwrap();
    assert_eq!(packet.payload_bytes, 10);
    for (segments, segment_bytes) in [(0, 0), (0, 10), (1, 0), (1, 4), (2, 10), (3, 5), (9, 9)] {
        assert_eq!(packet.segmented(segments, segment_bytes), packet);
    }
    let cut = packet.segmented(3, 4);
    assert_eq!((cut.segments, cut.segment_bytes), (3, 4));
    // 14 + 20 + 20 bytes of headers before each of 4, 4 and 2 bytes.
    assert_eq!((cut.wire_bytes, cut.payload_bytes), (3 * 54 + 10, 10));
    // Segments that nobody has counted.
    assert_eq!(packet.segmented(0, 4), cut);
    assert_eq!(packet.segmented(0, 5), packet.segmented(2, 5));
    assert_eq!(packet.segmented(0, 11), packet);
    // Offloads without a size (SCTP's 0xffff, a stale 0) are left alone, whatever the number.
    for segments in [2, 0xffff, u32::MAX] {
        assert_eq!(packet.segmented(segments, 0xffff), packet);
        assert_eq!(packet.segmented(segments, 0), packet);
    }
}
