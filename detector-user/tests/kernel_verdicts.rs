//! Verdicts in the kernel: every kind with every action, who is never blocked, what is
//! reported, and what becomes of slots.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{thread, time::Duration};

use detector_common::{
    abi::{SIGNATURES_MAX, map},
    counters::{Event, Fate},
    event::{EndedFlow, VerdictHit},
    key::Address,
    packet::protocol,
    signature::{Range, Signature},
    verdict::{Action, Kind},
};
use detector_user::{
    enforce::{
        never_block::Origin,
        target::Target,
        writer::{Order, VerdictError},
    },
    wire::load::Settings,
};
use lab::{
    Lab,
    frames::*,
    plane::{self, DROP, PASS, Plane, Runner, key, order, service},
};

const DENIALS: [Action; 3] = [Action::RATE_LIMIT, Action::QUARANTINE, Action::DROP];

/// Who misbehaves, who does not, and whom they talk to.
struct Cast {
    bad: End,
    good: End,
    server: End,
    prefix: &'static str,
}

fn casts() -> [Cast; 2] {
    [
        Cast {
            bad: v4([10, 0, 0, 1], 1000),
            good: v4([10, 0, 1, 1], 1000),
            server: v4([10, 9, 0, 1], 80),
            prefix: "10.0.0.0/24",
        },
        Cast {
            bad: v6(1, 1000),
            good: v6(0x101, 1000),
            server: v6(0x900, 80),
            prefix: "fd00::/120",
        },
    ]
}

impl Cast {
    /// A target of each kind that takes what the bad one sends to the server.
    fn targets(&self) -> [(Target, Fate); 4] {
        let signature = Signature {
            destination_ports: Range { min: 80, max: 80 },
            any_protocol: 0,
            protocol: UDP,
            source_ports: Range {
                min: 1000,
                max: 1000,
            },
            spare_established: 0,
            ..Signature::ANY
        };
        [
            (Target::Address(self.bad.0), Fate::DroppedAddress),
            (
                Target::Prefix(plane::prefix(self.prefix)),
                Fate::DroppedPrefix,
            ),
            (
                Target::Flow(key(self.bad, self.server, UDP, plane::ZONE)),
                Fate::DroppedFlow,
            ),
            (Target::Signature(signature), Fate::DroppedSignature),
        ]
    }

    fn bad_frame(&self) -> Vec<u8> {
        udp_frame(self.bad, self.server, &[1; 100])
    }

    /// What none of the targets takes: another source, another port.
    fn good_frame(&self) -> Vec<u8> {
        udp_frame(self.good, (self.server.0, 81), &[1; 100])
    }
}

fn settings(verdict_slots: u32) -> Settings {
    Settings {
        flow_slots: 1024,
        verdict_slots,
        ..Settings::default()
    }
}

/// How many of `times` runs of a frame are dropped.
fn dropped(runner: &Runner, frame: &[u8], times: u32) -> u32 {
    (0..times).filter(|_| runner.run(frame) == DROP).count() as u32
}

