//! Attaching: interfaces that vanish, hooks that are taken, chains that others are in,
//! and sizes that differ.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::time::Duration;

use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use detector_common::{
    abi::INTERFACES_MAX,
    config::{self, hook},
    counters::Fate,
};
use detector_user::wire::{
    attach::{self, AttachError, Mode, Request},
    interface::Interface,
    load::LoadError,
    pins::{PinError, Pins},
};
use lab::{
    Lab, bpf,
    frames::*,
    plane::{self, Plane, light, seen, send},
    raw::Raw,
    space::{Space, veth},
};

#[test]
fn interfaces_may_vanish_for_ever() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b) = (Space::new(), Space::new());
    let pins = lab.pins();
    let mut indices = Vec::new();
    let mut sent = 0;
    for n in 0..5 {
        veth((&a, "va"), (&b, "vb"));
        let attached = plane::attach_in(&b, &pins, "vb", &light());
        let index = attached.interface.index;
        assert!(
            !attached.replaced,
            "cycle {n}: another index is another interface"
        );
        assert!(!indices.contains(&index));
        indices.push(index);
        let plane = Plane::open(&pins);
        let before = seen(&plane, index);
        send(&a, "va", 10);
        sent += 10;
        assert!(lab::wait_for(Duration::from_secs(2), || seen(
            &plane, index
        ) == before + 10));
        a.run("ip link delete dev va");
        assert!(b.within(|| Interface::find("vb")).is_err());
        if n == 2 {
            // As if so many others had come and gone that every place is taken.
            let vanished = plane.tables.interfaces.load(0);
            for place in n + 1..INTERFACES_MAX {
                plane.tables.interfaces.store(
                    place,
                    &config::Interface {
                        index: 1_000_000 + place,
                        ..vanished
                    },
                );
            }
        }
    }
    let plane = Plane::open(&pins);
    let account = plane.account();
    assert_eq!(account.difference(), (0, 0));
    assert_eq!(
        account.total.tally(Fate::Seen).packets,
        sent,
        "a counter was lost"
    );
    assert_eq!(account.interfaces.len(), INTERFACES_MAX as usize);
    attach::detach_all(&pins).unwrap();
    assert!(!pins.root().exists());
}

#[test]
fn each_interface_has_counters_and_flows_of_its_own() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b) = (Space::new(), Space::new());
    let pins = lab.pins();
    let names = [("va0", "vb0"), ("va1", "vb1"), ("va2", "vb2")];
    let attached: Vec<_> = names
        .iter()
        .map(|(from, to)| {
            veth((&a, from), (&b, to));
            plane::attach_in(&b, &pins, to, &plane::request(64, 16))
        })
        .collect();
    let plane = Plane::open(&pins);
    let index = |n: usize| attached[n].interface.index;
    for (n, (from, _)) in names.iter().enumerate() {
        send(&a, from, 100 * (n + 1));
    }
    for n in 0..3 {
        let want = 100 * (n as u64 + 1);
        assert!(
            lab::wait_for(Duration::from_secs(2), || seen(&plane, index(n)) == want),
            "{n}"
        );
        let key = plane::key(v4([10, 0, 0, 1], 1), v4([10, 0, 0, 2], 2), UDP, index(n));
        let records = plane.records_of(&key);
        assert_eq!(
            records.iter().map(|r| r.record.totals().0).sum::<u64>(),
            want
        );
    }
    assert_eq!(plane.flows().len(), 3);
    // One goes: its programs, not the others', and no counter.
    assert!(attach::detach(&pins, index(1)).unwrap());
    assert!(!attach::detach(&pins, index(1)).unwrap());
    for (from, _) in names {
        send(&a, from, 7);
    }
    assert!(lab::wait_for(Duration::from_secs(2), || seen(
        &plane,
        index(2)
    ) == 307));
    assert_eq!([0, 1, 2].map(|n| seen(&plane, index(n))), [107, 200, 307]);
    b.within(|| {
        assert_eq!(bpf::xdp("vb1"), None);
        assert!(bpf::tcx_egress("vb1").is_empty());
        assert!(bpf::xdp("vb0").is_some() && bpf::xdp("vb2").is_some());
        assert_eq!(bpf::tcx_egress("vb0"), ["detector_egress"]);
    });
    // And comes back to its counters.
    let again = plane::attach_in(&b, &pins, "vb1", &plane::request(64, 16));
    assert!(!again.replaced);
    send(&a, "va1", 3);
    assert!(lab::wait_for(Duration::from_secs(2), || seen(
        &plane,
        index(1)
    ) == 203));
    assert_eq!(plane.account().difference(), (0, 0));
    assert_eq!(attach::detach_all(&pins).unwrap().len(), 3);
}

