//! What is attached outlives whoever attached it: killed, restarted, given other settings,
//! with traffic all the while, of which nothing is lost, nothing uncounted, and nothing
//! let through that a verdict drops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::{
    maps::MapData,
    programs::{ProgramInfo, Xdp},
};
use aya_obj::programs::XdpAttachType;
use detector_common::{abi::map, config::feature, counters::Fate};
use detector_user::wire::{
    attach::{self, Request},
    interface::Interface,
    load::Settings,
    pins::Pins,
    replace,
};
use lab::{
    Lab, bpf,
    child::{self, Child},
    frames::*,
    plane::{self, Plane, key},
    raw::Raw,
    space::{Space, veth},
};

const FLOW_SLOTS: u32 = 1024;

fn server() -> End {
    v4([10, 0, 9, 1], 80)
}

/// Who sends: one that may, one that may not.
fn senders() -> [End; 2] {
    [v4([10, 0, 0, 1], 1000), v4([10, 0, 0, 2], 1000)]
}

fn request(features: u32) -> Request {
    let settings = Settings {
        features,
        flow_slots: FLOW_SLOTS,
        verdict_slots: 16,
    };
    Request {
        settings,
        ..Request::default()
    }
}

#[test]
#[ignore = "a process of the tests of survival"]
fn attach_and_stay() {
    let Some(arguments) = child::arguments() else {
        return;
    };
    let [root, space, features, verdict] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    Space::at(space).enter();
    let pins = Pins::new(root);
    let interface = Interface::find("vb").unwrap();
    let attached = attach::attach(&pins, &interface, &request(features.parse().unwrap())).unwrap();
    if verdict == "block" {
        Plane::open(&pins)
            .writer()
            .add(&plane::drop_address(senders()[1].0))
            .unwrap();
    }
    child::say(if attached.replaced {
        "adopted"
    } else {
        "attached"
    });
    child::stay();
}

struct Scene {
    lab: Lab,
    a: Space,
    b: Space,
}

impl Scene {
    fn set() -> Option<Self> {
        let lab = Lab::new(&["bpftool"])?;
        let (a, b) = (Space::new(), Space::new());
        veth((&a, "va"), (&b, "vb"));
        b.run("ip address add 10.0.9.1/16 dev vb");
        for sender in senders() {
            b.run(&format!(
                "ip neigh replace {} lladdr 02:00:00:00:00:0a dev vb",
                sender.0
            ));
        }
        Some(Self { lab, a, b })
    }

    fn attacher(&self, features: u32, verdict: &str) -> Child {
        let pins = self.lab.pins();
        let root = pins.root().to_str().unwrap();
        Child::start(
            "attach_and_stay",
            &[root, &self.b.path(), &features.to_string(), verdict],
        )
    }

    /// A child that has attached and blocked a sender.
    fn blocker(&self) -> Child {
        let mut child = self.attacher(feature::ALL, "block");
        assert_eq!(child.hear().as_deref(), Some("attached"));
        child
    }

    /// How long a child takes to attach.
    fn time_of_attaching(&self) -> Duration {
        let began = Instant::now();
        let mut child = self.attacher(feature::ALL, "");
        child.hear().unwrap();
        child.kill();
        began.elapsed()
    }

    /// Traffic of both senders, each datagram with its number, while `what` is done.
    /// Returns how many each sent and the numbers of each that arrived.
    fn under_traffic(&self, what: impl FnOnce()) -> ([u32; 2], [Vec<u32>; 2]) {
        let socket = self
            .b
            .within(|| UdpSocket::bind(("0.0.0.0", server().1)).unwrap());
        let size: i32 = 64 << 20;
        // SAFETY: the value outlives the call.
        let set = unsafe {
            use std::os::fd::AsRawFd as _;
            let value = (&raw const size).cast();
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                value,
                4,
            )
        };
        assert_eq!(set, 0);
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let raw = self.a.within(|| Raw::sender("va"));
        let stop = AtomicBool::new(false);
        let sent = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                // 2,000 a second of each.
                let began = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed);
                    for sender in senders() {
                        raw.send(&udp_frame(sender, server(), &number.to_be_bytes()));
                    }
                    sent.store(number + 1, Ordering::Relaxed);
                    let next = began + Duration::from_micros(500) * (number + 1);
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
            let receiver = scope.spawn(|| {
                let mut arrived = [Vec::new(), Vec::new()];
                let mut buffer = [0; 64];
                loop {
                    match socket.recv_from(&mut buffer) {
                        Ok((length, SocketAddr::V4(from))) => {
                            assert_eq!(length, 4);
                            let which = senders().iter().position(|s| s.0 == *from.ip()).unwrap();
                            arrived[which]
                                .push(u32::from_be_bytes(buffer[..4].try_into().unwrap()));
                        }
                        Ok(_) => unreachable!(),
                        Err(_) if stop.load(Ordering::Relaxed) => return arrived,
                        Err(_) => {}
                    }
                }
            });
            {
                let _stop = lab::StopAtEnd(&stop);
                what();
            }
            let arrived = receiver.join().unwrap();
            ([sent.load(Ordering::Relaxed); 2], arrived)
        })
    }
}

