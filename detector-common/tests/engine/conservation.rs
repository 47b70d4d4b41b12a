//! Nothing is lost: what was seen is in a record or in one fate, to the packet and the
//! byte, whatever comes, whatever the reader gives up, and whatever other CPUs do.

use std::{cell::RefCell, net::Ipv4Addr, rc::Rc};

use detector_common::{
    counters::{Event, Fate, Tally},
    engine::Segmentation,
    packet::tcp,
    signature::{Range, Signature},
    verdict::Action,
};
use proptest::{collection::vec, prelude::*};

use crate::{Dice, HERE, build, host::Host, verdict};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A frame of one of a few flows, either way.
    Frame {
        flow: u16,
        arrives: bool,
        flags: u8,
        payload: u16,
        segment_bytes: u16,
    },
    /// A frame that is none.
    Junk(u8),
    /// Time passes.
    AdvanceUs(u64),
    /// Another CPU's clock is behind.
    BackNs(u32),
    /// The reader gives a flow up.
    Release(u32),
    /// The reader gives every flow of a set up.
    ReleaseSet(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        8 => Just(tcp::ACK),
        3 => Just(tcp::SYN),
        2 => Just(tcp::SYN | tcp::ACK),
        2 => Just(tcp::FIN | tcp::ACK),
        1 => Just(tcp::RST),
        1 => any::<u8>(),
    ];
    let frame = (0u16..400, any::<bool>(), flags, 0u16..5000, 0u16..1500);
    prop_oneof![
        40 => frame.prop_map(|(flow, arrives, flags, payload, segment_bytes)| Step::Frame {
            // Few flows often, many rarely.
            flow: (u32::from(flow).pow(2) / 400) as u16,
            arrives,
            flags,
            payload,
            segment_bytes,
        }),
        2 => any::<u8>().prop_map(Step::Junk),
        3 => (0u64..2_000_000).prop_map(Step::AdvanceUs),
        1 => (0u64..200_000_000).prop_map(Step::AdvanceUs),
        1 => (0u32..50_000_000).prop_map(Step::BackNs),
        3 => (0u32..64).prop_map(Step::Release),
        1 => (0u32..8).prop_map(Step::ReleaseSet),
    ]
}

fn act(host: &Host, step: &Step) {
    match *step {
        Step::Frame {
            flow,
            arrives,
            flags,
            payload,
            segment_bytes,
        } => {
            let peer = Ipv4Addr::from(0xc633_6400 + u32::from(flow / 8));
            let ports = (1024 + flow % 8, 443);
            let payload = usize::from(payload);
            let here = HERE;
            if arrives {
                let transport = match flow % 5 {
                    0 => build::udp(ports, payload),
                    _ => build::tcp(ports, flags, payload),
                };
                let frame = build::frame(peer.into(), here, &transport);
                let _ = host.ingress(frame.as_slice());
            } else {
                let ports = (ports.1, ports.0);
                let transport = match flow % 5 {
                    0 => build::udp(ports, payload),
                    _ => build::tcp(ports, flags, payload),
                };
                let frame = build::frame(here, peer.into(), &transport);
                let segments = payload.checked_div(segment_bytes.into()).unwrap_or(0) as u32 + 1;
                let cut = Segmentation {
                    segments,
                    segment_bytes: segment_bytes.into(),
                };
                host.egress(frame.as_slice(), cut);
            }
        }
        Step::Junk(kind) => {
            let ethertype = [0x0806, build::IPV4, build::IPV6, 0x8100][usize::from(kind % 4)];
            let frame = build::ethernet(&[], ethertype, &vec![kind; usize::from(kind / 4)]);
            let _ = host.ingress(&frame[..frame.len().min(usize::from(kind))]);
        }
        Step::AdvanceUs(us) => host.advance_us(us),
        Step::BackNs(ns) => host.now_ns.set(host.now_ns.get() - u64::from(ns)),
        Step::Release(slot) => host.release(slot),
        Step::ReleaseSet(set) => (set * 8..set * 8 + 8).for_each(|slot| host.release(slot)),
    }
}

fn with_verdicts(host: &Host) {
    let drop = verdict(Action::DROP);
    host.put_address(1, Ipv4Addr::new(198, 51, 100, 1).into(), drop);
    let mut limit = verdict(Action::RATE_LIMIT);
    limit.packet_cost = detector_common::rate::cost(10);
    host.put_prefix(2, Ipv4Addr::new(198, 51, 100, 2).into(), 31, limit);
    let key = crate::key_of(
        Ipv4Addr::new(198, 51, 100, 0).into(),
        (1025, 443),
        detector_common::packet::protocol::TCP,
        host,
    );
    host.put_flow(3, key, drop);
    let large = Signature {
        payload: Range {
            min: 4900,
            max: 65_535,
        },
        ..Signature::ANY
    };
    host.put_signature(0, 4, large, drop);
    host.never_block(Ipv4Addr::new(198, 51, 100, 3).into(), 32);
}

