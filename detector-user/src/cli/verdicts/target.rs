//! What a verdict is on, as it is said on the command line and shown again.

use std::{collections::HashMap, net::IpAddr};

use detector_common::{
    key::{FlowKey, ZONE_MAX},
    packet::protocol,
    signature::Signature,
};

use super::super::failure::Failure;
use crate::{
    enforce::target::{self, Prefix, Target},
    flow::protocol::{has_ports, is_icmp},
    wire::{attach::name_of, interface::Interface, tables::Tables},
};

/// One target; which of the four ways, the group `which` says.
#[derive(Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// Packets from this address
    #[arg(long, group = "which", value_name = "IP")]
    address: Option<IpAddr>,
    /// Packets from these addresses
    #[arg(long, group = "which", value_name = "PREFIX")]
    prefix: Option<Prefix>,
    /// Packets of one flow, in both directions: tcp 192.0.2.1:4711 198.51.100.2:80
    #[arg(long, group = "which", num_args = 3, value_names = ["PROTOCOL", "SOURCE", "DESTINATION"])]
    flow: Option<Vec<String>>,
    /// The zone of the flow: its interface's index
    #[arg(long, requires = "flow", conflicts_with = "interface", value_name = "N",
          value_parser = clap::value_parser!(u32).range(0..=i64::from(ZONE_MAX)))]
    zone: Option<u32>,
    /// The interface of the flow; need not be given where only one is attached
    #[arg(short, long, requires = "flow", value_name = "IFACE")]
    interface: Option<String>,
    /// Packets that look as the following options say
    #[arg(long, group = "which", requires = "looks")]
    signature: bool,
    #[command(flatten)]
    looks: Looks,
}

/// What packets look like: all that is given must match.
#[derive(Debug, clap::Args)]
#[group(id = "looks", multiple = true)]
struct Looks {
    /// Signature: destination addresses
    #[arg(long, requires = "signature", value_name = "PREFIX")]
    to: Option<Prefix>,
    /// Signature: IP protocol, by name or number
    #[arg(long, requires = "signature", value_parser = target::protocol, value_name = "PROTOCOL")]
    protocol: Option<u8>,
    /// Signature: source ports, N or N-M
    #[arg(long, requires = "signature", value_parser = target::range, value_name = "RANGE")]
    sport: Option<detector_common::signature::Range>,
    /// Signature: destination ports, N or N-M
    #[arg(long, requires = "signature", value_parser = target::range, value_name = "RANGE")]
    dport: Option<detector_common::signature::Range>,
    /// Signature: TCP flags that must be set and, with !, must not: syn,!ack; none for none
    #[arg(long, requires = "signature", value_parser = target::flags, value_name = "FLAGS")]
    flags: Option<(u8, u8)>,
    /// Signature: bytes of payload, N or N-M
    #[arg(long, requires = "signature", value_parser = target::range, value_name = "RANGE")]
    length: Option<detector_common::signature::Range>,
    /// Signature: packets of established flows too, which are spared otherwise
    #[arg(long, requires = "signature")]
    established_too: bool,
    /// Signature: not flows that come again, 200 ms to 10 s after their first packet was dropped, as
    /// a client's repeated SYN does
    #[arg(long, requires = "signature")]
    spare_returning: bool,
}

impl TargetArgs {
    /// The target; `None` where none is given.
    pub(super) fn target(&self, tables: &Tables) -> Result<Option<Target>, Failure> {
        Ok(match (&self.address, &self.prefix, &self.flow) {
            (Some(address), ..) => Some(Target::Address(address.to_canonical())),
            (_, Some(prefix), _) => Some(Target::Prefix(*prefix)),
            (.., Some(parts)) => Some(Target::Flow(self.flow_key(parts, tables)?)),
            _ if self.signature => Some(Target::Signature(self.looks.signature()?)),
            _ => None,
        })
    }

    /// What is wrong with it that can be told without a data plane.
    pub(super) fn check(&self) -> Result<(), Failure> {
        // The parser lets a requirement go that conflicts with what is given.
        if self.flow.is_none() && (self.zone.is_some() || self.interface.is_some()) {
            return Err(Failure::Usage(
                "--zone and --interface belong to --flow".to_owned(),
            ));
        }
        if !self.signature && self.looks.any() {
            return Err(Failure::Usage(
                "--to, --protocol, --sport, --dport, --flags, --length, --established-too and \
                 --spare-returning belong to --signature"
                    .to_owned(),
            ));
        }
        if self.signature {
            self.looks.signature()?;
        }
        if let Some([number, source, destination]) = self.flow.as_deref() {
            ends(target::protocol(number)?, source, destination)?;
        }
        Ok(())
    }

