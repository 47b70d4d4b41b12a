//! How the file is stored: compressed, in a pipe; and how far reading is.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::craft::{Bytes, LITTLE, MICRO, ethernet, file, frames, open_error, read, read_on};
use crate::wire::capture::{CaptureError, CaptureReader, Progress};

fn sample() -> Vec<u8> {
    let mut bytes = Bytes::pcap(LITTLE, MICRO, 1);
    for number in 0..3000_u32 {
        let length = (60 + number * 13 % 1400) as usize;
        bytes = bytes.record(
            number,
            number,
            &ethernet(number as u8, length),
            length as u32,
        );
    }
    bytes.bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

#[test]
fn compressed_content_is_the_same() {
    let sample = sample();
    let whole = frames(&sample);
    let (front, back) = sample.split_at(100_001);
    let skippable = [
        &[0x5e, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..],
        &zstd(&sample),
    ]
    .concat();
    for stored in [
        gzip(&sample),
        zstd(&sample),
        [gzip(front), gzip(back)].concat(),
        [zstd(front), zstd(back)].concat(),
        skippable,
    ] {
        assert_eq!(frames(&stored), whole);
    }
}

#[test]
fn compressed_and_cut_off() {
    let sample = sample();
    let whole = frames(&sample);
    for stored in [gzip(&sample), zstd(&sample)] {
        let step = stored.len() / 50;
        for length in (64..stored.len()).step_by(step).chain([stored.len() - 1]) {
            let (_folder, path) = file(&stored[..length]);
            match CaptureReader::open(&path).map(read_on) {
                Ok(reading) => {
                    assert_eq!(reading.frames, whole[..reading.frames.len()]);
                    assert!(reading.end.unwrap_err().is_cut_off(), "{length}");
                }
                Err(CaptureError::HeaderCutOff { .. }) => {}
                Err(other) => panic!("{length}: {other}"),
            }
        }
        // What is left of the compressed header.
        for length in 4..16 {
            assert!(
                matches!(
                    open_error(&stored[..length]),
                    CaptureError::HeaderCutOff { .. }
                ),
                "{length}"
            );
        }
    }
}

#[test]
fn compressed_and_broken() {
    let sample = sample();
    for mut stored in [gzip(&sample), zstd(&sample)] {
        let middle = stored.len() / 2;
        for byte in &mut stored[middle..middle + 64] {
            *byte ^= 0x5a;
        }
        let reading = read(&stored);
        let error = reading.end.unwrap_err();
        assert!(
            matches!(
                error,
                CaptureError::Decompress { .. } | CaptureError::Malformed { .. }
            ),
            "{error}"
        );
    }
    assert!(matches!(
        open_error(&[0x1f, 0x8b, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99]),
        CaptureError::Decompress { .. }
    ));
    assert!(matches!(open_error(&gzip(b"")), CaptureError::Empty { .. }));
    assert!(matches!(
        open_error(&gzip(&gzip(&sample))),
        CaptureError::Format {
            format: "a file compressed twice",
            ..
        }
    ));
}

#[test]
fn progress_reaches_the_stored_length() {
    let sample = sample();
    for stored in [sample.clone(), gzip(&sample), zstd(&sample)] {
        let (_folder, path) = file(&stored);
        let mut reader = CaptureReader::open(&path).unwrap();
        let total = stored.len() as u64;
        let mut before = reader.progress();
        assert!(before.consumed > 0 && before.consumed <= total);
        while reader.next_frame().unwrap().is_some() {
            let now = reader.progress();
            assert!(now.consumed >= before.consumed);
            before = now;
        }
        assert_eq!(
            reader.progress(),
            Progress {
                consumed: total,
                total: Some(total)
            }
        );
    }
}

#[test]
fn a_reader_can_go_to_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<CaptureReader>();
}

#[test]
fn from_a_pipe() {
    let sample = sample();
    let expected = frames(&sample);
    let (from, mut to) = std::io::pipe().unwrap();
    let writer = std::thread::spawn(move || {
        // In small pieces, so that records arrive in parts.
        for piece in sample.chunks(777) {
            to.write_all(piece).unwrap();
        }
    });
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&from));
    let reader = CaptureReader::open(path.as_ref()).unwrap();
    assert_eq!(reader.progress().total, None);
    let reading = read_on(reader);
    writer.join().unwrap();
    reading.end.unwrap();
    assert_eq!(reading.frames, expected);
}
