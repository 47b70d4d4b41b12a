//! What the attacker sends: packets of captured attacks, turned on the laboratory's server.
//!
//! Of a packet the Ethernet header, the destination address and the checksums are new; source, ports, flags, payload and
//! length are as captured.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use detector_user::wire::capture::CaptureReader;

use super::SERVER;
use super::network::{ATTACKER_MAC, SERVER_MAC};

/// Packets of one attack that are kept at most.
pub const PACKETS_MAX: usize = 200_000;

const ETHERNET: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// One packet, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// After the first packet.
    pub at: Duration,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Which packets of a capture are the attack's.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// What this host sends.
    From(Ipv4Addr),
    /// What is sent to this host: the sources are many.
    To(Ipv4Addr),
}

impl Which {
    fn takes(self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        match self {
            Self::From(host) => source == host,
            Self::To(host) => destination == host,
        }
    }
}

/// The attack in a capture.
///
/// # Errors
/// Where it cannot be read, or has no packet of the attack.
pub fn read(path: &Path, which: Which) -> Result<Vec<Packet>> {
    let mut reader = CaptureReader::open(path)?;
    let mut packets = Vec::new();
    let mut first = None;
    while let Some(frame) = reader.next_frame()? {
        let Some(turned) = turn(frame.bytes, which) else {
            continue;
        };
        let first = *first.get_or_insert(frame.time_ns);
        packets.push(Packet {
            at: Duration::from_nanos(frame.time_ns.saturating_sub(first)),
            frame: turned,
        });
        if packets.len() == PACKETS_MAX {
            break;
        }
    }
    if packets.is_empty() {
        bail!("{}: no packet of the attack ({which:?})", path.display());
    }
    Ok(packets)
}