fn pause() {
    thread::sleep(Duration::from_millis(150));
}

#[test]
fn nothing_is_lost_when_the_agent_is_killed_restarted_and_changed() {
    let Some(scene) = Scene::set() else { return };
    let pins = scene.lab.pins();
    let first = scene.blocker();
    let index = scene.b.within(|| Interface::find("vb")).unwrap().index;
    let plane = Plane::open(&pins);
    let mut programs = Vec::new();
    let mut counted = Vec::new();
    let (sent, arrived) = scene.under_traffic(|| {
        pause();
        let mut look = || {
            programs.push(
                scene
                    .b
                    .within(|| bpf::xdp("vb"))
                    .expect("an XDP program on the interface"),
            );
            let mut seen = 0;
            let goes_on = lab::wait_for(Duration::from_secs(2), || {
                seen = plane.of(index).0.tally(Fate::Seen).packets;
                counted.last().is_none_or(|before| *before < seen)
            });
            assert!(goes_on, "{counted:?}, then {seen}");
            counted.push(seen);
        };
        look();
        first.kill();
        pause();
        look();
        // The same again, then with other settings, each killed as well.
        let fewer = feature::ALL & !(feature::VLAN | feature::SIGNATURES | feature::ENDED);
        for features in [feature::ALL, fewer, feature::ALL] {
            let mut next = scene.attacher(features, "");
            assert_eq!(next.hear().as_deref(), Some("adopted"));
            pause();
            look();
            next.kill();
        }
        // Killed at any point of attaching, however long that takes on this machine.
        let whole = scene.time_of_attaching();
        for n in 1..=4 {
            let next = scene.attacher(feature::ALL, "");
            thread::sleep(whole * n / 4);
            next.kill();
        }
        look();
        let mut last = scene.attacher(fewer, "");
        assert_eq!(last.hear().as_deref(), Some("adopted"));
        pause();
        look();
    });
    println!(
        "{} of each sent; programs {programs:?}; seen {counted:?}",
        sent[0]
    );
    // Of the first every one arrived, once and in order; of the second none.
    assert_eq!(arrived[0].len() as u32, sent[0], "datagrams lost");
    assert!(arrived[0].iter().copied().eq(0..sent[0]));
    assert_eq!(
        arrived[1],
        Vec::<u32>::new(),
        "let through although blocked"
    );
    // Each swap was one; the first kill changed nothing.
    assert_eq!(programs[0], programs[1]);
    assert!(
        programs[1..5].windows(2).all(|pair| pair[0] != pair[1]),
        "{programs:?}"
    );
    // One record from the first packet on.
    let flows = plane.records_of(&key(senders()[0], server(), UDP, index));
    let total: u64 = flows.iter().map(|flow| flow.record.totals().0).sum();
    assert_eq!(
        (flows.len(), total),
        (1, sent[0].into()),
        "flow records and their packets"
    );
    let (ingress, _) = plane.of(index);
    assert_eq!(
        ingress.tally(Fate::DroppedAddress).packets,
        u64::from(sent[1])
    );
    assert_eq!(ingress.tally(Fate::Seen).packets, 2 * u64::from(sent[0]));
    assert_eq!(plane.account().difference(), (0, 0));
    let plane_hits = plane.tables.hits_of(1);
    assert_eq!(
        plane_hits.dropped_packets,
        u64::from(sent[1]),
        "hits of the verdict"
    );
    drop(plane);
    nothing_left(&scene, &pins);
}

/// Detaches, and looks for anything that stayed.
fn nothing_left(scene: &Scene, pins: &Pins) {
    let mut programs: Vec<u32> = Vec::new();
    let clock = Xdp::from_pin(pins.clock(), XdpAttachType::Interface).unwrap();
    programs.push(clock.info().unwrap().id());
    drop(clock);
    programs.extend(scene.b.within(|| bpf::xdp("vb")).map(|id| id as u32));
    programs.extend(scene.b.within(|| bpf::tcx_egress_ids("vb")));
    let burst = bpf::bpftool(&format!("link show pinned {}", pins.bursts().display()));
    programs.extend(burst["prog_id"].as_u64().map(|id| id as u32));
    assert_eq!(programs.len(), 4);
    // Killed or not: what ends bursts does so in the map that packets look into.
    let bursts = MapData::from_pin(pins.map(map::BURSTS))
        .and_then(|bursts| bursts.info())
        .map(|bursts| bursts.id())
        .unwrap();
    for id in &programs[1..] {
        let mut loaded = aya::programs::loaded_programs().filter_map(Result::ok);
        let program = loaded.find(|program| program.id() == *id).unwrap();
        let maps = program.map_ids().unwrap().unwrap_or_default();
        assert!(maps.contains(&bursts), "program {id}");
    }
    // The programs' own maps, those that are not pinned too.
    let mut maps: Vec<u32> = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter(|program: &ProgramInfo| programs.contains(&program.id()))
        .flat_map(|program| program.map_ids().unwrap().unwrap_or_default())
        .collect();
    maps.extend(map::ALL.map(|name| {
        MapData::from_pin(pins.map(name))
            .unwrap()
            .info()
            .unwrap()
            .id()
    }));
    assert_eq!(attach::detach_all(pins).unwrap(), ["vb"]);
    scene.b.within(|| {
        assert_eq!(bpf::xdp("vb"), None);
        assert_eq!(bpf::tcx_egress("vb"), Vec::<String>::new());
    });
    assert!(!pins.root().exists(), "something is pinned still");
    let still = |what: &str, ours: &[u32]| {
        let there = bpf::ids(what);
        ours.iter()
            .filter(|id| there.contains(&u64::from(**id)))
            .count()
    };
    // The kernel frees them after a grace period.
    let gone = lab::wait_for(Duration::from_secs(5), || {
        still("prog", &programs) == 0 && still("map", &maps) == 0
    });
    assert!(
        gone,
        "{} programs and {} maps are loaded still",
        still("prog", &programs),
        still("map", &maps)
    );
}