/// What the counters say of one another.
fn counters_agree(host: &Host) -> Result<(), TestCaseError> {
    let ended = host.ended.borrow();
    let handed_over = ended.len() as u64 + host.event(Event::EndedLost);
    prop_assert_eq!(host.event(Event::FlowsEnded), handed_over);
    if host.event(Event::EndedLost) == 0 {
        let mut sum = Tally::default();
        for flow in ended.iter() {
            let (packets, bytes) = flow.record.totals();
            sum.add(packets, bytes);
        }
        prop_assert_eq!(sum, host.tally(Fate::Ended));
    }
    let services = host.services.borrow();
    let mut refused = Tally::default();
    let mut evicted = Tally::default();
    let mut flows = 0;
    for service in services.iter() {
        refused.add(service.refused_packets, service.refused_bytes);
        evicted.add(service.evicted_packets, service.evicted_bytes);
        flows += service.evicted_flows;
    }
    if host.event(Event::ServicesReplaced) == 0 {
        prop_assert_eq!(refused, host.tally(Fate::NotAdmitted));
        let mut fates = host.tally(Fate::EvictedProbation);
        let idle = host.tally(Fate::EvictedIdle);
        fates.add(idle.packets, idle.bytes);
        prop_assert_eq!(evicted, fates);
        prop_assert_eq!(flows, host.event(Event::FlowsEvicted));
    }
    let mut non_ip = Tally::default();
    for tally in host.ethertypes.borrow().values() {
        non_ip.add(tally.packets, tally.bytes);
    }
    prop_assert_eq!(non_ip, host.tally(Fate::NonIp));
    let malformed: u64 = host.counters.borrow().malformed.iter().sum();
    prop_assert_eq!(malformed, host.tally(Fate::Malformed).packets);
    let mut dropped = Tally::default();
    for hits in host.hits.borrow().values() {
        dropped.add(hits.dropped_packets, hits.dropped_bytes);
    }
    let mut fates = Tally::default();
    for fate in [
        Fate::DroppedAddress,
        Fate::DroppedPrefix,
        Fate::DroppedFlow,
        Fate::DroppedSignature,
    ] {
        fates.add(host.tally(fate).packets, host.tally(fate).bytes);
    }
    prop_assert_eq!(dropped, fates);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn seen_is_accounted_for(
        steps in vec(step(), 1..400),
        verdicts: bool,
        ring in prop_oneof![Just(usize::MAX), 0usize..4],
    ) {
        let host = Host::new(64);
        host.ended_max.set(ring);
        if verdicts {
            with_verdicts(&host);
        }
        for (n, step) in steps.iter().enumerate() {
            act(&host, step);
            if let Err(e) = host.check() {
                return Err(TestCaseError::fail(format!("after step {n}: {e}")));
            }
        }
        counters_agree(&host)?;
    }

    /// The same, with other packets and the reader getting ahead at every point at
    /// which they can on another CPU.
    #[test]
    fn seen_is_accounted_for_among_other_cpus(
        steps in vec(step(), 1..200),
        others in vec(step(), 1..50),
        odds in 2u64..40,
        seed: u64,
        verdicts: bool,
        slots in prop::sample::select(vec![8u32, 8, 64]),
    ) {
        let host = Host::new(slots);
        if verdicts {
            with_verdicts(&host);
        }
        let dice = RefCell::new(Dice(seed));
        *host.interrupt.borrow_mut() = Some(Rc::new(move |host: &Host| {
            let at = {
                let mut dice = dice.borrow_mut();
                (dice.below(odds) == 0).then(|| dice.below(others.len() as u64))
            };
            if let Some(at) = at {
                act_within(host, &others[at as usize]);
            }
        }));
        for (n, step) in steps.iter().enumerate() {
            act_within(&host, step);
            if let Err(e) = host.check() {
                return Err(TestCaseError::fail(format!("after step {n}: {e}")));
            }
        }
        *host.interrupt.borrow_mut() = None;
        counters_agree(&host)?;
    }
}

/// Releases only what there is.
fn act_within(host: &Host, step: &Step) {
    match *step {
        Step::Release(slot) => act(host, &Step::Release(slot % host.slots())),
        Step::ReleaseSet(set) => act(host, &Step::ReleaseSet(set % (host.slots() / 8))),
        _ => act(host, step),
    }
}

/// A run that another overtakes between taking an empty way and locking its record.
#[test]
fn a_way_that_another_cpu_takes_before_the_lock_keeps_its_packets() {
    let host = Host::new(8);
    let packet = |flow: u16| Step::Frame {
        flow,
        arrives: true,
        flags: tcp::SYN,
        payload: 0,
        segment_bytes: 0,
    };
    // Seven flows that nobody may push out; the eighth way is empty.
    for flow in 0..7 {
        (0..8).for_each(|_| act(&host, &packet(8 * flow + 1)));
    }
    // Two more come at once; the second is about to be let in after a knock.
    let overtaken = RefCell::new(0);
    *host.interrupt.borrow_mut() = Some(Rc::new(move |host: &Host| {
        let mut points = overtaken.borrow_mut();
        *points += 1;
        // 8 looks for its key, 8 for a way, 1 exchange; then comes the lock.
        if *points == 18 {
            drop(points);
            let calm = host.interrupt.borrow_mut().take();
            act(host, &packet(65));
            act(host, &packet(65));
            *host.interrupt.borrow_mut() = calm;
        }
    }));
    act(&host, &packet(73));
    *host.interrupt.borrow_mut() = None;
    assert_eq!(host.check(), Ok(()));
    assert_eq!(host.tally(Fate::Seen).packets, 7 * 8 + 3);
}
