//! Verdicts applied to a packet, in the order that [`crate::verdict`] states.

use crate::{
    abi, addresses,
    config::{active, feature},
    counters::{Event, Fate},
    engine::Disposition,
    key::{Address, FlowKey},
    maps::Maps,
    packet::Packet,
    rate, returning, set,
    signature::words_of,
    verdict::{Action, FOREVER, Kind, SERVICES, lets_through},
};

/// What a verdict says of the search for verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Search {
    /// Ask the next.
    Next,
    /// The packet passes, whatever the others say.
    Pass,
    /// The packet is dropped.
    Drop,
}

/// The two token buckets of a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// [`crate::verdict::Verdict::packet_state`].
    Packets,
    /// [`crate::verdict::Verdict::byte_state`].
    Bytes,
}

/// Times a bucket is tried before its packet counts as not conforming: another CPU
/// won each time, so the rate is exceeded many times over.
const BUCKET_TRIES: u32 = 4;

/// Verdicts on the source: its address, then its longest prefix.
#[inline(always)]
pub fn on_source<M: Maps>(maps: &M, packet: &Packet, active: u32) -> Search {
    let features = maps.features();
    if features & feature::ADDRESS_VERDICTS != 0
        && active & active::ADDRESSES != 0
        && let Some(found) = on_address(maps, &packet.source)
    {
        match apply(maps, packet, found, Kind::ADDRESS, None, None, active) {
            Search::Next => {}
            end => return end,
        }
    }
    if features & feature::PREFIX_VERDICTS != 0
        && active & active::PREFIXES != 0
        && let Some(slot) = maps.prefix_verdict(&packet.source)
        && let Some(verdict) = maps.verdict(slot)
    {
        return apply(
            maps,
            packet,
            (slot, verdict),
            Kind::PREFIX,
            None,
            None,
            active,
        );
    }
    Search::Next
}

/// The verdict on an address, with its slot: by the index, or by the hash map where a set was full.
#[inline(always)]
fn on_address<M: Maps>(maps: &M, address: &Address) -> Option<(u32, M::Verdict)> {
    let (index, tag) = addresses::place(address, &maps.seed(), maps.address_mask());
    let set = maps.address_set(index)?;
    for way in 0..addresses::WAYS {
        let slot = addresses::slot(maps.address_word(set, way), tag);
        if slot != 0
            && let Some(verdict) = its_verdict(maps, slot, address)
        {
            return Some((slot, verdict));
        }
    }
    if !addresses::is_spilt(maps.address_word(set, addresses::WAYS - 1)) {
        return None;
    }
    let slot = maps.address_verdict(address)?;
    its_verdict(maps, slot, address).map(|verdict| (slot, verdict))
}

/// The verdict in a slot, if it is on this address.
#[inline(always)]
fn its_verdict<M: Maps>(maps: &M, slot: u32, address: &Address) -> Option<M::Verdict> {
    maps.verdict(slot)
        .filter(|verdict| maps.with_verdict(*verdict, |v| v.target.low == *address))
}

/// A packet's flow, as far as verdicts ask.
pub struct Flow<'a> {
    /// Who talks to whom.
    pub key: &'a FlowKey,
    /// Its hash.
    pub hash: u64,
    /// Slot of its own verdict; 0: none.
    pub slot: u32,
    /// Whether signatures that spare established flows spare it.
    pub spared: bool,
}

/// The flow's own verdict, then the signatures.
#[inline(always)]
pub fn on_flow<M: Maps>(maps: &M, packet: &Packet, flow: &Flow<'_>, active: u32) -> Disposition {
    let slot = flow.slot;
    if maps.features() & feature::FLOW_VERDICTS != 0
        && active & active::FLOWS != 0
        && slot != 0
        && let Some(verdict) = maps.verdict(slot)
    {
        match apply(
            maps,
            packet,
            (slot, verdict),
            Kind::FLOW,
            Some(flow.key),
            None,
            active,
        ) {
            Search::Drop => return Disposition::Drop,
            Search::Pass => return Disposition::Pass,
            Search::Next => {}
        }
    }
    on_signatures(maps, packet, flow, active)
}

/// The signatures: the first that matches decides.
#[inline(always)]
pub fn on_signatures<M: Maps>(
    maps: &M,
    packet: &Packet,
    flow: &Flow<'_>,
    active: u32,
) -> Disposition {
    if maps.features() & feature::SIGNATURES == 0 || active & active::SIGNATURES == 0 {
        return Disposition::Pass;
    }
    let mut candidates = maps.signatures();
    for word in words_of(packet) {
        candidates &= maps.signature_bits(word);
    }
    let mut slot = 0;
    let mut spare_returning = false;
    for _ in 0..abi::SIGNATURES_MAX {
        if candidates == 0 {
            return Disposition::Pass;
        }
        let number = candidates.trailing_zeros();
        candidates &= candidates - 1;
        if let Some(taken) = maps.signature(number, &packet.destination)
            && !(taken.spare_established && flow.spared)
        {
            slot = taken.slot;
            spare_returning = taken.spare_returning;
            break;
        }
    }
    let Some(verdict) = maps.verdict(slot) else {
        return Disposition::Pass;
    };
    let returning = spare_returning.then_some(flow.hash);
    match apply(
        maps,
        packet,
        (slot, verdict),
        Kind::SIGNATURE,
        None,
        returning,
        active,
    ) {
        Search::Drop => Disposition::Drop,
        Search::Pass | Search::Next => Disposition::Pass,
    }
}

