//! The flow record: integer counters from which every feature of the flow can be
//! computed exactly, and their update by one packet.
//!
//! 256 bytes, four cache lines: identity and what both directions share (two
//! lines), the forward direction, the backward direction. A direction's line holds
//! nothing valid before its first packet, so that a new flow costs three lines.

use crate::{
    key::FlowKey,
    packet::{Packet, protocol, tcp},
    periods::{Gap, IDLE_GAP_US},
};

/// A flow ends this long after its first packet, µs; its next packet begins another.
pub const FLOW_TIMEOUT_US: u64 = 120_000_000;

/// Packets other than SYN after which a flow counts as established without an answer.
pub const ESTABLISHED_PACKETS: u32 = 8;

/// A flow's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// Sent by the side that began.
    Forward,
    /// Sent by the other side.
    Backward,
}

/// Counters of one direction: one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Bytes on the wire, link header included.
    pub bytes: u64,
    /// Σ payload bytes.
    pub payload: u64,
    /// Σ payload².
    pub payload_squares: u64,
    /// Σ gap², µs², over the gaps between this direction's packets.
    pub gap_squares: u64,
    /// Packets.
    pub packets: u32,
    /// Last packet, µs since the flow's first.
    pub last_us: u32,
    /// Shortest gap; `u32::MAX` before there is one.
    pub gap_min_us: u32,
    /// Longest gap.
    pub gap_max_us: u32,
    /// Smallest payload, saturating at 65,535.
    pub payload_min: u16,
    /// Largest payload, saturating at 65,535.
    pub payload_max: u16,
    /// Σ transport header length, in 32-bit words.
    pub header_words: u32,
    /// Packets with ACK.
    pub acks: u32,
    /// Packets with PSH.
    pub pushes: u32,
}

/// Flags of a direction that few packets carry; each saturates at 65,535.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RareFlags {
    /// Packets with FIN.
    pub fin: u16,
    /// Packets with SYN.
    pub syn: u16,
    /// Packets with RST.
    pub rst: u16,
    /// Packets with URG.
    pub urg: u16,
}

/// One flow.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRecord {
    /// Who talks to whom.
    pub key: FlowKey,
    /// Odd while a CPU writes the record; changes with every write.
    pub lock: u32,
    /// Slot of the flow's own verdict; 0 for none.
    pub verdict_slot: u32,
    /// First packet, µs of the clock that the caller uses.
    pub first_us: u64,
    /// Last packet of either direction, µs since the first.
    pub last_us: u32,
    /// Bits of [`state`].
    pub state: u32,

    /// Σ gap², µs², over the gaps between any two successive packets.
    pub gap_squares: u64,
    /// Shortest gap; `u32::MAX` before there is one.
    pub gap_min_us: u32,
    /// Longest gap.
    pub gap_max_us: u32,
    /// Packets with CWR, both directions.
    pub cwr: u16,
    /// Packets with ECE, both directions.
    pub ece: u16,
    /// First packet of the direction that did not send the flow's first, µs since that.
    pub other_first_us: u32,
    /// Forward packets with payload.
    pub forward_data_packets: u32,
    /// TCP window of the first forward packet.
    pub forward_window: u16,
    /// TCP window of the last backward packet: CICFlowMeter's initial window is that.
    pub backward_window: u16,
    /// Smallest transport header forward, bytes.
    pub forward_header_min: u8,
    /// Unused.
    pub reserved: u8,
    /// Gaps above [`IDLE_GAP_US`].
    pub idle_periods: u16,
    /// Unused.
    pub reserved_words: [u32; 3],
    /// Flags forward.
    pub forward_flags: RareFlags,
    /// Flags backward.
    pub backward_flags: RareFlags,

    /// From the side that began.
    pub forward: Direction,
    /// From the other side.
    pub backward: Direction,
}

