//! Large trees: sixteen rows in step through one tree.

use super::{
    columns::{BLOCK_ROWS, Columns},
    sliced::{Plan, SLICE_ROWS, TreePlan},
};
use crate::model::{ensemble::Ensemble, node::Node};

/// Rows walked in step.
const IN_STEP: usize = 16;

impl Ensemble {
    /// Adds the leaves that all trees lead a block's rows to, one value a node, to sums × [`BLOCK_ROWS`].
    pub(super) fn sum_narrow(&self, plan: &Plan, columns: &Columns, sums: &mut [f32]) {
        let tree_sums = &self.card.summation.tree_sums;
        let place =
            |tree: usize| tree_sums.get(tree).map_or(0, |&sum| usize::from(sum)) * BLOCK_ROWS;
        for run in plan.runs() {
            if plan.trees[run.start] == TreePlan::Walked {
                for tree in run {
                    let sums = &mut sums[place(tree)..][..BLOCK_ROWS];
                    self.walk_block(tree, columns, |row, at| sums[row] += self.values[at]);
                }
                continue;
            }
            for from in (0..columns.rows).step_by(SLICE_ROWS) {
                for tree in run.clone() {
                    let sums = &mut sums[place(tree) + from..][..SLICE_ROWS];
                    plan.add_leaves(tree, columns, from, sums);
                }
            }
        }
    }

    /// The same with several values a node, to rows × sums.
    pub(super) fn sum_wide(&self, plan: &Plan, columns: &Columns, sums: &mut [f32]) {
        let width = self.card.node_values();
        let mut add = |row: usize, at: usize| {
            let sums = &mut sums[row * width..][..width];
            for (sum, value) in sums.iter_mut().zip(&self.values[at * width..][..width]) {
                *sum += value;
            }
        };
        for run in plan.runs() {
            if plan.trees[run.start] == TreePlan::Walked {
                for tree in run {
                    self.walk_block(tree, columns, |row, at| {
                        if row < columns.rows {
                            add(row, at);
                        }
                    });
                }
                continue;
            }
            for from in (0..columns.rows).step_by(SLICE_ROWS) {
                let rows = (columns.rows - from).min(SLICE_ROWS);
                for tree in run.clone() {
                    let start = self.starts[tree] as usize;
                    let leaves = plan.leaves(tree, columns, from);
                    for (row, leaf) in leaves.into_iter().enumerate().take(rows) {
                        add(from + row, start + plan.node_of_leaf(tree, leaf));
                    }
                }
            }
        }
    }

    /// Tells of each row of a block, and of some behind its last, which node a tree leads it to.
    #[inline(always)]
    fn walk_block(&self, tree: usize, columns: &Columns, mut reached: impl FnMut(usize, usize)) {
        assert!(columns.fits(self.features()), "columns of another model");
        let values = columns.values();
        let start = self.starts[tree] as usize;
        let depth = self.depths[tree];
        for from in (0..columns.rows).step_by(IN_STEP) {
            let mut at = [start; IN_STEP];
            for _ in 0..depth {
                for (row, at) in at.iter_mut().enumerate() {
                    // SAFETY: `Ensemble::checked` found each start and each child among the nodes and each feature
                    // among the card's; `fits` found a column of `STRIDE` values for each of those, and `from + row` is
                    // below `BLOCK_ROWS`, which `IN_STEP` divides.
                    let (node, x) = unsafe {
                        let node = Node(*self.nodes.get_unchecked(*at));
                        (
                            node,
                            *values.get_unchecked(columns.of_node(node) + from + row),
                        )
                    };
                    *at += node.step(x) as usize;
                }
            }
            for (row, at) in at.into_iter().enumerate() {
                reached(from + row, at);
            }
        }
    }
}

const _: () = assert!(BLOCK_ROWS.is_multiple_of(IN_STEP) && BLOCK_ROWS.is_multiple_of(SLICE_ROWS));
