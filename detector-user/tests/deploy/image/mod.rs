//! The image, built by an engine from the Containerfile and run by a runtime as the DaemonSet says: with those capabilities, a
//! root that is read-only, the node's BPF file system. Only the base images and the compiling are stood in for.

mod bundle;
mod engine;
mod place;

use std::fs;

use detector_common::packet::tcp;
use serde_json::{Value, json};

use crate::{
    helm::Helm,
    lab::{
        Lab,
        frames::{tcp_frame, v4},
        raw::Raw,
        root::bootstrapped,
        skip,
        space::{Space, veth},
        wait_for,
    },
    pod::Pod,
};
use bundle::{Bundle, SECONDS};
use engine::Engine;
use place::Place;

/// To so many ports of the node, once.
fn knock(attacker: &Space, ports: u16) {
    attacker.within(|| {
        let raw = Raw::sender("va");
        for port in 1..=ports {
            let (from, to) = (v4([10, 0, 0, 9], 40_000), v4([10, 0, 0, 1], port));
            raw.send(&tcp_frame(from, to, tcp::SYN, &[]));
        }
    });
}

#[test]
fn it_is_built_and_watches_with_three_capabilities_and_goes_without_a_trace() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let tools = ["buildah", "runc", "debootstrap", "curl", "strip"];
    let Some(node) = Lab::new(&tools) else {
        return;
    };
    let base = match bootstrapped() {
        Ok(base) => base,
        Err(reason) => return skip(&reason),
    };
    let place = Place::new();
    let engine = Engine {
        place: &place,
        base: &base,
    };
    let image = engine.built();
    let (attacker, host) = (Space::new(), Space::new());
    veth((&attacker, "va"), (&host, "vb"));
    let values = json!({ "interfaces": ["vb"], "detachOnStop": true });
    let documents = helm.render(&values);
    let pod = Pod::of(&documents);
    let bundle = Bundle::new(&place, &image, &pod, &host, node.directory());

    // As the kubelet does: alive, ready, and it counts.
    let first = bundle.start("first");
    assert!(
        wait_for(SECONDS, || first.answers("livenessProbe")),
        "{}",
        first.said()
    );
    assert!(
        wait_for(SECONDS, || first.answers("readinessProbe")),
        "{}",
        first.said()
    );
    knock(&attacker, 200);
    let flows = |of: &bundle::Running| of.json(&["flows"]).as_array().unwrap().len();
    assert!(
        wait_for(SECONDS, || flows(&first) == 200),
        "{}",
        flows(&first)
    );
    let held = first.json(&["status"])["agent"]["privileges"].clone();
    let three = json!(["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
    assert_eq!(held["capabilities"], three, "{held}");
    assert_eq!(held["no_new_privileges"], true, "{held}");
    // Its output is event lines, and its events are there.
    let told = || fs::read_to_string(&first.events).unwrap();
    assert!(
        wait_for(SECONDS, || told().contains("\"scan\"")),
        "{}",
        first.said()
    );
    for line in told().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    // A pod that is replaced leaves everything in force, and the next one finds it.
    first.stop();
    let link = || host.run("ip -details link show dev vb");
    assert!(link().contains("xdp"), "{}", link());
    let second = bundle.start("second");
    assert!(
        wait_for(SECONDS, || second.answers("readinessProbe")),
        "{}",
        second.said()
    );
    assert_eq!(flows(&second), 200);

    // The chart's hook takes all of it off, and the agent does not hang it up again before it is stopped.
    let hook = &pod.container["lifecycle"]["preStop"]["exec"]["command"];
    let words: Vec<&str> = hook
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    let output = second.exec(&words);
    assert!(output.status.success(), "{output:?}");
    std::thread::sleep(std::time::Duration::from_secs(3));
    second.stop();
    assert!(!link().contains("xdp"), "{}", link());
    assert!(!node.directory().join("detector").exists());
}
