//! Signatures that spare those who come again: clients get in, floods do not.

use std::collections::VecDeque;

use detector_common::{
    abi::RETURNING_SETS,
    config::feature,
    counters::{Event, Fate},
    packet::tcp,
    rate,
    returning::{self, Doors},
    set,
    signature::Signature,
    verdict::{Action, Verdict},
};

use crate::{Dice, HERE, build, from_peer, host::Host, passes, request, verdict};

const MS: u64 = 1000;

/// Drops every packet of a flow that is not established, but for those that come again.
fn sparing() -> Signature {
    Signature {
        spare_returning: 1,
        ..Signature::ANY
    }
}

fn host(signature: Signature, verdict: Verdict) -> Host {
    let host = Host::new(64);
    host.put_signature(3, 1, signature, verdict);
    host
}

#[test]
fn a_repeated_syn_passes_and_the_connection_with_it() {
    let host = host(sparing(), verdict(Action::DROP));
    let syn = request(tcp::SYN);
    assert!(!passes(&host, &syn));
    for _ in 0..10 {
        assert!(!passes(&host, &syn), "at once");
    }
    host.advance_us(150 * MS);
    assert!(!passes(&host, &syn), "too soon");
    // Too soon did not count: the first knock is a second ago.
    host.advance_us(850 * MS);
    assert!(passes(&host, &syn));
    let answer = build::tcp((443, 40_000), tcp::SYN | tcp::ACK, 0);
    host.egress(crate::to_peer(&answer).as_slice(), Default::default());
    for flags in [tcp::ACK, tcp::ACK | tcp::PSH, tcp::ACK] {
        assert!(passes(&host, &request(flags)));
        host.advance_us(5000 * MS);
    }
    let hits = host.hits(1);
    // What follows the answer is spared for it, and met by no verdict.
    assert_eq!((hits.dropped_packets, hits.passed_packets), (12, 1));
    assert_eq!(host.event(Event::LetThrough), 1);
    assert_eq!(host.tally(Fate::DroppedSignature).packets, 12);
    assert_eq!(host.check(), Ok(()));
}

#[test]
fn only_the_same_flow_and_only_where_the_signature_says_so() {
    let strict = Signature {
        spare_returning: 0,
        ..Signature::ANY
    };
    let host_of = [
        host(strict, verdict(Action::DROP)),
        host(sparing(), verdict(Action::DROP)),
    ];
    for (host, spares) in host_of.iter().zip([false, true]) {
        assert!(!passes(host, &request(tcp::SYN)));
        host.advance_us(1000 * MS);
        for (ports, flags) in [((40_001, 443), tcp::SYN), ((40_000, 444), tcp::SYN)] {
            let other = from_peer(&build::tcp(ports, flags, 0));
            assert!(!passes(host, &other), "{ports:?}");
        }
        let udp = from_peer(&build::udp((40_000, 443), 0));
        assert!(!passes(host, &udp), "another protocol");
        assert_eq!(passes(host, &request(tcp::SYN)), spares);
        assert_eq!(host.returning.borrow().is_empty(), !spares);
    }
}

#[test]
fn whatever_the_signature_does_and_however_little_is_on() {
    for action in [Action::DROP, Action::QUARANTINE, Action::RATE_LIMIT] {
        for off in [0, feature::FLOWS, feature::RATE_LIMITS] {
            let limited = action == Action::RATE_LIMIT;
            let denied = !limited || off != feature::RATE_LIMITS;
            let host = host(sparing(), verdict(action));
            // No packet conforms for 9 s.
            let mut limit = host.verdicts[1].borrow_mut();
            limit.packet_cost = rate::COST_MAX;
            limit.packet_state = rate::units(host.now_ns.get() + 9_000_000_000);
            drop(limit);
            host.features.set(feature::ALL & !off);
            let syn = request(tcp::SYN);
            assert_eq!(passes(&host, &syn), !denied, "{} {off:x}", action.name());
            host.advance_us(100 * MS);
            assert_eq!(passes(&host, &syn), !denied, "{} {off:x}", action.name());
            host.advance_us(900 * MS);
            assert!(passes(&host, &syn), "{} {off:x}", action.name());
            if off != feature::FLOWS {
                assert_eq!(host.check(), Ok(()));
            }
        }
    }
    // What other verdicts drop does not knock.
    let host = host(sparing(), verdict(Action::DROP));
    host.put_address(2, crate::PEER, verdict(Action::DROP));
    for _ in 0..3 {
        assert!(!passes(&host, &request(tcp::SYN)));
        host.advance_us(1000 * MS);
    }
    assert!(host.returning.borrow().is_empty());
}

#[test]
fn who_passes_without_the_signature_need_not_come_again() {
    let host = host(sparing(), verdict(Action::PASS));
    assert!(passes(&host, &request(tcp::SYN)));
    assert!(host.returning.borrow().is_empty());
}

#[test]
fn a_flood_that_repeats_itself_at_once_stays_out() {
    let host = host(sparing(), verdict(Action::DROP));
    let mut dice = Dice(4);
    for _ in 0..2000 {
        let ports = (dice.below(65_536) as u16, 443);
        let source = std::net::Ipv4Addr::from(dice.next() as u32);
        let frame = build::frame(source.into(), HERE, &build::tcp(ports, tcp::SYN, 0));
        for _ in 0..8 {
            assert!(!passes(&host, &frame));
            host.advance_us(MS);
        }
    }
}

/// Shares of the clients that are let in when they come again after 1 s, and of the spoofed packets.
fn shares(spoofed_a_second: u64) -> (f64, f64) {
    let mut doors = vec![Doors::default(); RETURNING_SETS as usize];
    let mut dice = Dice(spoofed_a_second);
    let mut knock = |hash: u64, now_us: u64| {
        let (index, fingerprint) = returning::place(hash, RETURNING_SETS);
        doors[index as usize].knock(fingerprint, set::coarse(now_us * 1000), |n| n)
    };
    let mut clients = VecDeque::new();
    let (mut came, mut passed, mut spoofed_passed) = (0u32, 0u32, 0u32);
    let packets = spoofed_a_second * 9 / 2;
    for n in 0..packets {
        let now_us = n * 1_000_000 / spoofed_a_second;
        spoofed_passed += u32::from(knock(dice.next(), now_us));
        // Once the doors are in use all over.
        if now_us > 3_000_000 && n % 50 == 0 {
            let hash = dice.next();
            assert!(!knock(hash, now_us));
            clients.push_back((hash, now_us + 1_000_000));
        }
        while clients.front().is_some_and(|(_, at)| *at <= now_us) {
            let (hash, at) = clients.pop_front().unwrap();
            came += 1;
            passed += u32::from(knock(hash, at));
        }
    }
    assert!(came > 400, "{came} came");
    (
        f64::from(passed) / f64::from(came),
        f64::from(spoofed_passed) / packets as f64,
    )
}

#[test]
fn clients_get_in_through_a_flood() {
    for (spoofed_a_second, least) in [(50_000, 0.9999), (500_000, 0.99)] {
        let (clients, spoofed) = shares(spoofed_a_second);
        println!("{spoofed_a_second} spoofed/s: {clients:.4} of clients, {spoofed:.6} of spoofed");
        assert!(clients >= least, "{spoofed_a_second}: {clients}");
        assert!(spoofed < 5e-5, "{spoofed_a_second}: {spoofed}");
    }
}
