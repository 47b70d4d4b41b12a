//! The way of a packet through the kernel: parse, verdicts, flow, count.
//!
//! Written against [`Maps`], so that the BPF programs and the host's tests run the
//! same steps over different memory. Nothing here is lost without a counter: every
//! packet ends in exactly one fate or in exactly one flow record.

use crate::{
    bytes::Bytes,
    config::{active, feature},
    counters::{Event, Fate},
    doorkeeper,
    frame::{Malformed, Parser, Rejected},
    key::{Address, FlowKey, HashSeed},
    packet::Packet,
    periods::{Gap, Periods},
    record::{FlowRecord, micros, state},
    returning::Doors,
    service::Lost,
    set::{self, Class, WAYS},
    signature::Taken,
    verdicts::{self, Search},
};

/// What the engine needs of the machine: constants, clocks, counters, tables.
///
/// Handles (`Set`, `Record`, `Verdict`) are obtained once and used several times
/// for one packet; they are pointers in the kernel.
pub trait Maps {
    /// A set of the flow table.
    type Set: Copy;
    /// A record of the flow table.
    type Record: Copy;
    /// A verdict's slot.
    type Verdict: Copy;

    /// Bits of [`feature`].
    fn features(&self) -> u32;
    /// Zone of the interface.
    fn zone(&self) -> u32;
    /// Sets, less one.
    fn set_mask(&self) -> u32;
    /// Places of the doorkeeper, less one.
    fn doorkeeper_mask(&self) -> u32;
    /// Keys of the flow hash.
    fn seed(&self) -> HashSeed;

    /// Puts the summary where the rest of the run reads it from. In the kernel that
    /// is map memory, of whose contents the verifier knows nothing: the many ways
    /// through the parser end in one state, and what follows is verified once.
    fn hold(&self, packet: Packet) -> &Packet;

    /// The same number, taken through such memory, for the same reason.
    fn forget(&self, n: u32) -> u32;

    /// Time that passes evenly, ns. Costly: asked at most once a packet and stage.
    fn now_ns(&self) -> u64;
    /// Coarse time in which verdicts expire. Costs next to nothing.
    fn jiffies(&self) -> u64;

    /// Counts a fate.
    fn tally(&self, fate: Fate, packets: u64, bytes: u64);
    /// Counts an event.
    fn event(&self, event: Event);
    /// Counts a reason of [`Fate::Malformed`].
    fn malformed(&self, reason: Malformed);
    /// Counts a frame by EtherType.
    fn ethertype(&self, ethertype: u16, bytes: u64);
    /// Counts what the table lost of a service.
    fn service(&self, destination: (&Address, u16), zone_protocol: u32, lost: Lost, of: (u64, u64));

    /// A set.
    fn set(&self, index: u32) -> Option<Self::Set>;
    /// A way's word.
    fn word(&self, set: Self::Set, way: u32) -> u64;
    /// Replaces a way's word if it is still `old`.
    fn swap_word(&self, set: Self::Set, way: u32, old: u64, new: u64) -> bool;
    /// A record.
    fn record(&self, index: u32) -> Option<Self::Record>;
    /// Whether a record is of this flow.
    fn key_is(&self, record: Self::Record, key: &FlowKey) -> bool;
    /// Slot of the record's flow verdict.
    fn verdict_slot(&self, record: Self::Record) -> u32;
    /// Locks a record for writing; `false` where another CPU holds it for too long.
    fn lock(&self, record: Self::Record) -> bool;
    /// Unlocks it.
    fn unlock(&self, record: Self::Record);
    /// Reads or writes a record that is locked.
    fn with<R>(&self, record: Self::Record, f: impl FnOnce(&mut FlowRecord) -> R) -> R;
    /// [`FlowRecord::update`] of a record that is locked. Apart from [`Maps::with`]
    /// because a closure as large as that becomes a function of its own in the kernel,
    /// whose return costs as much as a third of its work.
    #[inline(always)]
    fn update(
        &self,
        record: Self::Record,
        from_low: bool,
        packet: &Packet,
        now_us: u64,
    ) -> Option<Gap> {
        self.with(record, |r| r.update(from_low, packet, now_us))
    }
    /// Writes a flow's periods while its record is locked.
    fn periods(&self, index: u32, f: impl FnOnce(&mut Periods));
    /// Hands an ended flow to the reader while its record is locked.
    fn ended(&self, record: Self::Record, index: u32) -> bool;
    /// Counts an eviction that is about to be; how many this CPU has had at this coarse time.
    fn evictions(&self, now: u32) -> u32;
    /// Leaves a fingerprint at the door; whether it was there already.
    fn knock(&self, place: u32, fingerprint: u32) -> bool;

