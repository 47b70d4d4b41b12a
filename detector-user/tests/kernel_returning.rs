//! Signatures that spare those who come again, in the kernel, with the time given.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::sync::atomic::Ordering;

use detector_common::{
    config::{Control, feature},
    counters::{Event, Fate},
    packet::protocol,
    signature::Signature,
    verdict::Action,
};
use detector_user::enforce::target::Target;
use lab::{
    Lab,
    cast::settings,
    frames::*,
    plane::{DROP, PASS, Plane, order},
};

const NOW_WORD: usize = std::mem::offset_of!(Control, replay_now_ns) / 8;

fn set_ms(plane: &Plane, ms: u64) {
    plane.tables.control.words(0)[NOW_WORD].store(ms * 1_000_000, Ordering::Relaxed);
}

/// SYN without ACK, of flows that do not come again.
fn syns() -> Signature {
    Signature {
        protocol: protocol::TCP,
        any_protocol: 0,
        flags_mask: SYN | ACK,
        flags: SYN,
        spare_returning: 1,
        ..Signature::ANY
    }
}

#[test]
fn a_flow_that_comes_again_is_let_through() {
    let Some(lab) = Lab::new(&[]) else { return };
    for features in [feature::ALL, feature::ALL & !feature::FLOWS] {
        let mut plane = Plane::unattached(&lab, settings(16));
        let runner = plane.runner_with(features | feature::REPLAY_CLOCK);
        let target = Target::Signature(syns());
        let slot = plane.writer().add(&order(target, Action::DROP)).unwrap();
        assert_eq!(plane.writer().list().unwrap()[0].target, target);
        for (from, to) in [
            (v4([10, 0, 0, 1], 1000), v4([10, 0, 0, 2], 80)),
            (v6(1, 1000), v6(2, 80)),
        ] {
            let syn = tcp_frame(from, to, SYN, &[]);
            let other = tcp_frame((from.0, 1001), to, SYN, &[]);
            for (ms, want) in [
                (70_000, DROP),
                (70_000, DROP),
                (70_100, DROP),
                (70_250, PASS),
                (71_000, PASS),
                (79_900, PASS),
                (80_200, DROP),
                (80_250, DROP),
                (81_000, PASS),
            ] {
                set_ms(&plane, ms);
                assert_eq!(runner.run(&syn), want, "{from:?} at {ms} ms");
            }
            set_ms(&plane, 60_000);
            assert_eq!(runner.run(&other), DROP, "another");
            assert_eq!(runner.run(&tcp_frame(from, to, ACK, &[])), PASS, "no SYN");
        }
        let hits = plane.tables.hits_of(slot);
        assert_eq!((hits.dropped_packets, hits.passed_packets), (12, 8));
        assert_eq!(plane.event(Event::LetThrough), 8);
        assert_eq!(plane.tally(Fate::DroppedSignature).packets, 12);
        if features & feature::FLOWS != 0 {
            assert_eq!(plane.account().difference(), (0, 0));
        }
        // Without the bit nobody comes again.
        plane.writer().clear().unwrap();
        let strict = Signature {
            spare_returning: 0,
            ..syns()
        };
        plane
            .writer()
            .add(&order(Target::Signature(strict), Action::DROP))
            .unwrap();
        let syn = tcp_frame(v4([10, 0, 0, 3], 1), v4([10, 0, 0, 2], 80), SYN, &[]);
        for ms in [90_000, 90_300, 91_000, 93_000] {
            set_ms(&plane, ms);
            assert_eq!(runner.run(&syn), DROP, "at {ms} ms");
        }
        plane.pins.remove_all().unwrap();
    }
}

#[test]
fn clients_get_in_through_a_flood() {
    const CLIENTS: u32 = 200;
    const SPOOFED: u32 = 60_000;
    let Some(lab) = Lab::new(&[]) else { return };
    let mut plane = Plane::unattached(&lab, settings(16));
    let runner = plane.runner_with(feature::ALL | feature::REPLAY_CLOCK);
    plane
        .writer()
        .add(&order(Target::Signature(syns()), Action::DROP))
        .unwrap();
    let server = v4([10, 9, 9, 9], 443);
    let client = |n: u32| tcp_frame(v4([10, 1, 0, n as u8], 5000), server, SYN, &[]);
    let mut state = 7u32;
    let mut spoofed_passed = 0;
    for n in 0..SPOOFED {
        set_ms(&plane, 50_000 + u64::from(n * 1000 / SPOOFED));
        if n % (SPOOFED / CLIENTS) == 0 {
            assert_eq!(runner.run(&client(n / (SPOOFED / CLIENTS))), DROP);
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let source = v4(state.to_be_bytes(), 1024 + (n % 60_000) as u16);
        spoofed_passed += u32::from(runner.run(&tcp_frame(source, server, SYN, &[])) == PASS);
    }
    set_ms(&plane, 51_300);
    let passed = (0..CLIENTS).filter(|n| runner.run(&client(*n)) == PASS);
    let passed = passed.count() as u32;
    println!("{passed} of {CLIENTS} clients, {spoofed_passed} of {SPOOFED} spoofed");
    assert_eq!(passed, CLIENTS);
    assert!(spoofed_passed <= 3);
    assert_eq!(plane.account().difference(), (0, 0));
}