/// Bits of [`FlowRecord::state`].
pub mod state {
    /// The low endpoint of the key began.
    pub const FORWARD_IS_LOW: u32 = 1;
    /// A forward packet was seen: that direction's counters are valid.
    pub const FORWARD_SEEN: u32 = 1 << 1;
    /// A backward packet was seen: that direction's counters are valid.
    pub const BACKWARD_SEEN: u32 = 1 << 2;
    /// The side that sent the record's first packet spoke again after an answer, other
    /// than with SYN, and before a reset.
    pub const TURNED: u32 = 1 << 3;
    /// FIN forward.
    pub const FORWARD_FIN: u32 = 1 << 4;
    /// FIN backward.
    pub const BACKWARD_FIN: u32 = 1 << 5;
    /// TCP is over: RST, or both FINs and an ACK behind them.
    pub const CLOSED: u32 = 1 << 6;
    /// The record's first packet went backward (SYN and ACK both set).
    pub const BEGAN_BACKWARD: u32 = 1 << 7;
}

const NO_GAP: u32 = u32::MAX;

impl Direction {
    /// Counters after the direction's first packet.
    #[inline(always)]
    fn begin(&mut self, packet: &Packet, at_us: u32) {
        let last = last_segment(packet);
        self.bytes = packet.wire_bytes as u64;
        self.payload = packet.payload_bytes as u64;
        self.payload_squares = squares(packet, last);
        self.gap_squares = 0;
        self.packets = packet.segments;
        self.last_us = at_us;
        self.gap_min_us = if packet.segments > 1 { 0 } else { NO_GAP };
        self.gap_max_us = 0;
        self.payload_min = saturated(last);
        self.payload_max = saturated(largest_segment(packet, last));
        self.header_words = (packet.header_bytes as u32 >> 2) * packet.segments;
        self.acks = acks(packet);
        self.pushes = (packet.tcp_flags & tcp::PSH != 0) as u32;
    }

    #[inline(always)]
    fn update(&mut self, packet: &Packet, at_us: u32) {
        let last = last_segment(packet);
        let gap_us = at_us.saturating_sub(self.last_us);
        self.bytes = self.bytes.wrapping_add(packet.wire_bytes as u64);
        self.payload = self.payload.wrapping_add(packet.payload_bytes as u64);
        self.payload_squares = self.payload_squares.wrapping_add(squares(packet, last));
        self.gap_squares = self.gap_squares.wrapping_add(square(gap_us));
        self.packets = self.packets.wrapping_add(packet.segments);
        self.last_us = self.last_us.max(at_us);
        // Extremes are compared, and seldom written: BPF has no min and no max.
        let shortest = if packet.segments > 1 { 0 } else { gap_us };
        if shortest < self.gap_min_us {
            self.gap_min_us = shortest;
        }
        if gap_us > self.gap_max_us {
            self.gap_max_us = gap_us;
        }
        if last < self.payload_min as u32 {
            self.payload_min = last as u16;
        }
        let largest = largest_segment(packet, last);
        if largest > self.payload_max as u32 {
            self.payload_max = saturated(largest);
        }
        self.header_words = self
            .header_words
            .wrapping_add((packet.header_bytes as u32 >> 2) * packet.segments);
        self.acks = self.acks.wrapping_add(acks(packet));
        self.pushes = self
            .pushes
            .wrapping_add((packet.tcp_flags & tcp::PSH != 0) as u32);
    }
}

