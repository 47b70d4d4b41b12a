//! Slots of verdicts in the kernel: replaced, full, used again, and led to by flow records
//! and signatures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use detector_common::{
    abi::SIGNATURES_MAX,
    addresses,
    key::Address,
    packet::protocol,
    signature::{Range, Signature},
    verdict::{Action, Kind},
};
use detector_user::{
    enforce::{
        target::Target,
        writer::{Order, VerdictError},
    },
    wire::load::Settings,
};
use lab::{
    Lab, Random,
    cast::{casts, dropped, settings},
    frames::*,
    plane::{self, DROP, PASS, Plane, key, order},
};

#[test]
fn a_replaced_verdict_leaves_nothing_of_the_former() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    for cast in casts() {
        for (target, _) in cast.targets() {
            let former = plane.writer().add(&order(target, Action::DROP)).unwrap();
            assert_eq!(dropped(&runner, &cast.bad_frame(), 3), 3, "{target}");
            let mut next = order(target, Action::PASS);
            next.reason = "changed its mind".to_owned();
            let slot = plane.writer().add(&next).unwrap();
            assert_eq!(dropped(&runner, &cast.bad_frame(), 3), 0, "{target}");
            let listed = plane.writer().list().unwrap();
            let [one] = &listed[..] else {
                panic!("{target}: {} verdicts", listed.len())
            };
            assert_eq!(
                (one.slot, one.verdict.action, one.target),
                (slot, Action::PASS, target)
            );
            assert_eq!(one.verdict.reason_text(), "changed its mind");
            assert_eq!(
                (one.hits.dropped_packets, one.hits.passed_packets),
                (0, 3),
                "{target}"
            );
            assert_eq!(
                plane.tables.verdicts.load(former).kind,
                Kind::FREE,
                "{target}"
            );
            assert_eq!(plane.writer().find(&target), Some(slot));
            plane.writer().add(&order(target, Action::DROP)).unwrap();
            assert_eq!(
                dropped(&runner, &cast.bad_frame(), 3),
                3,
                "{target}: and back"
            );
            plane.writer().clear().unwrap();
        }
    }
}

#[test]
fn full_slots_are_refused_and_expired_ones_make_room() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(8));
    let runner = plane.runner();
    let source = |n: u8| v4([10, 0, 0, n], 9);
    let frame = |n: u8| udp_frame(source(n), v4([10, 9, 9, 9], 80), &[]);
    let short = |n: u8| Order {
        time_to_live: Some(Duration::from_millis(300)),
        ..plane::drop_address(source(n).0)
    };
    for n in 1..=5 {
        plane
            .writer()
            .add(&plane::drop_address(source(n).0))
            .unwrap();
    }
    for n in 6..=7 {
        plane.writer().add(&short(n)).unwrap();
    }
    let refused = plane.writer().add(&plane::drop_address(source(8).0));
    assert!(
        matches!(refused, Err(VerdictError::Full { slots: 7 })),
        "{refused:?}"
    );
    assert_eq!(runner.run(&frame(8)), PASS, "a refused verdict");
    assert_eq!(plane.writer().find(&Target::Address(source(8).0)), None);
    for n in 1..=7 {
        assert_eq!(runner.run(&frame(n)), DROP, "source {n}");
    }
    // A verdict that is there can be renewed although nothing is free.
    let renewed = plane.writer().add(&Order {
        reason: "renewed".to_owned(),
        ..plane::drop_address(source(1).0)
    });
    let slot = renewed.expect("renewing a verdict while all slots are taken");
    assert_eq!(plane.tables.verdicts.load(slot).reason_text(), "renewed");
    assert_eq!(runner.run(&frame(1)), DROP);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(runner.run(&frame(6)), PASS, "expired");
    assert_eq!(
        plane
            .writer()
            .list()
            .unwrap()
            .iter()
            .filter(|one| one.is_expired())
            .count(),
        2
    );
    plane
        .writer()
        .add(&plane::drop_address(source(8).0))
        .unwrap();
    assert_eq!(
        (
            runner.run(&frame(8)),
            runner.run(&frame(6)),
            runner.run(&frame(7))
        ),
        (DROP, PASS, PASS)
    );
    assert_eq!(plane.writer().list().unwrap().len(), 6);
    plane
        .writer()
        .add(&plane::drop_address(source(9).0))
        .unwrap();
    assert_eq!(plane.writer().clear().unwrap(), 7);
    for n in 1..=9 {
        assert_eq!(runner.run(&frame(n)), PASS, "source {n}, all removed");
    }
}

