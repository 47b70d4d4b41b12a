//! Models of one leaf.

use detector_user::{
    decide::family::Family,
    features,
    model::{Card, Ensemble, Tree, TreeNode, feature_hash},
};

/// A model called edge that finds every flow to be of a family.
pub fn always(family: Family, version: &str) -> Vec<u8> {
    let features: Vec<String> = features::NAMES
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    let classes: Vec<String> = Family::ALL.map(|one| one.name().to_owned()).to_vec();
    let values = Family::ALL.map(|one| f32::from(u8::from(one == family)));
    let card = Card {
        name: "edge".to_owned(),
        version: version.to_owned(),
        feature_set: features::SET.to_owned(),
        feature_hash: feature_hash(features::SET, &features),
        features,
        classes,
        ..Card::default()
    };
    let tree = Tree {
        nodes: vec![TreeNode::Leaf],
        values: values.to_vec(),
    };
    let ensemble = Ensemble::from_trees(card, &[tree]).unwrap();
    ensemble.to_bytes().unwrap()
}
