//! The columns of a flow, defined once for JSON, CSV and Parquet.
//!
//! A column that does not apply to a flow (ports of a protocol without them, the shortest gap of one packet) is null:
//! `null` in JSON, an empty field in CSV. `forward` is the side that sent the flow's first packet, except that a first
//! packet with SYN and ACK both set is taken for an answer; `source` is its address. Times within a flow are
//! microseconds since its first packet. `payload` is what follows the transport header; `bytes` is the whole frame.
//! Sums of squares are exact, so that every mean, variance and standard deviation can be computed.
//!
//! [`COLUMNS`] is the whole list, with each column's type and meaning.

use std::borrow::Cow;
use std::net::IpAddr;

use detector_common::record::{Direction, RareFlags, state};

use crate::flow::{Flow, protocol};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, in Parquet UTF-8.
    Text,
    /// Unix time in µs; RFC 3339 UTC in JSON and CSV, `timestamp[us, UTC]` in Parquet.
    Time,
    /// An unsigned integer of 8 bits.
    U8,
    /// An unsigned integer of 16 bits.
    U16,
    /// An unsigned integer of 32 bits.
    U32,
    /// An unsigned integer of 64 bits.
    U64,
    /// A number of 32 bits with a fraction.
    F32,
}

/// One flow's value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The column does not apply.
    Null,
    /// Of a column of [`Kind::Text`].
    Text(Cow<'a, str>),
    /// Of a column of [`Kind::Text`].
    Address(IpAddr),
    /// Of a column of [`Kind::F32`].
    Real(f32),
    /// Of any other column.
    Number(u64),
}

/// One column of rows of a kind: of flows, if nothing else is said.
pub struct Column<R = Flow> {
    /// Its name, the same in every format.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means.
    pub doc: &'static str,
    /// Reads it.
    pub get: for<'a> fn(&'a R) -> Value<'a>,
}

/// Whether a flow has packets in the direction whose bit of [`state`] this is.
fn seen(flow: &Flow, bit: u32) -> bool {
    flow.record.state & bit != 0
}

fn number(n: impl Into<u64>) -> Value<'static> {
    Value::Number(n.into())
}

fn number_if(applies: bool, n: impl Into<u64>) -> Value<'static> {
    if applies {
        Value::Number(n.into())
    } else {
        Value::Null
    }
}

fn optional<N: Into<u64>>(n: Option<N>) -> Value<'static> {
    n.map_or(Value::Null, number)
}

/// A shortest gap, of which `u32::MAX` says that there is none.
fn gap_min(us: u32) -> Value<'static> {
    number_if(us != u32::MAX, us)
}

fn text(text: &'static str) -> Value<'static> {
    Value::Text(Cow::Borrowed(text))
}

/// When a direction's first packet was: 0, but for the side that did not send the flow's first.
fn first_us(flow: &Flow, bit: u32) -> Value<'static> {
    let began = if seen(flow, state::BEGAN_BACKWARD) {
        state::BACKWARD_SEEN
    } else {
        state::FORWARD_SEEN
    };
    let at = if bit == began {
        0
    } else {
        flow.record.other_first_us
    };
    number_if(seen(flow, bit), at)
}

macro_rules! column {
    ($name:expr, $kind:ident, $doc:expr, |$flow:ident| $value:expr) => {
        Column {
            name: $name,
            kind: Kind::$kind,
            doc: $doc,
            get: |$flow| $value,
        }
    };
}

