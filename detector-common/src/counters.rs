//! What became of every packet: the counters of one interface and direction, and
//! the identity that holds over them.

use crate::frame::Malformed;

/// Packets and bytes of one kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets; a frame that stands for several counts as that many.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl Tally {
    /// Adds.
    #[inline(always)]
    pub fn add(&mut self, packets: u64, bytes: u64) {
        self.packets = self.packets.wrapping_add(packets);
        self.bytes = self.bytes.wrapping_add(bytes);
    }
}

/// A kind of fate; an index of [`Counters::tallies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// Every packet, whatever became of it.
    Seen = 0,
    /// Not IP; passed.
    NonIp = 1,
    /// Malformed; passed.
    Malformed = 2,
    /// Found no slot in the flow table; passed.
    NotAdmitted = 3,
    /// Was in the record of a flow on probation that another took the slot of.
    EvictedProbation = 4,
    /// Was in the record of an established flow that was idle past its time-out.
    EvictedIdle = 5,
    /// Was in a record that the reader had released.
    Released = 6,
    /// Was in the record of a flow that ended and began anew in its place.
    Ended = 7,
    /// Dropped by a verdict on its address.
    DroppedAddress = 8,
    /// Dropped by a verdict on its prefix.
    DroppedPrefix = 9,
    /// Dropped by a verdict on its flow.
    DroppedFlow = 10,
    /// Dropped by a signature.
    DroppedSignature = 11,
}

/// Fates.
pub const FATES: usize = 12;

impl Fate {
    /// All, in the order of their numbers.
    pub const ALL: [Self; FATES] = [
        Self::Seen,
        Self::NonIp,
        Self::Malformed,
        Self::NotAdmitted,
        Self::EvictedProbation,
        Self::EvictedIdle,
        Self::Released,
        Self::Ended,
        Self::DroppedAddress,
        Self::DroppedPrefix,
        Self::DroppedFlow,
        Self::DroppedSignature,
    ];

    /// As it stands in metrics and status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::NonIp => "non_ip",
            Self::Malformed => "malformed",
            Self::NotAdmitted => "not_admitted",
            Self::EvictedProbation => "evicted_probation",
            Self::EvictedIdle => "evicted_idle",
            Self::Released => "released",
            Self::Ended => "ended",
            Self::DroppedAddress => "dropped_address",
            Self::DroppedPrefix => "dropped_prefix",
            Self::DroppedFlow => "dropped_flow",
            Self::DroppedSignature => "dropped_signature",
        }
    }
}

/// A kind of event that is counted once each; an index of [`Counters::events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// A record was begun.
    FlowsCreated = 0,
    /// A flow became established.
    FlowsPromoted = 1,
    /// A flow ended and began anew.
    FlowsEnded = 2,
    /// An ended flow found no room in the ring.
    EndedLost = 3,
    /// A first hit found no room in the ring.
    EventsLost = 4,
    /// A packet whose record another CPU held for too long.
    Contended = 5,
    /// A packet whose transport header was cut off or absurd.
    ShortTransport = 6,
    /// A deny verdict that a never-block prefix overrode.
    NeverBlocked = 7,
    /// A packet that a rate limit or a quarantine let through.
    LetThrough = 8,
    /// Evicted flows.
    FlowsEvicted = 9,
    /// Service counters given to another service while still in use.
    ServicesReplaced = 10,
}

/// Events.
pub const EVENTS: usize = 12;

impl Event {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::FlowsCreated,
        Self::FlowsPromoted,
        Self::FlowsEnded,
        Self::EndedLost,
        Self::EventsLost,
        Self::Contended,
        Self::ShortTransport,
        Self::NeverBlocked,
        Self::LetThrough,
        Self::FlowsEvicted,
        Self::ServicesReplaced,
    ];

    /// As it stands in metrics and status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FlowsCreated => "flows_created",
            Self::FlowsPromoted => "flows_promoted",
            Self::FlowsEnded => "flows_ended",
            Self::EndedLost => "ended_lost",
            Self::EventsLost => "events_lost",
            Self::Contended => "contended",
            Self::ShortTransport => "short_transport",
            Self::NeverBlocked => "never_blocked",
            Self::LetThrough => "let_through",
            Self::FlowsEvicted => "flows_evicted",
            Self::ServicesReplaced => "services_replaced",
        }
    }
}

/// The counters of one interface and direction on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By [`Fate`].
    pub tallies: [Tally; FATES],
    /// By [`Event`].
    pub events: [u64; EVENTS],
    /// By [`Malformed`].
    pub malformed: [u64; Malformed::ALL.len()],
}

impl Counters {
    /// Adds another CPU's or interface's.
    pub fn merge(&mut self, other: &Self) {
        for (sum, tally) in self.tallies.iter_mut().zip(&other.tallies) {
            sum.add(tally.packets, tally.bytes);
        }
        for (sum, n) in self.events.iter_mut().zip(&other.events) {
            *sum = sum.wrapping_add(*n);
        }
        for (sum, n) in self.malformed.iter_mut().zip(&other.malformed) {
            *sum = sum.wrapping_add(*n);
        }
    }

    /// One fate's packets and bytes.
    #[must_use]
    pub fn tally(&self, fate: Fate) -> Tally {
        self.tallies[fate as usize]
    }

    /// How often an event happened.
    #[must_use]
    pub fn event(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    /// The conservation identity: what was seen must equal `in_records` (the sum
    /// over the table's records, released ones included) and every other fate.
    #[must_use]
    pub fn accounted(&self, in_records: Tally) -> Tally {
        let mut sum = in_records;
        for fate in Fate::ALL {
            if fate != Fate::Seen {
                let tally = self.tally(fate);
                sum.add(tally.packets, tally.bytes);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_order() {
        assert!(Fate::ALL.iter().enumerate().all(|(i, f)| *f as usize == i));
        assert!(Event::ALL.iter().enumerate().all(|(i, e)| *e as usize == i));
        assert!(
            Malformed::ALL
                .iter()
                .enumerate()
                .all(|(i, m)| *m as usize == i)
        );
    }
}