impl FlowRecord {
    /// Makes this the record of the flow that begins with `packet`, whatever it
    /// held before; lock and verdict slot stay. `forward` says who counts as having
    /// begun; `None`: the packet's sender, or its receiver where SYN and ACK are
    /// both set.
    #[inline(always)]
    pub fn begin(
        &mut self,
        key: &FlowKey,
        from_low: bool,
        forward: Option<Toward>,
        packet: &Packet,
        now_us: u64,
    ) {
        let answer = packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK;
        let toward = match forward {
            Some(toward) => toward,
            None if answer => Toward::Backward,
            None => Toward::Forward,
        };
        let is_forward = toward == Toward::Forward;
        self.key = *key;
        self.first_us = now_us;
        self.last_us = 0;
        self.state = if from_low == is_forward {
            state::FORWARD_IS_LOW
        } else {
            0
        };
        self.gap_squares = 0;
        self.gap_min_us = if packet.segments > 1 { 0 } else { NO_GAP };
        self.gap_max_us = 0;
        self.cwr = 0;
        self.ece = 0;
        self.other_first_us = 0;
        self.forward_data_packets = 0;
        self.forward_window = 0;
        self.backward_window = 0;
        self.forward_header_min = 0;
        self.reserved = 0;
        self.reserved_words = [0; 3];
        self.idle_periods = 0;
        self.forward_flags = RareFlags::default();
        self.backward_flags = RareFlags::default();
        if is_forward {
            self.forward.begin(packet, 0);
        } else {
            self.state |= state::BEGAN_BACKWARD;
            self.backward.begin(packet, 0);
        }
        self.shared(packet, toward);
    }

    /// Whether this flow ended before `packet`, which then begins another: after
    /// [`FLOW_TIMEOUT_US`], or with a SYN after TCP was over.
    #[inline(always)]
    #[must_use]
    pub fn is_over(&self, packet: &Packet, now_us: u64) -> bool {
        now_us.saturating_sub(self.first_us) > FLOW_TIMEOUT_US
            || self.state & state::CLOSED != 0 && packet.tcp_flags & tcp::SYN != 0
    }

    /// Which side the flow that follows this one begins with, given its first
    /// packet: a TCP connection that outlives the time-out keeps its direction.
    #[inline(always)]
    #[must_use]
    pub fn next_forward(&self, from_low: bool) -> Option<Toward> {
        let goes_on = self.key.protocol() == protocol::TCP && self.state & state::CLOSED == 0;
        goes_on.then(|| self.toward(from_low))
    }

    /// The direction of a packet that the low endpoint sent, or did not.
    #[inline(always)]
    #[must_use]
    pub fn toward(&self, from_low: bool) -> Toward {
        if from_low == (self.state & state::FORWARD_IS_LOW != 0) {
            Toward::Forward
        } else {
            Toward::Backward
        }
    }

    /// Counts `packet`, one of this flow's ([`FlowRecord::is_over`] was asked).
    /// A gap that ended an active period is returned, for the flow's periods.
    #[inline(always)]
    pub fn update(&mut self, from_low: bool, packet: &Packet, now_us: u64) -> Option<Gap> {
        let at_us = now_us.saturating_sub(self.first_us) as u32;
        let from_us = self.last_us;
        let gap_us = at_us.saturating_sub(from_us);
        self.gap_squares = self.gap_squares.wrapping_add(square(gap_us));
        let shortest = if packet.segments > 1 { 0 } else { gap_us };
        if shortest < self.gap_min_us {
            self.gap_min_us = shortest;
        }
        if gap_us > self.gap_max_us {
            self.gap_max_us = gap_us;
        }
        self.last_us = from_us.max(at_us);

        let toward = self.toward(from_low);
        let (direction, seen) = match toward {
            Toward::Forward => {
                self.turn(packet, state::BACKWARD_SEEN, 0);
                (&mut self.forward, state::FORWARD_SEEN)
            }
            Toward::Backward => {
                self.turn(packet, state::FORWARD_SEEN, state::BEGAN_BACKWARD);
                (&mut self.backward, state::BACKWARD_SEEN)
            }
        };
        if self.state & seen == 0 {
            direction.begin(packet, at_us);
            self.other_first_us = at_us;
        } else {
            direction.update(packet, at_us);
        }
        self.shared(packet, toward);

        if gap_us > IDLE_GAP_US {
            let first = self.idle_periods == 0;
            self.idle_periods = self.idle_periods.saturating_add(1);
            return Some(Gap {
                first,
                from_us,
                to_us: at_us,
            });
        }
        None
    }

