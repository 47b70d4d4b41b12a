//! The parser's rules once more, written the slow and plain way over slices: what
//! any bytes at all must give.

use std::net::{Ipv4Addr, Ipv6Addr};

use detector_common::{
    frame::{Malformed, Parser, Rejected},
    key::Address,
    packet::Packet,
};

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) << 8 | u16::from(bytes[at + 1])
}

/// Source, destination, protocol, body; whether it is a later fragment.
type Network<'a> = (Address, Address, u8, &'a [u8], bool);

pub fn parse(parser: Parser, frame: &[u8]) -> Result<Packet, Rejected> {
    let (ethertype, packet) = link(parser, frame)?;
    let (source, destination, protocol, body, later_fragment) = match ethertype {
        0x0800 => ipv4(packet),
        0x86dd if parser.ipv6 => ipv6(packet),
        other => return Err(Rejected::NonIp(other)),
    }
    .map_err(Rejected::Malformed)?;
    let mut summary = Packet {
        source,
        destination,
        source_port: 0,
        destination_port: 0,
        window: 0,
        protocol,
        tcp_flags: 0,
        header_bytes: 0,
        later_fragment,
        short_transport: false,
        payload_bytes: body.len() as u32,
        wire_bytes: frame.len() as u32,
        segments: 1,
        segment_bytes: 0,
    };
    if !later_fragment {
        transport(&mut summary, body);
    }
    Ok(summary)
}

fn link(parser: Parser, frame: &[u8]) -> Result<(u16, &[u8]), Rejected> {
    if !parser.ethernet {
        return match frame {
            [] | [_] => Err(Rejected::Malformed(Malformed::Ipv4Truncated)),
            [0x40..=0x4f, ..] => Ok((0x0800, frame)),
            [0x60..=0x6f, ..] => Ok((0x86dd, frame)),
            _ => Ok((0, frame)),
        };
    }
    if frame.len() < 14 {
        return Err(Rejected::Malformed(Malformed::EthernetTruncated));
    }
    let mut type_at = 12;
    for _ in 0..2 {
        if !parser.vlan || ![0x8100, 0x88a8, 0x9100].contains(&be16(frame, type_at)) {
            break;
        }
        type_at += 4;
        if frame.len() < type_at + 2 {
            return Err(Rejected::Malformed(Malformed::VlanTruncated));
        }
    }
    Ok((be16(frame, type_at), &frame[type_at + 2..]))
}

fn ipv4(packet: &[u8]) -> Result<Network<'_>, Malformed> {
    if packet.len() < 20 {
        return Err(Malformed::Ipv4Truncated);
    }
    let header = usize::from(packet[0] % 16) * 4;
    if packet[0] / 16 != 4 || header < 20 {
        return Err(Malformed::Ipv4Header);
    }
    let total = match usize::from(be16(packet, 2)) {
        0 => packet.len(),
        stated => stated,
    };
    let Some(body) = packet.get(header..total) else {
        return Err(Malformed::Ipv4Length);
    };
    let [source, destination] = [12, 16].map(|at| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| packet[at + n]);
        Address::from(Ipv4Addr::new(a, b, c, d))
    });
    let later = be16(packet, 6) & 0x1fff != 0;
    Ok((source, destination, packet[9], body, later))
}

fn ipv6(packet: &[u8]) -> Result<Network<'_>, Malformed> {
    if packet.len() < 40 {
        return Err(Malformed::Ipv6Truncated);
    }
    if packet[0] / 16 != 6 {
        return Err(Malformed::Ipv6Header);
    }
    let stated = match usize::from(be16(packet, 4)) {
        0 => packet.len() - 40,
        stated => stated,
    };
    let Some(mut body) = packet[40..].get(..stated) else {
        return Err(Malformed::Ipv6Length);
    };
    let [source, destination] = [8, 24].map(|at| {
        let groups = [0, 2, 4, 6, 8, 10, 12, 14].map(|n| be16(packet, at + n));
        Address::from(std::net::IpAddr::from(Ipv6Addr::from(groups)))
    });
    let (mut protocol, mut later) = (packet[6], false);
    for _ in 0..8 {
        if ![0, 43, 44, 51, 60, 135, 139, 140].contains(&protocol) || later || body.len() < 8 {
            break;
        }
        let bytes = match protocol {
            44 => 8,
            51 => usize::from(body[1]) * 4 + 8,
            _ => usize::from(body[1]) * 8 + 8,
        };
        if bytes > body.len() {
            break;
        }
        later = protocol == 44 && be16(body, 2) / 8 != 0;
        protocol = body[0];
        body = &body[bytes..];
    }
    Ok((source, destination, protocol, body, later))
}

fn transport(summary: &mut Packet, body: &[u8]) {
    let header = match summary.protocol {
        6 if body.len() >= 20 => {
            summary.tcp_flags = body[13];
            summary.window = be16(body, 14);
            usize::from(body[12] / 16) * 4
        }
        6 => 20,
        17 | 136 => 8,
        132 | 33 => 12,
        1 | 58 => 8,
        _ => 0,
    };
    if [6, 17, 136, 132, 33].contains(&summary.protocol) && body.len() >= 4 {
        summary.source_port = be16(body, 0);
        summary.destination_port = be16(body, 2);
    }
    if [1, 58].contains(&summary.protocol) && body.len() >= 2 {
        summary.source_port = body[0].into();
        summary.destination_port = counterpart(summary.protocol, body[0])
            .unwrap_or(body[1])
            .into();
    }
    if header > body.len() || summary.protocol == 6 && header < 20 {
        summary.short_transport = true;
        summary.payload_bytes = 0;
    } else {
        summary.header_bytes = header as u8;
        summary.payload_bytes = (body.len() - header) as u32;
    }
}

/// The pairs of Community ID (its `icmp4_map` and `icmp6_map`), with the
/// home agent's numbers as IANA has them.
fn counterpart(protocol: u8, kind: u8) -> Option<u8> {
    let pairs: &[(u8, u8)] = if protocol == 1 {
        &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)]
    } else {
        &[
            (128, 129),
            (133, 134),
            (135, 136),
            (130, 131),
            (139, 140),
            (144, 145),
        ]
    };
    pairs.iter().find_map(|&(a, b)| match kind {
        k if k == a => Some(b),
        k if k == b => Some(a),
        _ => None,
    })
}
