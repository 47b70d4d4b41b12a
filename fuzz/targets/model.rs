//! A model file of any bytes, with and without a checksum that makes them credible: refused
//! or usable, and what is read writes the same model again. Many rows score as one by one.
//!
//! `cargo +nightly fuzz run --fuzz-dir fuzz model`
#![no_main]

use detector_user::model::{Ensemble, Scratch};
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
    let mut scores = vec![0.0; model.classes()];
    let mut contributions = vec![0.0; model.features()];
    let values = [0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for x in values {
        let row = vec![x; model.features()];
        model.score(&row, &mut scores);
        model.explain(&row, model.classes() - 1, &mut contributions);
        let rows = row.repeat(20);
        let mut many = vec![0.0; 20 * model.classes()];
        model.score_rows(&rows, &mut many, &mut Scratch::default());
        for of_row in many.chunks(model.classes()) {
            assert!(
                of_row
                    .iter()
                    .zip(&scores)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
        }
        if let Ok(tables) = model.ranked() {
            let ranked = tables.ensemble();
            let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
            let mut ranks = vec![0; row.len()];
            let mut sums = vec![0; model.card().sums()];
            ranked
                .ranks(&bits, &mut ranks)
                .expect("a rank for every value");
            ranked
                .sums(&ranks, &mut sums)
                .expect("a leaf in every tree");
        }
    }
    let written = model.to_bytes().expect("what was read can be written");
    let again = Ensemble::from_bytes(&written).expect("what was written can be read");
    assert!(again == model);
});
