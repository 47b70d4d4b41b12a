//! Signatures: verdicts on what packets look like rather than on who sent them.
//!
//! Matching is the bit-vector scheme of Lakshman and Stiliadis ("High-speed
//! policy-based packet forwarding using efficient multi-dimensional range
//! matching", SIGCOMM 1998): for each field an array of words, one word for each
//! value, whose bit `i` says whether signature `i` takes that value. The words of
//! a packet's values, ANDed, are its candidates: five loads whatever the number of
//! signatures. The destination prefix is compared for the candidates only.

use crate::{key::Address, packet::Packet};

/// Where the words of each field begin in the array of words.
pub mod field {
    /// By IP protocol.
    pub const PROTOCOL: u32 = 0;
    /// By TCP flags.
    pub const FLAGS: u32 = 256;
    /// By source port.
    pub const SOURCE_PORT: u32 = 512;
    /// By destination port.
    pub const DESTINATION_PORT: u32 = SOURCE_PORT + 65_536;
    /// By payload length, 65,535 and above together.
    pub const LENGTH: u32 = DESTINATION_PORT + 65_536;
    /// Words altogether.
    pub const WORDS: u32 = LENGTH + 65_536;
}

/// An inclusive range.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First value in it.
    pub min: u16,
    /// Last value in it.
    pub max: u16,
}

impl Range {
    /// Everything.
    pub const ANY: Self = Self {
        min: 0,
        max: u16::MAX,
    };

    /// Whether `n` is in it.
    #[must_use]
    pub fn contains(self, n: u16) -> bool {
        self.min <= n && n <= self.max
    }
}

/// A signature: every field must match.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Destination prefix.
    pub destination: Address,
    /// Mask of the destination prefix, in the address' layout.
    pub destination_mask: Address,
    /// Verdict slot; 0: the signature is free.
    pub slot: u32,
    /// Source ports.
    pub source_ports: Range,
    /// Destination ports.
    pub destination_ports: Range,
    /// Payload bytes; 65,535 stands for everything above as well.
    pub payload: Range,
    /// IP protocol, where `any_protocol` is 0.
    pub protocol: u8,
    /// 1: any protocol.
    pub any_protocol: u8,
    /// TCP flags that are looked at.
    pub flags_mask: u8,
    /// What they must be.
    pub flags: u8,
    /// 1: established flows are spared: TCP that is established, and any flow in which the packet's receiver has spoken.
    pub spare_established: u8,
    /// 1: flows that come again are spared ([`crate::returning`]).
    pub spare_returning: u8,
    /// Unused.
    pub reserved: [u8; 2],
    /// Unused.
    pub reserved_words: [u64; 1],
}

/// What a signature that takes a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Slot of its verdict.
    pub slot: u32,
    /// Whether established flows are spared.
    pub spare_established: bool,
    /// Whether flows that come again are spared.
    pub spare_returning: bool,
}

impl Signature {
    /// Matches everything; no verdict.
    pub const ANY: Self = Self {
        destination: Address { words: [0; 2] },
        destination_mask: Address { words: [0; 2] },
        slot: 0,
        source_ports: Range::ANY,
        destination_ports: Range::ANY,
        payload: Range::ANY,
        protocol: 0,
        any_protocol: 1,
        flags_mask: 0,
        flags: 0,
        spare_established: 1,
        spare_returning: 0,
        reserved: [0; 2],
        reserved_words: [0; 1],
    };

    /// Whether the destination is in the signature's prefix.
    #[inline(always)]
    #[must_use]
    pub fn takes_destination(&self, destination: &Address) -> bool {
        (destination.words[0] ^ self.destination.words[0]) & self.destination_mask.words[0] == 0
            && (destination.words[1] ^ self.destination.words[1]) & self.destination_mask.words[1]
                == 0
    }

    /// What it says of a packet to this destination, if it takes that.
    #[inline(always)]
    #[must_use]
    pub fn taken(&self, destination: &Address) -> Option<Taken> {
        if !self.takes_destination(destination) {
            return None;
        }
        Some(Taken {
            slot: self.slot,
            spare_established: self.spare_established != 0,
            spare_returning: self.spare_returning != 0,
        })
    }

    /// Whether the word of `field` for `value` is to have this signature's bit.
    #[must_use]
    pub fn takes(&self, word: u32) -> bool {
        if word >= field::LENGTH {
            self.payload.contains((word - field::LENGTH) as u16)
        } else if word >= field::DESTINATION_PORT {
            self.destination_ports
                .contains((word - field::DESTINATION_PORT) as u16)
        } else if word >= field::SOURCE_PORT {
            self.source_ports
                .contains((word - field::SOURCE_PORT) as u16)
        } else if word >= field::FLAGS {
            (word - field::FLAGS) as u8 & self.flags_mask == self.flags & self.flags_mask
        } else {
            self.any_protocol != 0 || word as u8 == self.protocol
        }
    }

    /// Whether the signature matches the packet: what the words compute, said plainly.
    #[must_use]
    pub fn matches(&self, packet: &Packet) -> bool {
        words_of(packet).iter().all(|&word| self.takes(word))
            && self.takes_destination(&packet.destination)
    }
}

/// The word of each field that a packet's values select.
#[inline(always)]
#[must_use]
pub fn words_of(packet: &Packet) -> [u32; 5] {
    let length = if packet.payload_bytes > 0xffff {
        0xffff
    } else {
        packet.payload_bytes
    };
    [
        field::PROTOCOL + packet.protocol as u32,
        field::FLAGS + packet.tcp_flags as u32,
        field::SOURCE_PORT + packet.source_port as u32,
        field::DESTINATION_PORT + packet.destination_port as u32,
        field::LENGTH + length,
    ]
}
