//! Link types, and how a packet of each becomes an Ethernet frame.
//!
//! Numbers and header layouts: <https://www.tcpdump.org/linktypes.html>.

use super::FRAME_BYTES_MAX;

/// The EtherType of a packet that does not say what it is: reserved by IEEE, so no parser takes it for a protocol, and
/// unlike 0 it is not a length either.
const ETHERTYPE_UNKNOWN: u16 = 0xffff;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

const ETHERNET_HEADER: usize = 14;

/// What precedes the network packet in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// Linux "cooked": 16 bytes, the protocol at 14.
    LinuxSll,
    /// Linux "cooked", version 2: 20 bytes, the protocol at 0.
    LinuxSll2,
    /// Nothing; IPv4 or IPv6 by the version field.
    Raw,
    /// Nothing; always IPv4.
    Ipv4,
    /// Nothing; always IPv6.
    Ipv6,
    /// BSD loopback: an address family in the byte order of the machine that captured.
    Null,
    /// OpenBSD loopback: an address family in network byte order.
    Loop,
    /// Any other link type.
    Unsupported(u16),
}

impl Link {
    pub(super) fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            // 12 and 14 are what DLT_RAW is on BSD and OpenBSD; some programs write it into files.
            12 | 14 | 101 => Self::Raw,
            108 => Self::Loop,
            113 => Self::LinuxSll,
            228 => Self::Ipv4,
            229 => Self::Ipv6,
            276 => Self::LinuxSll2,
            other => Self::Unsupported(other),
        }
    }

    /// The bytes before the network packet.
    fn header_length(self) -> usize {
        match self {
            Self::Ethernet => ETHERNET_HEADER,
            Self::LinuxSll => 16,
            Self::LinuxSll2 => 20,
            Self::Null | Self::Loop => 4,
            Self::Raw | Self::Ipv4 | Self::Ipv6 | Self::Unsupported(_) => 0,
        }
    }

    /// How long the Ethernet frame of a packet of `original` bytes on this link is.
    #[inline]
    pub(super) fn length_on_wire(self, original: usize) -> usize {
        match self {
            Self::Ethernet => original,
            other => original.saturating_sub(other.header_length()) + ETHERNET_HEADER,
        }
    }

    /// The EtherType of a packet, told by its link header or its first byte.
    fn ether_type(self, captured: &[u8]) -> u16 {
        let known = match self {
            Self::LinuxSll => two_bytes(captured, 14),
            Self::LinuxSll2 => two_bytes(captured, 0),
            Self::Ipv4 => Some(ETHERTYPE_IPV4),
            Self::Ipv6 => Some(ETHERTYPE_IPV6),
            Self::Raw => captured
                .first()
                .and_then(|first| ether_type_of_version(first >> 4)),
            Self::Null | Self::Loop => captured.first_chunk::<4>().and_then(|family| {
                // The writer's byte order shows in the value: all families are small numbers.
                let little = u32::from_le_bytes(*family);
                ether_type_of_family(little.min(little.swap_bytes()))
            }),
            Self::Ethernet | Self::Unsupported(_) => None,
        };
        known.unwrap_or(ETHERTYPE_UNKNOWN)
    }
}

fn two_bytes(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|pair| u16::from_be_bytes(*pair))
}

fn ether_type_of_version(version: u8) -> Option<u16> {
    match version {
        4 => Some(ETHERTYPE_IPV4),
        6 => Some(ETHERTYPE_IPV6),
        _ => None,
    }
}

fn ether_type_of_family(family: u32) -> Option<u16> {
    match family {
        2 => Some(ETHERTYPE_IPV4),
        // AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin.
        10 | 23 | 24 | 28 | 30 => Some(ETHERTYPE_IPV6),
        _ => None,
    }
}

/// Where frames are put together that do not lie in the file as they were on the wire.
pub(super) struct EthernetScratch {
    bytes: Box<[u8]>,
    /// All bytes from here on are zero, so that only what the previous frame wrote needs clearing.
    written: usize,
}

impl EthernetScratch {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; FRAME_BYTES_MAX].into_boxed_slice(),
            written: 0,
        }
    }

    /// The frame of `length_wire` bytes (or as many as a frame may have) that begins with what was captured.
    pub(super) fn frame(&mut self, link: Link, captured: &[u8], length_wire: usize) -> &[u8] {
        let length = length_wire.min(FRAME_BYTES_MAX);
        let (start, packet) = match link {
            Link::Ethernet => (0, captured),
            other => {
                let (destination_and_source, rest) = self.bytes.split_at_mut(12);
                destination_and_source.fill(0);
                rest[..2].copy_from_slice(&other.ether_type(captured).to_be_bytes());
                let packet = captured.get(other.header_length()..).unwrap_or_default();
                (ETHERNET_HEADER, packet)
            }
        };
        let end = length.min(start + packet.len());
        self.bytes[start..end].copy_from_slice(&packet[..end - start]);
        if end < self.written {
            self.bytes[end..self.written].fill(0);
        }
        self.written = end;
        &self.bytes[..length]
    }
}
