//! From the bytes of a frame to its packet summary.
//!
//! Handled: Ethernet, up to two VLAN tags (802.1Q, 802.1ad, 0x9100), IPv4 with
//! options and fragments, IPv6 with up to [`EXTENSION_HEADERS_MAX`] extension
//! headers, then the transports of [`crate::transport`].
//!
//! A frame is rejected only where its addresses cannot be known or the kernel's
//! own stack would discard it. Anything odd after the addresses still gives a
//! summary, so that a verdict on the address cannot be evaded by garbage behind it.

use crate::{
    bytes::Bytes,
    key::Address,
    packet::{Packet, protocol},
    transport,
};

/// Extension headers of IPv6 that are walked before the rest counts as the transport.
pub const EXTENSION_HEADERS_MAX: u32 = 8;

/// EtherTypes.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad.
    pub const QINQ: u16 = 0x88a8;
    /// Double tagging before 802.1ad.
    pub const QINQ_OLD: u16 = 0x9100;
}

/// What the parser is told to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parser {
    /// Frames begin with an Ethernet header; otherwise with the IP header.
    pub ethernet: bool,
    /// Look behind VLAN tags; otherwise a tagged frame is non-IP.
    pub vlan: bool,
    /// Parse IPv6; otherwise it is non-IP.
    pub ipv6: bool,
}

impl Parser {
    /// Everything on, on Ethernet.
    pub const FULL: Self = Self {
        ethernet: true,
        vlan: true,
        ipv6: true,
    };
}

/// Why a frame has no packet summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Not IP (or an IP version that the parser was told to leave); its EtherType,
    /// or its length field where that is below 0x600 (802.3).
    NonIp(u16),
    /// Says that it is IP, but its headers do not hold together.
    Malformed(Malformed),
}

/// What is wrong with a malformed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Malformed {
    /// Shorter than an Ethernet header.
    EthernetTruncated = 0,
    /// Ends within a VLAN tag.
    VlanTruncated = 1,
    /// Ends within the IPv4 header.
    Ipv4Truncated = 2,
    /// Version is not 4, or the header length is below 20.
    Ipv4Header = 3,
    /// Total length shorter than the header, or longer than the frame.
    Ipv4Length = 4,
    /// Ends within the IPv6 header.
    Ipv6Truncated = 5,
    /// Version is not 6.
    Ipv6Header = 6,
    /// Payload length longer than the frame.
    Ipv6Length = 7,
}

impl Malformed {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::EthernetTruncated,
        Self::VlanTruncated,
        Self::Ipv4Truncated,
        Self::Ipv4Header,
        Self::Ipv4Length,
        Self::Ipv6Truncated,
        Self::Ipv6Header,
        Self::Ipv6Length,
    ];

    /// As it stands in metrics and status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EthernetTruncated => "ethernet_truncated",
            Self::VlanTruncated => "vlan_truncated",
            Self::Ipv4Truncated => "ipv4_truncated",
            Self::Ipv4Header => "ipv4_header",
            Self::Ipv4Length => "ipv4_length",
            Self::Ipv6Truncated => "ipv6_truncated",
            Self::Ipv6Header => "ipv6_header",
            Self::Ipv6Length => "ipv6_length",
        }
    }
}

/// Where the transport header begins, and how many bytes the IP header gives it.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    pub source: Address,
    pub destination: Address,
    pub protocol: u8,
    /// Offset of the transport header in the frame.
    pub offset: u32,
    /// Bytes of transport header and payload.
    pub length: u32,
    /// Bytes of the frame.
    pub wire_bytes: u32,
    /// A fragment, first or later.
    pub fragment: bool,
    /// A fragment other than the first: no transport header.
    pub later_fragment: bool,
}

impl Parser {
    /// The packet summary of `frame`.
    ///
    /// # Errors
    /// [`Rejected`] where the frame is not IP or is malformed.
    #[inline(always)]
    pub fn parse<B: Bytes + ?Sized>(self, frame: &B) -> Result<Packet, Rejected> {
        match self.plain(frame) {
            Some(packet) => Ok(packet),
            None => self.any(frame),
        }
    }