macro_rules! direction {
    ($side:literal, $bit:expr, $direction:ident, $flags:ident) => {{
        fn d(flow: &Flow) -> &Direction {
            &flow.record.$direction
        }
        fn rare(flow: &Flow) -> &RareFlags {
            &flow.record.$flags
        }
        [
            column!(
                concat!($side, "_packets"),
                U32,
                concat!("Packets ", $side),
                |f| number(d(f).packets)
            ),
            column!(
                concat!($side, "_bytes"),
                U64,
                concat!("Bytes ", $side, ", link headers included"),
                |f| number(d(f).bytes)
            ),
            column!(
                concat!($side, "_payload_bytes"),
                U64,
                concat!("Payload ", $side),
                |f| number(d(f).payload)
            ),
            column!(
                concat!($side, "_payload_squares_bytes2"),
                U64,
                concat!("Sum of squared payload lengths ", $side),
                |f| number(d(f).payload_squares)
            ),
            column!(
                concat!($side, "_payload_min_bytes"),
                U16,
                concat!("Smallest payload ", $side, ", at most 65,535"),
                |f| number_if(seen(f, $bit), d(f).payload_min)
            ),
            column!(
                concat!($side, "_payload_max_bytes"),
                U16,
                concat!("Largest payload ", $side, ", at most 65,535"),
                |f| number_if(seen(f, $bit), d(f).payload_max)
            ),
            column!(
                concat!($side, "_header_bytes"),
                U64,
                concat!("Transport headers ", $side),
                |f| number(u64::from(d(f).header_words) * 4)
            ),
            column!(
                concat!($side, "_first_us"),
                U32,
                concat!("First packet ", $side),
                |f| first_us(f, $bit)
            ),
            column!(
                concat!($side, "_last_us"),
                U32,
                concat!("Last packet ", $side),
                |f| number_if(seen(f, $bit), d(f).last_us)
            ),
            column!(
                concat!($side, "_gap_squares_us2"),
                U64,
                concat!("Sum of squared gaps between packets ", $side),
                |f| number(d(f).gap_squares)
            ),
            column!(
                concat!($side, "_gap_min_us"),
                U32,
                concat!("Shortest gap between packets ", $side),
                |f| if seen(f, $bit) {
                    gap_min(d(f).gap_min_us)
                } else {
                    Value::Null
                }
            ),
            column!(
                concat!($side, "_gap_max_us"),
                U32,
                concat!("Longest gap between packets ", $side),
                |f| number(d(f).gap_max_us)
            ),
            column!(
                concat!($side, "_fin_packets"),
                U16,
                concat!("Packets ", $side, " with FIN, at most 65,535"),
                |f| number(rare(f).fin)
            ),
            column!(
                concat!($side, "_syn_packets"),
                U16,
                concat!("Packets ", $side, " with SYN, at most 65,535"),
                |f| number(rare(f).syn)
            ),
            column!(
                concat!($side, "_rst_packets"),
                U16,
                concat!("Packets ", $side, " with RST, at most 65,535"),
                |f| number(rare(f).rst)
            ),
            column!(
                concat!($side, "_psh_packets"),
                U32,
                concat!("Packets ", $side, " with PSH"),
                |f| number(d(f).pushes)
            ),
            column!(
                concat!($side, "_ack_packets"),
                U32,
                concat!("Packets ", $side, " with ACK"),
                |f| number(d(f).acks)
            ),
            column!(
                concat!($side, "_urg_packets"),
                U16,
                concat!("Packets ", $side, " with URG, at most 65,535"),
                |f| number(rare(f).urg)
            ),
        ]
    }};
}

const IDENTITY: [Column; 14] = [
    column!("first_time", Time, "First packet", |f| number(
        f.first_unix_us()
    )),
    column!("last_time", Time, "Last packet of either direction", |f| {
        number(f.last_unix_us())
    }),
    column!("duration_us", U32, "Last packet less first", |f| number(
        f.record.last_us
    )),
    column!("protocol", U8, "IP protocol number", |f| number(
        f.protocol()
    )),
    column!(
        "protocol_name",
        Text,
        "IP protocol by name, or its number",
        |f| Value::Text(protocol::name(f.protocol()))
    ),
    column!(
        "source_address",
        Text,
        "Address of the side that began",
        |f| Value::Address(f.source())
    ),
    column!("source_port", U16, "Port of the side that began", |f| {
        optional(f.ports().map(|(source, _)| source))
    }),
    column!(
        "destination_address",
        Text,
        "Address of the other side",
        |f| Value::Address(f.destination())
    ),
    column!("destination_port", U16, "Port of the other side", |f| {
        optional(f.ports().map(|(_, destination)| destination))
    }),
    column!(
        "icmp_type",
        U8,
        "ICMP type that the side that began sent",
        |f| optional(f.icmp().map(|(kind, _)| kind))
    ),
    column!(
        "icmp_code",
        U8,
        "ICMP code; null for requests and their replies",
        |f| optional(f.icmp().and_then(|(_, code)| code))
    ),
    column!(
        "zone",
        U32,
        "Interface that the flow was seen on; 0 in captures",
        |f| number(f.record.key.zone())
    ),
    column!(
        "community_id",
        Text,
        "Community ID, version 1, seed 0",
        |f| Value::Text(Cow::Owned(f.community_id()))
    ),
    column!(
        "state",
        Text,
        "new, answered (both sides spoke), established (the first side spoke again, or there were 8 packets), closed (TCP is over)",
        |f| text(f.state().name())
    ),
];

