//! Frames cut at every byte: they are rejected, or their addresses are right.

use detector_common::{bytes::Bytes, frame::Rejected, packet::Packet};

use crate::{matrix, matrix::Case};

/// What holds of any summary of a part of the case's frame.
fn holds(case: &Case, packet: &Packet, available: u32) {
    let expected = &case.expected;
    let name = &case.name;
    assert_eq!(packet.source, expected.source, "{name}");
    assert_eq!(packet.destination, expected.destination, "{name}");
    let sum = packet.payload_bytes + u32::from(packet.header_bytes);
    assert!(sum <= available, "{name}: {packet:?}");
    if packet.protocol == expected.protocol && expected.source_port != 0 {
        let ports = (packet.source_port, packet.destination_port);
        let right = (expected.source_port, expected.destination_port);
        assert!(ports == right || ports == (0, 0), "{name}: {packet:?}");
    }
}

#[test]
fn a_cut_frame_is_malformed() {
    for case in matrix::cases() {
        for n in 0..case.frame.len() {
            match case.parser.parse(&case.frame[..n]) {
                Err(Rejected::Malformed(_)) => {}
                // A length of 0 says that all is there that is there.
                Ok(packet) if case.version == 6 && case.frame[case.network_at + 5] == 0 => {
                    holds(&case, &packet, (n - case.transport_at) as u32);
                }
                other => panic!("{} at {n}: {other:?}", case.name),
            }
        }
    }
}

/// The case's frame cut to `n` bytes, with an IP length that says so; `None` where
/// the cut takes part of the addresses.
fn shortened(case: &Case, n: usize) -> Option<Vec<u8>> {
    let mut frame = case.frame[..n].to_vec();
    let (at, length) = if case.version == 4 {
        (2, n.checked_sub(case.network_at)?)
    } else {
        (4, n.checked_sub(case.network_at + 40)?)
    };
    if n < case.network_at + 20 {
        return None;
    }
    frame[case.network_at + at..][..2].copy_from_slice(&(length as u16).to_be_bytes());
    Some(frame)
}

#[test]
fn a_short_packet_that_says_so_keeps_its_addresses() {
    for case in matrix::cases() {
        for n in 0..case.frame.len() {
            let Some(mut frame) = shortened(&case, n) else {
                continue;
            };
            let cut = case.parser.parse(frame.as_slice());
            // Padding must not be taken for what was cut off.
            frame.extend([0xff; 40]);
            let padded = case.parser.parse(frame.as_slice());
            if n < case.transport_at {
                assert!(matches!(cut, Err(Rejected::Malformed(_))), "{}", case.name);
                continue;
            }
            let available = (n - case.transport_at) as u32;
            let cut = cut.unwrap_or_else(|e| panic!("{} at {n}: {e:?}", case.name));
            holds(&case, &cut, available);
            if case.version == 4 || available > 0 {
                let padded = padded.unwrap_or_else(|e| panic!("{} at {n}: {e:?}", case.name));
                let expected = Packet {
                    wire_bytes: cut.wire_bytes + 40,
                    ..cut
                };
                assert_eq!(padded, expected, "{} at {n}", case.name);
            }
        }
    }
}

#[test]
fn a_length_of_zero_takes_all_there_is() {
    for case in matrix::cases() {
        for n in case.transport_at..=case.frame.len() {
            let mut frame = case.frame[..n].to_vec();
            let at = if case.version == 4 { 2 } else { 4 };
            frame[case.network_at + at..][..2].fill(0);
            let packet = case.parser.parse(frame.as_slice());
            let packet = packet.unwrap_or_else(|e| panic!("{} at {n}: {e:?}", case.name));
            holds(&case, &packet, (n - case.transport_at) as u32);
            assert_eq!(packet.wire_bytes, n as u32, "{} at {n}", case.name);
            if n == case.frame.len() {
                assert_eq!(packet, case.expected, "{}", case.name);
            }
        }
    }
}

/// A frame of which only the first buffer can be loaded.
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

#[test]
fn a_frame_of_several_buffers_is_read_as_far_as_the_first_goes() {
    for case in matrix::cases() {
        let headers = case.expected.wire_bytes - case.expected.payload_bytes;
        for first in 0..=case.frame.len() {
            let buffers = Buffers {
                frame: &case.frame,
                first,
            };
            match case.parser.parse(&buffers) {
                Err(Rejected::Malformed(_)) => {
                    let addresses = if case.version == 4 { 20 } else { 40 };
                    assert!(first < case.network_at + addresses, "{}", case.name);
                }
                Ok(packet) => {
                    let whole = case.expected.wire_bytes;
                    holds(&case, &packet, whole - case.transport_at as u32);
                    assert_eq!(packet.wire_bytes, whole, "{}", case.name);
                    if first as u32 >= headers {
                        assert_eq!(packet, case.expected, "{} at {first}", case.name);
                    }
                }
                other => panic!("{} at {first}: {other:?}", case.name),
            }
        }
    }
}

#[test]
fn what_lies_behind_the_packet_in_further_buffers_is_not_counted() {
    for case in matrix::cases() {
        let mut frame = case.frame.clone();
        frame.extend([0xff; 100]);
        let buffers = Buffers {
            frame: &frame,
            first: case.frame.len(),
        };
        if case.version == 6 && case.frame[case.network_at + 4..][..2] == [0, 0] {
            continue;
        }
        let parsed = case.parser.parse(&buffers);
        assert_eq!(parsed, Ok(case.expected), "{}", case.name);
    }
}
