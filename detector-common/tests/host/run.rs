//! One run of a program on the [`Host`].

use std::cell::{Cell, OnceCell};

use detector_common::{
    config::feature,
    counters::{Event, Fate},
    event::{EndedFlow, VerdictHit},
    frame::Malformed,
    key::{Address, FlowKey, HashSeed},
    maps::Maps,
    packet::Packet,
    periods::Periods,
    record::FlowRecord,
    returning::Doors,
    service::{Lost, ServiceCounters},
    signature::{Signature, Taken},
    verdict::Verdict,
    verdicts::Bucket,
};

use super::{Host, Prefix};

/// Holds what the kernel keeps per run, and which record this run has locked.
pub struct Run<'h> {
    host: &'h Host,
    packet: OnceCell<Packet>,
    locked: Cell<Option<u32>>,
}

impl<'h> Run<'h> {
    pub fn new(host: &'h Host) -> Self {
        Self {
            host,
            packet: OnceCell::new(),
            locked: Cell::new(None),
        }
    }

    fn owns(&self, record: u32) {
        assert_eq!(self.locked.get(), Some(record), "touched without its lock");
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.locked.get(), None, "left locked");
        }
    }
}

fn longest(prefixes: &[Prefix], address: &Address) -> Option<u32> {
    prefixes
        .iter()
        .filter(|p| p.takes(address))
        .max_by_key(|p| p.bits)
        .map(|p| p.slot)
}

