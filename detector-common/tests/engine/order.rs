//! Which verdict decides: the order that `verdict.rs` states, expiry, slots that
//! meanwhile hold something else.

use std::net::{IpAddr, Ipv4Addr};

use detector_common::{
    addresses::{self, AddressSet},
    config::{active, feature},
    counters::{Event, Fate},
    packet::tcp,
    signature::Signature,
    verdict::{Action, FOREVER, Kind, Service, Verdict},
};

use crate::{HERE, PEER, build, establish, host::Host, passes, request, request_key, verdict};

/// In the order in which they are asked.
pub const KINDS: [Kind; 4] = [Kind::ADDRESS, Kind::PREFIX, Kind::FLOW, Kind::SIGNATURE];

fn fate(kind: Kind) -> Fate {
    match kind {
        Kind::ADDRESS => Fate::DroppedAddress,
        Kind::PREFIX => Fate::DroppedPrefix,
        Kind::FLOW => Fate::DroppedFlow,
        _ => Fate::DroppedSignature,
    }
}

fn feature_of(kind: Kind) -> u32 {
    match kind {
        Kind::ADDRESS => feature::ADDRESS_VERDICTS,
        Kind::PREFIX => feature::PREFIX_VERDICTS,
        Kind::FLOW => feature::FLOW_VERDICTS,
        _ => feature::SIGNATURES,
    }
}

fn active_of(kind: Kind) -> u32 {
    match kind {
        Kind::ADDRESS => active::ADDRESSES,
        Kind::PREFIX => active::PREFIXES,
        Kind::FLOW => active::FLOWS,
        _ => active::SIGNATURES,
    }
}

/// Puts a verdict of `kind` that concerns [`request`]'s packets into `slot`.
pub fn put(host: &Host, kind: Kind, slot: u32, verdict: Verdict) {
    match kind {
        Kind::ADDRESS => host.put_address(slot, PEER, verdict),
        Kind::PREFIX => host.put_prefix(slot, PEER, 24, verdict),
        Kind::FLOW => host.put_flow(slot, request_key(host), verdict),
        _ => host.put_signature(
            slot,
            slot,
            Signature {
                spare_established: 0,
                ..Signature::ANY
            },
            verdict,
        ),
    }
}

pub fn with_service(action: Action, port: u16) -> Verdict {
    let mut verdict = Verdict {
        service_count: 1,
        ..verdict(action)
    };
    verdict.services[0] = Service {
        port,
        protocol: 6,
        reserved: 0,
    };
    verdict
}

/// Two packets at once, then one every tenth of a second.
pub fn limit() -> Verdict {
    let packet_cost = detector_common::rate::cost(10);
    Verdict {
        packet_cost,
        burst: 2 * packet_cost,
        ..verdict(Action::RATE_LIMIT)
    }
}

/// The fate of the one packet that was dropped.
pub fn dropped(host: &Host) -> Vec<Fate> {
    let fates = KINDS.map(fate);
    fates
        .into_iter()
        .filter(|&f| host.tally(f).packets > 0)
        .collect()
}

#[test]
fn every_kind_does_every_action() {
    for kind in KINDS {
        for established in [false, true] {
            let host = || {
                let host = Host::new(64);
                if established {
                    establish(&host);
                }
                host
            };
            let packet = request(tcp::ACK);
            let length = packet.len() as u64;

            let h = host();
            put(&h, kind, 5, verdict(Action::PASS));
            assert!(passes(&h, &packet));
            assert_eq!(
                (h.hits(5).passed_packets, h.hits(5).passed_bytes),
                (1, length)
            );
            assert_eq!(h.hits(5).dropped_packets, 0);

            let h = host();
            put(&h, kind, 5, verdict(Action::DROP));
            let before = h.in_records();
            assert!(!passes(&h, &packet));
            assert_eq!(
                (h.hits(5).dropped_packets, h.hits(5).dropped_bytes),
                (1, length)
            );
            assert_eq!(
                (h.tally(fate(kind)).packets, h.tally(fate(kind)).bytes),
                (1, length)
            );
            assert_eq!(dropped(&h), [fate(kind)]);
            assert_eq!(h.in_records(), before);
            assert_eq!(h.check(), Ok(()));

            let h = host();
            put(&h, kind, 5, limit());
            let passed: Vec<bool> = (0..4).map(|_| passes(&h, &packet)).collect();
            assert_eq!(passed, [true, true, false, false], "{kind:?}");
            assert_eq!(h.event(Event::LetThrough), 2);
            assert_eq!(h.tally(fate(kind)).packets, 2);

            let h = host();
            put(&h, kind, 5, verdict(Action::QUARANTINE));
            assert!(!passes(&h, &packet));
            put(&h, kind, 5, with_service(Action::QUARANTINE, 443));
            assert!(passes(&h, &packet));
            put(&h, kind, 5, with_service(Action::QUARANTINE, 80));
            assert!(!passes(&h, &packet));
            assert_eq!(
                (h.hits(5).passed_packets, h.hits(5).dropped_packets),
                (1, 2)
            );
            assert_eq!(h.check(), Ok(()));

            // An action that this program does not know.
            let h = host();
            put(&h, kind, 5, verdict(Action(9)));
            assert!(passes(&h, &packet));
        }
    }
}