/// A packet of the attack, turned on the server; `None` for any other packet, and for a fragment, of which the
/// checksum cannot be made.
fn turn(frame: &[u8], which: Which) -> Option<Vec<u8>> {
    if frame.get(12..ETHERNET)? != ETHERTYPE_IPV4 {
        return None;
    }
    let packet = frame.get(ETHERNET..)?;
    let header = usize::from(*packet.first()? & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    if header < 20 || length < header || packet.len() < length || fragment != 0 {
        return None;
    }
    let address = |at: usize| {
        packet[at..]
            .first_chunk()
            .map(|octets: &[u8; 4]| Ipv4Addr::from(*octets))
    };
    if !which.takes(address(12)?, address(16)?) {
        return None;
    }
    let mut turned = [&SERVER_MAC[..], &ATTACKER_MAC, &ETHERTYPE_IPV4, packet].concat();
    mend(&mut turned[ETHERNET..ETHERNET + length], header);
    Some(turned)
}

/// Sets the destination, and the checksums that go with it.
fn mend(packet: &mut [u8], header: usize) {
    packet[16..20].copy_from_slice(&SERVER.octets());
    packet[10..12].fill(0);
    let check = checksum(&packet[..header], 0);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    let protocol = packet[9];
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    let pseudo = sum(&packet[12..20]) + u32::from(protocol) + (packet.len() - header) as u32;
    let transport = &mut packet[header..];
    let Some(field) = transport.get_mut(at..at + 2) else {
        return;
    };
    // A UDP checksum of 0 says that there is none.
    if protocol == UDP && field == [0, 0] {
        return;
    }
    field.fill(0);
    let check = match checksum(transport, pseudo) {
        0 if protocol == UDP => 0xffff,
        check => check,
    };
    transport[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    pairs
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start + sum(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What is crafted where there is no capture.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// TCP with SYN, or UDP without payload.
    pub protocol: Transport,
    /// Packets.
    pub count: u16,
    /// Each packet's source: one, or another each.
    pub spoofed: bool,
    /// The one source.
    pub source: Ipv4Addr,
    /// The destination port; `None`: another each.
    pub port: Option<u16>,
    /// Between two packets.
    pub gap: Duration,
}

/// A transport that is crafted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A SYN.
    Syn,
    /// An empty datagram.
    Udp,
}

/// Crafts an attack.
#[must_use]
pub fn craft(recipe: &Recipe) -> Vec<Packet> {
    (0..recipe.count)
        .map(|n| Packet {
            at: recipe.gap * u32::from(n),
            frame: crafted(recipe, n),
        })
        .collect()
}

fn crafted(recipe: &Recipe, n: u16) -> Vec<u8> {
    // An odd factor makes another number of each number.
    let scattered = n.wrapping_mul(40_503);
    let source = match recipe.spoofed {
        true => Ipv4Addr::new(
            100,
            64 + (n & 63) as u8,
            (scattered >> 8) as u8,
            (n >> 6) as u8,
        ),
        false => recipe.source,
    };
    let transport = if recipe.protocol == Transport::Syn {
        20
    } else {
        8
    };
    let mut packet = vec![0; 20 + transport];
    let length = packet.len() as u16;
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[4..6].copy_from_slice(&n.to_be_bytes());
    packet[8] = 64;
    packet[12..16].copy_from_slice(&source.octets());
    packet[20..22].copy_from_slice(&(scattered | 1024).to_be_bytes());
    packet[22..24].copy_from_slice(&recipe.port.unwrap_or(n.max(1)).to_be_bytes());
    match recipe.protocol {
        Transport::Syn => {
            packet[9] = TCP;
            packet[24..28].copy_from_slice(&u32::from(scattered).to_be_bytes());
            packet[32..36].copy_from_slice(&[0x50, 0x02, 0x16, 0xd0]);
        }
        Transport::Udp => {
            packet[9] = UDP;
            packet[25] = 8;
            // Not 0, so that the checksum is made.
            packet[26] = 1;
        }
    }
    mend(&mut packet, 20);
    [&SERVER_MAC[..], &ATTACKER_MAC, &ETHERTYPE_IPV4, &packet].concat()
}

/// The attack in a capture, or where there is no such file, crafted packets like it; whether they are captured.
///
/// # Errors
/// As of [`read`].
pub fn read_or_craft(path: &Path, which: Which, recipe: &Recipe) -> Result<(Vec<Packet>, bool)> {
    if path.exists() {
        let packets =
            read(path, which).with_context(|| format!("cannot use {}", path.display()))?;
        return Ok((packets, true));
    }
    Ok((craft(recipe), false))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe {
        protocol: Transport::Syn,
        count: 1000,
        spoofed: false,
        source: Ipv4Addr::new(172, 16, 0, 5),
        port: None,
        gap: Duration::from_millis(1),
    };

    /// 0 where the checksums of a frame are right.
    fn errors(frame: &[u8]) -> (u16, u16) {
        let packet = &frame[ETHERNET..];
        let pseudo = sum(&packet[12..20]) + u32::from(packet[9]) + (packet.len() - 20) as u32;
        (checksum(&packet[..20], 0), checksum(&packet[20..], pseudo))
    }

    #[test]
    fn crafted_packets_are_whole() {
        for protocol in [Transport::Syn, Transport::Udp] {
            for spoofed in [false, true] {
                let recipe = Recipe {
                    protocol,
                    spoofed,
                    ..RECIPE
                };
                let packets = craft(&recipe);
                assert!(packets.iter().all(|packet| errors(&packet.frame) == (0, 0)));
                let sources: std::collections::HashSet<_> = packets
                    .iter()
                    .map(|packet| packet.frame[26..30].to_vec())
                    .collect();
                assert_eq!(sources.len(), if spoofed { 1000 } else { 1 });
            }
        }
    }

    #[test]
    fn packets_are_turned_on_the_server() {
        let mut frame = craft(&RECIPE)[7].frame.clone();
        frame[0..12].fill(9);
        // Elsewhere, with wrong checksums, and padded.
        frame[30..34].copy_from_slice(&[192, 0, 2, 1]);
        frame.extend([0; 6]);
        let turned = turn(&frame, Which::From(RECIPE.source)).unwrap();
        assert_eq!(
            turned[..60],
            [&craft(&RECIPE)[7].frame[..], &[0; 6]].concat()[..]
        );
        assert_eq!(
            turn(&frame, Which::To(Ipv4Addr::new(192, 0, 2, 1))).unwrap(),
            turned
        );
        assert_eq!(turn(&frame, Which::From(SERVER)), None);
        // A fragment, and packets cut short.
        for (at, value) in [(20, 0x20), (16, 0xff), (14, 0x44), (12, 0x86)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(turn(&other, Which::From(RECIPE.source)), None, "{at}");
        }
        assert_eq!(turn(&frame[..40], Which::From(RECIPE.source)), None);
    }
}
