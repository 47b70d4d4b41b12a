//! Walks down a tree that is not laid out yet.

use crate::model::{Tree, TreeNode};

impl Tree {
    /// Calls `at` with each node on the way of a row; `value` is the row's by feature.
    pub(super) fn path(&self, value: impl Fn(u16) -> f32, mut at: impl FnMut(usize)) {
        let mut node = 0;
        loop {
            at(node);
            let TreeNode::Split(split) = self.nodes[node] else {
                return;
            };
            let x = value(split.feature);
            let left = x <= split.threshold || x.is_nan() && split.missing_left;
            node = if left { split.left } else { split.right } as usize;
        }
    }

    /// The leaf at which a row ends.
    pub(super) fn leaf_of(&self, value: impl Fn(u16) -> f32) -> usize {
        let mut leaf = 0;
        self.path(value, |node| leaf = node);
        leaf
    }
}
