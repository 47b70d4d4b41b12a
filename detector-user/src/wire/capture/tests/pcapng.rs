//! The pcapng format.

use super::craft::{BIG, Bytes, InterfaceOption, LITTLE, ethernet, frames, read};
use crate::wire::capture::{CaptureError, FRAME_BYTES_MAX, Fault};

const TSRESOL: u16 = 9;
const TSOFFSET: u16 = 14;

fn fault(bytes: &Bytes) -> (u64, u64, Fault) {
    match read(&bytes.bytes).end {
        Err(CaptureError::Malformed {
            record,
            offset,
            fault,
            ..
        }) => (record, offset, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_byte_orders() {
    let (first, second) = (ethernet(1, 61), ethernet(2, 1514));
    for order in [LITTLE, BIG] {
        let bytes = Bytes::new(order)
            .section()
            .interface(1, 0, &[])
            .enhanced(0, 1_700_000_000_123_456, &first, 61)
            .enhanced(0, 1_700_000_000_123_457, &second[..100], 1514);
        let frames = frames(&bytes.bytes);
        assert_eq!(frames[0], (1_700_000_000_123_456_000, first.clone()));
        assert_eq!(frames[1].0, 1_700_000_000_123_457_000);
        assert_eq!(frames[1].1[..100], second[..100]);
        assert_eq!(frames[1].1.len(), 1514);
    }
}

#[test]
fn time_resolutions_and_offsets() {
    let hour = 3_600_i64;
    for order in [LITTLE, BIG] {
        let offset = |seconds: i64| {
            if order == LITTLE {
                seconds.to_le_bytes()
            } else {
                seconds.to_be_bytes()
            }
        };
        let cases: [(&[InterfaceOption<'_>], u64, u64); 12] = [
            (&[], 7_000_001, 7_000_001_000),
            (&[(TSRESOL, &[6])], 7_000_001, 7_000_001_000),
            (&[(TSRESOL, &[9])], 7_000_001, 7_000_001),
            (&[(TSRESOL, &[0])], 7, 7_000_000_000),
            (&[(TSRESOL, &[3])], 7, 7_000_000),
            (&[(TSRESOL, &[12])], 7_654_321, 7_654),
            (&[(TSRESOL, &[38])], u64::MAX, 0),
            (&[(TSRESOL, &[0x80 | 10])], 1024 + 512, 1_500_000_000),
            (
                &[(TSRESOL, &[0x80 | 32])],
                (5 << 32) + (1 << 30),
                5_250_000_000,
            ),
            (&[(TSOFFSET, &offset(hour))], 1_000_000, 3_601_000_000_000),
            (
                &[(TSRESOL, &[9]), (TSOFFSET, &offset(-2))],
                1_000_000_000,
                0,
            ),
            (
                &[(TSRESOL, &[0]), (TSOFFSET, &offset(i64::MAX))],
                u64::MAX,
                u64::MAX,
            ),
        ];
        for (options, ticks, time_ns) in cases {
            let bytes = Bytes::new(order)
                .section()
                .interface(1, 0, options)
                .enhanced(0, ticks, &ethernet(1, 60), 60);
            assert_eq!(frames(&bytes.bytes)[0].0, time_ns, "{order:?} {options:?}");
        }
    }
}

#[test]
fn interfaces_of_different_links_and_clocks() {
    let packet = [&[0x45][..], &[7; 30]].concat();
    let bytes = Bytes::new(LITTLE)
        .section()
        .interface(1, 0, &[])
        .interface(101, 0, &[(TSRESOL, &[9])])
        .interface(147, 0, &[])
        .enhanced(1, 5, &packet, 31)
        .enhanced(2, 6, &packet, 31)
        .enhanced(0, 7, &ethernet(1, 60), 60);
    let reading = read(&bytes.bytes);
    reading.end.unwrap();
    assert_eq!(reading.frames.len(), 2);
    assert_eq!(reading.frames[0].0, 5);
    assert_eq!(
        reading.frames[0].1[..14],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]
    );
    assert_eq!(reading.frames[0].1[14..], packet);
    assert_eq!(reading.frames[1], (7_000, ethernet(1, 60)));
    assert_eq!(
        reading.stats.skipped.into_iter().collect::<Vec<_>>(),
        [(147, 1)]
    );
}

#[test]
fn each_section_has_its_own_byte_order_and_interfaces() {
    let big = Bytes::new(BIG)
        .section()
        .interface(1, 0, &[(TSRESOL, &[9])])
        .enhanced(0, 9, &ethernet(2, 60), 60);
    let bytes = Bytes::new(LITTLE)
        .section()
        .interface(1, 0, &[])
        .interface(1, 0, &[])
        .enhanced(1, 1, &ethernet(1, 60), 60)
        .raw(&big.bytes);
    assert_eq!(
        frames(&bytes.bytes),
        [(1_000, ethernet(1, 60)), (9, ethernet(2, 60))]
    );
    let stale = bytes.raw(&Bytes::new(BIG).section().enhanced(0, 9, &[], 0).bytes);
    assert!(matches!(
        fault(&stale).2,
        Fault::UndescribedInterface {
            interface: 0,
            described: 0
        }
    ));
}

#[test]
fn simple_packets_take_length_from_snap_length_and_time_from_before() {
    let frame = ethernet(1, 101);
    let bytes = Bytes::new(BIG)
        .section()
        .interface(1, 101, &[])
        .simple(&frame, 101)
        .enhanced(0, 4, &frame, 101)
        .simple(&frame, 1500)
        .simple(&frame[..50], 50);
    let frames = frames(&bytes.bytes);
    assert_eq!(frames[0], (0, frame.clone()));
    assert_eq!((frames[2].0, frames[2].1.len()), (4_000, 1500));
    assert_eq!(frames[2].1[..101], frame);
    assert!(frames[2].1[101..].iter().all(|byte| *byte == 0));
    assert_eq!(frames[3], (4_000, frame[..50].to_vec()));
}

#[test]
fn obsolete_packets() {
    let content = Bytes::new(BIG)
        .u16(1)
        .u16(99)
        .u32(0)
        .u32(8)
        .u32(60)
        .u32(60)
        .raw(&ethernet(3, 60));
    let bytes = Bytes::new(BIG)
        .section()
        .interface(147, 0, &[])
        .interface(1, 0, &[])
        .block(2, content);
    assert_eq!(frames(&bytes.bytes), [(8_000, ethernet(3, 60))]);
}

#[test]
fn packet_options_and_other_blocks_are_passed_over() {
    let options = Bytes::new(LITTLE)
        .u32(0)
        .u32(0)
        .u32(5)
        .u32(60)
        .u32(60)
        .raw(&ethernet(4, 60))
        .u16(1)
        .u16(3)
        .raw(b"abc\0")
        .u32(0);
    let huge = Bytes::new(LITTLE).raw(&vec![0x55; 3 * 1024 * 1024]);
    let bytes = Bytes::new(LITTLE)
        .section()
        .block(0x0bad, huge)
        .interface(1, 0, &[])
        .block(6, options)
        .block(4, Bytes::new(LITTLE).raw(&[0xee; 9]))
        .block(0x8000_0001, Bytes::new(LITTLE))
        .enhanced(0, 6, &ethernet(5, 60), 60);
    assert_eq!(
        frames(&bytes.bytes),
        [(5_000, ethernet(4, 60)), (6_000, ethernet(5, 60))]
    );
}

#[test]
fn impossible_blocks_are_named() {
    let start = Bytes::new(LITTLE).section().interface(1, 0, &[]);
    let packet = |captured: u32| {
        Bytes::new(LITTLE)
            .u32(0)
            .u32(0)
            .u32(0)
            .u32(captured)
            .u32(60)
            .raw(&[0; 60])
    };

    let undescribed = start.clone().enhanced(7, 0, &[], 0);
    assert_eq!(
        fault(&undescribed),
        (
            3,
            48,
            Fault::UndescribedInterface {
                interface: 7,
                described: 1
            }
        )
    );
    let long = start.clone().block(6, packet(61));
    assert_eq!(
        fault(&long),
        (
            3,
            48,
            Fault::PacketInBlock {
                captured: 61,
                room: 60
            }
        )
    );
    let most = start.clone().block(6, packet(u32::MAX));
    assert_eq!(
        fault(&most).2,
        Fault::PacketInBlock {
            captured: u32::MAX as usize,
            room: 60
        }
    );
    let giant = start
        .clone()
        .enhanced(0, 0, &vec![0; FRAME_BYTES_MAX + 1], 60);
    assert!(matches!(fault(&giant).2, Fault::CapturedLength { .. }));
    for (kind, length) in [
        (6, 28),
        (6, 33),
        (6, u32::MAX - 3),
        (3, 12),
        (2, 0),
        (1, 16),
        (0x0a0d_0d0a, 24),
        (4, 8),
        (4, 13),
    ] {
        let bytes = start
            .clone()
            .u32(kind)
            .u32(length)
            .u32(0x1a2b_3c4d)
            .raw(&[0; 80]);
        assert!(
            matches!(fault(&bytes).2, Fault::BlockLength { length: said, .. } if said == length),
            "{kind} {length}"
        );
    }
    let mut trailer = start.clone().enhanced(0, 0, &[0; 60], 60);
    *trailer.bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(
        fault(&trailer).2,
        Fault::BlockTrailer {
            leading: 92,
            trailing: 0x0100_005c
        }
    ));
    let mut trailer = start.clone().block(4, Bytes::new(LITTLE).u32(0));
    *trailer.bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(fault(&trailer).2, Fault::BlockTrailer { .. }));
    let order = start
        .clone()
        .u32(0x0a0d_0d0a)
        .u32(28)
        .u32(0x1111_1111)
        .raw(&[0; 16]);
    assert_eq!(fault(&order).2, Fault::ByteOrder { magic: [0x11; 4] });
    let version = start.block(
        0x0a0d_0d0a,
        Bytes::new(LITTLE)
            .u32(0x1a2b_3c4d)
            .u16(2)
            .u16(0)
            .raw(&[0; 8]),
    );
    let error = read(&version.bytes).end.unwrap_err();
    assert!(matches!(
        error,
        CaptureError::Version {
            offset: 48,
            major: 2,
            minor: 0,
            ..
        }
    ));
    let resolution = Bytes::new(LITTLE)
        .section()
        .interface(1, 0, &[(TSRESOL, &[39])]);
    assert_eq!(
        fault(&resolution),
        (2, 28, Fault::TimeResolution { exponent: 39 })
    );
}

#[test]
fn interfaces_are_bounded() {
    let one = Bytes::new(LITTLE).interface(1, 0, &[]).bytes;
    let mut bytes = Bytes::new(LITTLE).section();
    bytes = bytes.raw(&one.repeat(65_536));
    assert_eq!(frames(&bytes.bytes).len(), 0);
    assert!(matches!(
        fault(&bytes.raw(&one)).2,
        Fault::TooManyInterfaces { limit: 65_536 }
    ));
}

#[test]
fn options_after_their_end_do_not_count() {
    let content = Bytes::new(LITTLE)
        .u16(1)
        .u16(0)
        .u32(0)
        .u32(0)
        .u16(TSRESOL)
        .u16(1)
        .raw(&[9, 0, 0, 0]);
    let bytes = Bytes::new(LITTLE)
        .section()
        .block(1, content)
        .enhanced(0, 1, &[], 0);
    assert_eq!(frames(&bytes.bytes)[0].0, 1_000);
}
