//! Which flows are wanted: one set of options for every command that lists flows.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Flow, protocol};

/// Keeps the flows that meet every option; an option given several times is met by any of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Which flows")]
pub struct FlowFilter {
    /// Only flows from or to this address or prefix (192.0.2.1, 2001:db8::/32); may be repeated
    #[arg(long, value_name = "ADDRESS[/LENGTH]")]
    pub address: Vec<Prefix>,
    /// Only flows that this address or prefix began; may be repeated
    #[arg(long, value_name = "ADDRESS[/LENGTH]")]
    pub source: Vec<Prefix>,
    /// Only flows that were begun toward this address or prefix; may be repeated
    #[arg(long, value_name = "ADDRESS[/LENGTH]")]
    pub destination: Vec<Prefix>,
    /// Only flows with this port, or one of this range, on either side (443, 6000-6063); may be repeated
    #[arg(long, value_name = "PORT[-PORT]")]
    pub port: Vec<Ports>,
    /// Only flows of this IP protocol, by name or number (tcp, udp, icmp, 47); may be repeated
    #[arg(long, value_name = "PROTOCOL", value_parser = parse_protocol)]
    pub protocol: Vec<u8>,
}

impl FlowFilter {
    /// Whether a flow is wanted.
    #[must_use]
    pub fn takes(&self, flow: &Flow) -> bool {
        let ((source, _), (destination, _)) = flow.endpoints();
        let in_any = |prefixes: &[Prefix], address| prefixes.iter().any(|p| p.contains(address));
        (self.protocol.is_empty() || self.protocol.contains(&flow.protocol()))
            && (self.port.is_empty()
                || flow.ports().is_some_and(|(source, destination)| {
                    self.port
                        .iter()
                        .any(|Ports(range)| range.contains(&source) || range.contains(&destination))
                }))
            && (self.source.is_empty() || in_any(&self.source, source))
            && (self.destination.is_empty() || in_any(&self.destination, destination))
            && (self.address.is_empty()
                || in_any(&self.address, source)
                || in_any(&self.address, destination))
    }

    /// Whether it takes every flow.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        *self == Self::default()
    }
}

/// An address and how many of its leading bits count. IPv4-mapped IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Whether an address begins with the prefix. `::/0` takes no IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.leading_zeros() >= self.length.into()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.leading_zeros() >= self.length.into()
            }
            _ => false,
        }
    }
}

/// What is wrong with an option's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not an address.
    #[error(
        "{0:?} is not an IPv4 or IPv6 address; give one like 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32"
    )]
    Address(String),
    /// Not a prefix length of the address's family.
    #[error("{length:?} is not a prefix length from 0 to {max}")]
    Length {
        /// What was given.
        length: String,
        /// The longest.
        max: u8,
    },
    /// Not a port or range.
    #[error("{0:?} is not a port from 0 to 65535, nor a range of them like 6000-6063")]
    Ports(String),
    /// Not a protocol.
    #[error("{0:?} is not a protocol that is known by name; give its number, from 0 to 255")]
    Protocol(String),
}

impl FromStr for Prefix {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let given: IpAddr = address
            .parse()
            .map_err(|_| FilterError::Address(text.to_owned()))?;
        let max = if given.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => max,
            Some(length) => length
                .parse()
                .ok()
                .filter(|bits| *bits <= max)
                .ok_or_else(|| FilterError::Length {
                    length: length.to_owned(),
                    max,
                })?,
        };
        let canonical = given.to_canonical();
        Ok(if canonical.is_ipv4() == given.is_ipv4() {
            Self {
                address: given,
                length,
            }
        } else if length >= 96 {
            Self {
                address: canonical,
                length: length - 96,
            }
        } else {
            Self {
                address: given,
                length,
            }
        })
    }
}

/// A range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(pub RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(FilterError::Ports(text.to_owned())),
        }
    }
}

fn parse_protocol(text: &str) -> Result<u8, FilterError> {
    protocol::number(text).ok_or_else(|| FilterError::Protocol(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use detector_common::{key::FlowKey, record::FlowRecord, record::state};

    fn flow(source: &str, source_port: u16, destination: &str, port: u16, protocol: u8) -> Flow {
        let address = |text: &str| text.parse::<IpAddr>().unwrap().into();
        let (key, from_low) = FlowKey::new(
            (address(source), source_port),
            (address(destination), port),
            protocol,
            0,
        );
        let record = FlowRecord {
            key,
            state: if from_low { state::FORWARD_IS_LOW } else { 0 },
            ..FlowRecord::default()
        };
        Flow::new(&record, None, 0)
    }

    fn takes(options: &[&str], flow: &Flow) -> bool {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            filter: FlowFilter,
        }
        let arguments = std::iter::once("x").chain(options.iter().copied());
        <Command as clap::Parser>::try_parse_from(arguments)
            .unwrap()
            .filter
            .takes(flow)
    }

    #[test]
    fn options_narrow_and_their_values_widen() {
        let web = flow("10.1.2.3", 50_000, "192.0.2.1", 443, 6);
        let six = flow("2001:db8::1", 50_000, "2001:db8:1::2", 53, 17);
        let ping = flow("10.1.2.3", 8, "192.0.2.1", 0, 1);
        assert!(takes(&[], &web));
        assert!(takes(&["--address", "192.0.2.1"], &web));
        assert!(takes(&["--source", "10.0.0.0/8"], &web));
        assert!(!takes(&["--destination", "10.0.0.0/8"], &web));
        assert!(takes(&["--destination", "::ffff:192.0.2.0/120"], &web));
        assert!(takes(&["--address", "0.0.0.0/0"], &web));
        assert!(!takes(&["--address", "0.0.0.0/0"], &six));
        assert!(takes(&["--address", "::/0"], &six));
        assert!(!takes(&["--address", "::/0"], &web));
        assert!(takes(&["--port", "53", "--port", "440-443"], &web));
        assert!(takes(&["--port", "53", "--port", "440-443"], &six));
        assert!(!takes(&["--port", "0-8"], &ping));
        assert!(takes(&["--protocol", "ICMP"], &ping));
        assert!(!takes(&["--protocol", "6", "--port", "53"], &six));
        assert!(takes(&["--protocol", "6", "--protocol", "udp"], &six));
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_name() {
        for (text, says) in [
            ("10.0.0", "\"10.0.0\" is not an IPv4"),
            ("10.0.0.0/33", "0 to 32"),
            ("::/129", "0 to 128"),
            ("::/-1", "\"-1\""),
            ("::/", "prefix length"),
        ] {
            let error = text.parse::<Prefix>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for text in ["65536", "9-8", "-", "a", "1-2-3"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
        assert!(
            parse_protocol("\u{1b}[2J")
                .unwrap_err()
                .to_string()
                .contains("\\u{1b}")
        );
    }
}
