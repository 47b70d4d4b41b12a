//! The times of packets, where packets of a burst share a reading of the clock.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod lab;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use detector_common::config::feature;
use detector_user::wire::{
    attach::{self, Mode, Request},
    health,
    interface::{self, Interface},
    load::Settings,
    replace,
    tables::Tables,
};
use lab::{
    Lab,
    frames::{UDP, udp_frame, v4},
    plane::{self, Plane, key},
    raw::Raw,
    space::{Space, veth},
    wait_for,
};

const LIMIT: Duration = Duration::from_secs(10);
const FLOWS: u16 = 40;
/// So few that not each gap can have a jiffy's end in it, were times a jiffy's.
const PACKETS: u16 = 4;
const APART: Duration = Duration::from_micros(600);
/// What a delay of one of two packets may take from the time between them.
const LEAST_US: u32 = 300;

/// What is done to what is attached before the packets come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    Nothing,
    /// A thread polls.
    Threaded,
    /// Other maps are put in the place of those that there are.
    Replaced,
}

/// Flows of packets that come one by one: how many of them say so.
fn apart(lab: &Lab, done: Done) -> usize {
    let pins = lab.pins();
    let (client, server) = (Space::new(), Space::new());
    veth((&client, "vc"), (&server, "vs"));
    // Polls begin with the program.
    let attached = plane::attach_in(&server, &pins, "vs", &plane::request(1 << 12, 64));
    assert_ne!(attached.features & feature::BURST_CLOCK, 0, "{attached:?}");
    if done == Done::Replaced {
        let replaced = server.within(|| replace::replace(&pins, &plane::request(1 << 13, 64)));
        let attached = replaced.unwrap().attached;
        assert_ne!(attached[0].features & feature::BURST_CLOCK, 0);
    }
    if done == Done::Threaded {
        let mut set = Command::new("unshare");
        let words = "mount -t sysfs none /sys && echo 1 > /sys/class/net/vs/threaded";
        set.args(["--mount", "sh", "-c", words]);
        assert!(server.within(|| set.status()).unwrap().success(), "{words}");
    }
    client.within(|| {
        let raw = Raw::sender("vc");
        for flow in 0..FLOWS {
            let frame = udp_frame(v4([10, 0, 0, 1], flow + 1), v4([10, 0, 0, 2], 2), &[]);
            for _ in 0..PACKETS {
                let sent = Instant::now();
                raw.send_all([frame.as_slice()].into_iter(), &mut (0, 0));
                while sent.elapsed() < APART {
                    std::thread::yield_now();
                }
            }
        }
    });
    let plane = Plane::open(&pins);
    let index = attached.interface.index;
    let all = u64::from(FLOWS) * u64::from(PACKETS);
    assert!(wait_for(LIMIT, || plane::seen(&plane, index) == all));
    let tell = (0..FLOWS).filter(|flow| {
        let key = key(
            v4([10, 0, 0, 1], flow + 1),
            v4([10, 0, 0, 2], 2),
            UDP,
            index,
        );
        let records = plane.records_of(&key);
        records.len() == 1 && records[0].record.gap_min_us >= LEAST_US
    });
    let tell = tell.count();
    attach::detach_all(&pins).unwrap();
    tell
}

#[test]
fn packets_of_several_polls_have_times_of_their_own() {
    let Some(lab) = Lab::new(&["unshare"]) else {
        return;
    };
    for done in [Done::Nothing, Done::Threaded, Done::Replaced] {
        let told = apart(&lab, done);
        println!("{done:?}: {told} of {FLOWS} flows");
        // Others were delayed by what else goes on here; a jiffy's packets sharing one time leave none.
        assert!(told >= 3, "{told} of {FLOWS}");
    }
}

#[test]
fn the_end_of_bursts_is_noticed_only_where_that_is_relied_on() {
    let Some(lab) = Lab::new(&[]) else {
        return;
    };
    let pins = lab.pins();
    let (client, server) = (Space::new(), Space::new());
    veth((&client, "vc"), (&server, "vs"));
    server.run("ip tuntap add dev tap mode tap");
    server.run("ip link set tap up");
    let all = plane::request(64, 16);
    let without = |features: u32| Request {
        settings: Settings {
            features: feature::ALL & !features,
            ..all.settings
        },
        ..all
    };
    let shares = |name, request: &Request| {
        let attached = plane::attach_in(&server, &pins, name, request);
        assert_eq!(attached.burst_clock_refused, None, "{name}");
        attached.features & feature::BURST_CLOCK != 0
    };
    assert!(!shares("tap", &all), "comes by no poll");
    assert!(!pins.bursts().exists());
    assert!(shares("vs", &all));
    assert!(pins.bursts().exists());
    for (why, request) in [
        ("asked for without", without(feature::BURST_CLOCK)),
        ("nothing asks for the time", without(feature::FLOWS)),
    ] {
        assert!(!shares("vs", &request), "{why}");
        assert!(!pins.bursts().exists(), "{why}");
        assert!(shares("vs", &all));
        assert!(pins.bursts().exists());
    }
    let detach = |name| {
        server.within(|| {
            let index = Interface::find(name).unwrap().index;
            assert!(attach::detach(&pins, index).unwrap());
        });
    };
    detach("vs");
    assert!(!pins.bursts().exists(), "the tap needs none");
    let generic = plane::request_in(Mode::Generic, 64, 16);
    assert!(!shares("vs", &generic), "generic");
    assert!(!pins.bursts().exists());
    detach("vs");
    assert!(shares("vs", &all), "attached again");
    std::fs::remove_file(pins.bursts()).unwrap();
    let standings = server.within(|| {
        let tables = Tables::open(&pins).unwrap();
        health::standings(&pins, &tables, &interface::list())
    });
    let healths: Vec<&str> = standings.iter().map(|one| one.health.name()).collect();
    assert_eq!(healths, ["attached", "bursts-lost"]);
    server.within(|| attach::detach_all(&pins)).unwrap();
}
