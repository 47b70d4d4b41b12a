//! Every program in every specialisation: the verifier of this kernel takes them.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod needs;

use detector_common::config::feature;
use detector_user::wire::load::{self, LoadError, Loader, Settings, draw_seed};

/// Each feature by itself, everything but it, all, none, and what only a capture or
/// another CPU asks for.
fn specialisations() -> Vec<u32> {
    let bits = (0..32)
        .map(|n| 1u32 << n)
        .filter(|bit| feature::ALL & bit != 0);
    let mut all: Vec<u32> = vec![feature::ALL, 0, feature::FLOWS | feature::ETHERNET];
    for bit in bits {
        all.push(bit);
        all.push(feature::ALL & !bit);
    }
    all.push(feature::ALL | feature::WEAK_MEMORY);
    all.push(feature::ALL | feature::REPLAY_CLOCK);
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn every_program_loads_in_every_specialisation() {
    let settings = Settings {
        flow_slots: 64,
        verdict_slots: 64,
        ..Settings::default()
    };
    let mut instructions = Vec::new();
    for features in specialisations() {
        let settings = Settings {
            features,
            ..settings
        };
        let loader = Loader {
            pins: None,
            settings,
            seed: draw_seed().unwrap(),
        };
        let mut ebpf = match loader.open(1, 0) {
            Err(error @ LoadError::Permission { .. }) => return needs::skip(&error.to_string()),
            other => other.unwrap(),
        };
        loader.initialize(&mut ebpf).unwrap();
        let ingress = load::ingress(&mut ebpf)
            .unwrap_or_else(|error| panic!("ingress with features {features:#x}: {error}"));
        let verified = ingress.info().unwrap().verified_instruction_count();
        load::egress(&mut ebpf)
            .unwrap_or_else(|error| panic!("egress with features {features:#x}: {error}"));
        load::burst(&mut ebpf).unwrap();
        instructions.push((features, verified.unwrap_or(0)));
    }
    let (features, most) = instructions.iter().max_by_key(|(_, n)| *n).unwrap();
    println!(
        "{} specialisations load; at most {most} instructions verified ({features:#x}), of 1,000,000",
        instructions.len()
    );
}
