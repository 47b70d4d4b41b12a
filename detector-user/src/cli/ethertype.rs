//! EtherTypes by name.

/// Those that are seen in networks, beside IP.
const NAMES: &[(u16, &str)] = &[
    (0x0800, "IPv4"),
    (0x0806, "ARP"),
    (0x0842, "Wake-on-LAN"),
    (0x2000, "CDP"),
    (0x6558, "TEB"),
    (0x8035, "RARP"),
    (0x809b, "AppleTalk"),
    (0x80f3, "AARP"),
    (0x8100, "VLAN"),
    (0x8137, "IPX"),
    (0x86dd, "IPv6"),
    (0x8808, "flow control"),
    (0x8809, "LACP"),
    (0x8847, "MPLS"),
    (0x8848, "MPLS multicast"),
    (0x8863, "PPPoE discovery"),
    (0x8864, "PPPoE"),
    (0x888e, "802.1X"),
    (0x8892, "PROFINET"),
    (0x88a4, "EtherCAT"),
    (0x88a8, "802.1ad"),
    (0x88b8, "GOOSE"),
    (0x88ba, "sampled values"),
    (0x88cc, "LLDP"),
    (0x88e1, "HomePlug"),
    (0x88e5, "MACsec"),
    (0x88f7, "PTP"),
    (0x8906, "FCoE"),
    (0x9000, "loopback test"),
    (0xffff, "unknown"),
];

/// The first EtherType: what is below is the length of an 802.3 frame.
pub(super) const FIRST: u16 = 0x600;

/// An EtherType's name; `None` where it has none here.
pub(super) fn name(number: u16) -> Option<&'static str> {
    if number < FIRST {
        return Some("802.3");
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_and_named() {
        assert!(NAMES.is_sorted_by_key(|(number, _)| *number));
        assert_eq!(
            (name(0x0806), name(0x0100), name(0x1234)),
            (Some("ARP"), Some("802.3"), None)
        );
    }
}