/// In containers the first interface has the same index in each.
#[test]
fn an_interface_of_the_same_index_in_another_namespace_is_another() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b, c) = (Space::new(), Space::new(), Space::new());
    for (n, space) in [&b, &c].into_iter().enumerate() {
        let path = space.path();
        a.run(&format!(
            "ip link add name va{n} type veth peer name vb index 100 netns {path}"
        ));
        a.run(&format!("ip link set dev va{n} up"));
        space.run("ip link set dev vb up");
    }
    let pins = lab.pins();
    plane::attach_in(&b, &pins, "vb", &light());
    let first = b.within(|| bpf::xdp("vb"));
    let second = plane::try_attach_in(&c, &pins, "vb", &light());
    assert!(
        matches!(second, Err(AttachError::Elsewhere { .. })),
        "{second:?}"
    );
    assert_eq!(
        b.within(|| bpf::xdp("vb")),
        first,
        "the other namespace's program"
    );
    assert_eq!(b.within(|| bpf::tcx_egress("vb")), ["detector_egress"]);
    assert!(c.within(|| bpf::xdp("vb")).is_none());
    attach::detach_all(&pins).unwrap();
    for space in [&b, &c] {
        assert_eq!(space.within(|| bpf::xdp("vb")), None);
    }
}

#[test]
fn another_xdp_program_is_named_and_left_alone() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b) = (Space::new(), Space::new());
    veth((&a, "va"), (&b, "vb"));
    let pins = lab.pins();
    let other = bpf::program(bpf_prog_type::BPF_PROG_TYPE_XDP, 2);
    bpf::pin(&other, &lab.directory().join("other"));
    let path = lab.directory().join("other");
    let busy = |holder: &str| {
        let id = b.within(|| bpf::xdp("vb")).unwrap();
        for mode in [Mode::Auto, Mode::Native, Mode::Generic] {
            let error =
                plane::try_attach_in(&b, &pins, "vb", &Request { mode, ..light() }).unwrap_err();
            assert!(
                matches!(error, AttachError::Busy { .. }),
                "{holder}, {mode:?}: {error}"
            );
            let said = error.to_string();
            assert!(
                said.contains(bpf::SOMEBODY) && said.contains(&id.to_string()),
                "{holder}, {mode:?}: {said}"
            );
            b.within(|| {
                assert_eq!(
                    bpf::xdp("vb"),
                    Some(id),
                    "{holder}, {mode:?}: the other's program"
                );
                assert!(bpf::tcx_egress("vb").is_empty());
            });
            assert!(
                !pins.root().exists(),
                "{holder}, {mode:?}: something stayed pinned"
            );
        }
    };
    for (mode, flags) in [("native", 1 << 2), ("generic", 1 << 1)] {
        let index = b.within(|| Interface::find("vb")).unwrap().index;
        let link = b
            .within(|| bpf::link(&other, index, bpf_attach_type::BPF_XDP, flags))
            .unwrap();
        busy(&format!("a link in {mode} mode"));
        drop(link);
        assert!(lab::wait_for(Duration::from_secs(2), || b
            .within(|| bpf::xdp("vb"))
            .is_none()));
    }
    for mode in ["xdpdrv", "xdpgeneric"] {
        b.run(&format!(
            "ip link set dev vb {mode} pinned {}",
            path.display()
        ));
        busy(mode);
        b.run(&format!("ip link set dev vb {mode} off"));
    }
    let attached = plane::attach_in(&b, &pins, "vb", &light());
    assert_eq!(
        (attached.ingress, attached.native_refused),
        (hook::NATIVE, None)
    );
    attach::detach_all(&pins).unwrap();
}

#[test]
fn without_a_bpf_file_system_nothing_is_made() {
    let Some(_lab) = Lab::new(&[]) else { return };
    let b = Space::new();
    let directory = tempfile::tempdir().unwrap();
    for root in [directory.path().to_owned(), directory.path().join("a/b")] {
        let pins = Pins::new(&root);
        let error = plane::try_attach_in(&b, &pins, "lo", &light()).unwrap_err();
        assert!(
            matches!(&error, AttachError::Pin(PinError::NoBpfFs { path }) if *path == root),
            "{error}"
        );
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_driver_without_native_xdp_gets_the_generic_one_and_says_so() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let b = Space::new();
    let pins = lab.pins();
    let native_is_refused = || {
        let native = Request {
            mode: Mode::Native,
            ..light()
        };
        let refused = plane::try_attach_in(&b, &pins, "lo", &native);
        assert!(
            matches!(refused, Err(AttachError::Refused { .. })),
            "{refused:?}"
        );
    };
    native_is_refused();
    assert!(!pins.root().exists());
    let attached = plane::attach_in(&b, &pins, "lo", &plane::request(64, 16));
    assert_eq!(
        (attached.ingress, attached.egress),
        (hook::GENERIC, hook::TCX)
    );
    assert!(attached.native_refused.is_some());
    let plane = Plane::open(&pins);
    b.within(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..50 {
            socket
                .send_to(&[1; 100], socket.local_addr().unwrap())
                .unwrap();
        }
    });
    let both = || {
        let (ingress, egress) = plane.of(attached.interface.index);
        [ingress, egress].map(|c| c.tally(Fate::Seen).packets)
    };
    assert!(
        lab::wait_for(Duration::from_secs(2), || both() == [50, 50]),
        "{:?}",
        both()
    );
    assert_eq!(plane.account().difference(), (0, 0));
    // Asked for natively, what hangs goes on hanging; the same again swaps its programs.
    native_is_refused();
    let again = plane::attach_in(&b, &pins, "lo", &plane::request(64, 16));
    assert!(again.replaced && again.ingress == hook::GENERIC);
    attach::detach_all(&pins).unwrap();
}

