//! One decision tree of the linfa-trees crate, for small data and as a cross-check.
//!
//! It looks at every row for every feature at every node, so that its time grows with the square of the rows. What is
//! missing counts as less than everything, for it knows no missing values. It sums in an order that differs from one fit to
//! the next, and so may choose differently between cuts that are nearly as good: of all learners this one alone may give
//! other bytes for the same seed.

use linfa::{Dataset, traits::Fit as _};
use linfa_trees::{DecisionTree, SplitQuality, TreeNode as LinfaNode};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use super::{
    blank_card::blank_card,
    forest::{ClassWeights, TrainError},
    table::Table,
};
use crate::model::{DEPTH_MAX, Ensemble, Split, Tree, TreeNode};

/// Rows above which it takes too long.
const ROWS_MAX: usize = 50_000;

/// How the tree is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinfaOptions {
    /// Splits from the root to a leaf, at most.
    pub depth_max: usize,
    /// Least weight of a leaf.
    pub leaf_weight_min: f64,
    /// What the classes weigh.
    pub class_weights: ClassWeights,
}

impl Default for LinfaOptions {
    fn default() -> Self {
        Self {
            depth_max: 12,
            leaf_weight_min: 1.0,
            class_weights: ClassWeights::None,
        }
    }
}

/// Trains on the given rows.
///
/// # Errors
/// [`TrainError`] where an option is out of range, there are too many rows, or linfa refuses them.
pub fn train_linfa(
    table: &Table,
    rows: &[u32],
    options: &LinfaOptions,
) -> Result<Ensemble, TrainError> {
    if rows.is_empty() {
        return Err(TrainError::Empty);
    }
    if rows.len() > ROWS_MAX {
        return Err(TrainError::Option {
            option: "the number of rows for linfa's tree",
            found: rows.len().to_string(),
            allowed: format!("at most {ROWS_MAX}; a forest of one tree takes more"),
        });
    }
    if !(1..=DEPTH_MAX).contains(&options.depth_max) {
        return Err(TrainError::Option {
            option: "the greatest depth",
            found: options.depth_max.to_string(),
            allowed: format!("1 to {DEPTH_MAX}"),
        });
    }
    let features = table.features();
    let below: Vec<f32> = (0..features)
        .map(|feature| {
            let column = table.column(feature);
            let values = rows.iter().map(|&row| column[row as usize]);
            let least = values.filter(|x| x.is_finite()).fold(0.0, f32::min);
            least - 1.0 - least.abs() / 1e3
        })
        .collect();
    let records = Array2::from_shape_fn((rows.len(), features), |(row, feature)| {
        let x = table.column(feature)[rows[row] as usize];
        if x.is_nan() { below[feature] } else { x }
    });
    let targets: Array1<usize> = rows
        .iter()
        .map(|&row| usize::from(table.labels()[row as usize]))
        .collect();
    let weights = options.class_weights.of_rows(table, rows);
    let dataset = Dataset::new(records, targets)
        .with_weights(weights.iter().map(|weight| *weight as f32).collect());
    let least = options.leaf_weight_min as f32;
    let grown = DecisionTree::params()
        .split_quality(SplitQuality::Gini)
        .max_depth(Some(options.depth_max))
        .min_weight_leaf(least)
        .min_weight_split((2.0 * least).max(2.0))
        .fit(&dataset)
        .map_err(|error| TrainError::Linfa(error.to_string()))?;
    let mut tree = Tree::default();
    take(grown.root_node(), &mut tree);
    tree.values = fractions(&tree, table, rows, &weights);
    let card = blank_card(table, "linfa", options);
    Ok(Ensemble::from_trees(card, &[tree])?)
}

/// Copies a node with all below it; its number.
fn take(node: &LinfaNode<f32, usize>, tree: &mut Tree) -> u32 {
    let number = tree.nodes.len();
    tree.nodes.push(TreeNode::Leaf);
    if let [Some(left), Some(right)] = &node.children()[..]
        && !node.is_leaf()
    {
        let (feature, threshold, _) = node.split();
        let (left, right) = (take(left, tree), take(right, tree));
        tree.nodes[number] = TreeNode::Split(Split {
            feature: feature as u16,
            threshold,
            missing_left: true,
            left,
            right,
        });
    }
    number as u32
}

/// The classes' shares at every node: linfa keeps the commonest class only.
fn fractions(tree: &Tree, table: &Table, rows: &[u32], weights: &[f64]) -> Vec<f32> {
    let classes = table.classes();
    let mut sums = vec![0.0; tree.nodes.len() * classes];
    for (&row, weight) in rows.iter().zip(weights) {
        let label = usize::from(table.labels()[row as usize]);
        let value = |feature: u16| table.column(usize::from(feature))[row as usize];
        tree.path(value, |node| sums[node * classes + label] += weight);
    }
    // A node that linfa's rounding left without rows says what all rows say.
    let root: Vec<f64> = sums[..classes].to_vec();
    sums.chunks(classes)
        .flat_map(|node| {
            let node = if node.iter().sum::<f64>() > 0.0 {
                node
            } else {
                &root
            };
            let sum: f64 = node.iter().sum();
            node.iter()
                .map(move |weight| (weight / sum) as f32)
                .collect::<Vec<_>>()
        })
        .collect()
}
