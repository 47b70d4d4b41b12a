//! Broken and hostile files: an error that says where and why, never a panic.

use std::path::Path;

use super::craft::{
    BIG, Bytes, LITTLE, MICRO, NANO, Reading, ethernet, file, open_error, read, read_on,
};
use crate::wire::capture::{CaptureError, CaptureReader};

/// One file of each format with records of many kinds.
fn samples() -> Vec<Bytes> {
    let packet = ethernet(1, 61);
    let mut samples = Vec::new();
    for order in [LITTLE, BIG] {
        samples.push(
            Bytes::pcap(order, MICRO, 1)
                .record(1, 2, &packet, 61)
                .record(3, 4, &packet, 90)
                .record(5, 6, &[], 0),
        );
        samples.push(
            Bytes::pcap(order, NANO, 113)
                .record(1, 2, &packet, 61)
                .record(3, 4, &packet, 90),
        );
        samples.push(
            Bytes::new(order)
                .section()
                .interface(1, 0, &[(9, &[9]), (14, &[0; 8])])
                .interface(276, 50, &[])
                .enhanced(0, 1, &packet, 61)
                .block(5, Bytes::new(order).u32(0).u32(0).u32(0))
                .enhanced(1, 2, &packet, 90)
                .simple(&packet, 61)
                .section()
                .interface(101, 0, &[])
                .simple(&packet, 80),
        );
    }
    samples
}

fn try_read(bytes: &[u8]) -> Result<Reading, CaptureError> {
    let (_folder, path) = file(bytes);
    CaptureReader::open(&path).map(read_on)
}

#[test]
fn cut_at_every_byte() {
    for sample in samples() {
        let bytes = sample.bytes;
        let whole = read(&bytes).frames;
        let mut longest = 0;
        for length in 0..bytes.len() {
            match try_read(&bytes[..length]) {
                Err(CaptureError::Empty { .. }) => assert_eq!(length, 0),
                Err(CaptureError::HeaderCutOff { length: said, .. }) => {
                    assert_eq!(said, length as u64)
                }
                Err(other) => panic!("{length}: {other}"),
                Ok(reading) => {
                    assert_eq!(reading.frames, whole[..reading.frames.len()], "{length}");
                    assert!(reading.frames.len() >= longest);
                    longest = reading.frames.len();
                    match reading.end {
                        Ok(()) => assert!(!reading.stats.cut_off),
                        Err(CaptureError::CutOff { offset, end, .. }) => {
                            assert!(reading.stats.cut_off);
                            assert_eq!(end, length as u64);
                            assert!(offset < end);
                        }
                        Err(other) => panic!("{length}: {other}"),
                    }
                }
            }
        }
    }
}

#[test]
fn every_byte_changed() {
    for sample in samples() {
        for at in 0..sample.bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = sample.bytes.clone();
                bytes[at] ^= change;
                if let Ok(reading) = try_read(&bytes) {
                    assert!(reading.frames.len() <= 5);
                }
            }
        }
    }
}

#[test]
fn the_cut_is_told_with_record_and_offset() {
    let bytes = Bytes::pcap(LITTLE, MICRO, 1)
        .record(1, 0, &ethernet(1, 60), 60)
        .record(2, 0, &ethernet(2, 60), 60);
    let reading = read(&bytes.bytes[..130]);
    assert_eq!(reading.frames.len(), 1);
    let error = reading.end.unwrap_err();
    assert!(error.is_cut_off());
    assert!(matches!(
        error,
        CaptureError::CutOff {
            record: 2,
            offset: 100,
            end: 130,
            ..
        }
    ));
    let message = error.to_string();
    assert!(
        message.contains("ends at byte 130, in the middle of record 2, which begins at byte 100"),
        "{message}"
    );

    let bytes = Bytes::new(BIG)
        .section()
        .interface(1, 0, &[])
        .enhanced(0, 0, &[0; 60], 60);
    let reading = read(&bytes.bytes[..100]);
    assert!(matches!(
        reading.end,
        Err(CaptureError::CutOff {
            record: 3,
            offset: 48,
            end: 100,
            ..
        })
    ));
}

#[test]
fn a_block_that_claims_four_gigabytes_is_only_passed_over() {
    let bytes = Bytes::new(LITTLE)
        .section()
        .interface(1, 0, &[])
        .u32(4)
        .u32(u32::MAX - 3)
        .raw(&[0; 50]);
    let reading = read(&bytes.bytes);
    assert!(matches!(
        reading.end,
        Err(CaptureError::CutOff {
            record: 3,
            offset: 48,
            end: 106,
            ..
        })
    ));
}

#[test]
fn paths_that_are_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| CaptureReader::open(path).err().unwrap();
    assert!(matches!(
        open(folder.path()),
        CaptureError::Directory { .. }
    ));
    let missing = open(&folder.path().join("missing.pcap"));
    assert!(missing.to_string().contains("missing.pcap"));
    assert!(
        matches!(missing, CaptureError::Open { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound)
    );
}

#[test]
fn a_file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let (_folder, path) = file(&[]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        println!("skipped: this user may read every file");
        return;
    }
    let error = CaptureReader::open(&path).err().unwrap();
    assert!(
        matches!(error, CaptureError::Open { cause, .. } if cause.kind() == std::io::ErrorKind::PermissionDenied)
    );
}

#[test]
fn other_formats_are_named() {
    assert!(matches!(open_error(b""), CaptureError::Empty { .. }));
    assert!(matches!(
        open_error(b"abc"),
        CaptureError::HeaderCutOff { length: 3, .. }
    ));
    let cases: [(&[u8], &str); 7] = [
        (b"kind,file,label", "no known format"),
        (&[0; 100], "no known format"),
        (&[0x34, 0xcd, 0xb2, 0xa1, 2, 0, 4, 0], "modified"),
        (b"snoop\0\0\0", "snoop"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04....", "zip"),
    ];
    for (bytes, name) in cases {
        let error = open_error(bytes);
        assert!(
            matches!(error, CaptureError::Format { format, .. } if format.contains(name)),
            "{name}"
        );
    }
}
