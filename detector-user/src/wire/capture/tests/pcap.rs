//! The classic format.

use super::craft::{BIG, Bytes, LITTLE, MICRO, NANO, ethernet, frames, open_error, read};
use crate::wire::capture::{CaptureError, FRAME_BYTES_MAX, Fault};

#[test]
fn both_byte_orders_and_resolutions() {
    let (first, second) = (ethernet(1, 60), ethernet(2, 1514));
    for order in [LITTLE, BIG] {
        for (magic, unit_ns) in [(MICRO, 1_000), (NANO, 1)] {
            let bytes = Bytes::pcap(order, magic, 1)
                .record(1_700_000_000, 999_999, &first, 60)
                .record(u32::MAX, 5, &second, 1514);
            let expected = vec![
                (1_700_000_000_000_000_000 + 999_999 * unit_ns, first.clone()),
                (4_294_967_295_000_000_000 + 5 * unit_ns, second.clone()),
            ];
            assert_eq!(frames(&bytes.bytes), expected, "{order:?} {magic:x}");
        }
    }
}

#[test]
fn header_without_packets() {
    let reading = read(&Bytes::pcap(LITTLE, MICRO, 1).bytes);
    reading.end.unwrap();
    assert_eq!(reading.stats.time_span_ns, None);
}

#[test]
fn snapped_frame_is_continued_with_zeros() {
    let whole = ethernet(1, 200);
    let bytes = Bytes::pcap(LITTLE, MICRO, 1)
        .record(1, 0, &whole, 200)
        .record(2, 0, &whole[..96], 1500)
        .record(3, 0, &whole[..40], 200)
        .record(0, 0, &[], 80);
    let reading = read(&bytes.bytes);
    reading.end.unwrap();
    for ((_, frame), (captured, length)) in
        reading
            .frames
            .iter()
            .zip([(200, 200), (96, 1500), (40, 200), (0, 80)])
    {
        assert_eq!(frame.len(), length);
        assert_eq!(frame[..captured], whole[..captured]);
        assert!(frame[captured..].iter().all(|byte| *byte == 0));
    }
    assert_eq!(reading.stats.truncated, 3);
    assert_eq!(reading.stats.clamped, 0);
    assert_eq!(reading.stats.time_span_ns, Some((0, 3_000_000_000)));
}

#[test]
fn absurd_original_length_is_clamped() {
    let frame = ethernet(1, 60);
    let bytes = Bytes::pcap(BIG, NANO, 1)
        .record(1, 0, &frame, u32::MAX)
        .record(1, 0, &frame, FRAME_BYTES_MAX as u32)
        .record(1, 0, &ethernet(2, FRAME_BYTES_MAX), FRAME_BYTES_MAX as u32);
    let reading = read(&bytes.bytes);
    reading.end.unwrap();
    assert_eq!(reading.stats.clamped, 1);
    assert_eq!(reading.stats.truncated, 2);
    assert!(
        reading
            .frames
            .iter()
            .all(|(_, frame)| frame.len() == FRAME_BYTES_MAX)
    );
    assert_eq!(reading.frames[2].1, ethernet(2, FRAME_BYTES_MAX));
}

#[test]
fn original_length_below_the_captured_one_does_not_cut() {
    let frame = ethernet(1, 60);
    let bytes = Bytes::pcap(LITTLE, MICRO, 1).record(1, 0, &frame, 0);
    assert_eq!(frames(&bytes.bytes)[0].1, frame);
}

#[test]
fn old_version_has_its_lengths_swapped() {
    let frame = ethernet(1, 60);
    let mut bytes = Bytes::pcap(LITTLE, MICRO, 1);
    bytes.bytes[6] = 2;
    let bytes = bytes
        .u32(1)
        .u32(0)
        .u32(100)
        .u32(60)
        .raw(&frame)
        .record(2, 0, &frame, 60);
    let frames = frames(&bytes.bytes);
    assert_eq!(frames[0].1[..60], frame);
    assert_eq!(frames[0].1.len(), 100);
    assert_eq!(frames[1].1, frame);
}

#[test]
fn check_sequence_bits_do_not_change_the_link_type() {
    let bytes = Bytes::pcap(LITTLE, MICRO, 0x2400_0001).record(1, 0, &ethernet(1, 60), 60);
    assert_eq!(frames(&bytes.bytes)[0].1, ethernet(1, 60));
}

#[test]
fn records_across_the_chunks_of_reading() {
    let mut bytes = Bytes::pcap(LITTLE, MICRO, 1);
    let lengths: Vec<usize> = (0..4000).map(|number| number * 7 % 1500).collect();
    for (number, length) in lengths.iter().enumerate() {
        bytes = bytes.record(
            number as u32,
            0,
            &ethernet(number as u8, *length),
            *length as u32,
        );
    }
    for (number, (time_ns, frame)) in frames(&bytes.bytes).iter().enumerate() {
        assert_eq!(*time_ns, number as u64 * 1_000_000_000);
        assert_eq!(*frame, ethernet(number as u8, lengths[number]));
    }
}

#[test]
fn absurd_captured_length_is_an_error_after_what_came_before() {
    let bytes = Bytes::pcap(LITTLE, MICRO, 1)
        .record(1, 0, &ethernet(1, 60), 60)
        .u32(2)
        .u32(0)
        .u32(FRAME_BYTES_MAX as u32 + 1)
        .u32(60)
        .raw(&[0; 100]);
    let reading = read(&bytes.bytes);
    assert_eq!(reading.frames.len(), 1);
    let error = reading.end.unwrap_err();
    assert!(!error.is_cut_off());
    assert!(matches!(
        error,
        CaptureError::Malformed {
            record: 2,
            offset: 100,
            fault: Fault::CapturedLength {
                captured: 262_145,
                ..
            },
            ..
        }
    ));
}

#[test]
fn other_version_is_an_error() {
    let mut bytes = Bytes::pcap(BIG, MICRO, 1).bytes;
    bytes[5] = 3;
    let error = open_error(&bytes);
    assert!(matches!(
        error,
        CaptureError::Version {
            offset: 0,
            major: 3,
            minor: 4,
            ..
        }
    ));
}