/// One verdict. A slot that meanwhile holds another verdict counts for nothing. `returning`: the
/// hash of the packet's flow, which passes if it comes again.
#[inline(always)]
fn apply<M: Maps>(
    maps: &M,
    packet: &Packet,
    (slot, verdict): (u32, M::Verdict),
    kind: Kind,
    flow: Option<&FlowKey>,
    returning: Option<u64>,
    active: u32,
) -> Search {
    let (held, action, expires) =
        maps.with_verdict(verdict, |v| (v.kind, v.action, v.expires_jiffies));
    if held != kind || expires != FOREVER && maps.jiffies() >= expires {
        return Search::Next;
    }
    if let Some(key) = flow
        && maps.with_verdict(verdict, |v| v.target != *key)
    {
        return Search::Next;
    }
    let (packets, bytes) = (packet.segments as u64, packet.wire_bytes as u64);
    if action == Action::PASS {
        maps.hit(slot, false, packets, bytes);
        return Search::Pass;
    }
    if active & active::NEVER_BLOCK != 0 && is_never_blocked(maps, packet, verdict, kind) {
        maps.event(Event::NeverBlocked);
        return Search::Next;
    }
    let drop = match action {
        Action::DROP => true,
        Action::QUARANTINE => !reaches_service(maps, packet, verdict),
        Action::RATE_LIMIT => {
            maps.features() & feature::RATE_LIMITS != 0 && !conforms(maps, packet, verdict)
        }
        _ => false,
    };
    let drop = match returning {
        Some(hash) if drop => !comes_again(maps, hash),
        _ => drop,
    };
    maps.hit(slot, drop, packets, bytes);
    // Read before written: a line that every CPU writes would cost each of them.
    if maps.with_verdict(verdict, |v| v.hit) == 0 {
        maps.with_verdict(verdict, |v| v.hit = 1);
        if !maps.first_hit(slot, packet, drop) {
            maps.event(Event::EventsLost);
        }
    }
    if !drop {
        maps.event(Event::LetThrough);
        return Search::Next;
    }
    let fate = match kind {
        Kind::ADDRESS => Fate::DroppedAddress,
        Kind::PREFIX => Fate::DroppedPrefix,
        Kind::FLOW => Fate::DroppedFlow,
        _ => Fate::DroppedSignature,
    };
    maps.tally(fate, packets, bytes);
    Search::Drop
}

/// Whether the flow of this hash knocked before.
#[inline(always)]
fn comes_again<M: Maps>(maps: &M, hash: u64) -> bool {
    let (index, fingerprint) = returning::place(hash, abi::RETURNING_SETS);
    let now = set::coarse(maps.now_ns());
    maps.doors(index, |doors| {
        doors.knock(fingerprint, now, |n| maps.forget(n))
    })
}

/// Asks the never-block prefixes. A verdict on one address needs to ask once only:
/// it remembers under which generation of the prefixes the answer was no.
#[inline(always)]
fn is_never_blocked<M: Maps>(maps: &M, packet: &Packet, verdict: M::Verdict, kind: Kind) -> bool {
    let cleared = maps.never_block_generation().wrapping_add(1);
    let remembers = kind == Kind::ADDRESS;
    if remembers && maps.with_verdict(verdict, |v| v.cleared_generation) == cleared {
        return false;
    }
    let listed = maps.never_blocked(&packet.source);
    if remembers && !listed {
        maps.with_verdict(verdict, |v| v.cleared_generation = cleared);
    }
    listed
}

#[inline(always)]
fn reaches_service<M: Maps>(maps: &M, packet: &Packet, verdict: M::Verdict) -> bool {
    // A later fragment shows no port: what it belongs to cannot be known.
    if packet.later_fragment {
        return false;
    }
    maps.with_verdict(verdict, |v| {
        for n in 0..SERVICES {
            if n >= v.service_count as usize {
                return false;
            }
            if lets_through(v.services[n], packet.protocol, packet.destination_port) {
                return true;
            }
        }
        false
    })
}

#[inline(always)]
fn conforms<M: Maps>(maps: &M, packet: &Packet, verdict: M::Verdict) -> bool {
    let now = rate::units(maps.now_ns());
    let (packet_cost, byte_cost, burst) =
        maps.with_verdict(verdict, |v| (v.packet_cost, v.byte_cost, v.burst));
    let packets = packet_cost.wrapping_mul(packet.segments as u64);
    let bytes = byte_cost.wrapping_mul(packet.wire_bytes as u64);
    (packet_cost == 0 || take(maps, verdict, Bucket::Packets, now, packets, burst))
        && (byte_cost == 0 || take(maps, verdict, Bucket::Bytes, now, bytes, burst))
}

#[inline(always)]
fn take<M: Maps>(
    maps: &M,
    verdict: M::Verdict,
    bucket: Bucket,
    now: u64,
    cost: u64,
    burst: u64,
) -> bool {
    for _ in 0..BUCKET_TRIES {
        let old = maps.with_verdict(verdict, |v| match bucket {
            Bucket::Packets => v.packet_state,
            Bucket::Bytes => v.byte_state,
        });
        let Some(new) = rate::conform(old, now, cost, burst) else {
            return false;
        };
        if maps.swap_bucket(verdict, bucket, old, new) {
            return true;
        }
    }
    false
}