    /// Notes that the side that sent the first packet speaks after an answer. A SYN
    /// again, or anything after a reset, is not that: a host answers and resets by
    /// itself, so that spoofed packets alone would make established flows.
    #[inline(always)]
    fn turn(&mut self, packet: &Packet, answer_seen: u32, began: u32) {
        let looked_at = answer_seen | state::BEGAN_BACKWARD | state::CLOSED;
        if self.state & looked_at == answer_seen | began && packet.tcp_flags & tcp::SYN == 0 {
            self.state |= state::TURNED;
        }
    }

    /// The counters outside the direction's own line.
    #[inline(always)]
    fn shared(&mut self, packet: &Packet, toward: Toward) {
        let flags = packet.tcp_flags;
        match toward {
            Toward::Forward => {
                if self.state & state::FORWARD_SEEN == 0 {
                    self.state |= state::FORWARD_SEEN;
                    self.forward_window = packet.window;
                    self.forward_header_min = packet.header_bytes;
                } else if packet.header_bytes < self.forward_header_min {
                    self.forward_header_min = packet.header_bytes;
                }
                if packet.payload_bytes > 0 {
                    self.forward_data_packets =
                        self.forward_data_packets.wrapping_add(packet.segments);
                }
            }
            Toward::Backward => {
                self.state |= state::BACKWARD_SEEN;
                self.backward_window = packet.window;
            }
        }
        if flags & !(tcp::ACK | tcp::PSH) != 0 {
            self.rare(flags, packet.segments, toward);
        }
        let both_fins = state::FORWARD_FIN | state::BACKWARD_FIN;
        if self.state & both_fins == both_fins && flags & (tcp::FIN | tcp::ACK) == tcp::ACK {
            self.state |= state::CLOSED;
        }
    }

    #[inline(always)]
    fn rare(&mut self, flags: u8, segments: u32, toward: Toward) {
        let (counts, fin_bit) = match toward {
            Toward::Forward => (&mut self.forward_flags, state::FORWARD_FIN),
            Toward::Backward => (&mut self.backward_flags, state::BACKWARD_FIN),
        };
        // Segmentation leaves FIN to the last segment and CWR to the first, and never
        // meets SYN or RST; URG and ECE it repeats.
        count(&mut counts.fin, flags & tcp::FIN, 1);
        count(&mut counts.syn, flags & tcp::SYN, 1);
        count(&mut counts.rst, flags & tcp::RST, 1);
        count(&mut counts.urg, flags & tcp::URG, segments);
        count(&mut self.cwr, flags & tcp::CWR, 1);
        count(&mut self.ece, flags & tcp::ECE, segments);
        if flags & tcp::FIN != 0 {
            self.state |= fin_bit;
        }
        if flags & tcp::RST != 0 {
            self.state |= state::CLOSED;
        }
    }

    /// Whether the flow is to be kept when others are pushed out: the side that sent
    /// first spoke again after an answer, or it sent enough packets other than SYN and
    /// was not reset.
    #[inline(always)]
    #[must_use]
    pub fn is_established(&self) -> bool {
        if self.state & (state::TURNED | state::CLOSED) != 0 {
            return self.state & state::TURNED != 0;
        }
        // The other side's line may hold nothing valid.
        let (packets, syns) = if self.state & state::BEGAN_BACKWARD == 0 {
            (self.forward.packets, self.forward_flags.syn)
        } else {
            (self.backward.packets, self.backward_flags.syn)
        };
        packets.wrapping_sub(syns as u32) >= ESTABLISHED_PACKETS
    }

