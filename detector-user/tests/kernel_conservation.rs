//! Conservation in the kernel: whatever two CPUs send at once into a table that is far
//! too small, while a third party gives flows up and changes verdicts, every packet and
//! every byte is in exactly one record or under exactly one fate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use detector_common::{
    counters::{Event, Fate},
    signature::{Range, Signature},
    verdict::Action,
};
use detector_user::{
    drain::reader::Which,
    enforce::target::Target,
    wire::{
        attach::{Mode, Request},
        load::Settings,
    },
};
use lab::{
    Lab, Random,
    frames::*,
    plane::{self, Plane},
    raw::Raw,
    space::{Space, veth},
    wait_for,
};

/// How long each run sends.
const SENDING: Duration = Duration::from_millis(2500);

/// Frames of every sort: some flows that answer, some that end and begin anew, a flood of
/// flows, fragments, IPv6 with extension headers, tags, and what is not IP or malformed.
fn mixture(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let mut frames = Vec::new();
    let payload = [0x5a; 1400];
    for n in 0..4096u64 {
        let host = random.below(600) as u16;
        let size = random.below(1400) as usize;
        let a = v4(
            [10, 1, (host >> 8) as u8, host as u8],
            1024 + random.below(8) as u16,
        );
        let b = v4([10, 2, 0, random.below(4) as u8], 80);
        let (c, d) = (v6(host, 4000), v6(1000, 53));
        let body = &payload[..size];
        frames.push(match n % 16 {
            0..4 => udp_frame(a, b, body),
            4 => udp_frame(b, a, body),
            5 => udp_frame(c, d, body),
            6 => udp_frame(d, c, body),
            // A few flows that both CPUs carry, over and over.
            7 => tcp_frame(v4([10, 3, 0, 1], 7), v4([10, 3, 0, 2], 80), ACK, body),
            8 => tcp_frame(v4([10, 3, 0, 2], 80), v4([10, 3, 0, 1], 7), ACK | PSH, body),
            9 => tcp_frame(v4([10, 3, 0, 3], 7), v4([10, 3, 0, 2], 80), RST, &[]),
            10 => tcp_frame(v4([10, 3, 0, 3], 7), v4([10, 3, 0, 2], 80), SYN, &[]),
            11 => {
                let tags = [(0x88a8, 7), (0x8100, 9)];
                tagged(
                    &tags[random.below(2) as usize..],
                    &ip(a, b, UDP, &udp(a, b, body)),
                )
            }
            12 => {
                let transport = udp(c, d, body);
                frame(&ipv6(
                    c,
                    d,
                    &[padding_header(60, 16), padding_header(0, 8)],
                    UDP,
                    &transport,
                ))
            }
            13 => fragments(a, b, UDP, n as u16, &[8], &udp(a, b, &payload[..64]))
                .swap_remove((n / 16 % 2) as usize),
            14 => {
                let mut arp = udp_frame(a, b, body);
                arp[12..14].copy_from_slice(&[0x08, 0x06]);
                arp
            }
            _ => malformed(&mut random, a, b, body),
        });
    }
    frames
}

fn malformed(random: &mut Random, a: End, b: End, body: &[u8]) -> Vec<u8> {
    let mut frame = udp_frame(a, b, body);
    match random.below(5) {
        0 => frame.truncate(14 + 10),
        1 => frame[14] = 0x44,
        2 => frame[14] = 0x65,
        3 => frame[16] = 0x40,
        _ => {
            frame.truncate(16);
            frame[12..14].copy_from_slice(&[0x81, 0]);
        }
    }
    frame
}