const SHARED: [Column; 10] = [
    column!(
        "state_bits",
        U32,
        "Bits, from 1: 1 forward seen, 2 backward seen, 3 forward spoke after an answer, 4 FIN forward, 5 FIN backward, 6 closed, 7 began with an answer",
        |f| number(f.record.state & !state::FORWARD_IS_LOW)
    ),
    column!(
        "gap_squares_us2",
        U64,
        "Sum of squared gaps between successive packets",
        |f| number(f.record.gap_squares)
    ),
    column!(
        "gap_min_us",
        U32,
        "Shortest gap between successive packets",
        |f| gap_min(f.record.gap_min_us)
    ),
    column!(
        "gap_max_us",
        U32,
        "Longest gap between successive packets",
        |f| number(f.record.gap_max_us)
    ),
    column!(
        "cwr_packets",
        U16,
        "Packets with CWR, both directions, at most 65,535",
        |f| number(f.record.cwr)
    ),
    column!(
        "ece_packets",
        U16,
        "Packets with ECE, both directions, at most 65,535",
        |f| number(f.record.ece)
    ),
    column!(
        "forward_data_packets",
        U32,
        "Packets forward with payload",
        |f| number(f.record.forward_data_packets)
    ),
    column!(
        "forward_header_min_bytes",
        U8,
        "Smallest transport header forward",
        |f| number_if(seen(f, state::FORWARD_SEEN), f.record.forward_header_min)
    ),
    column!(
        "forward_window_bytes",
        U16,
        "TCP window of the first packet forward, unscaled",
        |f| number(f.record.forward_window)
    ),
    column!(
        "backward_window_bytes",
        U16,
        "TCP window of the last packet backward, unscaled",
        |f| number(f.record.backward_window)
    ),
];

const FORWARD: [Column; 18] = direction!("forward", state::FORWARD_SEEN, forward, forward_flags);
const BACKWARD: [Column; 18] =
    direction!("backward", state::BACKWARD_SEEN, backward, backward_flags);

macro_rules! period {
    ($name:expr, $kind:ident, $doc:expr, $field:ident) => {
        column!($name, $kind, $doc, |f| optional(
            f.periods.as_ref().map(|p| p.$field)
        ))
    };
}

const PERIODS: [Column; 11] = [
    period!(
        "active_periods",
        U32,
        "Active periods that a gap above 5 s has ended, those longer than 0",
        active_count
    ),
    period!(
        "active_total_us",
        U32,
        "Sum of active periods",
        active_total_us
    ),
    period!(
        "active_squares_us2",
        U64,
        "Sum of squared active periods",
        active_squares
    ),
    period!(
        "active_min_us",
        U32,
        "Shortest active period; 0 where there is none",
        active_min_us
    ),
    period!("active_max_us", U32, "Longest active period", active_max_us),
    period!(
        "active_start_us",
        U32,
        "Begin of the last active period",
        active_start_us
    ),
    column!(
        "idle_periods",
        U16,
        "Gaps above 5 s; where there is none the columns of active and other idle periods are null",
        |f| number(f.record.idle_periods)
    ),
    period!("idle_total_us", U32, "Sum of idle periods", idle_total_us),
    period!(
        "idle_squares_us2",
        U64,
        "Sum of squared idle periods",
        idle_squares
    ),
    period!("idle_min_us", U32, "Shortest idle period", idle_min_us),
    period!("idle_max_us", U32, "Longest idle period", idle_max_us),
];

const CAPTURE: [Column; 1] = [column!(
    "capture",
    Text,
    "Capture file that the flow began in; null for live flows",
    |f| match &f.capture {
        Some(name) => Value::Text(Cow::Borrowed(name)),
        None => Value::Null,
    }
)];

/// All columns in order.
pub fn all() -> impl Iterator<Item = &'static Column> + Clone {
    const GROUPS: [&[Column]; 6] = [&IDENTITY, &FORWARD, &BACKWARD, &SHARED, &PERIODS, &CAPTURE];
    GROUPS.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_carry_their_unit() {
        let names: Vec<_> = all().map(|column| column.name).collect();
        let unique: HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for column in all() {
            let snake = column
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
            assert!(snake && !column.doc.is_empty(), "{}", column.name);
        }
    }
}
