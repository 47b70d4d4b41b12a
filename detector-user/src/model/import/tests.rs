//! Imports against what the source libraries say of the same rows.

use std::{io::Read as _, path::PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::*;

/// How far a score may be from the source's, in units of it where it is above 1.
const TOLERANCE: f32 = 1e-6;

#[derive(Deserialize)]
struct Fixture {
    file: String,
    rows: String,
    classes: usize,
    /// Of an isolation forest: scikit-learn's `offset_`.
    offset: Option<f32>,
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name);
    let file =
        std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (all, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    all.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn fixtures() -> Vec<Fixture> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/fixtures.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn model_file(fixture_: &Fixture) -> Vec<u8> {
    fixture(&format!("{}.gz", fixture_.file))
}

#[test]
fn imports_score_as_their_sources_do() {
    let mut far = Vec::new();
    for of in fixtures() {
        let bytes = model_file(&of);
        let read = read(&bytes, None, false).unwrap_or_else(|error| panic!("{}: {error}", of.file));
        let features = read.features;
        let rows = floats(&fixture(&format!("{}.rows.gz", of.rows)));
        let wanted = floats(&fixture(&format!("{}.scores.gz", of.file)));
        assert!(
            wanted.len() / of.classes >= 1000 && rows.len() / features == wanted.len() / of.classes
        );
        let naming = Naming {
            name: of.file.clone(),
            version: "1".to_owned(),
            ..Naming::default()
        };
        let model = read
            .compile(naming, None, &bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", of.file));
        let model = Ensemble::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!(model.classes(), of.classes, "{}", of.file);
        let mut found = vec![0.0; of.classes];
        let mut worst = 0.0_f32;
        for (row, wanted) in rows.chunks(features).zip(wanted.chunks(of.classes)) {
            model.score(row, &mut found);
            for (found, wanted) in found.iter().zip(wanted) {
                worst = worst.max((found - wanted).abs() / wanted.abs().max(1.0));
            }
        }
        println!("{}: {worst:e}", of.file);
        if !(worst <= TOLERANCE) {
            far.push((of.file.clone(), worst));
        }
        if let Some(offset) = of.offset {
            let threshold = model.card().operating_points[0].thresholds[1].unwrap();
            assert!((threshold + offset).abs() < 1e-6);
        }
    }
    assert!(far.is_empty(), "{far:?}");
}
