//! What a verdict is on, as it is said and read.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use detector_common::{
    key::{Address, FlowKey},
    packet::protocol,
    signature::{Range, Signature},
    verdict::PrefixKey,
};

/// A prefix of addresses. IPv4 prefixes are prefixes of mapped addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// What a verdict is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A source address.
    Address(IpAddr),
    /// A prefix of source addresses.
    Prefix(Prefix),
    /// One flow, both directions.
    Flow(FlowKey),
    /// What packets look like.
    Signature(Signature),
}

/// A target, or a part of one, that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{given:?} is no {what}: {expected}")]
pub struct TargetError {
    what: &'static str,
    given: String,
    expected: &'static str,
}

fn wrong(what: &'static str, given: &str, expected: &'static str) -> TargetError {
    TargetError {
        what,
        given: given.to_owned(),
        expected,
    }
}

impl Prefix {
    /// The prefix of the first `bits` bits of an address, whose other bits are cleared.
    ///
    /// # Errors
    /// [`TargetError`] for more bits than the address has.
    pub fn new(address: IpAddr, bits: u8) -> Result<Self, TargetError> {
        let address = address.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        if bits > width {
            let given = format!("{address}/{bits}");
            return Err(wrong(
                "prefix",
                &given,
                "at most 32 bits for IPv4 and 128 for IPv6",
            ));
        }
        let masked = match address {
            IpAddr::V4(v4) => IpAddr::V4(
                (u32::from(v4) & u32::MAX.checked_shl(u32::from(32 - bits)).unwrap_or(0)).into(),
            ),
            IpAddr::V6(v6) => IpAddr::V6(
                (u128::from(v6) & u128::MAX.checked_shl(u32::from(128 - bits)).unwrap_or(0)).into(),
            ),
        };
        Ok(Self {
            address: masked,
            bits,
        })
    }

    /// The one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            bits: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    /// Bits of the 128 that an address has in maps.
    #[must_use]
    pub fn mapped_bits(self) -> u8 {
        if self.address.is_ipv4() {
            self.bits + 96
        } else {
            self.bits
        }
    }

    /// The address in its layout in maps.
    #[must_use]
    pub fn address(self) -> Address {
        Address::from(self.address)
    }

    /// As an LPM trie's key.
    #[must_use]
    pub fn key(self) -> PrefixKey {
        PrefixKey {
            bits: u32::from(self.mapped_bits()),
            octets: self.address().octets(),
        }
    }

    /// From what a map holds.
    #[must_use]
    pub fn from_mapped(address: Address, bits: u32) -> Self {
        let ip = address.to_ip();
        let bits = u8::try_from(bits.min(128)).unwrap_or(128);
        match ip {
            IpAddr::V4(_) if bits >= 96 => Self {
                address: ip,
                bits: bits - 96,
            },
            IpAddr::V4(v4) => Self {
                address: v4.to_ipv6_mapped().into(),
                bits,
            },
            IpAddr::V6(_) => Self { address: ip, bits },
        }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let (one, other) = (self.address(), Address::from(address));
        let mask = mask(self.mapped_bits());
        (0..2).all(|n| (one.words[n] ^ other.words[n]) & mask.words[n] == 0)
    }

    /// Whether all of another prefix is in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.mapped_bits() <= other.mapped_bits() && self.contains(other.address)
    }

    /// Its mask, in the layout of an address.
    #[must_use]
    pub fn mask(self) -> Address {
        mask(self.mapped_bits())
    }
}

fn mask(bits: u8) -> Address {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    Address::from_ipv6(mask.to_be_bytes())
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl FromStr for Prefix {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let no = || {
            wrong(
                "prefix",
                text,
                "write ADDRESS/BITS, such as 192.0.2.0/24 or 2001:db8::/32",
            )
        };
        let Some((address, bits)) = text.split_once('/') else {
            return Ok(Self::host(text.parse().map_err(|_| no())?));
        };
        let address: IpAddr = address.parse().map_err(|_| no())?;
        let bits: u8 = bits.parse().map_err(|_| no())?;
        // A prefix of mapped addresses is one of IPv4.
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) if bits >= 96 => Self::new(v4.into(), bits - 96),
            _ => Self::new(address, bits),
        }
    }
}

/// An IP protocol by name or number.
///
/// # Errors
/// [`TargetError`].
pub fn protocol(text: &str) -> Result<u8, TargetError> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "icmp" => protocol::ICMP,
        "icmpv6" | "ipv6-icmp" => protocol::ICMPV6,
        "sctp" => protocol::SCTP,
        "dccp" => protocol::DCCP,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        number => number.parse().map_err(|_| {
            wrong(
                "protocol",
                text,
                "tcp, udp, icmp, icmpv6, sctp, dccp, gre, esp, ah or a number to 255",
            )
        })?,
    })
}

/// A protocol's name, or its number.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        protocol::DCCP => "dccp".to_owned(),
        47 => "gre".to_owned(),
        50 => "esp".to_owned(),
        51 => "ah".to_owned(),
        other => other.to_string(),
    }
}

/// A range: `N`, `N-M`.
///
/// # Errors
/// [`TargetError`].
pub fn range(text: &str) -> Result<Range, TargetError> {
    let no = || {
        wrong(
            "range",
            text,
            "write N or N-M, each from 0 to 65535, the smaller first",
        )
    };
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    let range = Range {
        min: min.parse().map_err(|_| no())?,
        max: max.parse().map_err(|_| no())?,
    };
    if range.min > range.max {
        return Err(no());
    }
    Ok(range)
}