    /// The summary of the plainest frame, which most are: TCP or UDP in IPv4 without
    /// options or fragments, right behind the Ethernet header, and nothing wrong. Says
    /// what [`Parser::any`] says, from fixed offsets and behind one comparison.
    #[inline(always)]
    fn plain<B: Bytes + ?Sized>(self, frame: &B) -> Option<Packet> {
        if !self.ethernet {
            return None;
        }
        // As far as a TCP header goes; a shorter UDP frame is parsed the long way.
        let h = frame.load::<54>(0)?;
        let fragment = u16::from_be_bytes([h[20], h[21]]) & 0x3fff;
        if u16::from_be_bytes([h[12], h[13]]) != ethertype::IPV4 || h[14] != 0x45 || fragment != 0 {
            return None;
        }
        let total = u16::from_be_bytes([h[16], h[17]]) as u32;
        let mut packet = Packet {
            source: Address::from_ipv4([h[26], h[27], h[28], h[29]]),
            destination: Address::from_ipv4([h[30], h[31], h[32], h[33]]),
            source_port: u16::from_be_bytes([h[34], h[35]]),
            destination_port: u16::from_be_bytes([h[36], h[37]]),
            window: 0,
            protocol: h[23],
            tcp_flags: 0,
            header_bytes: 8,
            later_fragment: false,
            short_transport: false,
            payload_bytes: 0,
            wire_bytes: frame.at_hand(),
            segments: 1,
            segment_bytes: 0,
        };
        if packet.protocol == protocol::TCP {
            packet.window = u16::from_be_bytes([h[48], h[49]]);
            packet.tcp_flags = h[47];
            packet.header_bytes = h[46] >> 2 & 0x3c;
            if packet.header_bytes < 20 {
                return None;
            }
        } else if packet.protocol != protocol::UDP {
            return None;
        }
        let headers = 20 + packet.header_bytes as u32;
        if total < headers || 14 + total > packet.wire_bytes {
            return None;
        }
        packet.payload_bytes = total - headers;
        Some(packet)
    }

    /// The summary of any frame.
    #[inline(always)]
    fn any<B: Bytes + ?Sized>(self, frame: &B) -> Result<Packet, Rejected> {
        let (ethertype, offset) = self.link(frame)?;
        let network = match ethertype {
            ethertype::IPV4 => ipv4(frame, offset),
            ethertype::IPV6 if self.ipv6 => ipv6(frame, offset),
            other => return Err(Rejected::NonIp(other)),
        };
        match network {
            Ok(network) => Ok(transport::summary(frame, &network)),
            Err(reason) => Err(Rejected::Malformed(reason)),
        }
    }

    /// EtherType of the network header, and its offset.
    #[inline(always)]
    fn link<B: Bytes + ?Sized>(self, frame: &B) -> Result<(u16, u32), Rejected> {
        if !self.ethernet {
            return match frame.load::<2>(0) {
                Some([version, _]) if version >> 4 == 4 => Ok((ethertype::IPV4, 0)),
                Some([version, _]) if version >> 4 == 6 => Ok((ethertype::IPV6, 0)),
                Some(_) => Ok((0, 0)),
                None => Err(Rejected::Malformed(Malformed::Ipv4Truncated)),
            };
        }
        let Some(ethernet) = frame.load::<14>(0) else {
            return Err(Rejected::Malformed(Malformed::EthernetTruncated));
        };
        let mut ethertype = u16::from_be_bytes([ethernet[12], ethernet[13]]);
        let mut offset = 14;
        if self.vlan && is_vlan(ethertype) {
            (ethertype, offset) = behind_tag(frame, offset)?;
            if is_vlan(ethertype) {
                (ethertype, offset) = behind_tag(frame, offset)?;
            }
        }
        Ok((ethertype, offset))
    }
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    matches!(
        ethertype,
        ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD
    )
}

#[inline(always)]
fn behind_tag<B: Bytes + ?Sized>(frame: &B, offset: u32) -> Result<(u16, u32), Rejected> {
    match frame.load::<4>(offset) {
        Some([_, _, high, low]) => Ok((u16::from_be_bytes([high, low]), offset + 4)),
        None => Err(Rejected::Malformed(Malformed::VlanTruncated)),
    }
}

#[inline(always)]
fn ipv4<B: Bytes + ?Sized>(frame: &B, start: u32) -> Result<Network, Malformed> {
    let Some(h) = frame.load::<20>(start) else {
        return Err(Malformed::Ipv4Truncated);
    };
    let header = ((h[0] & 0x0f) as u32) * 4;
    if h[0] >> 4 != 4 || header < 20 {
        return Err(Malformed::Ipv4Header);
    }
    let stated = u16::from_be_bytes([h[2], h[3]]) as u32;
    let Some((total, wire_bytes)) = extent(frame, start, stated) else {
        return Err(Malformed::Ipv4Length);
    };
    if total < header {
        return Err(Malformed::Ipv4Length);
    }
    let fragment = u16::from_be_bytes([h[6], h[7]]);
    Ok(Network {
        source: Address::from_ipv4([h[12], h[13], h[14], h[15]]),
        destination: Address::from_ipv4([h[16], h[17], h[18], h[19]]),
        protocol: h[9],
        offset: start + header,
        length: total - header,
        wire_bytes,
        fragment: fragment & 0x3fff != 0,
        later_fragment: fragment & 0x1fff != 0,
    })
}

