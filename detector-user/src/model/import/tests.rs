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
                assert!(!found.is_nan(), "{}", of.file);
                worst = worst.max((found - wanted).abs() / wanted.abs().max(1.0));
            }
        }
        println!("{}: {worst:e}", of.file);
        if worst > TOLERANCE {
            far.push((of.file.clone(), worst));
        }
        if let Some(offset) = of.offset {
            let threshold = model.card().operating_points[0].thresholds[1].unwrap();
            assert!((threshold + offset).abs() < 1e-6);
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

#[test]
fn golden_rows_go_with_a_model_and_must_be_met() {
    let bytes = fixture("lightgbm-multi.txt.gz");
    let rows = floats(&fixture("infinite.rows.gz"));
    let scores = floats(&fixture("lightgbm-multi.txt.scores.gz"));
    let compile = |scores: &[f32]| {
        let import = read(&bytes, None, false).unwrap();
        import.compile(Naming::default(), Some((&rows, scores)), &bytes)
    };
    let model = compile(&scores).unwrap();
    assert!(model.card().golden.is_some());
    Ensemble::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let mut wrong = scores.clone();
    wrong[2] += 2e-6;
    let refused = compile(&wrong).unwrap_err().to_string();
    assert!(refused.contains("golden row 0"), "{refused}");
}

#[test]
fn golden_rows_are_read_from_csv() {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let (features, classes) = (names(&["a", "b"]), names(&["no", "yes"]));
    let read = |text: &str| golden_rows(text.as_bytes(), &features, &classes);
    let (rows, scores) =
        read("b,score:yes,a,score:no,more\n1,0.25,,0.75,x\n-inf,1,2e3,0,y\n").unwrap();
    assert!(rows[0].is_nan());
    assert_eq!(
        (&rows[1..], &scores[..]),
        (
            &[1.0, 2000.0, f32::NEG_INFINITY][..],
            &[0.75, 0.25, 0.0, 1.0][..]
        )
    );
    assert!(
        read("a,b,score:no\n")
            .unwrap_err()
            .to_string()
            .contains("`score:yes`")
    );
    let wrong = read("a,b,score:no,score:yes\n1,1,1,1\n1,q,1,1\n")
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("column `b` of line 3"), "{wrong}");
}

#[test]
fn names_of_this_programs_features_make_a_model_for_it() {
    let bytes = fixture("xgboost-binary.json.gz");
    let import = read(&bytes, None, false).unwrap();
    let mut own: Vec<String> = features::NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    own.reverse();
    own.truncate(import.features);
    let naming = Naming {
        features: Some(own.clone()),
        ..Naming::default()
    };
    let plain = import
        .clone()
        .compile(Naming::default(), None, &bytes)
        .unwrap();
    assert_eq!(
        (&*plain.card().feature_set, &*plain.card().features[3]),
        ("foreign/1", "feature_3")
    );
    let model = import.compile(naming, None, &bytes).unwrap();
    model
        .check_features(features::SET, &features::NAMES)
        .unwrap();
    let rows = floats(&fixture("missing.rows.gz"));
    let (mut a, mut b) = ([0.0; 2], [0.0; 2]);
    for row in rows.chunks(own.len()).take(100) {
        let mut arranged = vec![f32::NAN; features::NAMES.len()];
        for (name, value) in own.iter().zip(row) {
            let place = features::NAMES.iter().position(|own| own == name).unwrap();
            arranged[place] = *value;
        }
        plain.score(row, &mut a);
        model.score(&arranged, &mut b);
        assert_eq!(a, b);
    }
    let few = Naming {
        classes: Some(vec!["one".to_owned()]),
        ..Naming::default()
    };
    let import = read(&bytes, None, false).unwrap();
    assert!(matches!(
        import.compile(few, None, &bytes),
        Err(ImportError::Names {
            wanted: 2,
            found: 1,
            ..
        })
    ));
}

