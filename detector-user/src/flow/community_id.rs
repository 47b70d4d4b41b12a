//! Community ID version 1, seed 0: the name by which Zeek, Suricata, Wireshark and others call a flow too
//! (<https://github.com/corelight/community-id-spec>).
//!
//! Made here because the crate that is kept for it, `communityid`, is under the GPL.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use detector_common::{packet::protocol, transport::icmp_counterpart};
use sha1::{Digest, Sha1};

/// The Community ID of a flow from `source` to `destination`. Ports are those of a flow key: ICMP has the type and its
/// counterpart there, or the type and the code ([`detector_common::transport`]).
#[must_use]
pub fn v1(source: (IpAddr, u16), destination: (IpAddr, u16), number: u8) -> String {
    // A message to which there is no answer keeps its direction; anything else is put in order.
    let one_way = super::protocol::is_icmp(number)
        && u8::try_from(source.1).is_ok_and(|kind| icmp_counterpart(number, kind).is_none());
    let (low, high) = if one_way || source <= destination {
        (source, destination)
    } else {
        (destination, source)
    };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for (address, _) in [low, high] {
        match address {
            IpAddr::V4(v4) => hash.update(v4.octets()),
            IpAddr::V6(v6) => hash.update(v6.octets()),
        }
    }
    hash.update([number, 0]);
    if takes_ports(number) {
        hash.update(low.1.to_be_bytes());
        hash.update(high.1.to_be_bytes());
    }
    let mut id = String::from("1:");
    STANDARD.encode_string(hash.finalize(), &mut id);
    id
}

/// The protocols of which the specification takes ports; DCCP and UDP-Lite are not among them.
fn takes_ports(number: u8) -> bool {
    super::protocol::is_icmp(number)
        || matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outputs that the specification's authors publish for implementers, one a line:
    /// protocol, source, destination, source port, destination port, ID.
    const BASELINE: &str = "\
58 fe80::200:86ff:fe05:80da fe80::260:97ff:fe07:69ea 135 136 1:dGHyGvjMfljg6Bppwm3bg0LO8TY=
58 fe80::260:97ff:fe07:69ea fe80::200:86ff:fe05:80da 136 135 1:dGHyGvjMfljg6Bppwm3bg0LO8TY=
58 fe80::260:97ff:fe07:69ea fe80::200:86ff:fe05:80da 135 136 1:zavyT/cezQr1fmImYCwYnMXbgck=
58 fe80::200:86ff:fe05:80da fe80::260:97ff:fe07:69ea 136 135 1:zavyT/cezQr1fmImYCwYnMXbgck=
58 3ffe:501:1800:2345::2 3ffe:507:0:1:200:86ff:fe05:80da 3 0 1:2ObVBgIn28oZvibYZhZMBgh7WdQ=
58 3ffe:501:410:0:2c0:dfff:fe47:33e 3ffe:507:0:1:200:86ff:fe05:80da 1 4 1:hLZd0XGWojozrvxqE0dWB1iM6R0=
58 3ffe:507:0:1:200:86ff:fe05:80da 3ffe:501:0:1001::2 128 129 1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=
58 3ffe:501:0:1001::2 3ffe:507:0:1:200:86ff:fe05:80da 129 128 1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=
58 fe80::200:86ff:fe05:80da ff02::2 133 134 1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0=
58 fe80::260:97ff:fe07:69ea ff02::1 134 133 1:pkvHqCL88/tg1k4cPigmZXUtL00=
1 192.168.0.89 192.168.0.1 8 0 1:X0snYXpgwiv9TZtqg64sgzUn6Dk=
1 192.168.0.1 192.168.0.89 0 8 1:X0snYXpgwiv9TZtqg64sgzUn6Dk=
1 10.0.0.1 10.0.0.2 11 0 1:YHxtAirCG//0OzkcVAukqKQN9xM=
6 2001:470:e5bf:dead:4957:2174:e82c:4887 2607:f8b0:400c:c03::1a 63943 25 1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=
6 2607:f8b0:400c:c03::1a 2001:470:e5bf:dead:4957:2174:e82c:4887 25 63943 1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=
132 192.168.170.8 192.168.170.56 7 7 1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=
132 192.168.170.56 192.168.170.8 7 7 1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=
6 128.232.110.120 66.35.250.204 34855 80 1:LQU9qZlK+B5F3KDmev6m5PMibrg=
6 66.35.250.204 128.232.110.120 80 34855 1:LQU9qZlK+B5F3KDmev6m5PMibrg=
17 192.168.1.52 8.8.8.8 54585 53 1:d/FP5EW3wiY1vCndhwleRRKHowQ=
17 8.8.8.8 192.168.1.52 53 54585 1:d/FP5EW3wiY1vCndhwleRRKHowQ=
46 10.1.12.1 10.1.12.2 0 0 1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=
46 10.1.12.2 10.1.12.1 0 0 1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=";

    #[test]
    fn the_published_baseline() {
        for line in BASELINE.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let id = v1(
                (fields[1].parse().unwrap(), fields[3].parse().unwrap()),
                (fields[2].parse().unwrap(), fields[4].parse().unwrap()),
                fields[0].parse().unwrap(),
            );
            assert_eq!(id, fields[5], "{line}");
        }
    }
}
