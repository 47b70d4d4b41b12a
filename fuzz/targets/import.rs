//! Another library's model file of any bytes: refused, or a model like any other.
//!
//! `cargo +nightly fuzz run --fuzz-dir fuzz import`
#![no_main]

use detector_user::model::import::{Naming, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(import) = read(data, None, false) else {
        return;
    };
    // No model has more features; naming them all first would be slow only.
    if import.features > 4096 {
        return;
    }
    let Ok(model) = import.compile(Naming::default(), None, data) else {
        return;
    };
    let mut scores = vec![0.0; model.classes()];
    for x in [0.0, f32::NAN, f32::INFINITY] {
        model.score(&vec![x; model.features()], &mut scores);
        assert!(scores.iter().all(|score| !score.is_nan()));
    }
});
