//! The ensemble: arrays that have been checked, so that a walk needs no further care.

use super::{
    card::Card,
    error::ModelError,
    node::{FEATURES_MAX, Node, TREE_NODES_MAX},
    tree::Tree,
};

/// Trees an ensemble can have.
pub const TREES_MAX: usize = 4096;
/// Classes a model can tell apart.
pub const CLASSES_MAX: usize = 256;
/// Splits from a root to a leaf, at most.
pub const DEPTH_MAX: usize = 256;

/// Trees compiled to flat arrays.
///
/// Every index was checked when it was made: a tree's nodes are in breadth-first order, the
/// children of a node side by side behind it, each with one parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    pub(super) card: Card,
    /// Where each tree's nodes begin in `nodes`, and where the last one's end.
    pub(super) starts: Vec<u32>,
    pub(super) nodes: Vec<[u32; 2]>,
    /// Nodes × [`Card::node_values`].
    pub(super) values: Vec<f32>,
    /// Splits from the root to the deepest leaf, per tree.
    pub(super) depths: Vec<u16>,
}

impl Ensemble {
    /// Lays trees out. The card's features give the width of a row, [`Card::node_values`] how many values each node has;
    /// its post-transform and summation say what the values are.
    ///
    /// # Errors
    /// [`ModelError`] where a tree or the card is refused.
    pub fn from_trees(card: Card, trees: &[Tree]) -> Result<Self, ModelError> {
        let mut starts = vec![0];
        let (mut nodes, mut values) = (Vec::new(), Vec::new());
        for (number, tree) in trees.iter().enumerate() {
            tree.lay_out(number as u32, card.node_values(), &mut nodes, &mut values)?;
            within("nodes", nodes.len(), u32::MAX as usize)?;
            starts.push(nodes.len() as u32);
        }
        Self::checked(card, starts, nodes, values)
    }

    /// Checks everything that a walk relies on.
    pub(super) fn checked(
        card: Card,
        starts: Vec<u32>,
        nodes: Vec<[u32; 2]>,
        values: Vec<f32>,
    ) -> Result<Self, ModelError> {
        card.check()?;
        within("features", card.features.len(), FEATURES_MAX)?;
        within("classes", card.classes.len(), CLASSES_MAX)?;
        within("trees", starts.len().saturating_sub(1), TREES_MAX)?;
        let width = card.node_values();
        let fault = |tree: usize, node: usize, cause| ModelError::Tree {
            tree: tree as u32,
            node: node as u32,
            cause,
        };
        if starts.first() != Some(&0)
            || starts.last().map(|&end| end as usize) != Some(nodes.len())
            || !starts.is_sorted()
            || values.len() != nodes.len() * width
        {
            return Err(fault(0, 0, "is not where the list of trees says"));
        }
        let tree_sums = card.summation.tree_sums.len();
        if tree_sums > 0 && tree_sums + 1 != starts.len() {
            return Err(ModelError::Card {
                field: "summation",
                cause: format!("names {tree_sums} trees, there are {}", starts.len() - 1),
            });
        }
        let mut depths = Vec::with_capacity(starts.len());
        for (tree, ends) in starts.windows(2).enumerate() {
            let range = ends[0] as usize..ends[1] as usize;
            let depth = check_tree(&nodes[range.clone()], card.features.len())
                .map_err(|(node, cause)| fault(tree, node, cause))?;
            depths.push(depth);
            let rows = values[range.start * width..range.end * width].chunks_exact(width);
            for (node, row) in rows.enumerate() {
                if let Some(cause) = card.value_fault(row) {
                    return Err(fault(tree, node, cause));
                }
            }
        }
        Ok(Self {
            card,
            starts,
            nodes,
            values,
            depths,
        })
    }

    /// What the model says of itself.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The same trees under another card: calibrated, measured, renamed.
    ///
    /// # Errors
    /// [`ModelError`] where the card contradicts itself or has other features or classes.
    pub fn with_card(self, card: Card) -> Result<Self, ModelError> {
        card.check()?;
        let same = [
            ("feature_set", card.feature_set == self.card.feature_set),
            ("features", card.features == self.card.features),
            ("classes", card.classes == self.card.classes),
            (
                "post_transform",
                card.post_transform == self.card.post_transform,
            ),
            ("summation", card.summation == self.card.summation),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(Self { card, ..self }),
            Some(&(field, _)) => Err(ModelError::Card {
                field,
                cause: "is not that of the trees".to_owned(),
            }),
        }
    }

    /// Trees in it.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.starts.len() - 1
    }

    /// Nodes in it, leaves included.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Splits on the longest way to a leaf.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depths.iter().copied().max().unwrap_or(0).into()
    }

    /// Values in a row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.card.features.len()
    }

    /// Scores of a row.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.card.classes.len()
    }

    /// Whether rows with these features, in this order, are what the model was trained on.
    ///
    /// # Errors
    /// [`ModelError::FeatureSet`] and [`ModelError::Features`], which names those that are
    /// missing and those too many.
    pub fn check_features(&self, set_name: &str, names: &[&str]) -> Result<(), ModelError> {
        self.card.check_features(set_name, names)
    }
}

pub(super) fn within(what: &'static str, found: usize, max: usize) -> Result<(), ModelError> {
    if (1..=max).contains(&found) {
        return Ok(());
    }
    Err(ModelError::Count {
        what,
        found: found as u64,
        max: max as u64,
    })
}

/// The depth of a tree, or the node at fault. In breadth-first order the children of the n-th
/// inner node are nodes 2n + 1 and 2n + 2; a node that comes before it was named as a child
/// would be one without a parent.
fn check_tree(nodes: &[[u32; 2]], features: usize) -> Result<u16, (usize, &'static str)> {
    if !(1..=TREE_NODES_MAX).contains(&nodes.len()) {
        return Err((0, "begins a tree that is empty or too large"));
    }
    let mut named = 1_usize;
    let mut depth = 0;
    // Where the next level of the tree begins.
    let mut level_end = 1;
    for (number, &node) in nodes.iter().enumerate() {
        let node = Node(node);
        if number >= named {
            return Err((number, "has no parent"));
        }
        if number == level_end {
            depth += 1;
            level_end = named;
        }
        if node == Node::LEAF {
            continue;
        }
        if number + node.left() as usize != named || named + 2 > nodes.len() {
            return Err((number, "has children out of order"));
        }
        if node.feature() >= features {
            return Err((number, "tests a feature that the model does not have"));
        }
        if node.threshold().is_nan() {
            return Err((number, "has no number for a threshold"));
        }
        named += 2;
    }
    if depth > DEPTH_MAX {
        return Err((nodes.len() - 1, "is too deep"));
    }
    Ok(depth as u16)
}