    fn flow_key(&self, parts: &[String], tables: &Tables) -> Result<FlowKey, Failure> {
        let [number, source, destination] = parts else {
            return Err(Failure::Usage(
                "--flow takes PROTOCOL SOURCE DESTINATION".to_owned(),
            ));
        };
        let number = target::protocol(number)?;
        let (source, destination) = ends(number, source, destination)?;
        Ok(FlowKey::new(source, destination, number, self.zone(tables)?).0)
    }

    fn zone(&self, tables: &Tables) -> Result<u32, Failure> {
        if let Some(zone) = self.zone {
            return Ok(zone);
        }
        let attached: Vec<(String, u32)> = (0..tables.interfaces.len())
            .map(|place| tables.interfaces.load(place))
            .filter(|entry| entry.attached == 1)
            .map(|entry| (name_of(&entry), entry.index & ZONE_MAX))
            .collect();
        if let Some(name) = &self.interface {
            return match attached.iter().find(|(attached, _)| attached == name) {
                Some((_, zone)) => Ok(*zone),
                None => Ok(Interface::find(name)?.index & ZONE_MAX),
            };
        }
        match &attached[..] {
            [(_, zone)] => Ok(*zone),
            [] => Err(Failure::Usage(
                "--flow: say on which interface, with -i or --zone".to_owned(),
            )),
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
                Err(Failure::Usage(format!(
                    "--flow: a flow is of one interface: say which, with -i or --zone; attached are {}",
                    names.join(", ")
                )))
            }
        }
    }
}

type End = (detector_common::key::Address, u16);

/// Both ends of a flow, as they stand in its key. An ICMP flow without types is a ping.
fn ends(number: u8, source: &str, destination: &str) -> Result<(End, End), Failure> {
    let (mut from, mut to) = (target::endpoint(source)?, target::endpoint(destination)?);
    if from.0.to_ip().is_ipv4() != to.0.to_ip().is_ipv4() {
        return Err(Failure::Usage(format!(
            "--flow: {source} and {destination} are not of one family"
        )));
    }
    if has_ports(number) && (from.1 == 0 || to.1 == 0) {
        return Err(Failure::Usage(format!(
            "--flow: {} has ports: write ADDRESS:PORT, IPv6 in brackets",
            target::protocol_name(number)
        )));
    }
    if is_icmp(number) && from.1 == 0 && to.1 == 0 {
        (from.1, to.1) = if number == protocol::ICMP {
            (8, 0)
        } else {
            (128, 129)
        };
    }
    Ok((from, to))
}

impl Looks {
    /// Whether anything is said.
    fn any(&self) -> bool {
        let ranges = [self.sport, self.dport, self.length];
        self.to.is_some()
            || self.protocol.is_some()
            || self.flags.is_some()
            || self.established_too
            || self.spare_returning
            || ranges.iter().any(Option::is_some)
    }

    fn signature(&self) -> Result<Signature, Failure> {
        let mut signature = Signature::ANY;
        if let Some(to) = self.to {
            signature.destination = to.address();
            signature.destination_mask = to.mask();
        }
        // Only TCP has flags; without this, `none` would match every other protocol.
        let number = match (self.protocol, self.flags) {
            (Some(number), Some(_)) if number != protocol::TCP => {
                return Err(Failure::Usage(format!(
                    "--flags: {} has no TCP flags",
                    target::protocol_name(number)
                )));
            }
            (None, Some(_)) => Some(protocol::TCP),
            (number, _) => number,
        };
        if let Some(number) = number {
            signature.protocol = number;
            signature.any_protocol = 0;
        }
        signature.source_ports = self.sport.unwrap_or(signature.source_ports);
        signature.destination_ports = self.dport.unwrap_or(signature.destination_ports);
        signature.payload = self.length.unwrap_or(signature.payload);
        (signature.flags_mask, signature.flags) = self.flags.unwrap_or((0, 0));
        if signature == Signature::ANY {
            return Err(Failure::Usage(
                "--signature: it would match every packet; say what they look like".to_owned(),
            ));
        }
        signature.spare_established = u8::from(!self.established_too);
        signature.spare_returning = u8::from(self.spare_returning);
        Ok(signature)
    }
}

