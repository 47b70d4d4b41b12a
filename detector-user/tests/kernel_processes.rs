//! Several processes at once over one pin directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::time::{Duration, Instant};

use detector_user::wire::{
    attach::{self, AttachError},
    interface::Interface,
    pins::{PinError, Pins},
};
use lab::{
    Lab, bpf,
    child::{self, Child},
    plane::{self, Plane, light, seen, send},
    space::{Space, veth},
};

/// Does what it is told again and again for a while, and says what went wrong.
fn keep_at_it(seconds: f64, mut what: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut times = 0;
    while Instant::now() < end {
        if let Err(error) = what() {
            child::say(&format!("error {error}"));
        }
        times += 1;
    }
    child::say(&format!("times {times}"));
}

#[test]
#[ignore = "a process of the tests with several"]
fn attach_again_and_again() {
    let Some(arguments) = child::arguments() else {
        return;
    };
    let [root, space, name, seconds] = &arguments[..] else {
        panic!("{arguments:?}")
    };
    let pins = Pins::new(root);
    Space::at(space).enter();
    let interface = Interface::find(name).unwrap();
    child::say("ready");
    keep_at_it(seconds.parse().unwrap(), || {
        attach::attach(&pins, &interface, &light())
            .map(drop)
            .map_err(|error| error.to_string())
    });
}

#[test]
#[ignore = "a process of the tests with several"]
fn detach_again_and_again() {
    let Some(arguments) = child::arguments() else {
        return;
    };
    let pins = Pins::new(&arguments[0]);
    child::say("ready");
    keep_at_it(arguments[1].parse().unwrap(), || {
        match attach::detach_all(&pins) {
            Ok(_) | Err(AttachError::Pin(PinError::NothingPinned { .. })) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    });
}

/// Lets children run to their end; what they complained of.
fn complaints(children: Vec<Child>) -> Vec<String> {
    let mut all = Vec::new();
    for mut child in children {
        while let Some(said) = child.hear() {
            println!("{said}");
            if said.starts_with("error") {
                all.push(said);
            }
        }
    }
    all
}

/// Two namespaces with two cables between them: `va0` to `vb0`, `va1` to `vb1`.
fn two_pairs() -> (Space, Space) {
    let (a, b) = (Space::new(), Space::new());
    for n in 0..2 {
        veth((&a, &format!("va{n}")), (&b, &format!("vb{n}")));
    }
    (a, b)
}

#[test]
fn processes_that_attach_at_once_do_not_disturb_each_other() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b) = two_pairs();
    let pins = lab.pins();
    let root = pins.root().to_str().unwrap();
    // Two interfaces, and one of them twice.
    let children = ["vb0", "vb1", "vb0"]
        .iter()
        .map(|name| Child::start("attach_again_and_again", &[root, &b.path(), name, "3"]))
        .collect();
    assert_eq!(complaints(children), Vec::<String>::new());
    let plane = Plane::open(&pins);
    for n in 0..2 {
        let index = b
            .within(|| Interface::find(&format!("vb{n}")))
            .unwrap()
            .index;
        send(&a, &format!("va{n}"), 10);
        assert!(lab::wait_for(Duration::from_secs(2), || seen(
            &plane, index
        ) == 10));
    }
    assert_eq!(plane.account().interfaces.len(), 2);
    assert_eq!(attach::detach_all(&pins).unwrap().len(), 2);
    b.within(|| assert!(bpf::xdp("vb0").is_none() && bpf::xdp("vb1").is_none()));
}

#[test]
fn attaching_while_another_process_detaches_all_works_or_leaves_nothing() {
    let Some(lab) = Lab::new(&["bpftool"]) else {
        return;
    };
    let (a, b) = two_pairs();
    let pins = lab.pins();
    let root = pins.root().to_str().unwrap();
    let mut children: Vec<Child> = ["vb0", "vb1"]
        .iter()
        .map(|name| Child::start("attach_again_and_again", &[root, &b.path(), name, "5"]))
        .collect();
    children.push(Child::start("detach_again_and_again", &[root, "5"]));
    assert_eq!(complaints(children), Vec::<String>::new());
    let index = plane::attach_in(&b, &pins, "vb0", &light()).interface.index;
    let plane = Plane::open(&pins);
    let before = seen(&plane, index);
    send(&a, "va0", 10);
    assert!(lab::wait_for(Duration::from_secs(2), || seen(
        &plane, index
    ) == before + 10));
    attach::detach_all(&pins).unwrap();
    assert!(!pins.root().exists());
    b.within(|| {
        for name in ["vb0", "vb1"] {
            assert_eq!(
                (bpf::xdp(name), bpf::tcx_egress(name)),
                (None, vec![]),
                "{name}"
            );
        }
    });
}
