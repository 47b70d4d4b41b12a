//! Verdicts: what is done with packets, why, and until when.
//!
//! # Matching order
//! 1. the verdict on the source address,
//! 2. the verdict on the longest prefix of the source address,
//! 3. the verdict on the flow,
//! 4. the signature with the lowest number among those that match; one that spares
//!    established flows does not match them.
//!
//! A `pass` ends the search and the packet passes. A deny verdict (rate limit,
//! quarantine, drop) that drops ends it too; one that lets the packet through (it
//! conforms to the rate, it goes to a listed service) leaves it to the next. Before
//! a deny verdict acts, the never-block prefixes are asked: if the source is in
//! one, the verdict counts for nothing. An expired verdict counts for nothing either.

use crate::key::FlowKey;

/// What a verdict does. A number, for it crosses the kernel boundary.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Action(pub u8);

impl Action {
    /// Let pass, whatever the later verdicts say.
    pub const PASS: Self = Self(0);
    /// Drop what exceeds a rate.
    pub const RATE_LIMIT: Self = Self(1);
    /// Drop all but what goes to the verdict's services.
    pub const QUARANTINE: Self = Self(2);
    /// Drop.
    pub const DROP: Self = Self(3);

    /// All.
    pub const ALL: [Self; 4] = [Self::PASS, Self::RATE_LIMIT, Self::QUARANTINE, Self::DROP];

    /// As it stands in the CLI, the API and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PASS => "pass",
            Self::RATE_LIMIT => "rate-limit",
            Self::QUARANTINE => "quarantine",
            Self::DROP => "drop",
            _ => "unknown",
        }
    }
}

/// What a verdict is on. A number, for it crosses the kernel boundary.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// The slot is free.
    pub const FREE: Self = Self(0);
    /// A source address.
    pub const ADDRESS: Self = Self(1);
    /// A prefix of source addresses.
    pub const PREFIX: Self = Self(2);
    /// One flow, both directions.
    pub const FLOW: Self = Self(3);
    /// A signature.
    pub const SIGNATURE: Self = Self(4);

    /// As it stands in the CLI, the API and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FREE => "free",
            Self::ADDRESS => "address",
            Self::PREFIX => "prefix",
            Self::FLOW => "flow",
            Self::SIGNATURE => "signature",
            _ => "unknown",
        }
    }
}

/// Services that a quarantine can let through.
pub const SERVICES: usize = 8;
/// Bytes of a reason.
pub const REASON_BYTES: usize = 104;
/// Never expires.
pub const FOREVER: u64 = u64::MAX;

/// A service: a destination port of a protocol.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Destination port; 0: any.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Unused.
    pub reserved: u8,
}

/// A verdict, in its slot. The first line is what a packet touches.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Jiffies (64 bits) at which it expires, or [`FOREVER`].
    pub expires_jiffies: u64,
    /// What it does.
    pub action: Action,
    /// What it is on.
    pub kind: Kind,
    /// Number of services.
    pub service_count: u8,
    /// Unused.
    pub reserved: u8,
    /// 0 until its first hit.
    pub hit: u32,
    /// [`crate::rate`] cost of a packet; 0: no limit.
    pub packet_cost: u64,
    /// [`crate::rate`] cost of a byte; 0: no limit.
    pub byte_cost: u64,
    /// [`crate::rate`] burst.
    pub burst: u64,
    /// State of the packets' bucket.
    pub packet_state: u64,
    /// State of the bytes' bucket.
    pub byte_state: u64,
    /// Never-block generation under which the address or flow was found not to be
    /// listed, plus one.
    pub cleared_generation: u32,
    /// Unused.
    pub reserved_word: u32,

    /// What passes a quarantine.
    pub services: [Service; SERVICES],
    /// The flow. An address or a prefix is in `low`, a prefix' length in
    /// `low_port` (of 128), a signature's number in `low_port`.
    pub target: FlowKey,
    /// Unix time of the writing, ms.
    pub created_unix_ms: u64,
    /// Unix time of the expiry, ms; [`FOREVER`].
    pub expires_unix_ms: u64,
    /// Why, in UTF-8, filled up with zeros.
    pub reason: [u8; REASON_BYTES],
}

impl Verdict {
    /// A free slot.
    pub const FREE: Self = Self {
        expires_jiffies: 0,
        action: Action::PASS,
        kind: Kind::FREE,
        service_count: 0,
        reserved: 0,
        hit: 0,
        packet_cost: 0,
        byte_cost: 0,
        burst: 0,
        packet_state: 0,
        byte_state: 0,
        cleared_generation: 0,
        reserved_word: 0,
        services: [Service {
            port: 0,
            protocol: 0,
            reserved: 0,
        }; SERVICES],
        target: FlowKey {
            low: crate::key::Address { words: [0; 2] },
            high: crate::key::Address { words: [0; 2] },
            low_port: 0,
            high_port: 0,
            zone_protocol: 0,
        },
        created_unix_ms: 0,
        expires_unix_ms: 0,
        reason: [0; REASON_BYTES],
    };

    /// The reason as text.
    #[must_use]
    pub fn reason_text(&self) -> &str {
        let end = self
            .reason
            .iter()
            .position(|&b| b == 0)
            .unwrap_or(REASON_BYTES);
        match core::str::from_utf8(&self.reason[..end]) {
            Ok(text) => text,
            // A reason cut within a character.
            Err(error) => core::str::from_utf8(&self.reason[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

/// How often a verdict dropped, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Packets dropped.
    pub dropped_packets: u64,
    /// Bytes dropped.
    pub dropped_bytes: u64,
    /// Packets that it matched and let through.
    pub passed_packets: u64,
    /// Bytes that it matched and let through.
    pub passed_bytes: u64,
}

/// Whether a quarantine lets a packet through to this service.
#[inline(always)]
#[must_use]
pub fn lets_through(service: Service, protocol: u8, destination_port: u16) -> bool {
    service.protocol == protocol && (service.port == destination_port || service.port == 0)
}

/// Key of the LPM tries: prefix length, then the address in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixKey {
    /// Bits, of 128.
    pub bits: u32,
    /// Address.
    pub octets: [u8; 16],
}