#[test]
fn what_leaves_is_counted_before_others_end_the_chain() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b) = (Space::new(), Space::new());
    veth((&a, "va"), (&b, "vb"));
    let pins = lab.pins();
    let index = b.within(|| Interface::find("vb")).unwrap().index;
    // It drops whatever leaves, and was there first.
    let other = bpf::program(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, 2);
    let link = b.within(|| bpf::link(&other, index, bpf_attach_type::BPF_TCX_EGRESS, 0));
    let _link = match link {
        Ok(link) => link,
        Err(error) => return lab::skip(&format!("this kernel has no tcx ({error})")),
    };
    let attached = plane::attach_in(&b, &pins, "vb", &plane::request(64, 16));
    assert_eq!(attached.egress, hook::TCX);
    assert_eq!(
        b.within(|| bpf::tcx_egress("vb")),
        ["detector_egress", bpf::SOMEBODY]
    );
    let plane = Plane::open(&pins);
    let frame = udp_frame(v4([10, 0, 0, 2], 1), v4([10, 0, 0, 1], 2), &[]);
    let (raw, listener) = (
        b.within(|| Raw::sender_by_the_queue("vb")),
        a.within(|| Raw::listener("va")),
    );
    for _ in 0..20 {
        raw.try_send(&frame);
    }
    assert!(
        listener.receive(Duration::from_millis(200)).is_none(),
        "the other drops all"
    );
    assert_eq!(plane.of(index).1.tally(Fate::Seen).packets, 20);
    // Swapped, it keeps its place.
    assert!(plane::attach_in(&b, &pins, "vb", &plane::request(64, 16)).replaced);
    assert_eq!(
        b.within(|| bpf::tcx_egress("vb")),
        ["detector_egress", bpf::SOMEBODY]
    );
    // Left out, it goes, and what arrives is counted on.
    let without = Request {
        no_egress: true,
        ..plane::request(64, 16)
    };
    let attached = plane::attach_in(&b, &pins, "vb", &without);
    assert_eq!((attached.egress, attached.replaced), (hook::NONE, true));
    assert_eq!(b.within(|| bpf::tcx_egress("vb")), [bpf::SOMEBODY]);
    attach::detach_all(&pins).unwrap();
    assert_eq!(
        b.within(|| bpf::tcx_egress("vb")),
        [bpf::SOMEBODY],
        "the other's stays"
    );
}

#[test]
fn other_sizes_are_refused_and_nothing_changes() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b) = (Space::new(), Space::new());
    veth((&a, "va"), (&b, "vb"));
    let pins = lab.pins();
    let first = plane::attach_in(&b, &pins, "vb", &plane::request(128, 32));
    let index = first.interface.index;
    let plane = Plane::open(&pins);
    send(&a, "va", 5);
    assert!(lab::wait_for(Duration::from_secs(2), || seen(
        &plane, index
    ) == 5));
    let program = b.within(|| bpf::xdp("vb"));
    for (flow_slots, verdict_slots, what) in [(256, 32, "flow slots"), (128, 33, "verdict slots")] {
        let other = Request {
            sizes_given: true,
            ..plane::request(flow_slots, verdict_slots)
        };
        let error = plane::try_attach_in(&b, &pins, "vb", &other).unwrap_err();
        assert!(
            matches!(&error, AttachError::Load(LoadError::Resize { what: named, .. }) if *named == what),
            "{error}"
        );
        assert_eq!(
            b.within(|| bpf::xdp("vb")),
            program,
            "the program that was there"
        );
    }
    for (flow_slots, verdict_slots) in [(100, 32), (32, 32), (128, 1), (1 << 24, 32)] {
        let absurd = Request {
            sizes_given: true,
            ..plane::request(flow_slots, verdict_slots)
        };
        assert!(plane::try_attach_in(&b, &pins, "vb", &absurd).is_err());
    }
    send(&a, "va", 5);
    assert!(lab::wait_for(Duration::from_secs(2), || seen(
        &plane, index
    ) == 10));
    // Not asked for, the sizes that are there are gone on with.
    let again = plane::attach_in(&b, &pins, "vb", &plane::request(4096, 64));
    assert!(again.replaced);
    let control = Plane::open(&pins).tables.control.load(0);
    assert_eq!((control.flow_slots, control.verdict_slots), (128, 32));
    send(&a, "va", 5);
    assert!(lab::wait_for(Duration::from_secs(2), || seen(
        &plane, index
    ) == 15));
    attach::detach_all(&pins).unwrap();
}