#[test]
fn each_kind_does_each_action() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    const TIMES: u32 = 40;
    for cast in casts() {
        let (bad, good) = (cast.bad_frame(), cast.good_frame());
        for (target, fate) in cast.targets() {
            for case in [
                "pass",
                "drop",
                "packets",
                "bytes",
                "quarantine",
                "its service",
                "any port",
            ] {
                let action = match case {
                    "pass" => Action::PASS,
                    "drop" => Action::DROP,
                    "packets" | "bytes" => Action::RATE_LIMIT,
                    _ => Action::QUARANTINE,
                };
                let mut order = order(target, action);
                match case {
                    "bytes" => {
                        order.packets_per_second = 0;
                        order.bytes_per_second = bad.len() as u64 * 10;
                    }
                    "quarantine" => order.services = vec![service(UDP, 81), service(TCP, 80)],
                    "its service" => order.services = vec![service(TCP, 80), service(UDP, 80)],
                    "any port" => order.services = vec![service(UDP, 0)],
                    _ => {}
                }
                let what = format!("{target} {case}");
                let before = plane.tally(fate);
                let slot = plane.writer().add(&order).unwrap();
                let gone = dropped(&runner, &bad, TIMES);
                match case {
                    "drop" | "quarantine" => assert_eq!(gone, TIMES, "{what}"),
                    // Within the 100 ms of burst one passes, and one more if that took 100 ms.
                    "packets" | "bytes" => {
                        assert!((TIMES - 3..TIMES).contains(&gone), "{what}: {gone}")
                    }
                    _ => assert_eq!(gone, 0, "{what}"),
                }
                assert_eq!(
                    dropped(&runner, &good, TIMES),
                    0,
                    "{what}: another's packets"
                );
                let hits = plane.tables.hits_of(slot).unwrap();
                let bytes = bad.len() as u64;
                assert_eq!(
                    (
                        hits.dropped_packets,
                        hits.dropped_bytes,
                        hits.passed_packets,
                        hits.passed_bytes
                    ),
                    (
                        gone.into(),
                        u64::from(gone) * bytes,
                        (TIMES - gone).into(),
                        u64::from(TIMES - gone) * bytes
                    ),
                    "{what}: hits"
                );
                let after = plane.tally(fate);
                assert_eq!(
                    (after.packets - before.packets, after.bytes - before.bytes),
                    (gone.into(), u64::from(gone) * bytes),
                    "{what}: {}",
                    fate.name()
                );
                assert!(plane.writer().remove(&target).unwrap(), "{what}");
                assert!(
                    !plane.writer().remove(&target).unwrap(),
                    "{what}: removed twice"
                );
                assert_eq!(dropped(&runner, &bad, 1), 0, "{what}: after removal");
                assert_eq!(
                    plane.tables.control.load(0).active,
                    0,
                    "{what}: active after removal"
                );
            }
        }
    }
    assert_eq!(plane.account().difference(), (0, 0));
}

#[test]
fn the_order_of_verdicts_is_as_stated() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    for cast in casts() {
        let targets = cast.targets();
        // Of each two, the former's pass outdoes the latter's drop, and its drop the latter's pass.
        for first in 0..4 {
            for second in first + 1..4 {
                let pair = [targets[first].0, targets[second].0];
                for (actions, want) in [
                    ([Action::PASS, Action::DROP], PASS),
                    ([Action::DROP, Action::PASS], DROP),
                ] {
                    for n in 0..2 {
                        plane.writer().add(&order(pair[n], actions[n])).unwrap();
                    }
                    let got = runner.run(&cast.bad_frame());
                    assert_eq!(
                        got,
                        want,
                        "{} {} over {} {}",
                        actions[0].name(),
                        pair[0],
                        actions[1].name(),
                        pair[1]
                    );
                    assert_eq!(plane.writer().clear().unwrap(), 2);
                }
                // What the former lets through the latter may drop.
                let mut wide = order(pair[0], Action::QUARANTINE);
                wide.services = vec![service(UDP, 80)];
                plane.writer().add(&wide).unwrap();
                plane.writer().add(&order(pair[1], Action::DROP)).unwrap();
                assert_eq!(
                    runner.run(&cast.bad_frame()),
                    DROP,
                    "{} lets {} drop",
                    pair[0],
                    pair[1]
                );
                plane.writer().clear().unwrap();
            }
        }
    }
}

