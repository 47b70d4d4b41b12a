//! The way of a packet through the kernel: parse, verdicts, flow, count.
//!
//! Written against [`Maps`], so that the BPF programs and the host's tests run the
//! same steps over different memory. Nothing here is lost without a counter: every
//! packet ends in exactly one fate or in exactly one flow record.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::{
    bytes::Bytes,
    config::{active, feature},
    counters::{Event, Fate},
    doorkeeper,
    frame::{Parser, Rejected},
    key::FlowKey,
    maps::Maps,
    packet::{Packet, protocol},
    record::{is_answered, micros, state},
    service::Lost,
    set::{self, Class, WAYS},
    verdicts::{self, Search},
};

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
        spared: false,
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
            spared: match found.record {
                Some(record) => is_spared(maps, packet, (found.word, record), from_low),
                None => false,
            },
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

/// Whether signatures that spare established flows spare this packet: TCP in an established flow, or anything in a flow in
/// which its receiver has spoken.
#[inline(always)]
fn is_spared<M: Maps>(
    maps: &M,
    packet: &Packet,
    (word, record): (u64, M::Record),
    from_low: bool,
) -> bool {
    packet.protocol == protocol::TCP && set::class(word) == Class::PROTECTED
        || is_answered(maps.state(record), from_low, packet.tcp_flags)
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
    // Whether or not this packet is exempt from verdicts: the next that comes may not be.
    // Before the key is there: another CPU that finds the record by it needs the verdict.
    let early = flow_slot::<M>(maps, None, key, maps.active());
    maps.with(record, |r| r.verdict_slot = early);
    compiler_fence(Ordering::Release);
    maps.with(record, |r| {
        r.begin(key, from_low, None, packet, micros(place.now_ns));
    });
    // And once more after it: who writes a verdict meanwhile finds the record from here on.
    let slot = flow_slot::<M>(maps, None, key, maps.active());
    if slot != early {
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
