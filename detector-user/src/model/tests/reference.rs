//! References: kept with the model, and refused where they are none.

use serde_json::{Value, json};

use super::*;

fn sound() -> Value {
    json!({
        "rows": 100,
        "class": "class 1",
        "score": { "edges": [0.25, 0.5], "shares": [0.25, 0.5, 0.25, 0.0] },
        "features": {
            "feature 0": { "edges": [], "shares": [0.0, 1.0] },
            "feature 3": { "edges": [-1.0], "shares": [0.1, 0.8, 0.1] },
        },
    })
}

/// A file whose card has this for a reference, with a checksum that fits.
fn file_with(reference: &str) -> Vec<u8> {
    let mut bytes = small().to_bytes().unwrap();
    assert_eq!(bytes.pop(), Some(b'}'));
    bytes.extend_from_slice(format!(",\"reference\":{reference}}}").as_bytes());
    let at = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    let longer = at + bytes.len() as u64 - small().to_bytes().unwrap().len() as u64;
    bytes[24..32].copy_from_slice(&longer.to_le_bytes());
    sealed(bytes)
}

fn refusal(reference: &str) -> String {
    let error = Ensemble::from_bytes(&file_with(reference)).expect_err(reference);
    error.to_string()
}

#[test]
fn a_reference_is_kept_with_its_model() {
    let model = Ensemble::from_bytes(&file_with(&sound().to_string())).unwrap();
    assert_eq!(model.card().reference.as_ref().unwrap().rows, 100);
    assert_eq!(
        Ensemble::from_bytes(&model.to_bytes().unwrap()).unwrap(),
        model
    );
    // One tree looks at some features, one of a leaf at none.
    let used = small().used_features();
    assert!(!used.is_empty() && used.iter().all(|feature| *feature < 4));
    let leaf = Ensemble::from_trees(card(4, 2), &[Numbers(1).tree(4, 2, 0)]).unwrap();
    assert!(leaf.used_features().is_empty());
}

#[test]
fn a_reference_that_is_none_is_refused_by_name() {
    let many: Vec<u32> = (0..5_000).collect();
    for (pointer, value, says) in [
        ("/rows", json!(0), "counted on no row"),
        ("/class", json!("x"), "class \"x\", which the model has not"),
        (
            "/score/edges",
            json!([0.5, 0.25]),
            "do not rise, in the score",
        ),
        ("/score/edges", json!([0.5, 0.5]), "do not rise"),
        ("/score/edges", json!(many), "too many edges"),
        (
            "/score/edges",
            json!([0.5, 1e300]),
            "cannot read the model's card",
        ),
        ("/score/shares", json!([1.0]), "not one share a bin"),
        (
            "/score/shares",
            json!([0.5, 0.5, 0.5, 0.0]),
            "not 1 together",
        ),
        (
            "/score/shares",
            json!([-0.5, 1.0, 0.5, 0.0]),
            "not from 0 to 1",
        ),
        (
            "/features/feature 3/shares",
            json!([0, 0, 0]),
            "spread of feature 3",
        ),
        (
            "/features/feature 3/edges",
            json!(["0"]),
            "cannot read the model's card",
        ),
        (
            "/features",
            json!({"feature 9": {"edges": [], "shares": [0, 1]}}),
            "feature \"feature 9\", which",
        ),
        ("/features", json!([]), "cannot read the model's card"),
    ] {
        let mut broken = sound();
        *broken.pointer_mut(pointer).unwrap() = value;
        let said = refusal(&broken.to_string());
        assert!(said.contains(says), "{pointer}: {said}");
    }
    let text = sound().to_string();
    for (from, to) in [
        ("0.25,0.5]", "NaN,0.5]"),
        ("0.25,0.5]", "1e999,0.5]"),
        ("\"rows\"", "\"row\""),
    ] {
        let said = refusal(&text.replacen(from, to, 1));
        assert!(
            said.contains("cannot read the model's card"),
            "{to}: {said}"
        );
    }
}
