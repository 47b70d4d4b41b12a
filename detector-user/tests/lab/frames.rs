//! Frames, put together layer by layer, with the checksums that a stack asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::space::{MAC_A, MAC_B};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// An address and a port.
pub type End = (IpAddr, u16);

/// An IPv4 address' end.
pub fn v4(address: [u8; 4], port: u16) -> End {
    (Ipv4Addr::from(address).into(), port)
}

/// An end at `fd00::x`.
pub fn v6(last: u16, port: u16) -> End {
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into(), port)
}

fn sum(bytes: &[u8], start: u32) -> u32 {
    bytes.chunks(2).fold(start, |sum, pair| {
        sum + (u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
    })
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A transport's checksum over its pseudo header.
fn checksum(source: IpAddr, destination: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let pseudo = sum(&octets(source), sum(&octets(destination), 0));
    match fold(sum(
        bytes,
        pseudo + u32::from(protocol) + bytes.len() as u32,
    )) {
        0 => 0xffff,
        other => other,
    }
}

/// A UDP datagram.
pub fn udp(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    let check = checksum(from.0, to.0, UDP, &bytes);
    bytes[6..8].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// A TCP segment with `options` (a multiple of four bytes).
pub fn tcp(from: End, to: End, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    bytes.extend([
        (5 + options.len() as u8 / 4) << 4,
        flags,
        0x10,
        0,
        0,
        0,
        0,
        0,
    ]);
    bytes.extend(options);
    bytes.extend(payload);
    let check = checksum(from.0, to.0, TCP, &bytes);
    bytes[16..18].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// What of an IPv4 header is not the same always.
#[derive(Clone, Default)]
pub struct V4<'a> {
    /// A multiple of four bytes.
    pub options: &'a [u8],
    /// Flags and offset (in units of 8 bytes), as on the wire.
    pub fragment: u16,
    pub id: u16,
}

/// An IPv4 packet.
pub fn ipv4(from: End, to: End, protocol: u8, head: &V4<'_>, payload: &[u8]) -> Vec<u8> {
    let header = 20 + head.options.len();
    let mut bytes = vec![0x40 | (header / 4) as u8, 0];
    bytes.extend(((header + payload.len()) as u16).to_be_bytes());
    bytes.extend(head.id.to_be_bytes());
    bytes.extend(head.fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(octets(from.0));
    bytes.extend(octets(to.0));
    bytes.extend(head.options);
    let check = fold(sum(&bytes, 0));
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// An IPv6 packet with extension headers: each a number and a body, whose first byte
/// becomes the number of what follows.
pub fn ipv6(
    from: End,
    to: End,
    extensions: &[(u8, Vec<u8>)],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let length: usize =
        extensions.iter().map(|(_, body)| body.len()).sum::<usize>() + payload.len();
    let first = extensions.first().map_or(protocol, |(number, _)| *number);
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((length as u16).to_be_bytes());
    bytes.extend([first, 64]);
    bytes.extend(octets(from.0));
    bytes.extend(octets(to.0));
    for (n, (_, body)) in extensions.iter().enumerate() {
        bytes.push(
            extensions
                .get(n + 1)
                .map_or(protocol, |(number, _)| *number),
        );
        bytes.extend(&body[1..]);
    }
    bytes.extend(payload);
    bytes
}

/// The packet of a transport, without anything special.
pub fn ip(from: End, to: End, protocol: u8, transport: &[u8]) -> Vec<u8> {
    match from.0 {
        IpAddr::V4(_) => ipv4(from, to, protocol, &V4::default(), transport),
        IpAddr::V6(_) => ipv6(from, to, &[], protocol, transport),
    }
}

/// A frame behind VLAN tags, each with its EtherType and its control word.
pub fn tagged(tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let ethertype: u16 = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    let mut frame = [MAC_B, MAC_A].concat();
    for (kind, control) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A frame.
pub fn frame(packet: &[u8]) -> Vec<u8> {
    tagged(&[], packet)
}

/// A frame with a UDP datagram.
pub fn udp_frame(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    frame(&ip(from, to, UDP, &udp(from, to, payload)))
}

/// A frame with a TCP segment.
pub fn tcp_frame(from: End, to: End, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(&ip(from, to, TCP, &tcp(from, to, flags, &[], payload)))
}

/// The fragments of an IPv4 packet, cut at these offsets of its payload (multiples of 8).
pub fn fragments(
    from: End,
    to: End,
    protocol: u8,
    id: u16,
    cuts: &[usize],
    payload: &[u8],
) -> Vec<Vec<u8>> {
    let mut starts = vec![0];
    starts.extend(cuts);
    let piece = |(n, start): (usize, &usize)| {
        let end = starts.get(n + 1).copied();
        let more = if end.is_some() { 0x2000 } else { 0 };
        let head = V4 {
            fragment: more | (start / 8) as u16,
            id,
            ..V4::default()
        };
        frame(&ipv4(
            from,
            to,
            protocol,
            &head,
            &payload[*start..end.unwrap_or(payload.len())],
        ))
    };
    starts.iter().enumerate().map(piece).collect()
}

/// The fragments of an IPv6 packet, behind `extensions`.
pub fn fragments_v6(
    (from, to): (End, End),
    extensions: &[(u8, Vec<u8>)],
    protocol: u8,
    id: u16,
    cuts: &[usize],
    payload: &[u8],
) -> Vec<Vec<u8>> {
    let mut starts = vec![0];
    starts.extend(cuts);
    let piece = |(n, start): (usize, &usize)| {
        let end = starts.get(n + 1).copied();
        let place = *start as u16 | u16::from(end.is_some());
        let mut head = vec![0, 0];
        head.extend(place.to_be_bytes());
        head.extend(u32::from(id).to_be_bytes());
        let mut all = extensions.to_vec();
        all.push((44, head));
        frame(&ipv6(
            from,
            to,
            &all,
            protocol,
            &payload[*start..end.unwrap_or(payload.len())],
        ))
    };
    starts.iter().enumerate().map(piece).collect()
}

/// An extension header of options, `bytes` long (a multiple of 8 up to 256): one option
/// that nobody knows and everybody skips.
pub fn padding_header(number: u8, bytes: usize) -> (u8, Vec<u8>) {
    let mut body = vec![0, (bytes / 8 - 1) as u8, 0x1e, (bytes - 4) as u8];
    body.resize(bytes, 0);
    (number, body)
}
