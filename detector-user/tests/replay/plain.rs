//! The plainest table that there can be.

use std::collections::HashMap;

use detector_common::{
    counters::{Counters, Event, Fate},
    frame::{Parser, Rejected},
    key::FlowKey,
    periods::Periods,
    record::{FlowRecord, micros},
};

pub type Records = Vec<(FlowRecord, Option<Periods>)>;

/// The plainest table that there can be, one packet at a time, as the kernel's engine goes about it.
#[derive(Default)]
pub struct Plain {
    flows: HashMap<FlowKey, (FlowRecord, Periods, bool)>,
    counters: Counters,
    done: Records,
}

impl Plain {
    pub fn frame(&mut self, time_ns: u64, bytes: &[u8]) {
        let length = bytes.len() as u64;
        self.counters.tallies[Fate::Seen as usize].add(1, length);
        let packet = match Parser::FULL.parse(bytes) {
            Ok(packet) => packet,
            Err(Rejected::NonIp(_)) => {
                return self.counters.tallies[Fate::NonIp as usize].add(1, length);
            }
            Err(Rejected::Malformed(reason)) => {
                self.counters.malformed[reason as usize] += 1;
                return self.counters.tallies[Fate::Malformed as usize].add(1, length);
            }
        };
        let mut event = |event| self.counters.events[event as usize] += 1;
        if packet.short_transport {
            event(Event::ShortTransport);
        }
        let (key, from_low) = FlowKey::new(
            (packet.source, packet.source_port),
            (packet.destination, packet.destination_port),
            packet.protocol,
            0,
        );
        let now_us = micros(time_ns);
        let Some((record, periods, promoted)) = self.flows.get_mut(&key) else {
            let mut record = FlowRecord::default();
            record.begin(&key, from_low, None, &packet, now_us);
            event(Event::FlowsCreated);
            self.flows.insert(key, (record, Periods::default(), false));
            return;
        };
        if record.is_over(&packet, now_us) {
            event(Event::FlowsEnded);
            event(Event::FlowsCreated);
            let (packets, bytes) = record.totals();
            self.counters.tallies[Fate::Ended as usize].add(packets, bytes);
            self.done.push(taken(record, periods));
            let forward = record.next_forward(from_low);
            record.begin(&key, from_low, forward, &packet, now_us);
        } else if let Some(gap) = record.update(from_low, &packet, now_us) {
            periods.add(gap);
        }
        if !*promoted && record.is_established() {
            *promoted = true;
            self.counters.events[Event::FlowsPromoted as usize] += 1;
        }
    }

    pub fn finish(mut self) -> (Records, Counters) {
        let live = self.flows.values().map(|(r, p, _)| taken(r, p));
        self.done.extend(live);
        (sorted(self.done), self.counters)
    }
}

pub fn taken(record: &FlowRecord, periods: &Periods) -> (FlowRecord, Option<Periods>) {
    (
        record.normalized(),
        (record.idle_periods > 0).then_some(*periods),
    )
}

/// In one order, whatever came first of two flows that began at once.
pub fn sorted(mut records: Records) -> Records {
    records.sort_by_cached_key(|(record, periods)| {
        (
            record.first_us,
            record.key.low,
            record.key.high,
            format!("{record:?}{periods:?}"),
        )
    });
    records
}