#[test]
fn other_maps_come_in_under_traffic() {
    let Some(scene) = Scene::set() else { return };
    let pins = scene.lab.pins();
    scene.blocker().kill();
    let (sent, arrived) = scene.under_traffic(|| {
        for flow_slots in [2048, 256] {
            pause();
            let sizes = Request {
                sizes_given: true,
                ..plane::request(flow_slots, 32)
            };
            let replaced = scene.b.within(|| replace::replace(&pins, &sizes)).unwrap();
            assert_eq!((replaced.attached.len(), replaced.verdicts), (1, 1));
            assert_eq!(
                Plane::open(&pins).tables.control.load(0).flow_slots,
                flow_slots
            );
        }
        pause();
    });
    println!("{} of each sent", sent[0]);
    assert!(arrived[0].iter().copied().eq(0..sent[0]), "datagrams lost");
    assert_eq!(
        arrived[1],
        Vec::<u32>::new(),
        "let through although blocked"
    );
    assert_eq!(Plane::open(&pins).account().difference(), (0, 0));
    nothing_left(&scene, &pins);
}

#[test]
fn killed_while_it_attaches_for_the_first_time() {
    let Some(scene) = Scene::set() else { return };
    let pins = scene.lab.pins();
    let mut half = 0;
    let whole = scene.time_of_attaching();
    attach::detach_all(&pins).unwrap();
    for n in 1..=5 {
        let child = scene.attacher(feature::ALL, "");
        thread::sleep(whole * n / 5);
        child.kill();
        let left = pins.is_populated();
        let again = scene.b.within(|| {
            let interface = Interface::find("vb").unwrap();
            attach::attach(&pins, &interface, &request(feature::ALL))
        });
        half += u32::from(left && again.as_ref().is_ok_and(|again| !again.replaced));
        assert!(
            again.is_ok(),
            "killed after {:?}: {}",
            whole * n / 5,
            again.unwrap_err()
        );
        attach::detach_all(&pins).unwrap();
        assert!(!pins.root().exists());
    }
    println!("{half} of 5 killed with the maps made and nothing attached");
}

#[test]
#[ignore = "a process of the tests of survival"]
fn replace_again_and_again() {
    let Some(arguments) = child::arguments() else {
        return;
    };
    let [root, space] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    Space::at(space).enter();
    for flow_slots in [64, 128].into_iter().cycle() {
        let sizes = Request {
            sizes_given: true,
            ..plane::request(flow_slots, 16)
        };
        replace::replace(&Pins::new(root), &sizes).unwrap();
        child::say("replaced");
    }
}

#[test]
fn killed_while_it_replaces_the_maps() {
    let Some(scene) = Scene::set() else { return };
    let pins = scene.lab.pins();
    scene.blocker().kill();
    let replacer = || {
        Child::start(
            "replace_again_and_again",
            &[pins.root().to_str().unwrap(), &scene.b.path()],
        )
    };
    let blocked = |when: &str| {
        let mut plane = Plane::open(&pins);
        let listed = plane.writer().list().unwrap();
        assert_eq!(listed.len(), 1, "{when}: verdicts that are left");
    };
    let (sent, arrived) = scene.under_traffic(|| {
        let mut child = replacer();
        child.hear().unwrap();
        let began = Instant::now();
        child.hear().unwrap();
        let whole = began.elapsed();
        child.kill();
        for n in 0..3 {
            let mut child = replacer();
            child.hear().unwrap();
            // Most often near the end, where the new maps come in.
            thread::sleep(whole * (n + 2) / 4);
            child.kill();
            let when = format!("killed after {n}");
            let again = scene.b.within(|| {
                attach::attach(
                    &pins,
                    &Interface::find("vb").unwrap(),
                    &request(feature::ALL),
                )
            });
            assert!(again.is_ok(), "{when}: {}", again.unwrap_err());
            assert!(again.unwrap().replaced, "{when}");
            blocked(&when);
        }
    });
    println!("{} of each sent", sent[0]);
    assert!(arrived[0].iter().copied().eq(0..sent[0]), "datagrams lost");
    assert_eq!(
        arrived[1],
        Vec::<u32>::new(),
        "let through although blocked"
    );
    nothing_left(&scene, &pins);
}