#[test]
fn an_expired_verdict_counts_for_nothing() {
    for kind in KINDS {
        for action in Action::ALL {
            for (expires, acts) in [
                (999_999, false),
                (1_000_000, false),
                (1_000_001, true),
                (FOREVER, true),
            ] {
                let host = Host::new(64);
                let verdict = Verdict {
                    expires_jiffies: expires,
                    ..verdict(action)
                };
                put(&host, kind, 5, verdict);
                // Where it denies nobody can get through it: no rate, no service.
                let passes = passes(&host, &request(tcp::SYN));
                let denies = action == Action::DROP || action == Action::QUARANTINE;
                assert_eq!(passes, !(acts && denies), "{kind:?} {action:?} {expires}");
                let hits = host.hits(5);
                assert_eq!(hits.passed_packets + hits.dropped_packets, u64::from(acts));
                assert_eq!(host.check(), Ok(()));
            }
        }
    }
}

#[test]
fn the_earlier_verdict_decides_if_it_does() {
    let drop = verdict(Action::DROP);
    for established in [false, true] {
        for (n, earlier) in KINDS.into_iter().enumerate() {
            for later in KINDS.into_iter().skip(n + 1) {
                let try_pair = |first: Verdict, second: Verdict| {
                    let host = Host::new(64);
                    if established {
                        establish(&host);
                    }
                    put(&host, earlier, 1, first);
                    put(&host, later, 2, second);
                    let passed = passes(&host, &request(tcp::ACK));
                    assert_eq!(host.check(), Ok(()));
                    assert_eq!(passed, dropped(&host).is_empty());
                    (dropped(&host), host.hits(2).passed_packets)
                };
                let name = format!("{earlier:?} before {later:?}");
                let pass = verdict(Action::PASS);
                assert_eq!(try_pair(pass, drop).0, [], "{name}");
                assert_eq!(try_pair(drop, pass), (vec![fate(earlier)], 0), "{name}");
                assert_eq!(try_pair(drop, drop).0, [fate(earlier)], "{name}");
                // What lets the packet through leaves it to the next.
                let service = with_service(Action::QUARANTINE, 443);
                for through in [limit(), service] {
                    assert_eq!(try_pair(through, drop).0, [fate(later)], "{name}");
                    assert_eq!(try_pair(through, pass), (vec![], 1), "{name}");
                    assert_eq!(try_pair(through, through), (vec![], 1), "{name}");
                }
                let expired = Verdict {
                    expires_jiffies: 1,
                    ..pass
                };
                assert_eq!(try_pair(expired, drop).0, [fate(later)], "{name}");
            }
        }
    }
}

#[test]
fn the_longest_prefix_is_the_one_that_is_asked() {
    for (short, long, passed) in [
        (Action::DROP, Action::PASS, true),
        (Action::PASS, Action::DROP, false),
    ] {
        let host = Host::new(64);
        host.put_prefix(1, PEER, 0, verdict(short));
        host.put_prefix(2, PEER, 31, verdict(long));
        assert_eq!(passes(&host, &request(tcp::SYN)), passed);
        assert_eq!(host.hits(1), Default::default());
    }
    // Every length takes the address, and its neighbour beyond the prefix is free.
    for bits in 0..=32 {
        let host = Host::new(64);
        host.put_prefix(1, PEER, bits, verdict(Action::DROP));
        assert!(!passes(&host, &request(tcp::SYN)), "{bits}");
        if bits > 0 {
            let beyond = u32::from_be_bytes([198, 51, 100, 7]) ^ 1 << (32 - bits);
            let beyond = std::net::IpAddr::from(beyond.to_be_bytes());
            let frame = build::frame(beyond, HERE, &build::udp((1, 2), 0));
            assert!(passes(&host, &frame), "{bits}");
        }
    }
}

#[test]
fn the_lowest_signature_decides() {
    for (low, high, passed) in [
        (Action::DROP, Action::PASS, false),
        (Action::PASS, Action::DROP, true),
    ] {
        for (a, b) in [(0, 1), (3, 63), (31, 32)] {
            let host = Host::new(64);
            host.put_signature(b, 2, Signature::ANY, verdict(high));
            host.put_signature(a, 1, Signature::ANY, verdict(low));
            assert_eq!(passes(&host, &request(tcp::SYN)), passed);
            assert_eq!(host.hits(2), Default::default());
        }
    }
}