const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];

/// TCP flags: `syn`, `syn,!ack`, `none`: mask and value.
///
/// # Errors
/// [`TargetError`].
pub fn flags(text: &str) -> Result<(u8, u8), TargetError> {
    let no = || {
        wrong(
            "set of TCP flags",
            text,
            "write flags that must be set and, with !, that must not: syn,!ack; none for none",
        )
    };
    if text.eq_ignore_ascii_case("none") {
        return Ok((0xff, 0));
    }
    let (mut mask, mut value) = (0, 0);
    for part in text.split([',', '+']) {
        let (set, name) = match part.strip_prefix('!') {
            Some(name) => (false, name),
            None => (true, part),
        };
        let (_, bit) = FLAGS
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .ok_or_else(no)?;
        if mask & bit != 0 {
            return Err(no());
        }
        mask |= bit;
        if set {
            value |= bit;
        }
    }
    Ok((mask, value))
}

/// An address with a port: `192.0.2.1:80`, `[2001:db8::1]:80`, or an address alone (port 0).
///
/// # Errors
/// [`TargetError`].
pub fn endpoint(text: &str) -> Result<(Address, u16), TargetError> {
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Ok((Address::from(socket.ip()), socket.port()));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .map(|ip| (Address::from(ip), 0))
        .map_err(|_| wrong("endpoint", text, "write ADDRESS:PORT, IPv6 in brackets"))
}

fn socket(address: Address, port: u16) -> String {
    match address.to_ip() {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{}", address.to_canonical()),
            Self::Prefix(prefix) => write!(f, "{prefix}"),
            Self::Flow(key) => write!(
                f,
                "{} {} <> {} zone {}",
                protocol_name(key.protocol()),
                socket(key.low, key.low_port),
                socket(key.high, key.high_port),
                key.zone()
            ),
            Self::Signature(signature) => signature_text(signature, f),
        }
    }
}

fn signature_text(s: &Signature, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bits = s
        .destination_mask
        .words
        .iter()
        .map(|w| w.count_ones())
        .sum();
    write!(f, "to {}", Prefix::from_mapped(s.destination, bits))?;
    if s.any_protocol == 0 {
        write!(f, " {}", protocol_name(s.protocol))?;
    }
    for (name, range) in [
        ("sport", s.source_ports),
        ("dport", s.destination_ports),
        ("length", s.payload),
    ] {
        if range != Range::ANY {
            if range.min == range.max {
                write!(f, " {name} {}", range.min)?;
            } else {
                write!(f, " {name} {}-{}", range.min, range.max)?;
            }
        }
    }
    if s.flags_mask == 0xff && s.flags == 0 {
        write!(f, " flags none")?;
    } else if s.flags_mask != 0 {
        let shown: Vec<String> = FLAGS
            .iter()
            .filter(|(_, bit)| s.flags_mask & bit != 0)
            .map(|(name, bit)| {
                if s.flags & bit != 0 {
                    (*name).to_owned()
                } else {
                    format!("!{name}")
                }
            })
            .collect();
        write!(f, " flags {}", shown.join(","))?;
    }
    if s.spare_established == 0 {
        write!(f, " established too")?;
    }
    if s.spare_returning != 0 {
        write!(f, " returning spared")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_masked_and_shown() {
        for (text, shown, bits) in [
            ("192.0.2.77/24", "192.0.2.0/24", 120),
            ("10.0.0.1", "10.0.0.1/32", 128),
            ("0.0.0.0/0", "0.0.0.0/0", 96),
            ("::/0", "::/0", 0),
            ("2001:db8:1::/33", "2001:db8::/33", 33),
            ("::ffff:10.1.2.3/120", "10.1.2.0/24", 120),
        ] {
            let prefix: Prefix = text.parse().unwrap();
            assert_eq!(prefix.to_string(), shown);
            assert_eq!(prefix.mapped_bits(), bits, "{text}");
            assert_eq!(
                Prefix::from_mapped(prefix.address(), u32::from(bits)),
                prefix,
                "{text}"
            );
        }
        for text in ["10.0.0.0/33", "x", "10.0.0.0/", "::/129", "10.0.0.0/-1", ""] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        let prefix: Prefix = "192.0.2.0/24".parse().unwrap();
        assert!(prefix.contains("192.0.2.255".parse().unwrap()));
        assert!(prefix.contains("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!prefix.contains("192.0.3.0".parse().unwrap()));
    }

    #[test]
    fn parts_are_read() {
        assert_eq!(flags("syn,!ack").unwrap(), (0x12, 0x02));
        assert_eq!(flags("none").unwrap(), (0xff, 0));
        assert!(flags("syn,syn").is_err() && flags("foo").is_err() && flags("").is_err());
        assert_eq!(range("80").unwrap(), Range { min: 80, max: 80 });
        assert_eq!(
            range("1-65535").unwrap(),
            Range {
                min: 1,
                max: 65_535
            }
        );
        assert!(range("2-1").is_err() && range("65536").is_err() && range("-").is_err());
        assert_eq!(protocol("UDP").unwrap(), 17);
        assert_eq!(protocol("89").unwrap(), 89);
        assert!(protocol("256").is_err());
        assert_eq!(endpoint("[2001:db8::1]:53").unwrap().1, 53);
        assert_eq!(endpoint("10.0.0.1:53").unwrap().1, 53);
    }
}
