//! Models of one tree.

use detector_user::{
    decide::family::Family,
    features,
    model::{Card, Ensemble, Reference, Split, Spread, Tree, TreeNode, feature_hash},
};

/// A model called edge that finds every flow to be of a family.
pub fn always(family: Family, version: &str) -> Vec<u8> {
    let tree = Tree {
        nodes: vec![TreeNode::Leaf],
        values: Family::ALL
            .map(|one| f32::from(u8::from(one == family)))
            .to_vec(),
    };
    model(version, &tree, None)
}

/// A model called edge that finds every flow benign, those that carry much forward less so; and that was trained on such as
/// carry so many bytes.
pub fn trained_on_payload(bytes: f32, version: &str) -> Vec<u8> {
    let much = features::NAMES.iter().position(|name| *name == PAYLOAD);
    let scan = |share: f32| {
        Family::ALL.map(|one| match one {
            Family::Benign => 1.0 - share,
            Family::Scan => share,
            _ => 0.0,
        })
    };
    let tree = Tree {
        nodes: vec![
            TreeNode::Split(Split {
                feature: much.unwrap() as u16,
                threshold: 100.0,
                missing_left: true,
                left: 1,
                right: 2,
            }),
            TreeNode::Leaf,
            TreeNode::Leaf,
        ],
        values: [scan(0.0), scan(0.1), scan(0.4)].concat(),
    };
    let reference = Reference {
        rows: 100,
        class: Family::Benign.name().to_owned(),
        score: Spread::of(vec![if bytes > 100.0 { 0.6 } else { 0.9 }; 100]),
        features: [(PAYLOAD.to_owned(), Spread::of(vec![bytes; 100]))].into(),
    };
    model(version, &tree, Some(reference))
}

const PAYLOAD: &str = "fwd_payload";

fn model(version: &str, tree: &Tree, reference: Option<Reference>) -> Vec<u8> {
    let features: Vec<String> = features::NAMES
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    let classes: Vec<String> = Family::ALL.map(|one| one.name().to_owned()).to_vec();
    let card = Card {
        name: "edge".to_owned(),
        version: version.to_owned(),
        feature_set: features::SET.to_owned(),
        feature_hash: feature_hash(features::SET, &features),
        features,
        classes,
        reference,
        ..Card::default()
    };
    let ensemble = Ensemble::from_trees(card, std::slice::from_ref(tree)).unwrap();
    ensemble.to_bytes().unwrap()
}