impl Maps for Run<'_> {
    type Set = u32;
    type Record = u32;
    type Verdict = u32;
    type AddressSet = u32;

    fn features(&self) -> u32 {
        self.host.features.get()
    }
    fn zone(&self) -> u32 {
        self.host.zone.get()
    }
    fn set_mask(&self) -> u32 {
        self.host.sets.len() as u32 - 1
    }
    fn doorkeeper_mask(&self) -> u32 {
        self.host.doorkeeper.len() as u32 - 1
    }
    fn address_mask(&self) -> u32 {
        self.host.address_sets.borrow().len() as u32 - 1
    }
    fn seed(&self) -> HashSeed {
        self.host.seed
    }

    fn hold(&self, packet: Packet) -> &Packet {
        assert!(self.packet.get().is_none(), "one packet a run");
        self.packet.get_or_init(|| packet)
    }
    fn forget(&self, n: u32) -> u32 {
        n
    }

    fn now_ns(&self) -> u64 {
        self.host.clock_reads.set(self.host.clock_reads.get() + 1);
        self.host.now_ns.get()
    }
    fn jiffies(&self) -> u64 {
        self.host.jiffies.get()
    }

    fn tally(&self, fate: Fate, packets: u64, bytes: u64) {
        self.host.counters.borrow_mut().tallies[fate as usize].add(packets, bytes);
    }
    fn event(&self, event: Event) {
        self.host.counters.borrow_mut().events[event as usize] += 1;
    }
    fn malformed(&self, reason: Malformed) {
        self.host.counters.borrow_mut().malformed[reason as usize] += 1;
    }
    fn ethertype(&self, ethertype: u16, bytes: u64) {
        let mut ethertypes = self.host.ethertypes.borrow_mut();
        ethertypes.entry(ethertype).or_default().add(1, bytes);
    }
    fn service(
        &self,
        (destination, port): (&Address, u16),
        zone_protocol: u32,
        lost: Lost,
        of: (u64, u64),
    ) {
        let mut services = self.host.services.borrow_mut();
        let places = services.len() as u32;
        let place = ServiceCounters::place(destination, port, zone_protocol as u8, places);
        if services[place as usize].add(destination, port, zone_protocol, lost, of) {
            self.event(Event::ServicesReplaced);
        }
    }

    fn set(&self, index: u32) -> Option<u32> {
        ((index as usize) < self.host.sets.len()).then_some(index)
    }
    fn word(&self, set: u32, way: u32) -> u64 {
        self.host.interrupted();
        self.host.sets[set as usize][way as usize].get()
    }
    fn swap_word(&self, set: u32, way: u32, old: u64, new: u64) -> bool {
        self.host.interrupted();
        let word = &self.host.sets[set as usize][way as usize];
        let is_old = word.get() == old;
        if is_old {
            word.set(new);
        }
        is_old
    }
    fn record(&self, index: u32) -> Option<u32> {
        (index < self.host.slots()).then_some(index)
    }
    fn key_is(&self, record: u32, key: &FlowKey) -> bool {
        self.host.records[record as usize].borrow().key == *key
    }
    fn verdict_slot(&self, record: u32) -> u32 {
        self.host.records[record as usize].borrow().verdict_slot
    }
    fn state(&self, record: u32) -> u32 {
        self.host.records[record as usize].borrow().state
    }
    fn lock(&self, record: u32) -> bool {
        self.host.interrupted();
        assert_eq!(self.locked.get(), None, "one lock at a time");
        {
            let mut held = self.host.records[record as usize].borrow_mut();
            if held.lock & 1 != 0 {
                return false;
            }
            held.lock |= 1;
        }
        self.locked.set(Some(record));
        self.host.interrupted();
        true
    }
    fn unlock(&self, record: u32) {
        self.owns(record);
        self.host.interrupted();
        let mut held = self.host.records[record as usize].borrow_mut();
        assert_eq!(held.lock & 1, 1);
        held.lock = held.lock.wrapping_add(1);
        self.locked.set(None);
    }
    fn with<R>(&self, record: u32, f: impl FnOnce(&mut FlowRecord) -> R) -> R {
        self.owns(record);
        f(&mut self.host.records[record as usize].borrow_mut())
    }
    fn periods(&self, index: u32, f: impl FnOnce(&mut Periods)) {
        self.owns(index);
        f(&mut self.host.periods[index as usize].borrow_mut());
    }
    fn ended(&self, record: u32, index: u32) -> bool {
        self.owns(record);
        assert_eq!(record, index);
        let mut ended = self.host.ended.borrow_mut();
        let room = ended.len() < self.host.ended_max.get();
        if room {
            ended.push(EndedFlow {
                record: self.host.record_at(record),
                periods: self.host.periods_at(index),
                reserved: [0; 2],
            });
        }
        room
    }
    fn evictions(&self, now: u32) -> u32 {
        let (at, count) = self.host.evictions.get();
        let count = if at == now { count + 1 } else { 1 };
        self.host.evictions.set((now, count));
        count
    }
    fn knock(&self, place: u32, fingerprint: u32) -> bool {
        self.host.doorkeeper[place as usize].replace(fingerprint) == fingerprint
    }

    fn active(&self) -> u32 {
        self.host.active.get()
    }
    fn never_block_generation(&self) -> u32 {
        self.host.generation.get()
    }
    fn signatures(&self) -> u64 {
        self.host.signatures_active.get()
    }
    fn address_set(&self, index: u32) -> Option<u32> {
        assert_ne!(self.features() & feature::ADDRESS_VERDICTS, 0);
        Some(index)
    }
    fn address_word(&self, set: u32, way: usize) -> u64 {
        self.host.address_sets.borrow()[set as usize].words[way]
    }
    fn address_verdict(&self, address: &Address) -> Option<u32> {
        self.host.address_verdicts.borrow().get(address).copied()
    }
    fn prefix_verdict(&self, address: &Address) -> Option<u32> {
        assert_ne!(self.features() & feature::PREFIX_VERDICTS, 0);
        longest(&self.host.prefix_verdicts.borrow(), address)
    }
    fn flow_verdict(&self, key: &FlowKey) -> Option<u32> {
        assert_ne!(self.features() & feature::FLOW_VERDICTS, 0);
        self.host.flow_verdicts.borrow().get(key).copied()
    }
    fn never_blocked(&self, address: &Address) -> bool {
        let lookups = &self.host.never_block_lookups;
        lookups.set(lookups.get() + 1);
        longest(&self.host.never_block.borrow(), address).is_some()
    }
    fn verdict(&self, slot: u32) -> Option<u32> {
        ((slot as usize) < self.host.verdicts.len()).then_some(slot)
    }
    fn with_verdict<R>(&self, verdict: u32, f: impl FnOnce(&mut Verdict) -> R) -> R {
        f(&mut self.host.verdicts[verdict as usize].borrow_mut())
    }
    fn swap_bucket(&self, verdict: u32, bucket: Bucket, old: u64, new: u64) -> bool {
        let failures = &self.host.bucket_failures;
        if failures.get() > 0 {
            failures.set(failures.get() - 1);
            return false;
        }
        let mut verdict = self.host.verdicts[verdict as usize].borrow_mut();
        let state = match bucket {
            Bucket::Packets => &mut verdict.packet_state,
            Bucket::Bytes => &mut verdict.byte_state,
        };
        let is_old = *state == old;
        if is_old {
            *state = new;
        }
        is_old
    }
    fn hit(&self, slot: u32, dropped: bool, packets: u64, bytes: u64) {
        let mut hits = self.host.hits.borrow_mut();
        let hits = hits.entry(slot).or_default();
        if dropped {
            hits.dropped_packets += packets;
            hits.dropped_bytes += bytes;
        } else {
            hits.passed_packets += packets;
            hits.passed_bytes += bytes;
        }
    }
    fn first_hit(&self, slot: u32, packet: &Packet, dropped: bool) -> bool {
        let mut first_hits = self.host.first_hits.borrow_mut();
        let room = first_hits.len() < self.host.first_hits_max.get();
        if room {
            first_hits.push(VerdictHit {
                time_ns: self.host.now_ns.get(),
                source: packet.source,
                destination: packet.destination,
                slot,
                zone: self.zone(),
                source_port: packet.source_port,
                destination_port: packet.destination_port,
                protocol: packet.protocol,
                tcp_flags: packet.tcp_flags,
                dropped: dropped.into(),
                reserved: 0,
            });
        }
        room
    }
    fn signature_bits(&self, word: u32) -> u64 {
        let signatures = self.host.signatures.borrow();
        let takes = |s: &Signature| s.slot != 0 && s.takes(word);
        let numbered = signatures.iter().enumerate().filter(|(_, s)| takes(s));
        numbered.map(|(number, _)| 1 << number).sum()
    }
    fn signature(&self, number: u32, destination: &Address) -> Option<Taken> {
        self.host.signatures.borrow()[number as usize].taken(destination)
    }
    fn doors(&self, index: u32, f: impl FnOnce(&mut Doors) -> bool) -> bool {
        assert_ne!(self.features() & feature::SIGNATURES, 0);
        f(self.host.returning.borrow_mut().entry(index).or_default())
    }
}