#[test]
fn what_is_switched_off_is_not_asked() {
    for kind in KINDS {
        let host = Host::new(64);
        put(&host, kind, 1, verdict(Action::DROP));
        assert!(!passes(&host, &request(tcp::ACK)));
        host.features.set(feature::ALL & !feature_of(kind));
        assert!(passes(&host, &request(tcp::ACK)), "{kind:?}");
        host.features.set(feature::ALL);
        host.active
            .set(active::NEVER_BLOCK | 0x1f & !active_of(kind));
        assert!(passes(&host, &request(tcp::ACK)), "{kind:?}");
        host.active.set(active_of(kind));
        // The record was made while no flow had a verdict; the agent writes it there.
        (0..64).for_each(|slot| host.release(slot));
        assert!(!passes(&host, &request(tcp::ACK)), "{kind:?}");
        assert_eq!(host.check(), Ok(()));
    }
    // Without flows there are no verdicts on flows, and nobody is established.
    let host = Host::new(64);
    host.features.set(feature::ALL & !feature::FLOWS);
    put(&host, Kind::FLOW, 1, verdict(Action::DROP));
    assert!(passes(&host, &request(tcp::ACK)));
    for kind in [Kind::SIGNATURE, Kind::PREFIX, Kind::ADDRESS] {
        put(&host, kind, 2, verdict(Action::DROP));
        assert!(!passes(&host, &request(tcp::ACK)));
        assert_eq!(host.tally(fate(kind)).packets, 1);
    }
    put(&host, Kind::ADDRESS, 2, verdict(Action::PASS));
    assert!(passes(&host, &request(tcp::ACK)));
    assert_eq!(host.in_records(), Default::default());
}

#[test]
fn a_slot_that_holds_something_else_counts_for_nothing() {
    for kind in KINDS {
        for established in [false, true] {
            let host = Host::new(64);
            if established {
                establish(&host);
            }
            put(&host, kind, 1, verdict(Action::DROP));
            assert!(!passes(&host, &request(tcp::ACK)));
            for other in [Kind::FREE].into_iter().chain(KINDS) {
                if other != kind {
                    let target = request_key(&host);
                    host.put(
                        1,
                        other,
                        Verdict {
                            target,
                            ..verdict(Action::DROP)
                        },
                    );
                    assert!(passes(&host, &request(tcp::ACK)), "{kind:?} {other:?}");
                }
            }
            assert_eq!(host.check(), Ok(()));
        }
    }
    // A flow's slot given to another flow.
    for established in [false, true] {
        let host = Host::new(64);
        if established {
            establish(&host);
        }
        put(&host, Kind::FLOW, 1, verdict(Action::DROP));
        let mut other = request_key(&host);
        other.high_port ^= 1;
        host.put(
            1,
            Kind::FLOW,
            Verdict {
                target: other,
                ..verdict(Action::DROP)
            },
        );
        assert!(passes(&host, &request(tcp::ACK)));
    }
    // Slots that there are none of, and the one that means none.
    for slot in [0, 128, u32::MAX] {
        let host = Host::new(64);
        host.address_verdicts.borrow_mut().insert(PEER.into(), slot);
        let (index, tag) = addresses::place(&PEER.into(), &host.seed, 3);
        host.address_sets.borrow_mut()[index as usize].words[2] = tag | u64::from(slot & 0xff_ffff);
        host.flow_verdicts
            .borrow_mut()
            .insert(request_key(&host), slot);
        host.signatures.borrow_mut()[0] = Signature {
            slot,
            ..Signature::ANY
        };
        host.signatures_active.set(1);
        host.active.set(0x1f);
        assert!(passes(&host, &request(tcp::ACK)));
        assert!(passes(&host, &request(tcp::ACK)));
        assert_eq!(host.check(), Ok(()));
    }
}

#[test]
fn a_verdict_on_a_flow_outlives_its_record() {
    let host = Host::new(64);
    establish(&host);
    put(&host, Kind::FLOW, 1, verdict(Action::DROP));
    assert!(!passes(&host, &request(tcp::ACK)));
    for slot in host.slots_of(&request_key(&host)) {
        host.release(slot);
    }
    // No record, then one that an egress packet made: the way of every answer that is resent.
    assert!(!passes(&host, &request(tcp::ACK)));
    let answer = crate::to_peer(&build::tcp((443, 40_000), tcp::ACK, 100));
    host.egress(answer.as_slice(), Default::default());
    assert!(host.record_of(&request_key(&host)).is_some());
    assert!(!passes(&host, &request(tcp::ACK)));
    // A flow that timed out and began anew in its record.
    host.advance_us(200_000_000);
    host.egress(answer.as_slice(), Default::default());
    assert!(!passes(&host, &request(tcp::ACK)));
    assert_eq!(host.event(Event::FlowsEnded), 1);
    assert_eq!(host.check(), Ok(()));
}

