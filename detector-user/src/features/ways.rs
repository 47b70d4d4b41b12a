//! What was last seen of each flow, so that a look at it tells what has changed since.

use detector_common::{
    key::Address,
    packet::protocol,
    record::{FlowRecord, state},
};

/// A look is due when a flow has grown by this many packets since the last, whatever it had before.
const GROWN_PACKETS: u32 = 256;
/// A flow that goes on is looked at again after this, µs.
const AGAIN_US: u64 = 1_000_000;
/// What a flow did that began longer than this before the table was last looked through is no news: an agent that starts finds
/// many such, µs.
const NEWS_US: u64 = 2_000_000;

/// A request that is not answered with payload within this is a waiting one, µs.
pub const WAITING_US: u32 = 2_000_000;

/// Who sent a flow's first packet, to whom and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Sender of the first packet that was seen.
    pub source: Address,
    /// The other side.
    pub destination: Address,
    /// Port of the sender; 0 where the protocol has none.
    pub source_port: u16,
    /// Port of the other side; 0 where the protocol has none.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
}

impl Ends {
    /// The ends of a flow.
    #[must_use]
    pub fn of(record: &FlowRecord) -> Self {
        let key = &record.key;
        let forward_is_low = record.state & state::FORWARD_IS_LOW != 0;
        let began_backward = record.state & state::BEGAN_BACKWARD != 0;
        let protocol = key.protocol();
        let has_ports = crate::flow::protocol::has_ports(protocol);
        let port = |port| if has_ports { port } else { 0 };
        let (low, high) = (
            (key.low, port(key.low_port)),
            (key.high, port(key.high_port)),
        );
        let (from, to) = if forward_is_low != began_backward {
            (low, high)
        } else {
            (high, low)
        };
        Self {
            source: from.0,
            destination: to.0,
            source_port: from.1,
            port: to.1,
            protocol,
        }
    }
}

/// The ICMP type that the side that began sent.
fn icmp_type(record: &FlowRecord) -> u16 {
    if record.state & state::FORWARD_IS_LOW != 0 {
        record.key.low_port
    } else {
        record.key.high_port
    }
}

/// What has become of a flow since it was last looked at, as its sender sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// It was not there before.
    pub begun: bool,
    /// It is an answer to something that was not seen: a reset, a SYN with ACK, an ICMP error.
    pub is_answer: bool,
    /// Nobody has answered yet.
    pub unanswered: bool,
    /// It was answered for the first time.
    pub answered: bool,
    /// It was turned away: a reset, and no payload from the other side.
    pub refused: bool,
    /// TCP is over.
    pub closed: bool,
    /// It is established only now: its sender spoke again after an answer, or often enough.
    pub established: bool,
    /// Its sender has asked for something and been given nothing for [`WAITING_US`].
    pub waiting: bool,
    /// Nothing has come of it yet: TCP that is not established and carries nothing, or anything else that is not answered.
    pub incomplete: bool,
    /// Something has come of it only now.
    pub completed: bool,
    /// Packets with payload that the sender sent.
    pub out_data_packets: u32,
    /// Packets that the sender sent.
    pub out_packets: u32,
    /// Their bytes.
    pub out_bytes: u64,
    /// Packets that came back.
    pub in_packets: u32,
    /// Their bytes.
    pub in_bytes: u64,
    /// Payload that came back.
    pub in_payload: u64,
    /// Packets altogether since the flow's beginning.
    pub packets: u32,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    first_us: u64,
    key: u64,
    at_us: u64,
    out_bytes: u64,
    in_bytes: u64,
    in_payload: u64,
    out_packets: u32,
    in_packets: u32,
    out_data_packets: u32,
    marks: u8,
    /// Families that the flow was found to be of, a bit each; from the eighth on by a shadow.
    families: u16,
}

/// Bits of [`Seen::marks`].
mod mark {
    pub(super) const KNOWN: u8 = 1;
    pub(super) const ANSWERED: u8 = 2;
    pub(super) const REFUSED: u8 = 4;
    pub(super) const CLOSED: u8 = 8;
    pub(super) const ESTABLISHED: u8 = 16;
    pub(super) const WAITING: u8 = 32;
    pub(super) const COMPLETED: u8 = 64;
}

/// One memory for each way of the flow table.
#[derive(Default)]
pub struct Ways {
    seen: Vec<Seen>,
    /// When the table was last looked through.
    last_us: Option<u64>,
}

