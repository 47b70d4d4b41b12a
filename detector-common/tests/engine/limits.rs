//! Quarantines and rate limits.

use detector_common::{
    config::feature,
    counters::{Event, Fate},
    packet::{protocol, tcp},
    rate,
    verdict::{Action, Service, Verdict},
};

use crate::{
    Dice, HERE, PEER, build,
    build::{MORE, Transport, V4},
    from_peer,
    host::Host,
    passes, request, verdict,
};

fn quarantine(services: &[(u8, u16)]) -> Verdict {
    let mut verdict = Verdict {
        service_count: services.len() as u8,
        ..verdict(Action::QUARANTINE)
    };
    for (service, &(protocol, port)) in verdict.services.iter_mut().zip(services) {
        *service = Service {
            port,
            protocol,
            reserved: 0,
        };
    }
    verdict
}

fn quarantined(services: &[(u8, u16)]) -> Host {
    let host = Host::new(64);
    host.put_address(1, PEER, quarantine(services));
    host
}

fn fragment(fragment: u16, transport: &Transport) -> Vec<u8> {
    let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) = (PEER, HERE) else {
        unreachable!();
    };
    let header = V4 {
        fragment,
        ..V4::new(source, destination)
    };
    let packet = header.around(transport.protocol, &transport.bytes);
    build::ethernet(&[], build::IPV4, &packet)
}

#[test]
fn a_quarantine_lets_its_services_through() {
    use protocol::{ICMP, TCP, UDP};
    let host = quarantined(&[(UDP, 53), (TCP, 0), (ICMP, 0)]);
    let udp = |port| from_peer(&build::udp((1000, port), 5));
    assert!(passes(&host, &udp(53)));
    assert!(!passes(&host, &udp(54)) && !passes(&host, &udp(0)));
    // By the destination port, not by the source port.
    assert!(!passes(&host, &from_peer(&build::udp((53, 1000), 5))));
    for port in [0, 1, 443, 65_535] {
        assert!(passes(
            &host,
            &from_peer(&build::tcp((9, port), tcp::SYN, 0))
        ));
    }
    for kind in [0, 3, 8] {
        assert!(passes(
            &host,
            &from_peer(&build::icmp(ICMP, (kind, 0), (0, 0), 8))
        ));
    }
    assert!(!passes(&host, &from_peer(&build::sctp((1, 53), 4))));
    assert!(!passes(&host, &from_peer(&build::other(47, 4))));
    assert_eq!(host.check(), Ok(()));
}

#[test]
fn a_quarantine_has_as_many_services_as_it_says() {
    let eight: Vec<(u8, u16)> = (1..9).map(|port| (protocol::TCP, port)).collect();
    let tcp_to = |port| from_peer(&build::tcp((9, port), tcp::SYN, 0));
    let host = quarantined(&eight);
    assert!((1..9).all(|port| passes(&host, &tcp_to(port))));
    assert!(!passes(&host, &tcp_to(9)) && !passes(&host, &tcp_to(0)));
    // Services beyond the count, and a count beyond the services.
    for (count, passed) in [(0, 0), (3, 3), (8, 8), (9, 8), (255, 8)] {
        let mut verdict = quarantine(&eight);
        verdict.service_count = count;
        host.put_address(1, PEER, verdict);
        let through = (1..20).filter(|&port| passes(&host, &tcp_to(port)));
        assert_eq!(through.count(), passed, "{count}");
    }
}

#[test]
fn a_later_fragment_gets_through_no_quarantine() {
    let host = quarantined(&[(protocol::UDP, 53), (protocol::UDP, 0), (protocol::TCP, 0)]);
    let udp = build::udp((1000, 53), 1000);
    assert!(passes(&host, &fragment(MORE, &udp)));
    for offset in [1, 0x1fff, MORE | 1, MORE | 185] {
        assert!(!passes(&host, &fragment(offset, &udp)), "{offset:#x}");
    }
    let v6 = build::V6 {
        chain: vec![build::Extension::fragment(8)],
        ..build::V6::new([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), [1; 8].into())
    };
    host.put_address(2, v6.source.into(), quarantine(&[(protocol::UDP, 0)]));
    let frame = |header: &build::V6| {
        build::ethernet(&[], build::IPV6, &header.around(udp.protocol, &udp.bytes))
    };
    assert!(!passes(&host, &frame(&v6)));
    let first = build::V6 {
        chain: vec![build::Extension::fragment(1)],
        ..v6
    };
    assert!(passes(&host, &frame(&first)));
    assert_eq!(host.check(), Ok(()));
}

