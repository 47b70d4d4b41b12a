//! A tree as a trainer or an importer has it, and its layout breadth first.

use super::{
    error::ModelError,
    node::{FEATURES_MAX, Node, TREE_NODES_MAX},
};

/// A test of one feature: `x <= threshold` goes left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Number of the feature.
    pub feature: u16,
    /// What goes left at most; not NaN.
    pub threshold: f32,
    /// Whether a missing value (NaN) goes left.
    pub missing_left: bool,
    /// Number of the left child.
    pub left: u32,
    /// Number of the right child.
    pub right: u32,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TreeNode {
    /// It ends here.
    Leaf,
    /// It goes on.
    Split(Split),
}

/// A tree in any order, its root first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The nodes.
    pub nodes: Vec<TreeNode>,
    /// A row of values for each node: nodes × [`Card::node_values`](super::Card::node_values). Those of inner nodes,
    /// what a row is worth as far as it came, serve explanations only.
    pub values: Vec<f32>,
}

impl Tree {
    /// Appends this tree's nodes and values breadth first, children side by side.
    pub(super) fn lay_out(
        &self,
        number: u32,
        width: usize,
        nodes: &mut Vec<[u32; 2]>,
        values: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let fault = |node: u32, cause| ModelError::Tree {
            tree: number,
            node,
            cause,
        };
        if self.nodes.is_empty() || self.nodes.len() > TREE_NODES_MAX {
            return Err(ModelError::Count {
                what: "nodes in a tree",
                found: self.nodes.len() as u64,
                max: TREE_NODES_MAX as u64,
            });
        }
        if self.values.len() != self.nodes.len() * width {
            return Err(fault(
                0,
                "and the others have not the values that the card says",
            ));
        }
        let mut order = vec![0_u32];
        let mut next = 0;
        while let Some(&old) = order.get(next) {
            let row = old as usize * width;
            values.extend_from_slice(&self.values[row..row + width]);
            match self.nodes[old as usize] {
                TreeNode::Leaf => nodes.push(Node::LEAF.0),
                TreeNode::Split(split) => {
                    if split.left.max(split.right) as usize >= self.nodes.len() {
                        return Err(fault(old, "has a child that is not there"));
                    }
                    // A tree that is laid out longer than it is has a node with two parents.
                    if order.len() + 2 > self.nodes.len() {
                        return Err(fault(old, "has a child that has another parent"));
                    }
                    if usize::from(split.feature) >= FEATURES_MAX {
                        return Err(fault(old, "tests a feature that cannot be named"));
                    }
                    let left = (order.len() - next) as u32;
                    let node =
                        Node::split(split.feature, split.threshold, !split.missing_left, left);
                    nodes.push(node.0);
                    order.extend([split.left, split.right]);
                }
            }
            next += 1;
        }
        Ok(())
    }
}
