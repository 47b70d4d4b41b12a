//! Link types and their way to Ethernet.

use super::craft::{Bytes, LITTLE, MICRO, ethernet, read};
use crate::wire::capture::{CaptureError, FRAME_BYTES_MAX};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const UNKNOWN: [u8; 2] = [0xff, 0xff];

fn one(link: u32, captured: &[u8], original: usize) -> Vec<u8> {
    let reading = read(
        &Bytes::pcap(LITTLE, MICRO, link)
            .record(1, 0, captured, original as u32)
            .bytes,
    );
    reading.end.unwrap();
    reading.frames[0].1.clone()
}

fn sll(protocol: [u8; 2]) -> Vec<u8> {
    [&[0, 4, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &protocol].concat()
}

fn sll2(protocol: [u8; 2]) -> Vec<u8> {
    [
        &protocol[..],
        &[0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 1, 2, 3, 4, 5, 6, 0, 0],
    ]
    .concat()
}

/// Link type, link header, network packet, EtherType.
type Case<'a> = (u32, Vec<u8>, &'a [u8], [u8; 2]);

#[test]
fn every_link_becomes_ethernet() {
    let packet_4 = [&[0x45][..], &[0xab; 39]].concat();
    let packet_6 = [&[0x60][..], &[0xcd; 59]].concat();
    let cases: Vec<Case> = vec![
        (12, vec![], &packet_4, IPV4),
        (14, vec![], &packet_6, IPV6),
        (101, vec![], &packet_4, IPV4),
        (101, vec![], &packet_6, IPV6),
        (101, vec![], &[0x15, 1, 2], UNKNOWN),
        (228, vec![], &packet_4, IPV4),
        (229, vec![], &packet_6, IPV6),
        (0, vec![2, 0, 0, 0], &packet_4, IPV4),
        (0, vec![0, 0, 0, 2], &packet_4, IPV4),
        (0, vec![10, 0, 0, 0], &packet_6, IPV6),
        (0, vec![23, 0, 0, 0], &packet_6, IPV6),
        (0, vec![0, 0, 0, 24], &packet_6, IPV6),
        (0, vec![28, 0, 0, 0], &packet_6, IPV6),
        (0, vec![30, 0, 0, 0], &packet_6, IPV6),
        (0, vec![7, 0, 0, 0], &packet_6, UNKNOWN),
        (108, vec![0, 0, 0, 2], &packet_4, IPV4),
        (108, vec![0, 0, 0, 24], &packet_6, IPV6),
        (113, sll(IPV4), &packet_4, IPV4),
        (113, sll([0x81, 0x00]), &packet_4, [0x81, 0x00]),
        (276, sll2(IPV6), &packet_6, IPV6),
        (276, sll2([0x08, 0x06]), &packet_4, [0x08, 0x06]),
    ];
    for (link, header, packet, ether_type) in cases {
        let captured = [&header, packet].concat();
        let expected = [&[0; 12][..], &ether_type, packet].concat();
        assert_eq!(
            one(link, &captured, captured.len()),
            expected,
            "link {link}"
        );

        let mut snapped = one(link, &captured, captured.len() + 1000);
        assert_eq!(snapped.len(), expected.len() + 1000, "link {link}, snapped");
        assert!(snapped[expected.len()..].iter().all(|byte| *byte == 0));
        snapped.truncate(expected.len());
        assert_eq!(snapped, expected, "link {link}, snapped");
    }
}

#[test]
fn packets_shorter_than_their_link_header() {
    for (link, header) in [(113, 16), (276, 20), (0, 4), (108, 4), (101, 0)] {
        for captured in 0..header {
            let frame = one(link, &vec![0; captured], captured);
            assert_eq!(frame.len(), 14, "link {link}, {captured} bytes");
            assert_eq!(frame[..12], [0; 12]);
            let frame = one(link, &vec![0; captured], header + 50);
            assert_eq!(frame.len(), 64);
            assert!(frame[14..].iter().all(|byte| *byte == 0));
        }
    }
    assert_eq!(one(101, &[], 0), [&[0; 12][..], &UNKNOWN].concat());
    assert!(one(1, &[], 0).is_empty());
    assert_eq!(one(1, &[1, 2, 3], 3), [1, 2, 3]);
}

#[test]
fn largest_packet_with_a_header_before_it_is_clamped() {
    let packet = vec![0x45; FRAME_BYTES_MAX];
    let reading = read(
        &Bytes::pcap(LITTLE, MICRO, 101)
            .record(1, 0, &packet, packet.len() as u32)
            .bytes,
    );
    assert_eq!(reading.stats.clamped, 1);
    assert_eq!(reading.frames[0].1[14..], packet[14..]);
}

#[test]
fn one_frame_leaves_nothing_in_the_next() {
    let bytes = Bytes::pcap(LITTLE, MICRO, 101)
        .record(1, 0, &[0x45; 500], 500)
        .record(2, 0, &[0x60; 10], 300)
        .record(3, 0, &[], 400);
    let frames = read(&bytes.bytes).frames;
    assert!(frames[1].1[24..].iter().all(|byte| *byte == 0));
    assert_eq!(frames[2].1[..14], [&[0; 12][..], &UNKNOWN].concat());
    assert!(frames[2].1[14..].iter().all(|byte| *byte == 0));

    // An Ethernet frame writes where the zero addresses of the others are.
    let bytes = Bytes::new(LITTLE)
        .section()
        .interface(1, 0, &[])
        .interface(228, 0, &[])
        .enhanced(0, 1, &ethernet(9, 60), 90)
        .enhanced(1, 1, &[0x45; 20], 60);
    let frames = read(&bytes.bytes).frames;
    assert_eq!(
        frames[1].1,
        [&[0; 12][..], &IPV4, &[0x45; 20], &[0; 40]].concat()
    );
}

#[test]
fn a_file_of_other_links_only_is_an_error_that_counts_them() {
    let bytes = Bytes::pcap(LITTLE, MICRO, 105)
        .record(1, 0, &[0; 60], 60)
        .record(2, 0, &[0; 60], 60);
    let reading = read(&bytes.bytes);
    let error = reading.end.unwrap_err();
    assert!(
        matches!(&error, CaptureError::OnlyUnsupportedLinks { links, .. } if links == "2 of link type 105")
    );
    assert_eq!(reading.stats.skipped[&105], 2);

    let cut = read(&bytes.bytes[..bytes.bytes.len() - 1]);
    assert!(matches!(
        cut.end,
        Err(CaptureError::OnlyUnsupportedLinks { .. })
    ));
    assert!(cut.stats.cut_off);
}
