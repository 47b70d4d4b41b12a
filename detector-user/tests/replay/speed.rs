//! How fast captures are counted.

use std::fs;

use detector_user::flow::Table;
use detector_user::wire::capture::CaptureReader;

use crate::inputs::{tcp, write_capture};

/// Nanoseconds of this thread on a CPU, whoever else wants it.
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Run with `cargo test --release -p detector-user --test replay -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures"]
fn speed() {
    const PACKETS: u32 = 2_000_000;
    let home = tempfile::tempdir().unwrap();
    for flows in [1, 1_000, 10_000, 100_000, 1_000_000] {
        let capture = home.path().join("speed.pcap");
        let mut random = 88_172_645_463_325_252_u64;
        let frames: Vec<_> = (0..PACKETS)
            .map(|n| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let flow = (random >> 20) as u32 % flows;
                (u64::from(n) * 1_000, tcp(flow, random & 1 == 1, 16, 6))
            })
            .collect();
        write_capture(&capture, &frames);
        drop(frames);
        let best = (0..5)
            .map(|_| {
                let begun = cpu_ns();
                let mut reader = CaptureReader::open(&capture).unwrap();
                let mut table = Table::default();
                while let Some(frame) = reader.next_frame().unwrap() {
                    table.count(frame.time_ns, frame.bytes, &mut |_, _| {});
                }
                let mut live = 0;
                table.hand_out(&mut |_, _| live += 1);
                assert!(live > 0 && live <= flows);
                cpu_ns() - begun
            })
            .min()
            .unwrap();
        println!(
            "{flows} flows at random: {:.1} ns a packet, {:.2} M packets a second and core",
            best as f64 / f64::from(PACKETS),
            f64::from(PACKETS) * 1e3 / best as f64
        );
    }
}
