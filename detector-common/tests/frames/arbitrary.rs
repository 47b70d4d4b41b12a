//! Any bytes, and frames with some bytes changed: the parser never panics, its sums
//! are consistent, and it says what the plain reference says.

use std::sync::LazyLock;

use detector_common::{
    frame::{Parser, Rejected},
    packet::Packet,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{matrix, matrix::Case, reference};

static CASES: LazyLock<Vec<Case>> = LazyLock::new(matrix::cases);

fn parsers() -> impl Strategy<Value = Parser> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(ethernet, vlan, ipv6)| Parser {
        ethernet,
        vlan,
        ipv6,
    })
}

/// What holds of the summary of any bytes.
fn consistent(frame: &[u8], parsed: &Result<Packet, Rejected>) -> Result<(), TestCaseError> {
    let Ok(packet) = parsed else {
        return Ok(());
    };
    let length = frame.len() as u32;
    prop_assert_eq!(packet.wire_bytes, length);
    prop_assert!(packet.payload_bytes + u32::from(packet.header_bytes) + 20 <= length);
    prop_assert_eq!((packet.segments, packet.segment_bytes), (1, 0));
    prop_assert_eq!(packet.header_bytes % 4, 0);
    prop_assert!(packet.header_bytes <= 60);
    if packet.later_fragment || packet.short_transport {
        prop_assert_eq!(packet.header_bytes, 0);
    }
    if packet.later_fragment {
        let unread = (
            packet.source_port,
            packet.destination_port,
            packet.tcp_flags,
        );
        prop_assert_eq!(unread, (0, 0, 0));
        prop_assert!(!packet.short_transport);
    }
    if packet.short_transport {
        prop_assert_eq!(packet.payload_bytes, 0);
    }
    Ok(())
}

fn check(parser: Parser, frame: &[u8]) -> Result<(), TestCaseError> {
    let parsed = parser.parse(frame);
    consistent(frame, &parsed)?;
    prop_assert_eq!(parsed, reference::parse(parser, frame));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_bytes(parser in parsers(), frame in vec(any::<u8>(), 0..200)) {
        check(parser, &frame)?;
    }

    #[test]
    fn any_bytes_behind_an_ethertype(
        parser in parsers(),
        ethertype in prop::sample::select(vec![0x0800u16, 0x86dd, 0x8100, 0x88a8]),
        version in prop::sample::select(vec![0x45u8, 0x46, 0x60]),
        mut frame in vec(any::<u8>(), 15..200),
    ) {
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        frame[14] = version;
        check(parser, &frame)?;
    }

    #[test]
    fn a_frame_with_bytes_changed(
        case in any::<Index>(),
        changes in vec((any::<Index>(), any::<u8>()), 0..6),
        end in any::<Index>(),
        whole in any::<bool>(),
        parser in prop::option::of(parsers()),
    ) {
        let case = case.get(&CASES);
        let mut frame = case.frame.clone();
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if !whole {
            frame.truncate(end.index(frame.len()));
        }
        check(parser.unwrap_or(case.parser), &frame)?;
    }

    /// Lengths and counts are where a parser goes wrong: small changes to them.
    #[test]
    fn a_frame_with_lengths_changed(
        case in any::<Index>(),
        at in 0usize..80,
        by in prop::sample::select(vec![1u8, 2, 8, 0xf8, 0xfe, 0xff]),
        padding in 0usize..50,
    ) {
        let case = case.get(&CASES);
        let mut frame = case.frame.clone();
        let at = (case.network_at + at) % frame.len();
        frame[at] = frame[at].wrapping_add(by);
        frame.resize(frame.len() + padding, 0x11);
        check(case.parser, &frame)?;
    }

    #[test]
    fn segments_carry_what_the_frame_carried(
        case in any::<Index>(),
        segments: u32,
        segment_bytes in prop_oneof![Just(0), 1u32..20, any::<u32>()],
    ) {
        let whole = CASES[case.index(CASES.len())].expected;
        for segments in [segments, segments % 64] {
            let cut = whole.segmented(segments, segment_bytes);
            prop_assert_eq!(cut.payload_bytes, whole.payload_bytes);
            prop_assert!(cut.segments >= 1);
            let overhead = u64::from(whole.wire_bytes - whole.payload_bytes);
            let wire = overhead * u64::from(cut.segments) + u64::from(whole.payload_bytes);
            prop_assert_eq!(u64::from(cut.wire_bytes), wire);
            let full = u64::from(cut.segments - 1) * u64::from(cut.segment_bytes);
            prop_assert!(full < u64::from(cut.payload_bytes.max(1)));
        }
    }
}
