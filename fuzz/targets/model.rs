//! A model file of any bytes, with and without a checksum that makes them credible: refused
//! or usable, and what is read writes the same model again.
//!
//! `cargo +nightly fuzz run --fuzz-dir fuzz model`
#![no_main]

use detector_user::model::Ensemble;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 64 {
        let mut hash = Sha256::new();
        hash.update(&bytes[..32]);
        hash.update(&bytes[64..]);
        bytes[32..64].copy_from_slice(&hash.finalize());
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let _ = Ensemble::from_bytes(data);
    let Ok(model) = Ensemble::from_bytes(&sealed(data)) else {
        return;
    };
    let mut probabilities = vec![0.0; model.classes()];
    let mut contributions = vec![0.0; model.features()];
    for x in [0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let row = vec![x; model.features()];
        model.score(&row, &mut probabilities);
        model.explain(&row, 0, &mut contributions);
    }
    let written = model.to_bytes().expect("what was read can be written");
    let again = Ensemble::from_bytes(&written).expect("what was written can be read");
    assert!(again == model);
});