#[test]
fn a_slot_used_again_is_not_the_former_verdict() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(2));
    let runner = plane.runner();
    let cast = &casts()[0];
    let flow = |port| (v4([10, 0, 0, 1], port), cast.server);
    let frame = |port| udp_frame(flow(port).0, flow(port).1, &[]);
    let target = |port| Target::Flow(key(flow(port).0, flow(port).1, UDP, plane::ZONE));
    for port in [1, 2] {
        assert_eq!(runner.run(&frame(port)), PASS);
    }
    // Both flows have records; there is one slot.
    let slot = plane.writer().add(&order(target(1), Action::DROP)).unwrap();
    assert_eq!((runner.run(&frame(1)), runner.run(&frame(2))), (DROP, PASS));
    plane.writer().remove(&target(1)).unwrap();
    assert_eq!(
        plane.writer().add(&order(target(2), Action::DROP)).unwrap(),
        slot
    );
    assert_eq!((runner.run(&frame(1)), runner.run(&frame(2))), (PASS, DROP));
    let hits = plane.tables.hits_of(slot);
    assert_eq!(
        (hits.dropped_packets, hits.passed_packets),
        (1, 0),
        "hits of the slot's new verdict"
    );
    // Each other kind in the same slot.
    for (target, _) in cast.targets() {
        plane.writer().clear().unwrap();
        assert_eq!(
            plane.writer().add(&order(target, Action::DROP)).unwrap(),
            slot,
            "{target}"
        );
        assert_eq!(
            (
                runner.run(&cast.bad_frame()),
                runner.run(&cast.good_frame())
            ),
            (DROP, PASS),
            "{target}"
        );
    }
}

#[test]
fn a_flow_verdict_holds_whenever_the_record_came() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    let (a, b) = (v4([10, 0, 0, 1], 1000), v4([10, 0, 0, 2], 80));
    let target = Target::Flow(key(a, b, TCP, plane::ZONE));
    let (there, back) = (tcp_frame(a, b, ACK, &[]), tcp_frame(b, a, ACK, &[]));
    // Before the flow's first packet: nothing of it passes, nor makes a record.
    plane.writer().add(&order(target, Action::DROP)).unwrap();
    assert_eq!((runner.run(&there), runner.run(&back)), (DROP, DROP));
    assert!(plane.flows().is_empty());
    // What leaves is counted and makes a record, which has the verdict.
    runner.leaves(&back, 1);
    assert_eq!(plane.flows().len(), 1);
    assert_eq!((runner.run(&there), runner.run(&back)), (DROP, DROP));
    // The record is given up, another made.
    assert!(plane.tables.release(plane.flows()[0].way));
    assert_eq!(runner.run(&there), DROP);
    runner.leaves(&back, 1);
    assert_eq!(runner.run(&there), DROP);
    plane.writer().clear().unwrap();
    assert_eq!((runner.run(&there), runner.run(&back)), (PASS, PASS));
    // On a flow that has a record.
    plane.writer().add(&order(target, Action::DROP)).unwrap();
    assert_eq!((runner.run(&there), runner.run(&back)), (DROP, DROP));
    // The same flow in another zone, of another protocol, of other ports is another.
    let others = [
        Target::Flow(key(a, b, TCP, plane::ZONE + 1)),
        Target::Flow(key(a, b, UDP, plane::ZONE)),
        Target::Flow(key(a, (b.0, 81), TCP, plane::ZONE)),
    ];
    plane.writer().clear().unwrap();
    for other in others {
        plane.writer().add(&order(other, Action::DROP)).unwrap();
    }
    assert_eq!((runner.run(&there), runner.run(&back)), (PASS, PASS));
}

/// A verdict that comes while another CPU makes the flow's record is not lost on it.
#[test]
fn a_flow_verdict_holds_that_comes_with_the_flow() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(16));
    let runners = [plane.runner(), plane.runner()];
    let to = v4([10, 0, 0, 2], 80);
    let from = |n: u32| v4([10, 1, (n >> 8) as u8, n as u8], 1000);
    let (number, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = lab::StopAtEnd(&stop);
        scope.spawn(|| {
            let _pinned = lab::pin(1);
            let mut frame = udp_frame(from(0), to, &[]);
            while !stop.load(Ordering::Relaxed) {
                let n = number.load(Ordering::Acquire);
                frame[28..30].copy_from_slice(&(n as u16).to_be_bytes());
                runners[1].run(&frame);
            }
        });
        let _pinned = lab::pin(0);
        let mut random = Random(3);
        for n in 1..3000 {
            let frame = udp_frame(from(n), to, &[]);
            let order = order(
                Target::Flow(key(from(n), to, UDP, plane::ZONE)),
                Action::DROP,
            );
            let mut writer = plane.writer();
            number.store(n, Ordering::Release);
            for _ in 0..random.below(3000) {
                std::hint::spin_loop();
            }
            writer.add(&order).unwrap();
            assert_eq!(runners[0].run(&frame), DROP, "flow {n}");
            writer.remove(&order.target).unwrap();
            assert_eq!(runners[0].run(&frame), PASS, "flow {n}, removed");
        }
    });
}

