//! Signatures: what the bit vectors compute is what the fields say, one by one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use detector_common::{
    counters::Fate,
    frame::Parser,
    key::Address,
    packet::{Packet, tcp},
    signature::{Range, Signature},
    verdict::Action,
};
use proptest::{collection::vec, prelude::*};

use crate::{HERE, PEER, build, establish, host::Host, passes, request, verdict};

/// A signature as a user thinks of it.
#[derive(Clone, Copy, Debug)]
struct Rule {
    destination: IpAddr,
    bits: u32,
    protocol: Option<u8>,
    source_ports: (u16, u16),
    destination_ports: (u16, u16),
    payload: (u16, u16),
    flags: u8,
    flags_mask: u8,
    spare_established: bool,
    pass: bool,
}

impl Rule {
    /// Whether it takes a packet, said without anything of the crate's matching.
    fn takes(&self, packet: &Packet, established: bool) -> bool {
        let within = |n: u32, (min, max): (u16, u16)| u32::from(min) <= n && n <= u32::from(max);
        let own = u128::from_be_bytes(Address::from(self.destination).octets());
        let other = u128::from_be_bytes(packet.destination.octets());
        let same_prefix = self.bits == 0 || own >> (128 - self.bits) == other >> (128 - self.bits);
        same_prefix
            && self.protocol.is_none_or(|n| n == packet.protocol)
            && within(packet.source_port.into(), self.source_ports)
            && within(packet.destination_port.into(), self.destination_ports)
            && within(packet.payload_bytes.min(65_535), self.payload)
            && (0..8).all(|bit| {
                let bit = 1 << bit;
                self.flags_mask & bit == 0 || self.flags & bit == packet.tcp_flags & bit
            })
            && !(self.spare_established && established)
    }

    fn signature(&self) -> Signature {
        let range = |(min, max)| Range { min, max };
        let mask = match self.bits {
            0 => 0,
            bits => u128::MAX << (128 - bits),
        };
        Signature {
            destination: self.destination.into(),
            destination_mask: Address::from_ipv6(mask.to_be_bytes()),
            source_ports: range(self.source_ports),
            destination_ports: range(self.destination_ports),
            payload: range(self.payload),
            protocol: self.protocol.unwrap_or(0),
            any_protocol: self.protocol.is_none().into(),
            flags_mask: self.flags_mask,
            flags: self.flags,
            spare_established: self.spare_established.into(),
            ..Signature::ANY
        }
    }
}

const ADDRESSES: [IpAddr; 4] = [
    HERE,
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 129)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1)),
];

const PORTS: [u16; 6] = [0, 53, 443, 1024, 40_000, 65_535];
const PAYLOADS: [u16; 5] = [0, 1, 512, 1400, 65_535];

fn range(of: &'static [u16]) -> impl Strategy<Value = (u16, u16)> {
    let one = prop::sample::select(of);
    prop_oneof![
        3 => Just((0, u16::MAX)),
        2 => one.clone().prop_map(|n| (n, n)),
        // Some are empty: they take nothing.
        2 => (one.clone(), one),
        1 => any::<(u16, u16)>(),
    ]
}

