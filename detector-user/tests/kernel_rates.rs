//! What depends on time: expiry without anybody to see to it, and token buckets under
//! two CPUs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    process::Command,
    sync::Barrier,
    thread,
    time::{Duration, Instant, SystemTime},
};

use detector_common::{
    signature::{Range, Signature},
    verdict::Action,
};
use detector_user::{
    enforce::{target::Target, writer::Order},
    wire::{
        load::{Settings, unix_ms},
        pins::Pins,
    },
};
use lab::{
    Lab,
    child::{self, Child},
    frames::*,
    plane::{self, DROP, PASS, Plane, key, order},
};

const SERVER: ([u8; 4], u16) = ([10, 9, 0, 1], 80);

fn settings() -> Settings {
    Settings {
        flow_slots: 1024,
        verdict_slots: 64,
        ..Settings::default()
    }
}

/// What the kernel says it was built with.
fn configured_hz() -> Option<u32> {
    let output = Command::new("zcat").arg("/proc/config.gz").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("CONFIG_HZ=")?.parse().ok())
}

#[test]
fn the_rate_of_jiffies_is_found_on_a_busy_machine_too() {
    let Some(lab) = Lab::new(&[]) else { return };
    let Some(hz) = configured_hz() else {
        return lab::skip("/proc/config.gz does not tell CONFIG_HZ");
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = lab::StopAtEnd(&stop);
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let found: Vec<u32> = (0..10)
            .map(|_| {
                let plane = Plane::unattached(&lab, settings());
                let found = plane.tables.control.load(0).jiffies_hz;
                plane.pins.remove_all().unwrap();
                found
            })
            .collect();
        assert_eq!(found, vec![hz; 10]);
    });
}

/// Kinds of verdict on the flow from `10.0.0.n`.
fn targets() -> [Target; 4] {
    let server = v4(SERVER.0, SERVER.1);
    let signature = Signature {
        source_ports: Range { min: 4, max: 4 },
        spare_established: 0,
        ..Signature::ANY
    };
    [
        Target::Address(v4([10, 0, 0, 1], 1).0),
        Target::Prefix(plane::prefix("10.0.0.2/31")),
        Target::Flow(key(v4([10, 0, 0, 4], 3), server, UDP, plane::ZONE)),
        Target::Signature(signature),
    ]
}

/// The frame that the n-th target takes, of `bytes`.
fn frame_of(n: usize, bytes: usize) -> Vec<u8> {
    let from = v4([10, 0, 0, [1, 3, 4, 5][n]], n as u16 + 1);
    udp_frame(from, v4(SERVER.0, SERVER.1), &vec![7; bytes - 42])
}

const TIME_TO_LIVE: Duration = Duration::from_millis(1500);

#[test]
#[ignore = "the process that writes the verdicts of verdicts_expire_with_nobody_left"]
fn write_verdicts_and_end() {
    let Some(arguments) = child::arguments() else {
        return;
    };
    let mut plane = Plane::open(&Pins::new(&arguments[0]));
    for target in targets() {
        let order = Order {
            time_to_live: Some(TIME_TO_LIVE),
            ..order(target, Action::DROP)
        };
        plane.writer().add(&order).unwrap();
    }
}

