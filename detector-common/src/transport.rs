//! The transport header: ports, flags, window, and how many bytes are payload.
//!
//! ICMP has no ports. Its type and code take their place the way Community ID does
//! it: a request and its reply (echo, timestamp, …) are the two directions of one
//! flow, with the type on its sender's side and the type of its counterpart on
//! the other; any other message has its type and code.

use crate::{
    bytes::Bytes,
    frame::Network,
    packet::{Packet, protocol},
};

#[inline(always)]
pub(crate) fn summary<B: Bytes + ?Sized>(frame: &B, network: &Network) -> Packet {
    let mut packet = Packet {
        source: network.source,
        destination: network.destination,
        source_port: 0,
        destination_port: 0,
        window: 0,
        protocol: network.protocol,
        tcp_flags: 0,
        header_bytes: 0,
        later_fragment: network.later_fragment,
        short_transport: false,
        payload_bytes: network.length,
        wire_bytes: network.wire_bytes,
        segments: 1,
        segment_bytes: 0,
    };
    if network.later_fragment {
        return packet;
    }
    let header = match network.protocol {
        protocol::TCP => tcp(frame, network, &mut packet),
        protocol::UDP | protocol::UDP_LITE => ports(frame, network, &mut packet, 8),
        protocol::SCTP | protocol::DCCP => ports(frame, network, &mut packet, 12),
        protocol::ICMP | protocol::ICMPV6 => icmp(frame, network, &mut packet),
        _ => Some(0),
    };
    match header {
        Some(bytes) if bytes <= network.length => {
            packet.header_bytes = bytes as u8;
            packet.payload_bytes = network.length - bytes;
        }
        _ => {
            // The header is cut off, by the packet's own length or by the frame.
            packet.short_transport = true;
            packet.header_bytes = 0;
            packet.payload_bytes = 0;
        }
    }
    packet
}

/// Fills in TCP's fields; the header's length, or `None` where it is cut off or absurd.
#[inline(always)]
fn tcp<B: Bytes + ?Sized>(frame: &B, network: &Network, packet: &mut Packet) -> Option<u32> {
    if network.length < 20 {
        // A first fragment may end within the header (RFC 1858's tiny fragment).
        ports(frame, network, packet, 4)?;
        return None;
    }
    let Some(h) = frame.load::<20>(network.offset) else {
        ports(frame, network, packet, 4)?;
        return None;
    };
    packet.source_port = u16::from_be_bytes([h[0], h[1]]);
    packet.destination_port = u16::from_be_bytes([h[2], h[3]]);
    packet.tcp_flags = h[13];
    packet.window = u16::from_be_bytes([h[14], h[15]]);
    let header = ((h[12] >> 4) as u32) * 4;
    (header >= 20).then_some(header)
}

/// Fills in the ports that a header of `bytes` begins with.
#[inline(always)]
fn ports<B: Bytes + ?Sized>(
    frame: &B,
    network: &Network,
    packet: &mut Packet,
    bytes: u32,
) -> Option<u32> {
    if network.length < 4 {
        return None;
    }
    let h = frame.load::<4>(network.offset)?;
    packet.source_port = u16::from_be_bytes([h[0], h[1]]);
    packet.destination_port = u16::from_be_bytes([h[2], h[3]]);
    Some(bytes)
}

#[inline(always)]
fn icmp<B: Bytes + ?Sized>(frame: &B, network: &Network, packet: &mut Packet) -> Option<u32> {
    if network.length < 2 {
        return None;
    }
    let [kind, code] = frame.load::<2>(network.offset)?;
    packet.source_port = kind as u16;
    packet.destination_port = match icmp_counterpart(network.protocol, kind) {
        Some(other) => other as u16,
        None => code as u16,
    };
    Some(8)
}

/// The type that answers (or asks) an ICMP message, where there is one.
#[inline(always)]
#[must_use]
pub fn icmp_counterpart(number: u8, kind: u8) -> Option<u8> {
    match (number, kind) {
        // Echo, timestamp, information, address mask; router advertisement and solicitation.
        (protocol::ICMP, 0) => Some(8),
        (protocol::ICMP, 8) => Some(0),
        (protocol::ICMP, 9) => Some(10),
        (protocol::ICMP, 10) => Some(9),
        (protocol::ICMP, 13) => Some(14),
        (protocol::ICMP, 14) => Some(13),
        (protocol::ICMP, 15) => Some(16),
        (protocol::ICMP, 16) => Some(15),
        (protocol::ICMP, 17) => Some(18),
        (protocol::ICMP, 18) => Some(17),
        // Echo, multicast listener, router, neighbour, node information, home agent.
        (protocol::ICMPV6, 128) => Some(129),
        (protocol::ICMPV6, 129) => Some(128),
        (protocol::ICMPV6, 130) => Some(131),
        (protocol::ICMPV6, 131) => Some(130),
        (protocol::ICMPV6, 133) => Some(134),
        (protocol::ICMPV6, 134) => Some(133),
        (protocol::ICMPV6, 135) => Some(136),
        (protocol::ICMPV6, 136) => Some(135),
        (protocol::ICMPV6, 139) => Some(140),
        (protocol::ICMPV6, 140) => Some(139),
        (protocol::ICMPV6, 144) => Some(145),
        (protocol::ICMPV6, 145) => Some(144),
        _ => None,
    }
}
