//! The packet summary: all that the rest of the program knows of a frame.

use crate::key::Address;

/// TCP flag bits, as on the wire.
pub mod tcp {
    /// Sender is done.
    pub const FIN: u8 = 0x01;
    /// Open a connection.
    pub const SYN: u8 = 0x02;
    /// Abort a connection.
    pub const RST: u8 = 0x04;
    /// Push buffered data.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// IP protocol numbers that the parser knows by name.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// IPsec authentication header.
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// IPv6 mobility header.
    pub const MOBILITY: u8 = 135;
    /// Host identity protocol.
    pub const HIP: u8 = 139;
    /// Shim6.
    pub const SHIM6: u8 = 140;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
    /// DCCP.
    pub const DCCP: u8 = 33;
}

/// What one frame says, once parsed. A frame that stands for several wire packets
/// (segmentation offload) has `segments` above 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address; IPv4 as IPv4-mapped IPv6.
    pub source: Address,
    /// Destination address; IPv4 as IPv4-mapped IPv6.
    pub destination: Address,
    /// Source port; ICMP: see [`crate::frame`]; 0 where there is none.
    pub source_port: u16,
    /// Destination port; ICMP: see [`crate::frame`]; 0 where there is none.
    pub destination_port: u16,
    /// TCP window as on the wire (unscaled); 0 for other protocols.
    pub window: u16,
    /// IP protocol number of the transport.
    pub protocol: u8,
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// Bytes of one transport header.
    pub header_bytes: u8,
    /// Whether the frame is a fragment without the transport header.
    pub later_fragment: bool,
    /// Whether the transport header is cut off or absurd. Ports may be 0 then.
    pub short_transport: bool,
    /// Bytes after the transport header, by the IP header's word, over all segments.
    pub payload_bytes: u32,
    /// Bytes on the wire, link header included, over all segments.
    pub wire_bytes: u32,
    /// Wire packets that this frame stands for; at least 1.
    pub segments: u32,
    /// Payload bytes of every segment but the last, where there are several.
    pub segment_bytes: u32,
}

impl Packet {
    /// Turns the summary of one large frame into that of the `segments` wire
    /// packets it will be cut into, `segment_bytes` of payload each but the last.
    /// `overhead_bytes` is the length of all headers, repeated for every segment.
    /// Where nobody has counted the segments (0: a virtual machine's frame), they are as
    /// many as the payload asks for.
    #[inline(always)]
    #[must_use]
    pub fn segmented(mut self, segments: u32, segment_bytes: u32) -> Self {
        let segments = if segments == 0 && segment_bytes > 0 {
            self.payload_bytes.div_ceil(segment_bytes)
        } else {
            segments
        };
        let whole = segments.saturating_sub(1).saturating_mul(segment_bytes);
        if segments > 1 && segment_bytes > 0 && whole < self.payload_bytes {
            let overhead_bytes = self.wire_bytes.saturating_sub(self.payload_bytes);
            let repeated = (segments - 1).saturating_mul(overhead_bytes);
            self.wire_bytes = self.wire_bytes.saturating_add(repeated);
            self.segments = segments;
            self.segment_bytes = segment_bytes;
        }
        self
    }
}
