//! What leaves is never dropped, and counted as the wire packets that it becomes.

use detector_common::{
    config::feature,
    counters::{Event, Fate, Tally},
    engine::Segmentation,
    packet::tcp,
    signature::Signature,
    verdict::{Action, Kind},
};

use crate::{
    HERE, PEER, build, establish, host::Host, passes, request, request_key, to_peer, verdict,
};

#[test]
fn no_verdict_concerns_what_leaves() {
    let host = Host::new(64);
    let drop = verdict(Action::DROP);
    for (slot, address) in [(1, HERE), (2, PEER)] {
        host.put_address(slot, address, drop);
        host.put_prefix(slot + 2, address, 24, drop);
    }
    host.put_flow(5, request_key(&host), drop);
    host.put_signature(
        0,
        6,
        Signature {
            spare_established: 0,
            ..Signature::ANY
        },
        drop,
    );
    let frame = to_peer(&build::tcp((443, 40_000), tcp::ACK, 10));
    for n in 1..=10 {
        host.egress(frame.as_slice(), Segmentation::default());
        assert_eq!(host.in_records().packets, n);
    }
    assert!(host.hits.borrow().is_empty() && host.first_hits.borrow().is_empty());
    assert_eq!(host.event(Event::NeverBlocked), 0);
    assert_eq!(host.check(), Ok(()));
    // What arrives does concern them.
    assert!(!passes(&host, &request(tcp::ACK)));
}

#[test]
fn segments_are_counted() {
    let host = Host::new(64);
    establish(&host);
    let before = host.tally(Fate::Seen);
    let frame = to_peer(&build::tcp_with((443, 40_000), tcp::ACK, 9, 3, 10_000));
    let cut = Segmentation {
        segments: 7,
        segment_bytes: 1448,
    };
    host.egress(frame.as_slice(), cut);
    let record = host.record_of(&request_key(&host)).unwrap();
    let bytes = 7 * (14 + 20 + 32) + 10_000;
    assert_eq!((record.backward.packets, record.backward.acks), (8, 8));
    assert_eq!(record.backward.bytes, 54 + bytes);
    assert_eq!(record.backward.payload, 10_000);
    let squares = 6 * 1448 * 1448 + 1312 * 1312;
    assert_eq!(record.backward.payload_squares, squares);
    let mut seen = before;
    seen.add(7, bytes);
    assert_eq!(host.tally(Fate::Seen), seen);
    assert_eq!(host.check(), Ok(()));
}

/// A virtual machine's frame: its size is known, the number of its segments is not.
#[test]
fn segments_that_nobody_has_counted_are_counted() {
    let frame = to_peer(&build::tcp((443, 40_000), tcp::ACK, 10_000));
    let egress = |segments| {
        let host = Host::new(64);
        let cut = Segmentation {
            segments,
            segment_bytes: 1460,
        };
        host.egress(frame.as_slice(), cut);
        assert_eq!(host.check(), Ok(()));
        host.record_of(&request_key(&host)).unwrap()
    };
    assert_eq!(egress(0), egress(7));
    assert_eq!(egress(0).totals(), (7, 7 * 54 + 10_000));
}

#[test]
fn both_directions_meet_in_one_record() {
    let host = Host::new(64);
    establish(&host);
    let record = host.record_of(&request_key(&host)).unwrap();
    assert_eq!((record.forward.packets, record.backward.packets), (2, 1));
    assert_eq!(host.event(Event::FlowsCreated), 1);
    assert_eq!(host.event(Event::FlowsPromoted), 1);
    // Another zone is another flow.
    host.zone.set(77);
    assert!(passes(&host, &request(tcp::ACK)));
    assert_eq!(host.event(Event::FlowsCreated), 2);
    assert_eq!(host.record_of(&request_key(&host)).unwrap().key.zone(), 77);
}

#[test]
fn what_leaves_and_is_not_ip_is_counted() {
    let host = Host::new(64);
    let arp = build::ethernet(&[], 0x0806, &[0; 28]);
    host.egress(arp.as_slice(), Segmentation::default());
    host.egress(&arp[..9], Segmentation::default());
    let tally = |packets, bytes| Tally { packets, bytes };
    assert_eq!(host.tally(Fate::NonIp), tally(1, 42));
    assert_eq!(host.tally(Fate::Malformed), tally(1, 9));
    assert_eq!(host.check(), Ok(()));
}

#[test]
fn without_flows_nothing_is_recorded() {
    let host = Host::new(64);
    host.features.set(feature::ALL & !feature::FLOWS);
    host.put(1, Kind::ADDRESS, verdict(Action::DROP));
    let frame = to_peer(&build::udp((53, 53), 10));
    host.egress(frame.as_slice(), Segmentation::default());
    assert_eq!(host.in_records(), Tally::default());
    assert_eq!(host.tally(Fate::Seen).packets, 1);
}