#[test]
fn what_has_no_counterpart_is_refused_by_name() {
    let text = |name: &str| String::from_utf8(fixture(name)).unwrap();
    let refusal = |text: &str| read(text.as_bytes(), None, false).unwrap_err().to_string();
    let xgboost = text("xgboost-binary.json.gz");
    let lightgbm = text("lightgbm-binary.txt.gz");
    for (changed, says) in [
        (
            xgboost.replace("binary:logistic", "survival:cox"),
            "survival:cox",
        ),
        (
            xgboost.replacen("\"split_type\":[0", "\"split_type\":[1", 1),
            "categorical",
        ),
        (
            xgboost.replacen("\"gbtree\"", "\"gblinear\"", 1),
            "gblinear",
        ),
        (
            xgboost.replacen("\"left_children\":[", "\"left_children\":[7,", 1),
            "different lengths",
        ),
        (
            xgboost.replacen("\"base_score\":\"", "\"base_score\":\"x", 1),
            "base_score",
        ),
        (xgboost[..xgboost.len() / 2].to_owned(), "its JSON"),
        (
            lightgbm.replacen("objective=binary", "objective=poisson", 1),
            "poisson",
        ),
        (
            lightgbm.replacen("decision_type=", "decision_type=1 ", 1),
            "decision_type",
        ),
        (lightgbm.replacen("is_linear=0", "is_linear=1", 1), "linear"),
        (
            lightgbm.replacen("num_leaves=", "num_leaves=1", 1),
            "tree 0",
        ),
        (lightgbm.replace("end of trees", ""), "cut short"),
        ("nothing known".to_owned(), "neither"),
    ] {
        let refused = refusal(&changed);
        assert!(refused.contains(says), "{refused:?} does not say {says:?}");
    }
    let with = |kinds: &str| {
        let at = lightgbm.find("decision_type=").unwrap() + "decision_type=".len();
        let end = at + lightgbm[at..].find('\n').unwrap();
        let count = lightgbm[at..end].split_whitespace().count();
        let list = vec![kinds; count].join(" ");
        refusal(&[&lightgbm[..at], &list, &lightgbm[end..]].concat())
    };
    assert!(with("1").contains("categorical"), "{}", with("1"));
    assert!(with("12").contains("missing type"));
    assert!(
        with("4").contains("takes zeros for missing")
            || with("6").contains("takes zeros for missing")
    );
}

#[test]
fn damaged_files_are_refused_or_harmless() {
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for name in [
        "xgboost-base-score.json.gz",
        "xgboost-forest.ubj.gz",
        "lightgbm-forest.txt.gz",
        "lightgbm-forest.json.gz",
        "sklearn-boosting-multi.onnx.gz",
        "sklearn-isolation.onnx.gz",
    ] {
        let good = fixture(name);
        for _ in 0..60 {
            let mut bytes = good.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] = match random(3) {
                    0 => random(256) as u8,
                    1 => b'0' + random(10) as u8,
                    _ => bytes[at] ^ 1 << random(8),
                };
            }
            if random(4) == 0 {
                bytes.truncate(random(good.len()));
            }
            if let Ok(import) = read(&bytes, None, false)
                && import.features < 5000
                && let Ok(model) = import.compile(Naming::default(), None, &bytes)
            {
                let mut scores = vec![0.0; model.classes()];
                model.score(&vec![f32::NAN; model.features()], &mut scores);
                assert!(scores.iter().all(|score| !score.is_nan()));
            }
        }
    }
}

#[test]
fn base_scores_of_older_versions_are_read() {
    let text = String::from_utf8(fixture("xgboost-base-score.json.gz")).unwrap();
    let older = text.replacen("\"base_score\":\"[2E-1]\"", "\"base_score\":\"2E-1\"", 1);
    assert_ne!(text, older);
    let base = |text: &str| read(text.as_bytes(), None, false).unwrap().summation.base;
    assert_eq!(base(&text), base(&older));
    assert!((base(&older)[0] - (0.25_f32).ln()).abs() < 1e-6);
}

#[test]
fn training_that_was_stopped_early_leaves_trees_to_be_asked_for() {
    let bytes = fixture("xgboost-stopped.ubj.gz");
    let trees = |all| read(&bytes, None, all).unwrap().trees.len();
    assert_eq!((trees(false), trees(true)), (12, 36));
}
