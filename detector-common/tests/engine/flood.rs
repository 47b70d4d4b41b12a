//! Floods: what is established stays, what is real comes in, and what finds no room
//! is seen for what it is.

use std::net::{IpAddr, Ipv4Addr};

use detector_common::{
    counters::{Event, Fate},
    engine::Segmentation,
    packet::{protocol, tcp},
};

use crate::{Dice, HERE, build, host::Host, key_of, passes};

const SLOTS: u32 = 1024;
/// Spoofed packets to one legitimate.
const RATIO: u64 = 50;

fn client(n: u64) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n as u32).into()
}

fn spoofed(n: u64) -> IpAddr {
    Ipv4Addr::from(0xc612_0000 + n as u32).into()
}

fn arrives(host: &Host, source: IpAddr, ports: (u16, u16), flags: u8, payload: usize) {
    let frame = build::frame(source, HERE, &build::tcp(ports, flags, payload));
    assert!(passes(host, &frame));
}

fn leaves(host: &Host, to: IpAddr, ports: (u16, u16), flags: u8, payload: usize) {
    let frame = build::frame(HERE, to, &build::tcp(ports, flags, payload));
    host.egress(frame.as_slice(), Segmentation::default());
}

/// Packets of a client's connection that its record counts.
fn counted(host: &Host, n: u64) -> u64 {
    let key = key_of(client(n), (50_000, 443), protocol::TCP, host);
    host.record_of(&key).map_or(0, |record| record.totals().0)
}

/// The `n`th packet of a client's connection: a handshake, then requests and answers.
fn converse(host: &Host, of: u64, n: u64) {
    let (there, back) = ((50_000, 443), (443, 50_000));
    match n {
        0 => arrives(host, client(of), there, tcp::SYN, 0),
        1 => leaves(host, client(of), back, tcp::SYN | tcp::ACK, 0),
        n if n % 2 == 0 => arrives(host, client(of), there, tcp::ACK, 100),
        _ => leaves(host, client(of), back, tcp::ACK, 1000),
    }
}

/// What a flood is made of.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// SYN from ten times as many sources as the table has slots.
    TenfoldSources,
    /// The same, and the host answers each with SYN and ACK.
    TenfoldAnswered,
    /// ACK from as many, and the host resets each.
    TenfoldReset,
    /// Every packet from another source and port.
    EverFresh,
    /// The same, and the host answers each.
    Answered,
    /// SYN and ACK that nobody asked for; the host resets each.
    Reflected,
    /// UDP from tenfold sources, the destination port at random.
    Udp,
    /// ACK from tenfold sources, of which the host takes no notice.
    TenfoldAcks,
}

const FLOODS: [Flood; 7] = [
    Flood::TenfoldSources,
    Flood::TenfoldAnswered,
    Flood::TenfoldReset,
    Flood::EverFresh,
    Flood::Answered,
    Flood::Reflected,
    Flood::Udp,
];

fn flood(host: &Host, kind: Flood, dice: &mut Dice) {
    let few = spoofed(dice.below(10 * u64::from(SLOTS)));
    let fresh = spoofed(dice.below(1 << 24));
    let port = 1024 + dice.below(60_000) as u16;
    match kind {
        Flood::TenfoldSources => arrives(host, few, (7777, 443), tcp::SYN, 0),
        Flood::TenfoldAnswered => {
            arrives(host, few, (7777, 443), tcp::SYN, 0);
            leaves(host, few, (443, 7777), tcp::SYN | tcp::ACK, 0);
        }
        Flood::TenfoldReset => {
            arrives(host, few, (7777, 443), tcp::ACK, 0);
            leaves(host, few, (443, 7777), tcp::RST, 0);
        }
        Flood::TenfoldAcks => arrives(host, few, (7777, 443), tcp::ACK, 0),
        Flood::EverFresh => arrives(host, fresh, (port, 443), tcp::SYN, 0),
        Flood::Answered => {
            arrives(host, fresh, (port, 443), tcp::SYN, 0);
            leaves(host, fresh, (443, port), tcp::SYN | tcp::ACK, 0);
        }
        Flood::Reflected => {
            arrives(host, fresh, (443, port), tcp::SYN | tcp::ACK, 0);
            leaves(host, fresh, (port, 443), tcp::RST, 0);
        }
        Flood::Udp => {
            let frame = build::frame(few, HERE, &build::udp((7777, port), 400));
            assert!(passes(host, &frame));
        }
    }
}