fn limited(packets_per_second: u64, bytes_per_second: u64, burst_ms: u64) -> Host {
    let host = Host::new(64);
    let limit = Verdict {
        packet_cost: rate::cost(packets_per_second),
        byte_cost: rate::cost(bytes_per_second),
        burst: rate::units(burst_ms * 1_000_000),
        ..verdict(Action::RATE_LIMIT)
    };
    host.put_address(1, PEER, limit);
    host
}

#[test]
fn a_rate_limit_holds_in_packets_and_in_bytes() {
    // Offered: 5,000 packets a second of 100 to 1,500 bytes, for 20 s.
    for (packets, bytes) in [
        (1000, 0),
        (0, 200_000),
        (100, 1_000_000),
        (5000, 50_000),
        (7, 0),
    ] {
        let host = limited(packets, bytes, 100);
        let mut dice = Dice(packets);
        let mut passed = (0, 0);
        for _ in 0..100_000 {
            let frame = from_peer(&build::udp((1, 2), 58 + dice.below(1401) as usize));
            if passes(&host, &frame) {
                passed = (passed.0 + 1, passed.1 + frame.len() as u64);
            }
            host.advance_us(200);
        }
        let hits = host.hits(1);
        assert_eq!((hits.passed_packets, hits.passed_bytes), passed);
        assert_eq!(hits.dropped_packets, 100_000 - passed.0);
        assert_eq!(
            host.tally(Fate::DroppedAddress).packets,
            hits.dropped_packets
        );
        assert_eq!(host.event(Event::LetThrough), passed.0);
        // The burst comes on top, once; where both limits hold, neither is exceeded.
        let within = |got: u64, rate: u64| {
            let most = rate * 20 + rate / 10 + 1500;
            assert!(rate == 0 || got <= most, "{got} of {rate}");
            rate != 0 && got * 100 >= rate * 20 * 95
        };
        let full = (within(passed.0, packets), within(passed.1, bytes));
        assert!(full.0 || full.1, "{packets} {bytes}: {passed:?}");
        assert_eq!(host.check(), Ok(()));
    }
}

#[test]
fn what_stays_below_the_rate_passes() {
    let host = limited(1000, 100_000, 50);
    for _ in 0..10_000 {
        assert!(passes(&host, &request(tcp::ACK)));
        host.advance_us(1001);
    }
    // No limit at all limits nothing.
    let host = limited(0, 0, 0);
    assert!((0..1000).all(|_| passes(&host, &request(tcp::ACK))));
}

#[test]
fn a_packet_that_costs_more_than_the_burst_passes_where_none_came_before() {
    assert_eq!(rate::conform(100, 100, 5, 0), Some(105));
    assert_eq!(rate::conform(105, 100, 5, 0), None);
    assert_eq!(rate::conform(105, 105, 5, 0), Some(110));
    assert_eq!(rate::conform(90, 100, 5, 0), Some(105));
    // The state of 52 days ago, and one that wraps.
    assert_eq!(rate::conform(u64::MAX, 3, 9, 20), Some(12));
    assert_eq!(rate::conform(4, u64::MAX - 5, 9, 20), Some(13));
}

#[test]
fn a_long_pause_does_not_save_up_more_than_the_burst() {
    let host = limited(100, 0, 100);
    for pause_s in [1, 3600, 50 * 86_400, 200 * 86_400] {
        host.advance_us(pause_s * 1_000_000);
        let passed = (0..100).filter(|_| passes(&host, &request(tcp::ACK)));
        assert_eq!(passed.count(), 10, "after {pause_s} s");
    }
}

#[test]
fn a_bucket_that_other_cpus_keep_taking_from_is_over_its_rate() {
    for (failures, passed) in [(0, true), (3, true), (4, false)] {
        let host = limited(1000, 0, 100);
        host.bucket_failures.set(failures);
        assert_eq!(passes(&host, &request(tcp::ACK)), passed, "{failures}");
        assert_eq!(host.check(), Ok(()));
    }
}

#[test]
fn without_the_feature_a_rate_limit_lets_everything_through() {
    let host = limited(1, 1, 0);
    host.features.set(feature::ALL & !feature::RATE_LIMITS);
    assert!((0..100).all(|_| passes(&host, &request(tcp::ACK))));
    assert_eq!(host.event(Event::LetThrough), 100);
}