#[test]
fn signatures_match_every_field_and_spare_established_flows() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(128));
    let runner = plane.runner();
    let (a, b) = (v4([10, 0, 0, 1], 1000), v4([10, 0, 0, 2], 80));
    let exact = Signature {
        destination: plane::prefix("10.0.0.2").address(),
        destination_mask: plane::prefix("10.0.0.2").mask(),
        source_ports: Range {
            min: 1000,
            max: 1001,
        },
        destination_ports: Range { min: 80, max: 80 },
        payload: Range { min: 10, max: 20 },
        protocol: protocol::TCP,
        any_protocol: 0,
        flags_mask: SYN | ACK,
        flags: SYN,
        ..Signature::ANY
    };
    plane
        .writer()
        .add(&order(Target::Signature(exact), Action::DROP))
        .unwrap();
    let to = |address: [u8; 4], port| v4(address, port);
    let cases = [
        ("it", tcp_frame(a, b, SYN, &[0; 10]), DROP),
        (
            "upper bounds, another flag",
            tcp_frame((a.0, 1001), b, SYN | PSH, &[0; 20]),
            DROP,
        ),
        (
            "source port below",
            tcp_frame((a.0, 999), b, SYN, &[0; 10]),
            PASS,
        ),
        (
            "source port above",
            tcp_frame((a.0, 1002), b, SYN, &[0; 10]),
            PASS,
        ),
        (
            "destination port",
            tcp_frame(a, (b.0, 79), SYN, &[0; 10]),
            PASS,
        ),
        ("payload below", tcp_frame(a, b, SYN, &[0; 9]), PASS),
        ("payload above", tcp_frame(a, b, SYN, &[0; 21]), PASS),
        ("a flag missing", tcp_frame(a, b, PSH, &[0; 10]), PASS),
        (
            "a flag too many",
            tcp_frame(a, b, SYN | ACK, &[0; 10]),
            PASS,
        ),
        (
            "destination",
            tcp_frame(a, to([10, 0, 0, 3], 80), SYN, &[0; 10]),
            PASS,
        ),
        ("protocol", udp_frame(a, b, &[0; 10]), PASS),
    ];
    for (what, frame, want) in &cases {
        assert_eq!(runner.run(frame), *want, "{what}");
    }
    plane.writer().clear().unwrap();
    // Established: eight TCP packets of one side. Of any other protocol packets alone are not enough.
    let any = Signature {
        destination_ports: Range { min: 80, max: 80 },
        ..Signature::ANY
    };
    let established = tcp_frame((a.0, 2000), b, ACK, &[]);
    let one_way = udp_frame((a.0, 2000), b, &[]);
    for _ in 0..10 {
        runner.run(&established);
        runner.run(&one_way);
    }
    let fresh = tcp_frame((a.0, 2001), b, ACK, &[]);
    runner.run(&fresh);
    plane
        .writer()
        .add(&order(Target::Signature(any), Action::DROP))
        .unwrap();
    assert_eq!((runner.run(&established), runner.run(&fresh)), (PASS, DROP));
    assert_eq!(runner.run(&one_way), DROP);
    plane.writer().clear().unwrap();
    let all = Signature {
        spare_established: 0,
        ..any
    };
    plane
        .writer()
        .add(&order(Target::Signature(all), Action::DROP))
        .unwrap();
    assert_eq!((runner.run(&established), runner.run(&fresh)), (DROP, DROP));
    plane.writer().clear().unwrap();
    // All of them at once; one more is refused, and one removed makes room.
    let numbered = |n: u32| {
        let port = Range {
            min: 3000 + n as u16,
            max: 3000 + n as u16,
        };
        Target::Signature(Signature {
            destination_ports: port,
            ..Signature::ANY
        })
    };
    for n in 0..SIGNATURES_MAX {
        plane
            .writer()
            .add(&order(numbered(n), Action::DROP))
            .unwrap();
    }
    let refused = plane.writer().add(&order(numbered(64), Action::DROP));
    assert!(
        matches!(refused, Err(VerdictError::SignaturesFull)),
        "{refused:?}"
    );
    for n in 0..65u16 {
        let want = if n < 64 { DROP } else { PASS };
        assert_eq!(
            runner.run(&udp_frame(a, (b.0, 3000 + n), &[])),
            want,
            "signature {n}"
        );
    }
    plane.writer().remove(&numbered(31)).unwrap();
    plane
        .writer()
        .add(&order(numbered(64), Action::DROP))
        .unwrap();
    assert_eq!(runner.run(&udp_frame(a, (b.0, 3031), &[])), PASS);
    assert_eq!(runner.run(&udp_frame(a, (b.0, 3064), &[])), DROP);
}