/// Checks that the flood is accounted for to the packet, and as one service's where
/// it is one.
fn accounted(host: &Host) {
    assert_eq!(host.check(), Ok(()));
    let services = host.services.borrow();
    let refused: u64 = services.iter().map(|s| s.refused_packets).sum();
    if host.event(Event::ServicesReplaced) == 0 {
        assert_eq!(refused, host.tally(Fate::NotAdmitted).packets);
    }
}

#[test]
fn established_flows_are_kept_through_a_flood() {
    for kind in FLOODS {
        let host = Host::new(SLOTS);
        let mut dice = Dice(kind as u64);
        let clients = 200;
        for of in 0..clients {
            (0..4).for_each(|n| converse(&host, of, n));
        }
        let mut sent = 4 * clients;
        // A million packets a second for a fifth of a second.
        for n in 0..4_000 {
            for _ in 0..RATIO {
                flood(&host, kind, &mut dice);
                host.advance_us(1);
            }
            converse(&host, n % clients, 4 + n / clients);
            sent += 1;
        }
        let kept: u64 = (0..clients).map(|of| counted(&host, of)).sum();
        assert_eq!(kept, sent, "{kind:?}");
        accounted(&host);
    }
}

/// Clients that come while the flood goes on, after `before` packets of it: the share
/// of what they send and get that stands in their own records.
fn newcomers(kind: Flood, before: u64) -> f64 {
    let host = Host::new(SLOTS);
    let mut dice = Dice(77 + kind as u64);
    let mut go_on = |host: &Host, packets| {
        for _ in 0..packets {
            flood(host, kind, &mut dice);
            host.advance_us(1);
        }
    };
    go_on(&host, before);
    let (clients, packets) = (20, 400);
    for n in 0..clients * packets {
        go_on(&host, RATIO);
        // A request and its answer, then it is the next client's turn.
        converse(&host, n / 2 % clients, n / (2 * clients) * 2 + n % 2);
    }
    let kept: u64 = (0..clients).map(|of| counted(&host, of)).sum();
    accounted(&host);
    kept as f64 / (clients * packets) as f64
}

/// 99 %, though their first packets are spent on knocking.
#[test]
fn newcomers_get_in_during_a_flood() {
    for kind in FLOODS {
        let share = newcomers(kind, 20 * u64::from(SLOTS));
        // What the host answers by itself knocks twice: such a flood turns the whole
        // probation over every thousand packets, twice between two requests here.
        let least = match kind {
            Flood::TenfoldSources | Flood::EverFresh | Flood::Udp => 0.99,
            _ => 0.9,
        };
        assert!(share >= least, "{kind:?}: {share}");
    }
}

/// Not so where spoofed flows come again and again with anything but SYN, and the host
/// takes no notice: after eight packets they count as established, fill the table and
/// are never idle.
#[test]
#[ignore = "known gap: 0.65 after 2 M packets, and less the longer it goes on"]
fn newcomers_get_in_during_a_long_flood_of_flows_that_repeat() {
    let share = newcomers(Flood::TenfoldAcks, 2_000_000);
    assert!(share >= 0.99, "{share}");
}

#[test]
fn a_knock_lets_in_on_the_second_packet() {
    let host = Host::new(8);
    for n in 0..8 {
        arrives(&host, spoofed(n), (1, 443), tcp::SYN, 0);
    }
    assert_eq!(host.event(Event::FlowsCreated), 8);
    host.advance_us(1000);
    arrives(&host, client(1), (50_000, 443), tcp::SYN, 0);
    assert_eq!(host.tally(Fate::NotAdmitted).packets, 1);
    assert_eq!(counted(&host, 1), 0);
    arrives(&host, client(1), (50_000, 443), tcp::SYN, 0);
    assert_eq!(counted(&host, 1), 1);
    assert_eq!(host.tally(Fate::NotAdmitted).packets, 1);
    assert_eq!(host.tally(Fate::EvictedProbation).packets, 1);
    assert_eq!(host.event(Event::FlowsEvicted), 1);
    // The answer is a knock, too.
    arrives(&host, client(2), (50_000, 443), tcp::SYN, 0);
    leaves(&host, client(2), (443, 50_000), tcp::SYN | tcp::ACK, 0);
    let key = key_of(client(2), (50_000, 443), protocol::TCP, &host);
    assert_eq!(host.record_of(&key).map(|r| r.totals().0), Some(1));
    assert_eq!(host.check(), Ok(()));
}

