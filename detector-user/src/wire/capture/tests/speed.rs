//! How fast reading is: most of it is the kernel's copying from the page cache. Run with
//! `cargo test --release -p detector-user capture::tests::speed -- --ignored --nocapture`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Instant;

use super::craft::{Bytes, LITTLE, MICRO, ethernet};
use crate::wire::capture::CaptureReader;

const PACKETS: u64 = 5_000_000;
const ROUNDS: usize = 9;

fn measure(name: &str, head: &Bytes, packet: &Bytes) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    // Large writes, so that the page cache holds the file in large pieces, as it does a capture read from disk.
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
    file.write_all(&head.bytes).unwrap();
    for _ in 0..PACKETS {
        file.write_all(&packet.bytes).unwrap();
    }
    file.flush().unwrap();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut reader = CaptureReader::open(&path).unwrap();
        let mut sum = 0_u64;
        while let Some(frame) = reader.next_frame().unwrap() {
            // The caller touches the frame; without that there is nothing to be read.
            sum += u64::from(frame.bytes[12]) + frame.bytes.len() as u64;
        }
        assert!(sum > 0);
        assert_eq!(reader.stats().frames, PACKETS);
        best = best.min(start.elapsed().as_nanos() as f64 / PACKETS as f64);
    }
    println!("{name}: {best:.1} ns a packet");
}

#[test]
#[ignore = "writes files of 500 MB each and takes a while"]
fn nanoseconds_a_packet() {
    let frame = ethernet(1, 64);
    let pcap = |link| Bytes::pcap(LITTLE, MICRO, link);
    let record = |captured: &[u8], original| Bytes::new(LITTLE).record(1, 1, captured, original);
    measure("pcap, 64-byte frames", &pcap(1), &record(&frame, 64));
    measure(
        "pcap, 64 of 1500 bytes captured",
        &pcap(1),
        &record(&frame, 1500),
    );
    measure("pcap, RAW", &pcap(101), &record(&[0x45; 64], 64));
    let head = Bytes::new(LITTLE).section().interface(1, 0, &[]);
    measure(
        "pcapng, 64-byte frames",
        &head,
        &Bytes::new(LITTLE).enhanced(0, 1, &frame, 64),
    );
}