    /// Packets and bytes of both directions.
    #[inline(always)]
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let (mut packets, mut bytes) = (0, 0);
        if self.state & state::FORWARD_SEEN != 0 {
            packets += self.forward.packets as u64;
            bytes += self.forward.bytes;
        }
        if self.state & state::BACKWARD_SEEN != 0 {
            packets += self.backward.packets as u64;
            bytes += self.backward.bytes;
        }
        (packets, bytes)
    }

    /// The record with every field that holds nothing valid at zero, the lock and
    /// the verdict slot too: equal for equal flows, wherever they were counted.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let mut record = *self;
        record.lock = 0;
        record.verdict_slot = 0;
        if record.state & state::FORWARD_SEEN == 0 {
            record.forward = Direction::default();
        }
        if record.state & state::BACKWARD_SEEN == 0 {
            record.backward = Direction::default();
        }
        record
    }
}

/// Whether a packet's receiver has spoken in its flow, whose [`FlowRecord::state`] this is, and did not reset it. A SYN
/// that comes again is not taken for part of a conversation. Packets alone, however many, speak for their sender only.
#[inline(always)]
#[must_use]
pub fn is_answered(flow_state: u32, from_low: bool, tcp_flags: u8) -> bool {
    let from_forward = from_low == (flow_state & state::FORWARD_IS_LOW != 0);
    let answer_seen = if from_forward {
        state::BACKWARD_SEEN
    } else {
        state::FORWARD_SEEN
    };
    flow_state & (answer_seen | state::CLOSED) == answer_seen
        && tcp_flags & (tcp::SYN | tcp::ACK) != tcp::SYN
}

/// Whole microseconds of a time in nanoseconds.
///
/// The BPF target has no high half of a product, so that a division by a constant
/// would be a division: `ns = hi·2³² + lo`, `2³² = 4294967·1000 + 296`, and the rest by
/// a reciprocal that is at most one too small.
#[inline(always)]
#[must_use]
pub fn micros(ns: u64) -> u64 {
    if ns >= 1 << 60 {
        return ns / 1000;
    }
    let (hi, lo) = (ns >> 32, ns & 0xffff_ffff);
    let rest = hi * 296 + lo;
    let mut quotient = ((rest >> 3) * 549_755_813) >> 36;
    if rest - quotient * 1000 >= 1000 {
        quotient += 1;
    }
    hi * 4_294_967 + quotient
}

#[inline(always)]
fn count(counter: &mut u16, flag: u8, packets: u32) {
    if flag != 0 {
        *counter = counter.saturating_add(saturated(packets));
    }
}

#[inline(always)]
fn square(n: u32) -> u64 {
    (n as u64).wrapping_mul(n as u64)
}

/// Payload bytes of the last segment: all of them where there is but one.
#[inline(always)]
fn last_segment(packet: &Packet) -> u32 {
    let whole = packet
        .segments
        .wrapping_sub(1)
        .wrapping_mul(packet.segment_bytes);
    packet.payload_bytes.wrapping_sub(whole)
}

#[inline(always)]
fn largest_segment(packet: &Packet, last: u32) -> u32 {
    if packet.segments > 1 {
        packet.segment_bytes
    } else {
        last
    }
}

#[inline(always)]
fn squares(packet: &Packet, last: u32) -> u64 {
    let whole = packet.segments.wrapping_sub(1) as u64;
    square(last).wrapping_add(whole.wrapping_mul(square(packet.segment_bytes)))
}

#[inline(always)]
fn acks(packet: &Packet) -> u32 {
    if packet.tcp_flags & tcp::ACK != 0 {
        packet.segments
    } else {
        0
    }
}

#[inline(always)]
fn saturated(n: u32) -> u16 {
    n.min(u16::MAX as u32) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn micros_is_division_by_a_thousand(ns: u64, us in 0u64..1 << 50, near in 0u64..1001) {
            prop_assert_eq!(micros(ns), ns / 1000);
            prop_assert_eq!(micros(ns >> 4), (ns >> 4) / 1000);
            prop_assert_eq!(micros(us * 1000 + near), us + near / 1000);
        }
    }
}