#[test]
fn the_oldest_on_probation_makes_way() {
    let host = Host::new(8);
    for n in 0..8 {
        arrives(&host, spoofed(n), (1, 443), tcp::SYN, 0);
        host.advance_us(20_000);
    }
    // The oldest is seen again: the second is the oldest now.
    arrives(&host, spoofed(0), (1, 443), tcp::SYN, 0);
    host.advance_us(20_000);
    (0..2).for_each(|_| arrives(&host, client(1), (50_000, 443), tcp::SYN, 0));
    let is_there = |n| {
        let key = key_of(spoofed(n), (1, 443), protocol::TCP, &host);
        host.record_of(&key).is_some()
    };
    assert!(!is_there(1));
    assert!((0..8).filter(|&n| n != 1).all(is_there));
}

#[test]
fn an_established_flow_makes_way_only_past_its_time_out() {
    let host = Host::new(8);
    for of in 0..8 {
        (0..3).for_each(|n| converse(&host, of, n));
    }
    assert_eq!(host.event(Event::FlowsPromoted), 8);
    let knock =
        |host: &Host| (0..3).for_each(|_| arrives(host, client(99), (50_000, 443), tcp::SYN, 0));
    for _ in 0..119 {
        host.advance_us(1_000_000);
        knock(&host);
        assert_eq!(counted(&host, 99), 0);
    }
    host.advance_us(1_100_000);
    knock(&host);
    assert_eq!(counted(&host, 99), 3);
    assert_eq!(host.tally(Fate::EvictedIdle).packets, 3);
    assert_eq!(host.check(), Ok(()));
}

#[test]
fn a_flood_is_counted_by_its_service() {
    let host = Host::new(64);
    let mut dice = Dice(5);
    for _ in 0..20_000 {
        flood(&host, Flood::EverFresh, &mut dice);
        host.advance_us(1);
    }
    let services = host.services.borrow();
    let hit: Vec<_> = services
        .iter()
        .filter(|s| s.refused_packets + s.evicted_flows > 0)
        .collect();
    let [service] = hit[..] else {
        panic!("{hit:?}");
    };
    assert_eq!(service.destination, HERE.into());
    assert_eq!(service.port_protocol, 443 << 16 | 6);
    assert_eq!(service.zone, host.zone.get());
    let lost = service.refused_packets + service.evicted_packets;
    assert_eq!(lost + host.in_records().packets, 20_000);
}

/// Whoever began, and whichever end compares lower: it is the other end's service.
#[test]
fn an_evicted_flow_is_counted_by_the_side_that_did_not_begin() {
    for began_here in [false, true] {
        let host = Host::new(8);
        let mut dice = Dice(9);
        for n in 0..400 {
            // Peers below and above this host in the order of keys.
            let peer: IpAddr = (dice.next() as u32).to_be_bytes().into();
            if began_here {
                leaves(&host, peer, (50_000, 443), tcp::SYN, 0);
            } else {
                arrives(&host, peer, (50_000, 443), tcp::SYN, 0);
            }
            host.advance_us(if n % 8 == 7 { 1_100_000 } else { 1 });
        }
        assert!(host.event(Event::FlowsEvicted) > 300);
        for service in host.services.borrow().iter() {
            if service.evicted_flows > 0 {
                assert_eq!(service.port_protocol, 443 << 16 | 6);
                assert_eq!(service.destination == HERE.into(), !began_here);
            }
        }
        accounted(&host);
    }
}

#[test]
fn a_service_is_one_of_its_zone() {
    let host = Host::new(8);
    for n in 0..8 {
        (0..8).for_each(|_| arrives(&host, client(n), (50_000, 443), tcp::ACK, 0));
    }
    for (zone, replaced) in [(5, 0), (6, 1)] {
        host.zone.set(zone);
        arrives(&host, spoofed(1), (1, 443), tcp::SYN, 0);
        assert_eq!(host.event(Event::ServicesReplaced), replaced);
        let services = host.services.borrow();
        let hit: Vec<_> = services.iter().filter(|s| s.refused_packets > 0).collect();
        assert_eq!(hit.len(), 1);
        assert_eq!((hit[0].zone, hit[0].refused_packets), (zone, 1));
    }
}