#[test]
fn addresses_of_one_set_are_all_denied_and_all_let_go() {
    const MANY: usize = 20;
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(1024));
    let runner = plane.runner();
    let seed = plane.tables.control.load(0).seed;
    let mask = plane.tables.address_sets.len() - 1;
    let of_set_0 = |n: &[u8; 4]| addresses::place(&Address::from_ipv4(*n), &seed, mask).0 == 0;
    let sources: Vec<[u8; 4]> = (0x0a00_0000u32..)
        .map(u32::to_be_bytes)
        .filter(of_set_0)
        .take(MANY + 1)
        .collect();
    let (sources, other) = (&sources[..MANY], sources[MANY]);
    let server = v4([10, 9, 9, 9], 80);
    let fate = |source: [u8; 4]| runner.run(&udp_frame(v4(source, 9), server, &[]));
    let target = |source: [u8; 4]| plane::drop_address(v4(source, 9).0);
    for (n, source) in sources.iter().enumerate() {
        plane.writer().add(&target(*source)).unwrap();
        let denied = sources[..=n].iter().all(|source| fate(*source) == DROP);
        assert!(denied, "with {} of the set", n + 1);
        assert_eq!(fate(other), PASS, "with {} of the set", n + 1);
    }
    // Renewed, each is in another slot.
    for source in sources {
        plane.writer().add(&target(*source)).unwrap();
        assert_eq!(fate(*source), DROP, "renewed");
    }
    assert_eq!(plane.writer().list().unwrap().len(), MANY);
    // Every other one goes: those in the index and those beside it.
    for source in sources.iter().step_by(2) {
        assert!(plane.writer().remove(&target(*source).target).unwrap());
        assert_eq!(fate(*source), PASS, "removed");
    }
    for source in sources.iter().skip(1).step_by(2) {
        assert_eq!(fate(*source), DROP, "left");
    }
    plane.writer().clear().unwrap();
    assert!(sources.iter().all(|source| fate(*source) == PASS));
    for index in 0..=mask {
        let left = plane.tables.address_sets.load(index);
        assert_eq!(left.words, [0; addresses::WAYS], "set {index}");
    }
    assert_eq!(plane.account().difference(), (0, 0));
}

/// Two packets that begin a flow at once, on two CPUs: whichever of them makes the record, its
/// verdict must be there for the other.
#[test]
fn a_flow_that_two_cpus_begin_at_once_meets_its_verdict() {
    const FLOWS: u16 = 16_000;
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(
        &lab,
        Settings {
            flow_slots: 1 << 16,
            verdict_slots: 1 << 14,
            ..Settings::default()
        },
    );
    let to = v4([10, 9, 9, 9], 80);
    let from = |n| v4([10, 0, 0, 1], n);
    let slots: Vec<u32> = (0..FLOWS)
        .map(|n| {
            // Dropped, a packet would make no record.
            let target = Target::Flow(key(from(n), to, UDP, plane::ZONE));
            plane.writer().add(&order(target, Action::PASS)).unwrap()
        })
        .collect();
    let runners = [plane.runner(), plane.runner()];
    let arrived = AtomicU32::new(0);
    thread::scope(|scope| {
        for (cpu, runner) in runners.iter().enumerate() {
            let arrived = &arrived;
            scope.spawn(move || {
                let _pinned = lab::pin(cpu);
                for n in 0..FLOWS {
                    let frame = udp_frame(from(n), to, &[]);
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < 2 * (u32::from(n) + 1) {
                        std::hint::spin_loop();
                    }
                    runner.run(&frame);
                }
            });
        }
    });
    let missed = slots
        .iter()
        .filter(|slot| plane.tables.hits_of(**slot).passed_packets != 2)
        .count();
    assert_eq!(missed, 0, "flows of which a packet missed its verdict");
}