#[inline(always)]
fn ipv6<B: Bytes + ?Sized>(frame: &B, start: u32) -> Result<Network, Malformed> {
    let Some(h) = frame.load::<40>(start) else {
        return Err(Malformed::Ipv6Truncated);
    };
    if h[0] >> 4 != 6 {
        return Err(Malformed::Ipv6Header);
    }
    let stated = u16::from_be_bytes([h[4], h[5]]) as u32;
    let Some((length, wire_bytes)) = extent(frame, start + 40, stated) else {
        return Err(Malformed::Ipv6Length);
    };
    let [source, destination] = [
        [
            h[8], h[9], h[10], h[11], h[12], h[13], h[14], h[15], h[16], h[17], h[18], h[19],
            h[20], h[21], h[22], h[23],
        ],
        [
            h[24], h[25], h[26], h[27], h[28], h[29], h[30], h[31], h[32], h[33], h[34], h[35],
            h[36], h[37], h[38], h[39],
        ],
    ];
    let mut network = Network {
        source: Address::from_ipv6(source),
        destination: Address::from_ipv6(destination),
        protocol: h[6],
        offset: start + 40,
        length,
        wire_bytes,
        fragment: false,
        later_fragment: false,
    };
    walk_extensions(frame, &mut network);
    Ok(network)
}

/// Bytes of the packet that begins at `start` and is `stated` long, and of the frame;
/// `None` where the packet is longer than the frame. A length of 0 is that of a
/// packet too long for the field (jumbogram, segmentation offload): all there is.
///
/// A packet that ends in the first buffer spares the frame's whole length, which
/// costs a call in the kernel: what a hostile sender puts into further buffers
/// behind the end of the packet is not counted.
#[inline(always)]
fn extent<B: Bytes + ?Sized>(frame: &B, start: u32, stated: u32) -> Option<(u32, u32)> {
    let at_hand = frame.at_hand();
    if stated != 0 && start + stated <= at_hand {
        return Some((stated, at_hand));
    }
    let whole = frame.len();
    let available = whole.saturating_sub(start);
    if stated == 0 {
        Some((available, whole))
    } else if stated <= available {
        Some((stated, whole))
    } else {
        None
    }
}

/// Moves `network` past its extension headers. Stops at the first that is cut off,
/// too long or one too many: what is left counts as the transport of that number.
#[inline(always)]
fn walk_extensions<B: Bytes + ?Sized>(frame: &B, network: &mut Network) {
    for _ in 0..EXTENSION_HEADERS_MAX {
        if !is_extension(network.protocol) || network.later_fragment {
            return;
        }
        let Some(h) = frame.load::<8>(network.offset) else {
            return;
        };
        let bytes = match network.protocol {
            protocol::FRAGMENT => 8,
            protocol::AH => (h[1] as u32 + 2) * 4,
            _ => (h[1] as u32 + 1) * 8,
        };
        if bytes > network.length {
            return;
        }
        if network.protocol == protocol::FRAGMENT {
            let fragment = u16::from_be_bytes([h[2], h[3]]);
            // An atomic fragment (RFC 6946) is no fragment.
            network.fragment |= fragment & 0xfff9 != 0;
            network.later_fragment = fragment & 0xfff8 != 0;
        }
        network.protocol = h[0];
        network.offset += bytes;
        network.length -= bytes;
    }
}

#[inline(always)]
fn is_extension(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AH
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame that [`Parser::plain`] takes, but for `length` and what is overwritten.
    fn frame(length: usize, overwritten: &[(usize, u8)]) -> Vec<u8> {
        let mut frame = vec![0x55; length.max(54)];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        frame[16..18].copy_from_slice(&((length.max(54) - 14) as u16).to_be_bytes());
        frame[20..22].fill(0);
        frame[23] = protocol::TCP;
        frame[46] = 0x50;
        for (at, byte) in overwritten {
            let at = at % frame.len();
            frame[at] = *byte;
        }
        frame.truncate(length);
        frame
    }

    #[test]
    fn the_plain_frame_is_plain() {
        assert!(Parser::FULL.plain(&frame(60, &[])[..]).is_some());
        assert!(
            Parser::FULL
                .plain(&frame(60, &[(23, protocol::UDP)])[..])
                .is_some()
        );
    }

    proptest! {
        #[test]
        fn plain_says_what_any_says(
            length in 30usize..120,
            overwritten in proptest::collection::vec((12usize..54, any::<u8>()), 0..3),
            protocol in prop_oneof![Just(protocol::TCP), Just(protocol::UDP), any::<u8>()],
            parser in (any::<bool>(), any::<bool>(), any::<bool>())
                .prop_map(|(ethernet, vlan, ipv6)| Parser { ethernet, vlan, ipv6 }),
        ) {
            let mut frame = frame(length, &overwritten);
            if let Some(byte) = frame.get_mut(23) {
                *byte = protocol;
            }
            if let Some(packet) = parser.plain(&frame[..]) {
                prop_assert_eq!(parser.any(&frame[..]), Ok(packet));
            }
        }
    }
}