#[test]
fn verdicts_expire_with_nobody_left() {
    let Some(lab) = Lab::new(&[]) else { return };
    let plane = Plane::unattached(&lab, settings());
    let runner = plane.runner();
    let frames: Vec<Vec<u8>> = (0..4).map(|n| frame_of(n, 100)).collect();
    // Two have a record before the verdicts come.
    for frame in &frames[2..] {
        assert_eq!(runner.run(frame), PASS);
    }
    let writer = Child::start(
        "write_verdicts_and_end",
        &[plane.pins.root().to_str().unwrap()],
    );
    assert!(writer.end());
    let until: Vec<u64> = (1..5)
        .map(|slot| plane.tables.verdicts.load(slot).expires_unix_ms)
        .collect();
    for frame in &frames {
        assert_eq!(runner.run(frame), DROP);
    }
    let mut passed_ms = [0; 4];
    let end = Instant::now() + Duration::from_secs(4);
    while passed_ms.contains(&0) && Instant::now() < end {
        for (n, frame) in frames.iter().enumerate() {
            if passed_ms[n] == 0 && runner.run(frame) == PASS {
                passed_ms[n] = unix_ms(SystemTime::now());
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    for n in 0..4 {
        let late = passed_ms[n].cast_signed() - until[n].cast_signed();
        println!("{}: expired {late} ms after its time", targets()[n]);
        // A jiffy's rounding, and this thread's own delay on a busy machine.
        assert!(
            (-5..30).contains(&late),
            "{}: expired {late} ms after its time",
            targets()[n]
        );
    }
}

const PACKETS: [u64; 4] = [1_000, 0, 4_000, 2_000];
const BYTES: [u64; 4] = [0, 1_000_000, 0, 500_000];
const SIZES: [[usize; 2]; 4] = [[60, 60], [1400, 400], [60, 1400], [500, 500]];

#[test]
fn token_buckets_hold_for_ten_seconds_of_two_cpus() {
    const SECONDS: u64 = 10;
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings());
    let runners = [plane.runner(), plane.runner()];
    let slots: Vec<u32> = targets()
        .into_iter()
        .zip(PACKETS.into_iter().zip(BYTES))
        .map(|(target, (packets_per_second, bytes_per_second))| {
            let limit = Order {
                packets_per_second,
                bytes_per_second,
                ..order(target, Action::RATE_LIMIT)
            };
            plane.writer().add(&limit).unwrap()
        })
        .collect();
    let barrier = Barrier::new(2);
    let counts: Vec<[[u64; 3]; 4]> = thread::scope(|scope| {
        let threads: Vec<_> = runners
            .iter()
            .enumerate()
            .map(|(cpu, runner)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let _pinned = lab::pin(cpu);
                    let frames: Vec<[Vec<u8>; 2]> = (0..4)
                        .map(|n| SIZES[n].map(|bytes| frame_of(n, bytes)))
                        .collect();
                    // Of each target: packets offered, packets and bytes passed.
                    let mut counts = [[0; 3]; 4];
                    barrier.wait();
                    let end = Instant::now() + Duration::from_secs(SECONDS);
                    let mut turn = 0;
                    while Instant::now() < end {
                        for (n, both) in frames.iter().enumerate() {
                            let frame = &both[turn % 2];
                            counts[n][0] += 1;
                            if runner.run(frame) == PASS {
                                counts[n][1] += 1;
                                counts[n][2] += frame.len() as u64;
                            }
                        }
                        turn += 1;
                    }
                    counts
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (n, target) in targets().into_iter().enumerate() {
        let [offered, packets, bytes] =
            [0, 1, 2].map(|what| counts[0][n][what] + counts[1][n][what]);
        let hits = plane.tables.hits_of(slots[n]);
        assert_eq!(
            (hits.passed_packets, hits.passed_bytes),
            (packets, bytes),
            "{target}: hits"
        );
        assert_eq!(hits.dropped_packets, offered - packets, "{target}: hits");
        let (got, want) = if BYTES[n] == 0 {
            (packets, PACKETS[n])
        } else {
            (bytes, BYTES[n])
        };
        let off = got as f64 / (want * SECONDS) as f64 * 100.0 - 100.0;
        println!(
            "{target}: {offered} offered, {packets} packets and {bytes} bytes passed: {off:+.2} %"
        );
        assert!(offered > 3 * packets, "{target}: only {offered} offered");
        assert!(off.abs() <= 5.0, "{target}: {off:+.2} % off");
    }
}

#[test]
fn a_bucket_that_two_cpus_fight_for_holds_too() {
    const RUNS: u32 = 1_000_000;
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings());
    let runners = [plane.runner(), plane.runner()];
    let frame = frame_of(0, 60);
    let fight = |times: u32| {
        let start = Instant::now();
        thread::scope(|scope| {
            for (cpu, runner) in runners.iter().enumerate() {
                let frame = &frame;
                scope.spawn(move || {
                    let _pinned = lab::pin(cpu);
                    for _ in 0..times {
                        runner.arrives(frame, RUNS);
                    }
                });
            }
        });
        start.elapsed().as_secs_f64()
    };
    let order = |packets_per_second| Order {
        packets_per_second,
        ..order(targets()[0], Action::RATE_LIMIT)
    };
    // A good part of what this machine can offer passes, so that each often finds the other there.
    plane.writer().add(&order(1)).unwrap();
    let offered = 2.0 * f64::from(RUNS) / fight(1);
    let rate = (offered / 4.0) as u64;
    let slot = plane.writer().add(&order(rate)).unwrap();
    runners[0].arrives(&frame, RUNS);
    let before = plane.tables.hits_of(slot);
    let seconds = fight(6);
    let hits = plane.tables.hits_of(slot);
    let passed = hits.passed_packets - before.passed_packets;
    let off = passed as f64 / (rate as f64 * seconds) * 100.0 - 100.0;
    println!("{offered:.0}/s offered, {rate}/s let through for {seconds:.2} s: {off:+.2} %");
    assert_eq!(
        passed + hits.dropped_packets - before.dropped_packets,
        12 * u64::from(RUNS)
    );
    // The bucket fills up in a pause between two system calls, to a tenth of a second; what is
    // longer (another test has the CPU) is not made up for.
    assert!(
        (-30.0..2.0 + 10.0 / seconds).contains(&off),
        "{off:+.2} % off"
    );
}