/// Names of the interfaces that were attached, by zone.
pub(crate) fn zone_names(tables: &Tables) -> HashMap<u32, String> {
    (0..tables.interfaces.len())
        .map(|place| tables.interfaces.load(place))
        .filter(|entry| entry.index != 0)
        .map(|entry| (entry.index & ZONE_MAX, name_of(&entry)))
        .collect()
}

/// A target, with an interface's name for its zone.
pub(super) fn text(target: &Target, names: &HashMap<u32, String>) -> String {
    let text = target.to_string();
    let Target::Flow(key) = target else {
        return text;
    };
    match (names.get(&key.zone()), text.rsplit_once(" zone ")) {
        (Some(name), Some((ends, _))) => format!("{ends} on {name}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    #[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
    struct Line {
        #[command(flatten)]
        target: TargetArgs,
    }

    fn line(text: &str) -> Result<TargetArgs, String> {
        let words = std::iter::once("x").chain(text.split_whitespace());
        let target = Line::try_parse_from(words)
            .map(|line| line.target)
            .map_err(|error| error.to_string())?;
        target
            .check()
            .map(|()| target)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_target_and_only_what_belongs_to_it() {
        for good in [
            "--address 10.0.0.1",
            "--prefix 10.0.0.0/8",
            "--flow tcp 10.0.0.1:1 10.0.0.2:2 --zone 3",
            "--flow tcp 10.0.0.1:1 10.0.0.2:2 -i eth0",
            "--signature --to 10.0.0.0/8 --protocol udp --sport 53 --length 512-65535",
            "--signature --flags syn,!ack --established-too",
            "--signature --flags syn,!ack --spare-returning",
        ] {
            assert!(line(good).is_ok(), "{good}: {}", line(good).err().unwrap());
        }
        for bad in [
            "",
            "--address 10.0.0.1 --prefix 10.0.0.0/8",
            "--address x",
            "--address 10.0.0.1 --zone 3",
            "--address 10.0.0.1 --to 10.0.0.0/8",
            "--address 10.0.0.1 --spare-returning",
            "--flow tcp 10.0.0.1:1",
            "--flow tcp 10.0.0.1:1 10.0.0.2:2 --zone 3 -i eth0",
            "--flow tcp 10.0.0.1:1 10.0.0.2:2 --zone 16777216",
            "--signature",
            "--signature --sport 9-1",
        ] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signature_says_something() {
        let of = |text: &str| line(text).unwrap().looks.signature().unwrap();
        let udp = of("--signature --to 192.0.2.0/24 --protocol udp --dport 53");
        assert_eq!(
            Target::Signature(udp).to_string(),
            "to 192.0.2.0/24 udp dport 53"
        );
        let spared = of("--signature --protocol tcp --flags syn --spare-returning");
        assert_eq!(
            Target::Signature(spared).to_string(),
            "to ::/0 tcp flags syn returning spared"
        );
        let flags = of("--signature --flags none");
        assert_eq!((flags.any_protocol, flags.protocol), (0, protocol::TCP));
        for nothing in [
            "--signature --flags syn --protocol udp",
            "--signature --established-too",
            "--signature --spare-returning",
            "--signature --sport 0-65535",
        ] {
            assert!(line(nothing).is_err(), "{nothing}");
        }
    }

    #[test]
    fn ends_are_of_one_family_and_have_ports() {
        assert!(ends(6, "10.0.0.1:1", "10.0.0.2:2").is_ok());
        assert!(ends(6, "10.0.0.1", "10.0.0.2:2").is_err());
        assert!(ends(6, "10.0.0.1:1", "[2001:db8::1]:2").is_err());
        let (from, to) = ends(1, "10.0.0.1", "10.0.0.2").unwrap();
        assert_eq!((from.1, to.1), (8, 0));
        let (from, to) = ends(58, "fe80::1", "fe80::2").unwrap();
        assert_eq!((from.1, to.1), (128, 129));
        let (from, to) = ends(1, "10.0.0.1:3", "10.0.0.2:1").unwrap();
        assert_eq!((from.1, to.1), (3, 1));
        assert!(ends(47, "10.0.0.1", "10.0.0.2").is_ok());
    }
}