#[test]
fn the_longest_prefix_decides() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    let from = |last| udp_frame(v4([10, 0, last, 1], 9), v4([10, 9, 9, 9], 80), &[]);
    let prefixes = [
        ("10.0.0.0/8", Action::DROP),
        ("10.0.1.0/24", Action::PASS),
        ("10.0.1.0/32", Action::DROP),
    ];
    for (text, action) in prefixes {
        plane
            .writer()
            .add(&order(Target::Prefix(plane::prefix(text)), action))
            .unwrap();
    }
    assert_eq!((runner.run(&from(1)), runner.run(&from(2))), (PASS, DROP));
    assert!(
        plane
            .writer()
            .remove(&Target::Prefix(plane::prefix("10.0.1.0/24")))
            .unwrap()
    );
    assert_eq!((runner.run(&from(1)), runner.run(&from(2))), (DROP, DROP));
    // The whole of one family is not the other's.
    plane.writer().clear().unwrap();
    plane
        .writer()
        .add(&order(
            Target::Prefix(plane::prefix("0.0.0.0/0")),
            Action::DROP,
        ))
        .unwrap();
    let six = udp_frame(v6(1, 9), v6(2, 80), &[]);
    assert_eq!(
        (runner.run(&from(1)), runner.run(&six)),
        (DROP, PASS),
        "0.0.0.0/0"
    );
}

#[test]
fn never_block_beats_each_denial_of_each_kind() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    let mut overridden = 0;
    for cast in casts() {
        let listed = plane::prefix(cast.prefix);
        let bad = cast.bad_frame();
        for (target, _) in cast.targets() {
            for action in DENIALS {
                let mut order = order(target, action);
                // A rate so low that the second packet exceeds it.
                order.packets_per_second = u64::from(action == Action::RATE_LIMIT);
                let what = format!("{target} {}", action.name());
                plane.writer().add(&order).unwrap();
                runner.run(&bad);
                assert_eq!(runner.run(&bad), DROP, "{what}");
                // The verdict has been hit and knows that its source was not listed.
                plane.writer().never_block(listed, Origin::Asked).unwrap();
                assert_eq!(dropped(&runner, &bad, 5), 0, "{what}: listed");
                overridden += 5;
                assert_eq!(plane.event(Event::NeverBlocked), overridden, "{what}");
                assert!(plane.writer().block_again(listed).unwrap());
                assert_eq!(dropped(&runner, &bad, 5), 5, "{what}: no longer listed");
                // Listed before the verdict is written.
                plane.writer().clear().unwrap();
                plane.writer().never_block(listed, Origin::Floor).unwrap();
                plane.writer().add(&order).unwrap();
                assert_eq!(dropped(&runner, &bad, 5), 0, "{what}: listed before");
                overridden += 5;
                // A prefix that does not cover the source changes nothing.
                plane
                    .writer()
                    .never_block(plane::prefix("192.0.2.0/24"), Origin::Asked)
                    .unwrap();
                assert!(plane.writer().block_again(listed).unwrap());
                assert_eq!(plane.writer().never_blocked().unwrap().len(), 1);
                runner.run(&bad);
                assert_eq!(runner.run(&bad), DROP, "{what}: another is listed");
                plane
                    .writer()
                    .block_again(plane::prefix("192.0.2.0/24"))
                    .unwrap();
                plane.writer().clear().unwrap();
            }
        }
    }
}

#[test]
fn a_first_hit_is_reported_once() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    let mut ring = plane.ring(map::EVENTS);
    for cast in casts() {
        for (target, _) in cast.targets() {
            for action in DENIALS {
                let slot = plane.writer().add(&order(target, action)).unwrap();
                let since = plane.clock.now().unwrap().monotonic_ns;
                for _ in 0..10 {
                    runner.run(&cast.bad_frame());
                }
                let now = plane.clock.now().unwrap().monotonic_ns;
                let events: Vec<VerdictHit> = plane::drain(&mut ring);
                let [event] = events[..] else {
                    panic!("{target}: {events:?}")
                };
                assert!((since..=now).contains(&event.time_ns));
                let dropped = u8::from(action != Action::RATE_LIMIT);
                assert_eq!(
                    event,
                    VerdictHit {
                        time_ns: event.time_ns,
                        source: Address::from(cast.bad.0),
                        destination: Address::from(cast.server.0),
                        slot,
                        zone: plane::ZONE,
                        source_port: 1000,
                        destination_port: 80,
                        protocol: UDP,
                        tcp_flags: 0,
                        dropped,
                        reserved: 0,
                    }
                );
                // Written anew, it is reported anew.
                plane.writer().add(&order(target, action)).unwrap();
                runner.run(&cast.bad_frame());
                assert_eq!(
                    plane::drain::<VerdictHit>(&mut ring).len(),
                    1,
                    "{target}: renewed"
                );
                plane.writer().clear().unwrap();
            }
        }
    }
    assert_eq!(plane.event(Event::EventsLost), 0);
}

