//! Models that are swapped under load: no flow is missed, and none is scored by anything but a whole model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

use std::sync::{Arc, mpsc::sync_channel};

use detector_common::{
    key::{Address, FlowKey},
    packet::{Packet, protocol},
    record::FlowRecord,
};
use detector_user::{
    agent::pipeline::Pipeline,
    decide::{family::Family, policy::Policy},
    features,
    model::{Card, Ensemble, Tree, TreeNode, feature_hash},
    score::Scorer,
};

const SWAPS: u32 = 1_000;
const FLOWS_PER_TICK: u32 = 1_000;
const TICK_US: u64 = 100_000;

/// A model file that finds every flow to be of a family.
fn always(family: Family) -> Vec<u8> {
    let features: Vec<String> = features::NAMES
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    let card = Card {
        feature_set: features::SET.to_owned(),
        feature_hash: feature_hash(features::SET, &features),
        features,
        classes: Family::ALL.map(|one| one.name().to_owned()).to_vec(),
        ..Card::default()
    };
    let values = Family::ALL.map(|one| f32::from(u8::from(one == family)));
    let tree = Tree {
        nodes: vec![TreeNode::Leaf],
        values: values.to_vec(),
    };
    let trees: Vec<Tree> = (0..50).map(|_| tree.clone()).collect();
    let ensemble = Ensemble::from_trees(card, &trees).unwrap();
    ensemble.to_bytes().unwrap()
}

#[test]
fn a_thousand_swaps_under_a_million_flows() {
    let files = [always(Family::Benign), always(Family::Scan)];
    // Loaded and checked beside the loop, as the agent does; the loop takes what is ready between two ticks.
    let (sender, loaded) = sync_channel(4);
    let loader = std::thread::spawn(move || {
        for n in 0..SWAPS {
            let scorer = Scorer::from_bytes(&files[n as usize % 2], "of a test").unwrap();
            sender.send(Arc::new(scorer)).unwrap();
        }
    });
    let mut pipeline = Pipeline::new(Policy::default(), None);
    let mut now_us = 1_000_000;
    for tick in 0..SWAPS {
        pipeline.set_scorer(Some(loaded.recv().unwrap()));
        now_us += TICK_US;
        for n in 0..FLOWS_PER_TICK {
            // Each begins in place of another, from one of many clients of one server.
            let source = Address::from_ipv4((0x0a00_0000 + (tick * 7 + n) % 50_000).to_be_bytes());
            let packet = Packet {
                source,
                destination: Address::from_ipv4([10, 9, 0, 1]),
                source_port: 1024 + (n % 50_000) as u16,
                destination_port: 53,
                protocol: protocol::UDP,
                window: 0,
                tcp_flags: 0,
                header_bytes: 8,
                later_fragment: false,
                short_transport: false,
                payload_bytes: 40,
                wire_bytes: 82,
                segments: 1,
                segment_bytes: 0,
            };
            let (key, from_low) = FlowKey::new(
                (packet.source, packet.source_port),
                (packet.destination, packet.destination_port),
                packet.protocol,
                0,
            );
            let mut record = FlowRecord::default();
            record.begin(&key, from_low, None, &packet, now_us - 10);
            pipeline.observe(n, &record, None, now_us);
        }
        pipeline.tick(&|_| None, now_us);
    }
    loader.join().unwrap();
    let counts = pipeline.counts();
    let flows = u64::from(SWAPS) * u64::from(FLOWS_PER_TICK);
    assert_eq!(
        (counts.scored, counts.left_out),
        (flows, 0),
        "none is missed"
    );
    assert_eq!(
        counts.found,
        flows / 2,
        "each model finds all of its flows, or none"
    );
}