/// Gives flows up and changes verdicts, until told to stop; how many flows and verdicts.
fn meddle(plane: &mut Plane, zone: u32, stop: &AtomicBool) -> (u32, u32) {
    let (mut given_up, mut changed) = (0, 0);
    let mut random = Random(99);
    let targets = [
        Target::Address(v4([10, 1, 0, 9], 0).0),
        Target::Address(v4([10, 1, 1, 9], 0).0),
        Target::Prefix(plane::prefix("10.1.1.0/25")),
        Target::Prefix(plane::prefix("fd00::/120")),
        Target::Flow(plane::key(
            v4([10, 3, 0, 1], 7),
            v4([10, 3, 0, 2], 80),
            TCP,
            zone,
        )),
        Target::Signature(Signature {
            payload: Range { min: 700, max: 800 },
            any_protocol: 0,
            protocol: UDP,
            ..Signature::ANY
        }),
    ];
    while !stop.load(Ordering::Relaxed) {
        let mut ways = Vec::new();
        plane.tables.scan(Which::Live, |flow| ways.push(flow.way));
        for way in ways {
            if random.below(8) == 0 && plane.tables.release(way) {
                given_up += 1;
            }
        }
        let target = targets[random.below(targets.len() as u64) as usize];
        let action = [
            Action::DROP,
            Action::RATE_LIMIT,
            Action::QUARANTINE,
            Action::PASS,
        ];
        let order = plane::order(target, action[random.below(4) as usize]);
        let mut writer = plane.writer();
        if random.below(3) == 0 {
            writer.remove(&target).unwrap();
        } else {
            writer.add(&order).unwrap();
        }
        changed += 1;
        thread::sleep(Duration::from_micros(300));
    }
    (given_up, changed)
}

/// The books are closed: nothing is in flight any more.
fn assert_closed(plane: &Plane, what: &str) {
    let mut account = plane.account();
    wait_for(Duration::from_secs(3), || {
        let before = account.total;
        thread::sleep(Duration::from_millis(50));
        account = plane.account();
        account.total == before
    });
    println!("{what}: {:?}", account.table);
    for fate in Fate::ALL {
        println!("  {:18} {:?}", fate.name(), account.total.tally(fate));
    }
    for event in Event::ALL {
        println!("  {:18} {}", event.name(), account.total.event(event));
    }
    println!("  in records         {:?}", account.in_records);
    assert_eq!(
        account.table.torn, 0,
        "{what}: a record is locked though nothing runs"
    );
    assert_eq!(
        account.difference(),
        (0, 0),
        "{what}: seen less accounted for"
    );
}

#[test]
fn two_cpus_sending_into_a_tiny_table_lose_nothing() {
    for slots in [64, 1024] {
        let Some(lab) = Lab::new(&[]) else { return };
        let (from, to) = (Space::new(), Space::new());
        veth((&from, "a"), (&to, "b"));
        let pins = lab.pins();
        let request = Request {
            mode: Mode::Native,
            ..plane::request(slots, 64)
        };
        let attached = plane::attach_in(&to, &pins, "b", &request);
        let mut plane = Plane::open(&pins);
        let (barrier, stop) = (Barrier::new(2), AtomicBool::new(false));
        let ((packets, bytes), (given_up, changed)) = thread::scope(|scope| {
            let senders: Vec<_> = (0..2)
                .map(|cpu| {
                    let (from, barrier) = (&from, &barrier);
                    scope.spawn(move || {
                        from.enter();
                        let _pinned = lab::pin(cpu);
                        let raw = Raw::sender("a");
                        let frames = mixture(cpu as u64 + 1);
                        let mut sent = (0, 0);
                        barrier.wait();
                        let end = Instant::now() + SENDING;
                        while Instant::now() < end {
                            for part in frames.chunks(256) {
                                raw.send_all(part.iter().map(Vec::as_slice), &mut sent);
                            }
                        }
                        sent
                    })
                })
                .collect();
            let meddler = scope.spawn(|| meddle(&mut plane, attached.interface.index, &stop));
            let end = lab::StopAtEnd(&stop);
            let sent = senders.into_iter().map(|sender| sender.join().unwrap());
            let sent = sent.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            drop(end);
            (sent, meddler.join().unwrap())
        });
        let rate = packets as f64 / SENDING.as_secs_f64();
        println!(
            "{slots} slots: {packets} packets sent ({rate:.0}/s), {given_up} flows given up, {changed} verdicts changed"
        );
        assert_closed(&plane, &format!("{slots} slots"));
        let (ingress, egress) = plane.of(attached.interface.index);
        let seen = ingress.tally(Fate::Seen);
        assert_eq!((seen.packets, seen.bytes), (packets, bytes), "seen, sent");
        assert_eq!(egress.tally(Fate::Seen).packets, 0);
        for fate in [
            Fate::NonIp,
            Fate::Malformed,
            Fate::NotAdmitted,
            Fate::EvictedProbation,
            Fate::Released,
            Fate::Ended,
            Fate::DroppedAddress,
            Fate::DroppedPrefix,
            Fate::DroppedFlow,
            Fate::DroppedSignature,
        ] {
            assert!(
                ingress.tally(fate).packets > 0,
                "{slots} slots: no packet with fate {}",
                fate.name()
            );
        }
        assert!(given_up > 100 && changed > 100);
        assert_eq!(
            ingress.malformed.iter().sum::<u64>(),
            ingress.tally(Fate::Malformed).packets,
            "malformed by reason"
        );
        let arps = plane.tables.ethertypes.load(0x0806).packets;
        assert_eq!(
            arps,
            ingress.tally(Fate::NonIp).packets,
            "non-IP by EtherType"
        );
    }
}

