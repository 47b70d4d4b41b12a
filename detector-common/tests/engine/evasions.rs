//! A verdict that drops an address drops every frame from it: behind tags, options,
//! extension headers, in fragments, cut short, and whatever its transport says.

#[path = "../frames/matrix.rs"]
mod matrix;

use detector_common::{
    config::feature,
    counters::{Event, Fate, Tally},
    signature::{Range, Signature},
    verdict::Action,
};
use matrix::{Case, DESTINATION_V4, DESTINATION_V6, SOURCE_V4, SOURCE_V6};

use crate::{host::Host, passes, verdict};

fn host() -> Host {
    Host::new(1024)
}

/// Gives the program of `host` the case's link layer.
fn on_link(host: &Host, case: &Case) {
    let features = if case.parser.ethernet {
        feature::ALL
    } else {
        feature::ALL & !feature::ETHERNET
    };
    host.features.set(features);
}

/// The case's frame as it is, and cut soon behind its IP header with an IP length that
/// fits, so that a receiver takes it.
fn variants(case: &Case) -> Vec<Vec<u8>> {
    let mut frames = vec![case.frame.clone()];
    let last = case.frame.len().min(case.transport_at + 24);
    for n in case.transport_at..last {
        let mut frame = case.frame[..n].to_vec();
        let (at, length) = if case.version == 4 {
            (2, n - case.network_at)
        } else {
            (4, n - case.transport_at)
        };
        frame[case.network_at + at..][..2].copy_from_slice(&(length as u16).to_be_bytes());
        frames.push(frame);
    }
    frames
}

fn all_are_dropped(host: &Host, fate: Fate) {
    let mut dropped = Tally::default();
    for case in matrix::cases() {
        on_link(host, &case);
        for frame in variants(&case) {
            assert!(!passes(host, &frame), "{}: {frame:02x?}", case.name);
            dropped.add(1, frame.len() as u64);
        }
    }
    assert_eq!(host.tally(fate), dropped);
    assert_eq!(host.tally(Fate::Seen), dropped);
    assert_eq!(host.in_records(), Tally::default());
    assert_eq!(host.check(), Ok(()));
}

#[test]
fn nothing_evades_a_verdict_on_its_address() {
    let host = host();
    host.put_address(1, SOURCE_V4.into(), verdict(Action::DROP));
    host.put_address(2, SOURCE_V6.into(), verdict(Action::DROP));
    all_are_dropped(&host, Fate::DroppedAddress);
}

#[test]
fn nothing_evades_a_verdict_on_its_prefix() {
    let host = host();
    host.put_prefix(1, SOURCE_V4.into(), 25, verdict(Action::DROP));
    host.put_prefix(2, SOURCE_V6.into(), 48, verdict(Action::DROP));
    all_are_dropped(&host, Fate::DroppedPrefix);
}

#[test]
fn nothing_evades_a_quarantine_without_services() {
    let host = host();
    host.put_prefix(1, SOURCE_V4.into(), 0, verdict(Action::QUARANTINE));
    host.put_prefix(2, SOURCE_V6.into(), 0, verdict(Action::QUARANTINE));
    all_are_dropped(&host, Fate::DroppedPrefix);
}

#[test]
fn a_verdict_on_a_destination_drops_nothing() {
    let host = host();
    for (slot, address) in [(1, DESTINATION_V4.into()), (2, DESTINATION_V6.into())] {
        host.put_address(slot, address, verdict(Action::DROP));
        host.put_prefix(slot + 2, address, 128 - 96, verdict(Action::DROP));
    }
    for case in matrix::cases() {
        on_link(&host, &case);
        assert!(passes(&host, &case.frame), "{}", case.name);
    }
    assert_eq!(host.check(), Ok(()));
}

/// Headers in front of the transport change neither the flow nor its signature: where
/// the parser reads the ports, verdicts on them hold.
#[test]
fn nothing_evades_a_signature_or_a_verdict_on_its_flow_but_what_hides_its_ports() {
    for on_flows in [false, true] {
        let host = host();
        if on_flows {
            let flows = matrix::cases().into_iter().map(|case| {
                let p = case.expected;
                let source = (p.source, p.source_port);
                let destination = (p.destination, p.destination_port);
                detector_common::key::FlowKey::new(source, destination, p.protocol, 2).0
            });
            let flows: std::collections::HashSet<_> = flows
                .filter(|k| k.low_port == 443 || k.high_port == 443)
                .collect();
            assert!(flows.len() > 4);
            for (n, flow) in flows.into_iter().enumerate() {
                host.put_flow(n as u32 + 1, flow, verdict(Action::DROP));
            }
        } else {
            let https = Signature {
                destination_ports: Range { min: 443, max: 443 },
                ..Signature::ANY
            };
            host.put_signature(9, 1, https, verdict(Action::DROP));
        }
        let mut dropped = 0;
        for case in matrix::cases() {
            on_link(&host, &case);
            let shown = case.expected.destination_port == 443;
            assert_eq!(passes(&host, &case.frame), !shown, "{}", case.name);
            dropped += u64::from(shown);
        }
        assert!(dropped > 1000);
        let fate = [Fate::DroppedSignature, Fate::DroppedFlow][usize::from(on_flows)];
        assert_eq!(host.tally(fate).packets, dropped);
        assert_eq!(host.check(), Ok(()));
    }
}

#[test]
fn a_short_transport_is_an_event() {
    let host = host();
    let transport = crate::build::tcp((1, 2), 2, 0);
    let mut frame = crate::from_peer(&transport);
    assert!(passes(&host, &frame));
    assert_eq!(host.event(Event::ShortTransport), 0);
    frame[34 + 12] = 0x40;
    assert!(passes(&host, &frame));
    assert_eq!(host.event(Event::ShortTransport), 1);
}
