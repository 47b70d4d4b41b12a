//! The parser on any bytes, with and without Ethernet, over one buffer and over
//! several: no panic, consistent sums, and what the plain reference says.
//!
//! `cargo +nightly fuzz run --fuzz-dir fuzz parse`
#![no_main]

#[path = "../../detector-common/tests/frames/reference.rs"]
mod reference;

use detector_common::{bytes::Bytes, frame::Parser, packet::Packet};
use libfuzzer_sys::fuzz_target;

/// A frame of which only the first bytes can be loaded.
struct Buffers<'a> {
    frame: &'a [u8],
    first: usize,
}

impl Bytes for Buffers<'_> {
    fn len(&self) -> u32 {
        self.frame.len() as u32
    }

    fn at_hand(&self) -> u32 {
        self.first as u32
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.frame[..self.first].load(offset)
    }
}

fn consistent(packet: &Packet, frame: &[u8]) {
    let length = frame.len() as u32;
    assert!(packet.wire_bytes <= length);
    assert!(packet.payload_bytes + u32::from(packet.header_bytes) + 20 <= length);
    assert_eq!((packet.segments, packet.segment_bytes), (1, 0));
    if packet.later_fragment || packet.short_transport {
        assert_eq!(packet.header_bytes, 0);
    }
    for cut in [1, packet.payload_bytes / 3, packet.payload_bytes, u32::MAX] {
        for segments in [0, 2, 3, 0xffff, u32::MAX] {
            let cut = packet.segmented(segments, cut);
            assert_eq!(cut.payload_bytes, packet.payload_bytes);
            assert!(cut.segments >= 1 && cut.wire_bytes >= packet.wire_bytes);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [options, first, frame @ ..] = data else {
        return;
    };
    let parser = Parser {
        ethernet: options & 1 == 0,
        vlan: options & 2 == 0,
        ipv6: options & 4 == 0,
    };
    let parsed = parser.parse(frame);
    assert_eq!(parsed, reference::parse(parser, frame));
    if let Ok(packet) = parsed {
        consistent(&packet, frame);
    }
    let buffers = Buffers {
        frame,
        first: usize::from(*first).min(frame.len()),
    };
    if let Ok(partly) = parser.parse(&buffers) {
        consistent(&partly, frame);
        // What can be read at all has the right addresses.
        let whole = parsed.expect("a part is read, the whole is not");
        assert_eq!(partly.source, whole.source);
        assert_eq!(partly.destination, whole.destination);
    }
});
