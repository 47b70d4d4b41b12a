//! IP protocols by name, as IANA's registry of protocol numbers has them, in lower case.

use std::borrow::Cow;

use detector_common::packet::protocol;

/// The protocols that traffic is made of; any other is called by its number.
const NAMES: &[(u8, &str)] = &[
    (0, "hopopt"),
    (protocol::ICMP, "icmp"),
    (2, "igmp"),
    (4, "ipv4"),
    (protocol::TCP, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (protocol::UDP, "udp"),
    (27, "rdp"),
    (protocol::DCCP, "dccp"),
    (41, "ipv6"),
    (protocol::ROUTING, "ipv6-route"),
    (protocol::FRAGMENT, "ipv6-frag"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (protocol::AH, "ah"),
    (protocol::ICMPV6, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (protocol::DESTINATION_OPTIONS, "ipv6-opts"),
    (88, "eigrp"),
    (89, "ospf"),
    (94, "ipip"),
    (97, "etherip"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (protocol::SCTP, "sctp"),
    (133, "fc"),
    (protocol::MOBILITY, "mobility"),
    (protocol::UDP_LITE, "udplite"),
    (137, "mpls-in-ip"),
    (protocol::HIP, "hip"),
    (protocol::SHIM6, "shim6"),
];

/// Other names that people use.
const ALIASES: &[(u8, &str)] = &[
    (protocol::ICMPV6, "icmpv6"),
    (protocol::ICMPV6, "icmp6"),
    (89, "ospfigp"),
    (protocol::UDP_LITE, "udp-lite"),
];

/// A protocol's name, or its number.
#[must_use]
pub fn name(number: u8) -> Cow<'static, str> {
    match NAMES.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(number.to_string()),
    }
}

/// The protocol of a name or number.
#[must_use]
pub fn number(name: &str) -> Option<u8> {
    NAMES
        .iter()
        .chain(ALIASES)
        .find(|(_, known)| known.eq_ignore_ascii_case(name))
        .map(|(number, _)| *number)
        .or_else(|| name.parse().ok())
}

/// Whether the transport has ports, and the numbers in a flow key's place are such.
#[must_use]
pub fn has_ports(number: u8) -> bool {
    matches!(
        number,
        protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::SCTP | protocol::DCCP
    )
}

/// Whether the numbers in the place of a flow key's ports are ICMP types and codes.
#[must_use]
pub fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_number() {
        for n in 0..=u8::MAX {
            assert_eq!(number(&name(n)), Some(n));
        }
        assert_eq!(number("ICMPv6"), Some(58));
        assert_eq!(number("256"), None);
        assert_eq!(number("no such"), None);
    }
}
