//! The flow record against a model that keeps every wire packet and counts them anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "record/model.rs"]
mod model;
#[path = "record/properties.rs"]
mod properties;
#[path = "record/stories.rs"]
mod stories;

use std::net::Ipv4Addr;

use detector_common::{
    key::{Address, FlowKey},
    packet::{Packet, protocol},
    periods::Periods,
    record::FlowRecord,
};

/// The low endpoint, and the high one.
const LOW: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 1), 40_000);
const HIGH: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 2), 443);

/// A packet between the two endpoints, and when it was seen.
#[derive(Clone, Copy, Debug)]
struct Sent {
    from_low: bool,
    now_us: u64,
    packet: Packet,
}

/// A packet of `payload` bytes behind 54 bytes of headers, from the low endpoint or not.
fn packet(from_low: bool, number: u8, flags: u8, payload: u32) -> Packet {
    let (source, destination) = if from_low { (LOW, HIGH) } else { (HIGH, LOW) };
    let is_tcp = number == protocol::TCP;
    let header_bytes = if is_tcp { 20 } else { 8 };
    Packet {
        source: Address::from(source.0),
        destination: Address::from(destination.0),
        source_port: source.1,
        destination_port: destination.1,
        window: 0,
        protocol: number,
        tcp_flags: if is_tcp { flags } else { 0 },
        header_bytes,
        later_fragment: false,
        short_transport: false,
        payload_bytes: payload,
        wire_bytes: 34 + u32::from(header_bytes) + payload,
        segments: 1,
        segment_bytes: 0,
    }
}

fn key(packet: &Packet) -> (FlowKey, bool) {
    FlowKey::new(
        (packet.source, packet.source_port),
        (packet.destination, packet.destination_port),
        packet.protocol,
        3,
    )
}

/// Runs the packets of one flow key through a record, as the engine does: what each
/// flow ended with.
fn run(sent: &[Sent]) -> Vec<(FlowRecord, Periods)> {
    // Whatever the record held before must not show.
    let mut record = FlowRecord {
        lock: 5,
        verdict_slot: 9,
        idle_periods: 7,
        forward_header_min: 99,
        backward_window: 99,
        ..FlowRecord::default()
    };
    record.forward.packets = 1000;
    record.backward.packets = 1000;
    let mut periods = Periods {
        active_count: 77,
        idle_min_us: 1,
        ..Periods::default()
    };
    let mut flows = Vec::new();
    for (n, sent) in sent.iter().enumerate() {
        let (key, from_low) = key(&sent.packet);
        assert_eq!(from_low, sent.from_low);
        let (packet, now_us) = (&sent.packet, sent.now_us);
        if n == 0 {
            record.begin(&key, from_low, None, packet, now_us);
        } else if record.is_over(packet, now_us) {
            flows.push((record, periods));
            let forward = record.next_forward(from_low);
            record.begin(&key, from_low, forward, packet, now_us);
        } else if let Some(gap) = record.update(from_low, packet, now_us) {
            periods.add(gap);
        }
        assert_eq!((record.lock, record.verdict_slot), (5, 9));
    }
    flows.push((record, periods));
    flows
}