prop_compose! {
    fn rule()(
        destination in prop::sample::select(&ADDRESSES),
        bits in prop_oneof![3 => Just(0u32), 1 => 90u32..=128, 1 => 0u32..=128],
        protocol in prop_oneof![Just(None), Just(Some(6)), Just(Some(17)), any::<u8>().prop_map(Some)],
        source_ports in range(&PORTS),
        destination_ports in range(&PORTS),
        payload in range(&PAYLOADS),
        flags: u8,
        flags_mask in prop_oneof![3 => Just(0u8), 2 => Just(tcp::SYN | tcp::ACK), 1 => any::<u8>()],
        spare_established: bool,
        pass in prop::bool::weighted(0.3),
    ) -> Rule {
        Rule {
            destination, bits, protocol, source_ports, destination_ports, payload, flags,
            flags_mask, spare_established, pass,
        }
    }
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let ports = (prop::sample::select(&PORTS), prop::sample::select(&PORTS));
    let payload = prop::sample::select(&PAYLOADS);
    (
        prop::sample::select(&ADDRESSES),
        ports,
        payload,
        any::<u8>(),
        0..4,
    )
        .prop_map(|(destination, ports, payload, flags, kind)| {
            // An IPv4 packet holds no more.
            let payload = usize::from(payload.min(65_000));
            let transport = match kind {
                0 => build::udp(ports, payload),
                1 => build::other(flags, payload),
                _ => build::tcp(ports, flags, payload),
            };
            let source: IpAddr = match destination {
                IpAddr::V4(_) => PEER,
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            build::frame(source, destination, &transport)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_bits_say_what_the_fields_say(rules in vec(rule(), 1..=64), frames in vec(frame(), 1..20)) {
        let host = Host::new(64);
        for (n, rule) in rules.iter().enumerate() {
            let action = if rule.pass { Action::PASS } else { Action::DROP };
            let slot = n as u32 + 1;
            host.put_signature(n as u32, slot, rule.signature(), verdict(action));
        }
        let mut dropped = 0;
        for frame in &frames {
            let packet = Parser::FULL.parse(frame.as_slice()).unwrap();
            for rule in &rules {
                let plain = Rule { spare_established: false, ..*rule };
                prop_assert_eq!(rule.signature().matches(&packet), plain.takes(&packet, false));
            }
            let first = rules.iter().position(|rule| rule.takes(&packet, false));
            let passed = first.is_none_or(|n| rules[n].pass);
            let hits_before = first.map(|n| host.hits(n as u32 + 1));
            // No flow is seen often enough to be established.
            (0..64).for_each(|slot| host.release(slot));
            prop_assert_eq!(passes(&host, frame), passed, "{:?} by {:?}", packet, first);
            if let (Some(n), Some(before)) = (first, hits_before) {
                let after = host.hits(n as u32 + 1);
                prop_assert_eq!(after.passed_packets - before.passed_packets, u64::from(passed));
            }
            dropped += u64::from(!passed);
        }
        prop_assert_eq!(host.tally(Fate::DroppedSignature).packets, dropped);
        prop_assert_eq!(host.check(), Ok(()));
    }

    #[test]
    fn established_flows_are_spared_where_the_signature_says_so(rules in vec(rule(), 1..10)) {
        for established in [false, true] {
            let host = Host::new(64);
            if established {
                establish(&host);
            }
            for (n, rule) in rules.iter().enumerate() {
                let action = if rule.pass { Action::PASS } else { Action::DROP };
                host.put_signature(n as u32 * 7, n as u32 + 1, rule.signature(), verdict(action));
            }
            let packet = Parser::FULL.parse(request(tcp::ACK).as_slice()).unwrap();
            let first = rules.iter().find(|rule| rule.takes(&packet, established));
            let passed = first.is_none_or(|rule| rule.pass);
            prop_assert_eq!(passes(&host, &request(tcp::ACK)), passed);
        }
    }
}

#[test]
fn an_established_flow_is_spared_and_a_new_one_is_not() {
    for (spare, established, passed) in [
        (1, true, true),
        (1, false, false),
        (0, true, false),
        (0, false, false),
    ] {
        let host = Host::new(64);
        if established {
            establish(&host);
        }
        let signature = Signature {
            spare_established: spare,
            ..Signature::ANY
        };
        host.put_signature(5, 1, signature, verdict(Action::DROP));
        assert_eq!(passes(&host, &request(tcp::ACK)), passed);
    }
    // A signature that spares it leaves it to the next that does not.
    let host = Host::new(64);
    establish(&host);
    host.put_signature(0, 1, Signature::ANY, verdict(Action::PASS));
    let strict = Signature {
        spare_established: 0,
        ..Signature::ANY
    };
    host.put_signature(1, 2, strict, verdict(Action::DROP));
    assert!(!passes(&host, &request(tcp::ACK)));
}

#[test]
fn a_signature_that_is_not_in_force_matches_nothing() {
    let host = Host::new(64);
    host.put_signature(63, 1, Signature::ANY, verdict(Action::DROP));
    assert!(!passes(&host, &request(tcp::SYN)));
    host.signatures_active.set(!(1 << 63));
    assert!(passes(&host, &request(tcp::SYN)));
}

#[test]
fn a_payload_beyond_the_range_counts_as_its_last() {
    let transport = build::tcp((1, 2), tcp::ACK, 70_000);
    let source = Ipv6Addr::LOCALHOST;
    let mut packet = build::V6::new(source, source).around(transport.protocol, &[]);
    // A length of 0: too long for the field.
    packet.extend(&transport.bytes);
    let frame = build::ethernet(&[], build::IPV6, &packet);
    for min in [0, 4465, 0xffff] {
        let host = Host::new(64);
        let payload = Range { min, max: 0xffff };
        let signature = Signature {
            payload,
            ..Signature::ANY
        };
        host.put_signature(0, 1, signature, verdict(Action::DROP));
        assert!(!passes(&host, &frame));
    }
    let host = Host::new(64);
    // 70,000 less 65,536.
    let payload = Range {
        min: 4464,
        max: 0xfffe,
    };
    let signature = Signature {
        payload,
        ..Signature::ANY
    };
    host.put_signature(0, 1, signature, verdict(Action::DROP));
    assert!(passes(&host, &frame));
}

#[test]
fn packets_alone_spare_no_one_and_an_answer_does() {
    let frame = |ports| crate::from_peer(&build::udp(ports, 100));
    let host = Host::new(64);
    for n in 0..20 {
        assert!(passes(&host, &frame((53, 4_000))), "{n}: no signature yet");
    }
    let asked = crate::to_peer(&build::udp((4_001, 53), 20));
    host.egress(asked.as_slice(), Default::default());
    host.put_signature(3, 1, Signature::ANY, verdict(Action::DROP));
    assert!(!passes(&host, &frame((53, 4_000))), "nobody has asked");
    assert!(passes(&host, &frame((53, 4_001))), "it was asked for");
}
