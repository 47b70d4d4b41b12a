//! An isolation forest as skl2onnx writes it.
//!
//! Each tree is a regressor that answers with the number of the leaf. One LabelEncoder turns that into the rows the leaf
//! ended with (`node_sample…`), another into its path length; further operators make the score of all of them. What is
//! needed of those are two constants: what the sum of path lengths is divided by, and the offset of the decision.

use std::collections::HashMap;

use super::{
    Format, Import, ImportError,
    onnx_graph::malformed,
    onnx_message::{Graph, Node},
    onnx_trees::{Lists, classic},
};
use crate::model::{PostTransform, Summation, average_path_length};

/// How outputs are called that hold the rows a leaf ended with.
const ROWS_OF_LEAF: &str = "node_sample";

/// Whether a graph is one.
pub(super) fn is_one(graph: &Graph) -> bool {
    encoders(graph).next().is_some()
        && graph
            .node
            .iter()
            .any(|node| node.op_type == "TreeEnsembleRegressor")
}

fn encoders(graph: &Graph) -> impl Iterator<Item = &Node> {
    graph.node.iter().filter(|node| {
        let first = node.output.first();
        node.op_type == "LabelEncoder"
            && first.is_some_and(|output| output.starts_with(ROWS_OF_LEAF))
    })
}

/// The constant of the one operator of a type whose outputs' or constants' names begin so.
fn constant(graph: &Graph, prefix: &str) -> Result<f64, ImportError> {
    let mut found = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.name.starts_with(prefix));
    match (
        found.next().and_then(|tensor| tensor.numbers()).as_deref(),
        found.next(),
    ) {
        (Some(&[number]), None) if number.is_finite() => Ok(number),
        _ => Err(malformed(
            format!("the constant `{prefix}`"),
            "is not there once as a number",
        )),
    }
}

pub(super) fn import(graph: &Graph) -> Result<Import, ImportError> {
    let input = graph.input.first().map_or("", |input| input.name.as_str());
    let mut trees = Vec::new();
    let mut features = graph.columns().unwrap_or(0);
    for node in graph
        .node
        .iter()
        .filter(|node| node.op_type == "TreeEnsembleRegressor")
    {
        if node.input.first().map(|value| graph.origin(value)) != Some(input) {
            return Err(malformed(
                "a tree",
                "reads other columns than the input's in their order",
            ));
        }
        let leaves = rows_of_leaves(graph, node)?;
        let lists: Lists = classic(node, "target")?;
        features = features.max(lists.features);
        let path = |leaf: &[(usize, f32)], depth: usize| {
            let rows = match leaf {
                [(_, number)] => leaves.get(&(*number as i64)).copied(),
                _ => None,
            };
            let rows = rows.ok_or_else(|| malformed("a leaf", "has no number of rows"))?;
            Ok(vec![(depth as f64 + average_path_length(rows)) as f32])
        };
        trees.extend(lists.draw(1, path)?);
    }
    let longest = constant(graph, "dec_Divcst")?;
    // Anomalous is what has a decision below 0: a score above minus the offset.
    let threshold = constant(graph, "dec_Addcst")? as f32;
    if longest <= 0.0 {
        return Err(malformed("the constant `dec_Divcst`", "is not above 0"));
    }
    Ok(Import {
        format: Format::Onnx,
        trees,
        features,
        feature_names: None,
        classes: 2,
        class_names: None,
        post_transform: PostTransform::IsolationScore,
        summation: Summation {
            scale: (-1.0 / longest) as f32,
            ..Summation::default()
        },
        thresholds: Some(vec![None, Some(threshold)]),
        notes: vec![
            "the score is scikit-learn's score_samples without its sign: near 1 for anomalies"
                .to_owned(),
        ],
    })
}

/// The rows that each leaf of a tree ended with, by the number that the tree answers with.
fn rows_of_leaves(graph: &Graph, tree: &Node) -> Result<HashMap<i64, f64>, ImportError> {
    let answer = tree.output.first().map_or("", String::as_str);
    let of_tree = |node: &&Node| {
        node.input
            .first()
            .is_some_and(|input| graph.origin(input) == answer)
    };
    let encoder = encoders(graph).find(of_tree);
    let encoder =
        encoder.ok_or_else(|| malformed("a tree", "has no list of the rows of its leaves"))?;
    let keys = encoder.integers("keys_int64s");
    let rows = encoder.numbers("values_floats")?;
    if keys.len() != rows.len() {
        return Err(malformed(
            "a list of the rows of leaves",
            "has not one number a leaf",
        ));
    }
    Ok(keys.iter().copied().zip(rows).collect())
}