#[test]
fn two_cpus_on_one_flow_lose_nothing() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(
        &lab,
        Settings {
            flow_slots: 64,
            verdict_slots: 64,
            ..Settings::default()
        },
    );
    const REPEAT: u32 = 50_000;
    let (a, b) = (v4([10, 3, 0, 1], 7), v4([10, 3, 0, 2], 80));
    let runners = [plane.runner(), plane.runner()];
    let (barrier, stop) = (Barrier::new(2), AtomicBool::new(false));
    let (runs, (given_up, _)) = thread::scope(|scope| {
        let threads: Vec<_> = runners
            .iter()
            .enumerate()
            .map(|(cpu, runner)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let _pinned = lab::pin(cpu);
                    let there = tcp_frame(a, b, ACK, &[7; 100]);
                    let back = tcp_frame(b, a, ACK, &[7; 1000]);
                    let (rst, syn) = (tcp_frame(a, b, RST, &[]), tcp_frame(a, b, SYN, &[]));
                    let others = mixture(cpu as u64 + 7);
                    let mut runs = 0;
                    barrier.wait();
                    let end = Instant::now() + SENDING;
                    let mut n = 0;
                    while Instant::now() < end {
                        runner.arrives(&there, REPEAT);
                        if cpu == 0 {
                            runner.arrives(&back, REPEAT);
                        } else {
                            runner.leaves(&back, REPEAT);
                        }
                        runner.arrives(&rst, 1);
                        runner.arrives(&syn, 1);
                        runs += u64::from(2 * REPEAT + 2);
                        for other in others.iter().skip(n % 4000).take(64) {
                            runner.arrives(other, 1);
                            runs += 1;
                        }
                        n += 64;
                    }
                    runs
                })
            })
            .collect();
        let meddler = scope.spawn(|| meddle(&mut plane, plane::ZONE, &stop));
        let end = lab::StopAtEnd(&stop);
        let runs: u64 = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        drop(end);
        (runs, meddler.join().unwrap())
    });
    assert_closed(&plane, "one flow on two CPUs");
    let contended = plane.event(Event::Contended);
    println!("{runs} runs, {contended} contended, {given_up} flows given up");
    assert_eq!(plane.tally(Fate::Seen).packets, runs, "seen, run");
    assert!(plane.tally(Fate::Ended).packets > 0 && given_up > 100);
    assert!(
        plane.tally(Fate::DroppedFlow).packets > 0,
        "the flow's verdict never dropped"
    );
}