    /// Bits of [`active`].
    fn active(&self) -> u32;
    /// [`crate::config::Control::never_block_generation`].
    fn never_block_generation(&self) -> u32;
    /// [`crate::config::Control::signatures`].
    fn signatures(&self) -> u64;
    /// Slot of the verdict on an address.
    fn address_verdict(&self, address: &Address) -> Option<u32>;
    /// Slot of the verdict on the longest prefix of an address.
    fn prefix_verdict(&self, address: &Address) -> Option<u32>;
    /// Slot of the verdict on a flow.
    fn flow_verdict(&self, key: &FlowKey) -> Option<u32>;
    /// Whether an address is in a never-block prefix.
    fn never_blocked(&self, address: &Address) -> bool;
    /// A verdict.
    fn verdict(&self, slot: u32) -> Option<Self::Verdict>;
    /// Reads a verdict, or writes what only marks it.
    fn with_verdict<R>(
        &self,
        verdict: Self::Verdict,
        f: impl FnOnce(&mut crate::verdict::Verdict) -> R,
    ) -> R;
    /// Replaces the state of a verdict's bucket if it is still `old`.
    fn swap_bucket(
        &self,
        verdict: Self::Verdict,
        bucket: verdicts::Bucket,
        old: u64,
        new: u64,
    ) -> bool;
    /// Counts a verdict's hit.
    fn hit(&self, slot: u32, dropped: bool, packets: u64, bytes: u64);
    /// Reports a verdict's first hit; whether there was room.
    fn first_hit(&self, slot: u32, packet: &Packet, dropped: bool) -> bool;
    /// A word of the signatures' bits.
    fn signature_bits(&self, word: u32) -> u64;
    /// A signature; `None` where its prefix does not take the destination.
    fn signature(&self, number: u32, destination: &Address) -> Option<Taken>;
    /// Reads or writes a set of doors; `false` where there is no such set.
    fn doors(&self, index: u32, f: impl FnOnce(&mut Doors) -> bool) -> bool;
}

/// What the wire made of a frame: how many packets of how much payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segmentation {
    /// Wire packets; 1: the frame is one; 0: nobody has counted, and the frame is one where
    /// `segment_bytes` is 0, too.
    pub segments: u32,
    /// Payload bytes of each but the last.
    pub segment_bytes: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Disposition {
    /// It goes on.
    Pass,
    /// A verdict drops it.
    Drop,
}

/// One frame that arrives: verdicts are enforced, the flow is counted.
#[inline(always)]
pub fn ingress<M: Maps, B: Bytes + ?Sized>(maps: &M, frame: &B) -> Disposition {
    process(maps, frame, Segmentation::default(), true)
}

/// One frame that leaves: its flow is counted.
#[inline(always)]
pub fn egress<M: Maps, B: Bytes + ?Sized>(maps: &M, frame: &B, cut: Segmentation) {
    let _ = process(maps, frame, cut, false);
}

#[inline(always)]
fn process<M: Maps, B: Bytes + ?Sized>(
    maps: &M,
    frame: &B,
    cut: Segmentation,
    enforce: bool,
) -> Disposition {
    let features = maps.features();
    let parser = Parser {
        ethernet: features & feature::ETHERNET != 0,
        vlan: features & feature::VLAN != 0,
        ipv6: features & feature::IPV6 != 0,
    };
    let packet = match parser.parse(frame) {
        Ok(packet) => maps.hold(packet.segmented(cut.segments, cut.segment_bytes)),
        Err(rejected) => {
            reject(maps, rejected, frame.len() as u64);
            return Disposition::Pass;
        }
    };
    maps.tally(Fate::Seen, packet.segments as u64, packet.wire_bytes as u64);
    if packet.short_transport {
        maps.event(Event::ShortTransport);
    }
    let active = if enforce { maps.active() } else { 0 };
    let mut exempt = !enforce;
    if active & (active::ADDRESSES | active::PREFIXES) != 0 {
        match verdicts::on_source(maps, packet, active) {
            Search::Drop => return Disposition::Drop,
            Search::Pass => exempt = true,
            Search::Next => {}
        }
    }
    let active = if exempt { 0 } else { active };
    if features & feature::FLOWS != 0 {
        return flow(maps, packet, active);
    }
    if active & active::SIGNATURES == 0 {
        return Disposition::Pass;
    }
    let (key, _, hash) = identity(maps, packet);
    let unknown = verdicts::Flow {
        key: &key,
        hash,
        slot: 0,
        established: false,
    };
    verdicts::on_signatures(maps, packet, &unknown, active)
}

/// The packet's flow, whether its low endpoint sent the packet, and its hash.
#[inline(always)]
fn identity<M: Maps>(maps: &M, packet: &Packet) -> (FlowKey, bool, u64) {
    let (key, from_low) = FlowKey::new(
        (packet.source, packet.source_port),
        (packet.destination, packet.destination_port),
        packet.protocol,
        maps.zone(),
    );
    let hash = key.hash(&maps.seed());
    (key, from_low, hash)
}