impl Ways {
    /// What has changed since the last look, if a look is due: at a flow's beginning, when it has 2, 4, 8, … packets, was
    /// answered or ended, and at times while it goes on. What is not due is told at the next look.
    pub fn look(&mut self, way: u32, record: &FlowRecord, now_us: u64) -> Option<Change> {
        let index = way as usize;
        if index >= self.seen.len() {
            self.seen.resize(index + 1, Seen::default());
        }
        let seen = &mut self.seen[index];
        let key = record.key.low.words[1]
            ^ record.key.high.words[1].rotate_left(21)
            ^ record.key.low.words[0]
            ^ record.key.high.words[0]
            ^ u64::from(record.key.low_port) << 48
            ^ u64::from(record.key.high_port) << 16
            ^ u64::from(record.key.zone_protocol).rotate_left(40);
        let same =
            seen.marks & mark::KNOWN != 0 && seen.first_us == record.first_us && seen.key == key;
        if !same {
            *seen = Seen {
                first_us: record.first_us,
                key,
                ..Seen::default()
            };
        }
        let began_backward = record.state & state::BEGAN_BACKWARD != 0;
        let there = |bit, counters: &detector_common::record::Direction| {
            if record.state & bit == 0 {
                (0, 0, 0)
            } else {
                (counters.packets, counters.bytes, counters.payload)
            }
        };
        let forward = there(state::FORWARD_SEEN, &record.forward);
        let backward = there(state::BACKWARD_SEEN, &record.backward);
        let (out, back) = if began_backward {
            (backward, forward)
        } else {
            (forward, backward)
        };
        let resets = record.forward_flags.rst + record.backward_flags.rst;
        let now = |mark_bit: u8, holds: bool| holds && seen.marks & mark_bit == 0;
        let answered = now(mark::ANSWERED, back.0 > 0);
        let refused = now(mark::REFUSED, back.0 > 0 && resets > 0 && back.2 == 0);
        let closed = now(mark::CLOSED, record.state & state::CLOSED != 0);
        let is_established = record.is_established();
        let established = now(mark::ESTABLISHED, is_established);
        // The record counts packets with payload forward only.
        let data_packets = if began_backward {
            0
        } else {
            record.forward_data_packets
        };
        let asks = data_packets > 0 && back.2 == 0 && record.last_us >= WAITING_US;
        let tcp = record.key.protocol() == protocol::TCP;
        let own_flags = if began_backward {
            &record.backward_flags
        } else {
            &record.forward_flags
        };
        // Where only one side is seen, payload after a SYN tells that the handshake was completed.
        let went_on = own_flags.syn > 0 && out.2 > 0 && out.0 > 2;
        let complete = if tcp {
            is_established || went_on
        } else {
            back.0 > 0
        };
        let is_answer = match record.key.protocol() {
            protocol::TCP => began_backward || out.0 > 0 && u32::from(own_flags.rst) >= out.0,
            // Requests have types of their own, and answers theirs.
            protocol::ICMP => !matches!(icmp_type(record), 8 | 13 | 15 | 17),
            protocol::ICMPV6 => icmp_type(record) != 128,
            _ => false,
        };
        let completed = now(mark::COMPLETED, complete);
        let waiting = now(mark::WAITING, tcp && is_established && asks);
        let begun = seen.marks & mark::KNOWN == 0;
        let (before, packets) = (
            seen.out_packets.wrapping_add(seen.in_packets),
            out.0.wrapping_add(back.0),
        );
        let grown = packets.wrapping_sub(before);
        let doubled = packets.checked_ilog2() > before.checked_ilog2();
        let due = begun
            || answered
            || refused
            || closed
            || established
            || waiting
            || doubled
            || grown >= GROWN_PACKETS
            || grown > 0 && now_us.saturating_sub(seen.at_us) >= AGAIN_US;
        if !due {
            return None;
        }
        let change = Change {
            begun,
            is_answer,
            unanswered: back.0 == 0,
            answered,
            refused,
            closed,
            established,
            waiting,
            incomplete: !complete,
            completed,
            out_data_packets: data_packets.wrapping_sub(seen.out_data_packets),
            out_packets: out.0.wrapping_sub(seen.out_packets),
            out_bytes: out.1.wrapping_sub(seen.out_bytes),
            in_packets: back.0.wrapping_sub(seen.in_packets),
            in_bytes: back.1.wrapping_sub(seen.in_bytes),
            in_payload: back.2.wrapping_sub(seen.in_payload),
            packets,
        };
        seen.marks |= mark::KNOWN;
        for (bit, holds) in [
            (mark::ANSWERED, answered),
            (mark::REFUSED, refused),
            (mark::CLOSED, closed),
            (mark::ESTABLISHED, established),
            (mark::WAITING, waiting),
            (mark::COMPLETED, completed),
        ] {
            if holds {
                seen.marks |= bit;
            }
        }
        (seen.out_packets, seen.out_bytes) = (out.0, out.1);
        (seen.in_packets, seen.in_bytes, seen.in_payload) = back;
        seen.out_data_packets = data_packets;
        seen.at_us = now_us;
        let last_us = self.last_us.unwrap_or(now_us);
        let old = begun && last_us.saturating_sub(record.first_us) > NEWS_US;
        (!old).then_some(change)
    }

    /// The table was looked through.
    pub fn looked(&mut self, now_us: u64) {
        self.last_us = Some(now_us);
    }

    /// Notes the family that a flow was found to be of; whether that is new of it.
    pub fn mark_family(&mut self, way: u32, family: u8) -> bool {
        let Some(seen) = self.seen.get_mut(way as usize) else {
            return true;
        };
        let new = seen.families & 1 << family == 0;
        seen.families |= 1 << family;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_while_nobody_looked_is_news_and_what_was_there_before_is_not() {
        let begun_at = |first_us| FlowRecord {
            first_us,
            ..FlowRecord::default()
        };
        let now_us = 100_000_000;
        let mut ways = Ways::default();
        let old = begun_at(now_us - NEWS_US - 1);
        assert_eq!(ways.look(0, &old, now_us), None);
        assert!(ways.look(1, &begun_at(now_us - NEWS_US), now_us).is_some());
        ways.looked(now_us);
        let later_us = now_us + 10 * NEWS_US;
        let meanwhile = begun_at(now_us + 1);
        assert!(
            ways.look(2, &meanwhile, later_us)
                .is_some_and(|change| change.begun)
        );
    }
}
