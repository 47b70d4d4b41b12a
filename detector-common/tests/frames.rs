//! The frame parser: crafted frames of every header combination, whole and cut at
//! every byte, lying headers, and any bytes at all.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "frames/arbitrary.rs"]
mod arbitrary;
mod build;
#[path = "frames/cut.rs"]
mod cut;
#[path = "frames/lies.rs"]
mod lies;
#[path = "frames/matrix.rs"]
mod matrix;
#[path = "frames/reference.rs"]
mod reference;

use detector_common::{key::FlowKey, packet::Packet, packet::protocol};
use matrix::{DESTINATION_V4, DESTINATION_V6, RAW, SOURCE_V4, SOURCE_V6};

#[test]
fn every_header_combination_gives_its_fields() {
    let cases = matrix::cases();
    assert!(cases.len() > 5000, "{}", cases.len());
    for case in cases {
        let parsed = case.parser.parse(case.frame.as_slice());
        assert_eq!(parsed, Ok(case.expected), "{}", case.name);
    }
}

#[test]
fn the_reference_agrees_on_every_header_combination() {
    for case in matrix::cases() {
        let parsed = reference::parse(case.parser, &case.frame);
        assert_eq!(parsed, Ok(case.expected), "{}", case.name);
    }
}

#[test]
fn padding_is_no_payload() {
    for case in matrix::cases() {
        for padding in [1, 6, 46] {
            let mut frame = case.frame.clone();
            // Where the length field is 0 whatever follows belongs to the packet.
            let stated = if case.version == 4 { 2 } else { 4 };
            if frame[case.network_at + stated..][..2] == [0, 0] {
                continue;
            }
            frame.extend(vec![0xff; padding]);
            let expected = Packet {
                wire_bytes: case.expected.wire_bytes + padding as u32,
                ..case.expected
            };
            let parsed = case.parser.parse(frame.as_slice());
            assert_eq!(parsed, Ok(expected), "{}", case.name);
        }
    }
}

fn key(packet: &Packet) -> (FlowKey, bool) {
    FlowKey::new(
        (packet.source, packet.source_port),
        (packet.destination, packet.destination_port),
        packet.protocol,
        7,
    )
}

#[test]
fn a_request_and_its_reply_are_the_two_directions_of_one_flow() {
    let v4 = [(8, 0), (13, 14), (15, 16), (17, 18), (10, 9)].map(|pair| (protocol::ICMP, pair));
    let v6 = [
        (128, 129),
        (130, 131),
        (133, 134),
        (135, 136),
        (139, 140),
        (144, 145),
    ]
    .map(|pair| (protocol::ICMPV6, pair));
    for (number, (request, reply)) in v4.into_iter().chain(v6) {
        let parse = |kind, back: bool| {
            let message = build::icmp(number, (kind, 0), (0, 0), 4);
            let frame = match (number == protocol::ICMP, back) {
                (true, false) => build::frame(SOURCE_V4.into(), DESTINATION_V4.into(), &message),
                (true, true) => build::frame(DESTINATION_V4.into(), SOURCE_V4.into(), &message),
                (false, false) => build::frame(SOURCE_V6.into(), DESTINATION_V6.into(), &message),
                (false, true) => build::frame(DESTINATION_V6.into(), SOURCE_V6.into(), &message),
            };
            key(&detector_common::frame::Parser::FULL
                .parse(frame.as_slice())
                .unwrap())
        };
        let (there, from_low) = parse(request, false);
        let (back, to_low) = parse(reply, true);
        assert_eq!(there, back, "{number} {request}");
        assert_ne!(from_low, to_low, "{number} {request}");
        // A request the other way is another flow, and so is a message without a counterpart.
        assert_ne!(there, parse(request, true).0, "{number} {request}");
        assert_ne!(there, parse(3, false).0, "{number} {request}");
    }
}

#[test]
fn both_families_of_one_ipv4_address_are_one_flow() {
    let transport = build::udp((5000, 53), 10);
    let plain = build::frame(SOURCE_V4.into(), DESTINATION_V4.into(), &transport);
    let mapped = build::frame(
        SOURCE_V4.to_ipv6_mapped().into(),
        DESTINATION_V4.to_ipv6_mapped().into(),
        &transport,
    );
    let [plain, mapped] = [plain, mapped].map(|frame| RAW.parse(&frame[14..]).unwrap());
    assert_eq!(key(&plain), key(&mapped));
}
