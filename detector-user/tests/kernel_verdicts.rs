//! Verdicts in the kernel: every kind with every action, their order, who is never blocked,
//! and what is reported.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use detector_common::{
    abi::map,
    counters::{Event, Fate},
    event::{EndedFlow, VerdictHit},
    key::Address,
    verdict::Action,
};
use detector_user::enforce::{never_block::Origin, target::Target};
use lab::{
    Lab,
    cast::{DENIALS, casts, dropped, settings},
    frames::*,
    plane::{self, DROP, PASS, Plane, key, order, service},
};

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
                let hits = plane.tables.hits_of(slot);
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
    // A list that covers nobody here is asked all the same, and its answer remembered.
    let elsewhere = plane::prefix("192.0.2.0/24");
    let mut overridden = 0;
    for listed_elsewhere in [false, true] {
        if listed_elsewhere {
            plane
                .writer()
                .never_block(elsewhere, Origin::Asked)
                .unwrap();
        }
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
                    assert!(plane.writer().block_again(listed).unwrap());
                    assert!(!plane.writer().block_again(listed).unwrap());
                    let rest = plane.writer().never_blocked().unwrap();
                    assert_eq!(rest.len(), usize::from(listed_elsewhere), "{what}");
                    runner.run(&bad);
                    assert_eq!(runner.run(&bad), DROP, "{what}: in the end");
                    plane.writer().clear().unwrap();
                }
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