#[inline(always)]
fn reject<M: Maps>(maps: &M, rejected: Rejected, bytes: u64) {
    maps.tally(Fate::Seen, 1, bytes);
    match rejected {
        Rejected::NonIp(ethertype) => {
            maps.tally(Fate::NonIp, 1, bytes);
            maps.ethertype(ethertype, bytes);
        }
        Rejected::Malformed(reason) => {
            maps.tally(Fate::Malformed, 1, bytes);
            maps.malformed(reason);
        }
    }
}

/// A flow's place in the table.
struct Place {
    index: u32,
    hash: u64,
    tag: u32,
    now_ns: u64,
}

#[inline(always)]
fn flow<M: Maps>(maps: &M, packet: &Packet, active: u32) -> Disposition {
    let (key, from_low, hash) = identity(maps, packet);
    let (index, tag) = set::place(hash, maps.set_mask());
    let place = Place {
        index,
        hash,
        tag,
        now_ns: maps.now_ns(),
    };
    let Some(set) = maps.set(index) else {
        refuse(maps, packet);
        return Disposition::Pass;
    };
    let found = find(maps, set, &key, &place);
    if active & (active::FLOWS | active::SIGNATURES) != 0 {
        let flow = verdicts::Flow {
            key: &key,
            hash,
            slot: flow_slot(maps, found.record, &key, active),
            established: set::class(found.word) == Class::PROTECTED,
        };
        if verdicts::on_flow(maps, packet, &flow, active) == Disposition::Drop {
            return Disposition::Drop;
        }
    }
    match found.record {
        Some(record) => known(
            maps,
            packet,
            (&key, from_low),
            &place,
            (set, &found, record),
        ),
        None => claim(maps, packet, (&key, from_low), &place, set),
    }
    Disposition::Pass
}

/// Where a flow was found. Where it was not, the rest is 0 rather than absent: what
/// is absent the compiler leaves undefined, and copies, which the verifier refuses.
struct Found<M: Maps> {
    way: u32,
    word: u64,
    record: Option<M::Record>,
}

/// The flow's record, if it has one.
#[inline(always)]
fn find<M: Maps>(maps: &M, set: M::Set, key: &FlowKey, place: &Place) -> Found<M> {
    for way in 0..WAYS {
        let word = maps.word(set, way);
        if set::matches(word, place.tag)
            && let Some(record) = maps.record(place.index * WAYS + way)
            && maps.key_is(record, key)
        {
            return Found {
                way: maps.forget(way),
                word,
                record: Some(record),
            };
        }
    }
    Found {
        way: 0,
        word: 0,
        record: None,
    }
}

/// Slot of the verdict on a flow: in its record, or with the other flow verdicts
/// where it has none; 0 for none.
#[inline(always)]
fn flow_slot<M: Maps>(maps: &M, record: Option<M::Record>, key: &FlowKey, active: u32) -> u32 {
    if maps.features() & feature::FLOW_VERDICTS == 0 || active & active::FLOWS == 0 {
        return 0;
    }
    match record {
        Some(record) => maps.verdict_slot(record),
        None => maps.flow_verdict(key).unwrap_or(0),
    }
}

/// A packet of a flow that has a record.
#[inline(always)]
fn known<M: Maps>(
    maps: &M,
    packet: &Packet,
    (key, from_low): (&FlowKey, bool),
    place: &Place,
    (set, found, record): (M::Set, &Found<M>, M::Record),
) {
    if !maps.lock(record) {
        maps.event(Event::Contended);
        refuse(maps, packet);
        return;
    }
    // Another CPU may have given the way to another flow before the lock was ours.
    if !set::matches(maps.word(set, found.way), place.tag) {
        maps.unlock(record);
        refuse(maps, packet);
        return;
    }
    let index = place.index * WAYS + found.way;
    let now_us = micros(place.now_ns);
    if maps.with(record, |r| r.is_over(packet, now_us)) {
        let (packets, bytes) = maps.with(record, |r| r.totals());
        maps.tally(Fate::Ended, packets, bytes);
        maps.event(Event::FlowsEnded);
        if maps.features() & feature::ENDED != 0 && !maps.ended(record, index) {
            maps.event(Event::EndedLost);
        }
        maps.with(record, |r| {
            let forward = r.next_forward(from_low);
            r.begin(key, from_low, forward, packet, now_us);
        });
        maps.event(Event::FlowsCreated);
    } else if let Some(gap) = maps.update(record, from_low, packet, now_us) {
        maps.periods(index, |periods| periods.add(gap));
    }
    let established =
        set::class(found.word) == Class::PROTECTED || maps.with(record, |r| r.is_established());
    maps.unlock(record);
    let touched = set::touched(found.word, set::coarse(place.now_ns), established);
    if touched != found.word
        && maps.swap_word(set, found.way, found.word, touched)
        && set::class(touched) != set::class(found.word)
    {
        maps.event(Event::FlowsPromoted);
    }
}