#[test]
fn a_verdict_on_a_flow_outlives_the_pass_that_spared_it() {
    for kind in [Kind::ADDRESS, Kind::PREFIX] {
        let host = Host::new(64);
        put(&host, Kind::FLOW, 1, verdict(Action::DROP));
        put(&host, kind, 2, verdict(Action::PASS));
        assert!(passes(&host, &request(tcp::SYN)));
        host.put(2, Kind::FREE, Verdict::FREE);
        assert!(!passes(&host, &request(tcp::ACK)), "{kind:?}");
    }
}

#[test]
fn a_new_flow_in_an_old_record_does_not_inherit_its_verdict() {
    let host = Host::new(8);
    establish(&host);
    put(&host, Kind::FLOW, 1, verdict(Action::DROP));
    let slot = host.slots_of(&request_key(&host))[0];
    host.release(slot);
    for port in 1..9 {
        let other = crate::from_peer(&build::tcp((port, 443), tcp::SYN, 0));
        assert!(passes(&host, &other) && passes(&host, &other));
    }
    assert_eq!(host.record_at(slot).verdict_slot, 0);
    assert_eq!(host.tally(Fate::DroppedFlow).packets, 0);
}

#[test]
fn the_first_hit_is_reported_once() {
    for kind in KINDS {
        let host = Host::new(64);
        host.zone.set(9);
        put(&host, kind, 7, verdict(Action::DROP));
        (0..5).for_each(|_| assert!(!passes(&host, &request(tcp::SYN))));
        let hits = host.first_hits.borrow().clone();
        let [hit] = hits[..] else {
            panic!("{hits:?}");
        };
        assert_eq!((hit.slot, hit.zone, hit.dropped), (7, 9, 1));
        assert_eq!((hit.source, hit.destination), (PEER.into(), HERE.into()));
        assert_eq!((hit.source_port, hit.destination_port), (40_000, 443));
        assert_eq!((hit.protocol, hit.tcp_flags), (6, tcp::SYN));
        // Written anew, it is reported anew; and where there is no room, counted.
        put(&host, kind, 7, with_service(Action::QUARANTINE, 443));
        assert!(passes(&host, &request(tcp::SYN)));
        assert_eq!(host.first_hits.borrow().len(), 2);
        assert_eq!(host.first_hits.borrow()[1].dropped, 0);
        host.first_hits_max.set(2);
        put(&host, kind, 7, verdict(Action::DROP));
        assert!(!passes(&host, &request(tcp::SYN)));
        assert_eq!(host.event(Event::EventsLost), 1);
    }
}

#[test]
fn the_clock_is_read_no_more_than_needed() {
    let host = Host::new(64);
    let reads = |frame: &[u8]| {
        let before = host.clock_reads.get();
        let _ = passes(&host, frame);
        host.clock_reads.get() - before
    };
    assert_eq!(reads(&request(tcp::SYN)), 1);
    assert_eq!(reads(&request(tcp::ACK)), 1);
    put(&host, Kind::ADDRESS, 1, verdict(Action::DROP));
    assert_eq!(reads(&request(tcp::ACK)), 0);
    put(&host, Kind::ADDRESS, 1, limit());
    assert_eq!(reads(&request(tcp::ACK)), 2);
}

/// The host's index has room for 32.
#[test]
fn addresses_whose_set_is_full_are_found_too() {
    let host = Host::new(64);
    let address = |n: u32| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n));
    let passes_from = |n: u32| {
        let syn = build::tcp((40_000, 443), tcp::SYN, 0);
        passes(&host, &build::frame(address(n), HERE, &syn))
    };
    for n in 1..100 {
        assert!(passes_from(n), "{n} before");
        host.put_address(n, address(n), verdict(Action::DROP));
        assert!((1..=n).all(|m| !passes_from(m)), "up to {n}");
        assert!(passes_from(n + 1000), "another, with {n} there");
    }
    let spilt = |set: &AddressSet| addresses::is_spilt(set.words[7]);
    assert!(host.address_sets.borrow().iter().all(spilt));
    // What leads to another address' verdict leads nowhere.
    host.put_address(1, address(1000), verdict(Action::DROP));
    assert!(passes_from(1) && !passes_from(1000));
}