#[test]
fn a_full_ring_of_events_loses_no_packet_and_says_so() {
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(8192));
    let runner = plane.runner();
    let mut ring = plane.ring(map::EVENTS);
    let source = |n: u32| v4([10, 0, (n >> 8) as u8, n as u8], 9);
    let mut writer = plane.writer();
    for n in 0..5000 {
        writer.add(&plane::drop_address(source(n).0)).unwrap();
    }
    drop(writer);
    for n in 0..5000 {
        assert_eq!(
            runner.run(&udp_frame(source(n), v4([10, 9, 9, 9], 80), &[])),
            DROP
        );
    }
    let reported = plane::drain::<VerdictHit>(&mut ring).len() as u64;
    let lost = plane.event(Event::EventsLost);
    println!("{reported} reported, {lost} lost");
    assert!(lost > 0 && reported > 3000);
    assert_eq!(reported + lost, 5000);
}

#[test]
fn an_ended_flow_is_handed_over() {
    let Some(lab) = Lab::new(&[]) else { return };
    let plane = Plane::unattached(&lab, settings(64));
    let runner = plane.runner();
    let mut ring = plane.ring(map::ENDED);
    let (a, b) = (v4([10, 0, 0, 1], 1000), v4([10, 0, 0, 2], 80));
    runner.run(&tcp_frame(a, b, SYN, &[]));
    runner.leaves(&tcp_frame(b, a, SYN | ACK, &[]), 1);
    runner.run(&tcp_frame(a, b, ACK | PSH, &[7; 60]));
    let before = plane.flows()[0].record;
    runner.run(&tcp_frame(a, b, RST, &[]));
    assert!(
        plane::drain::<EndedFlow>(&mut ring).is_empty(),
        "closed, but nothing follows"
    );
    runner.run(&tcp_frame(a, b, SYN, &[]));
    let ended = plane::drain::<EndedFlow>(&mut ring);
    let [ended] = &ended[..] else {
        panic!("{} ended", ended.len())
    };
    assert_eq!(ended.record.key, key(a, b, TCP, plane::ZONE));
    assert_eq!(ended.record.first_us, before.first_us);
    assert_eq!(
        (ended.record.forward.packets, ended.record.backward.packets),
        (3, 1)
    );
    assert_eq!(ended.record.forward.payload, 60);
    let record = plane.flows()[0].record;
    assert_eq!((record.forward.packets, plane.flows().len()), (1, 1));
    assert_eq!(
        (
            plane.event(Event::FlowsEnded),
            plane.event(Event::EndedLost)
        ),
        (1, 0)
    );
    assert_eq!(plane.tally(Fate::Ended).packets, 4);
}

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
            .filter(|one| one.expired)
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
    let hits = plane.tables.hits_of(slot).unwrap();
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
    // Established: eight packets of one side.
    let any = Signature {
        destination_ports: Range { min: 80, max: 80 },
        ..Signature::ANY
    };
    let established = udp_frame((a.0, 2000), b, &[]);
    for _ in 0..10 {
        runner.run(&established);
    }
    let fresh = udp_frame((a.0, 2001), b, &[]);
    runner.run(&fresh);
    plane
        .writer()
        .add(&order(Target::Signature(any), Action::DROP))
        .unwrap();
    assert_eq!((runner.run(&established), runner.run(&fresh)), (PASS, DROP));
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