/// A packet of a flow that has no record: makes one, if there is a way to be had.
#[inline(always)]
fn claim<M: Maps>(
    maps: &M,
    packet: &Packet,
    (key, from_low): (&FlowKey, bool),
    place: &Place,
    set: M::Set,
) {
    let now = set::coarse(place.now_ns);
    let mut choice = choose(maps, set, now, false);
    let crowded = choice.eagerness == 0
        || set::is_live(choice.word) && maps.evictions(now) > EVICTIONS_PER_TICK_MAX;
    if crowded {
        let door = doorkeeper::place(place.hash, maps.doorkeeper_mask());
        if !maps.knock(door, doorkeeper::fingerprint(place.hash)) {
            refuse(maps, packet);
            return;
        }
        choice = choose(maps, set, now, true);
    }
    let word = set::word(Class::PROBATION, place.tag, now);
    let index = place.index * WAYS + choice.way;
    let taken = choice.eagerness != 0 && maps.swap_word(set, choice.way, choice.word, word);
    let Some(record) = maps.record(index) else {
        refuse(maps, packet);
        return;
    };
    if !taken {
        refuse(maps, packet);
        return;
    }
    if !maps.lock(record) {
        // What the record holds is still to be counted: as released, it will be.
        let _ = maps.swap_word(set, choice.way, word, set::released(word));
        maps.event(Event::Contended);
        refuse(maps, packet);
        return;
    }
    // Another CPU may have taken the way, and given up what it held, before the lock was ours.
    if !set::matches(maps.word(set, choice.way), place.tag) {
        maps.unlock(record);
        refuse(maps, packet);
        return;
    }
    evict(maps, record, set::class(choice.word));
    maps.with(record, |r| {
        r.verdict_slot = 0;
        r.begin(key, from_low, None, packet, micros(place.now_ns));
    });
    // Whether or not this packet is exempt from verdicts: the next that comes may not be.
    // Only now that the key is there: who writes a verdict meanwhile finds the record.
    let slot = flow_slot::<M>(maps, None, key, maps.active());
    if slot != 0 {
        maps.with(record, |r| r.verdict_slot = slot);
    }
    maps.unlock(record);
    maps.event(Event::FlowsCreated);
}

/// Accounts for what a record held before another flow gets it.
#[inline(always)]
fn evict<M: Maps>(maps: &M, record: M::Record, class: Class) {
    let fate = match class {
        // An empty way's record is all zeros, unless another CPU was here meanwhile.
        Class::EMPTY | Class::RELEASED => Fate::Released,
        Class::PROTECTED => Fate::EvictedIdle,
        _ => Fate::EvictedProbation,
    };
    let (packets, bytes) = maps.with(record, |r| r.totals());
    maps.tally(fate, packets, bytes);
    if fate != Fate::Released {
        maps.event(Event::FlowsEvicted);
        maps.with(record, |r| {
            let destination = if r.state & state::FORWARD_IS_LOW != 0 {
                (&r.key.high, r.key.high_port)
            } else {
                (&r.key.low, r.key.low_port)
            };
            maps.service(
                destination,
                r.key.zone_protocol,
                Lost::Evicted,
                (packets, bytes),
            );
        });
    }
}

/// Flows that newcomers may push out on one CPU within a unit of coarse time: some 120
/// thousand a second. Past it they must knock twice, as where there is no way to be
/// had: only a flood comes faster, and a refusal costs it one line of the table instead of five.
pub const EVICTIONS_PER_TICK_MAX: u32 = 2048;

struct Choice {
    eagerness: u32,
    way: u32,
    word: u64,
}

#[inline(always)]
fn choose<M: Maps>(maps: &M, set: M::Set, now: u32, knocked: bool) -> Choice {
    let mut best = Choice {
        eagerness: 0,
        way: 0,
        word: 0,
    };
    for way in 0..WAYS {
        let word = maps.word(set, way);
        let eagerness = set::eagerness(word, now, knocked);
        if eagerness > best.eagerness {
            best = Choice {
                eagerness: maps.forget(eagerness),
                way,
                word,
            };
        }
    }
    best.way = maps.forget(best.way);
    best
}

/// A packet that finds no slot is counted for what it is: by fate, and by service.
#[inline(always)]
fn refuse<M: Maps>(maps: &M, packet: &Packet) {
    let (packets, bytes) = (packet.segments as u64, packet.wire_bytes as u64);
    maps.tally(Fate::NotAdmitted, packets, bytes);
    maps.service(
        (&packet.destination, packet.destination_port),
        maps.zone() << 8 | packet.protocol as u32,
        Lost::Refused,
        (packets, bytes),
    );
}
