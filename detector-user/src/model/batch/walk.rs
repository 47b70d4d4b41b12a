//! Large trees: sixteen rows in step through one tree.

use super::{
    columns::{BLOCK_ROWS, Columns, Rows},
    sliced::{Plan, SLICE_ROWS, TreePlan},
};
use crate::model::{ensemble::Ensemble, node::Node};

/// Rows walked in step: what was quickest of 4 to 32.
const IN_STEP: usize = 16;

impl Ensemble {
    /// Adds the leaves that all trees lead a block's rows to, one value a node, to sums × [`BLOCK_ROWS`].
    pub(super) fn sum_narrow(
        &self,
        plan: &Plan,
        rows: Rows<'_>,
        columns: &Columns,
        sums: &mut [f32],
    ) {
        let tree_sums = &self.card.summation.tree_sums;
        let place =
            |tree: usize| tree_sums.get(tree).map_or(0, |&sum| usize::from(sum)) * BLOCK_ROWS;
        for run in plan.runs() {
            if plan.trees[run.start] == TreePlan::Walked {
                for tree in run {
                    let sums = &mut sums[place(tree)..][..BLOCK_ROWS];
                    self.walk_block(tree, rows, |row, at| sums[row] += self.values[at]);
                }
                continue;
            }
            for from in (0..rows.count).step_by(SLICE_ROWS) {
                for tree in run.clone() {
                    let sums = &mut sums[place(tree) + from..][..SLICE_ROWS];
                    plan.add_leaves(tree, columns, from, sums);
                }
            }
        }
    }

    /// The same with several values a node, to rows × sums.
    pub(super) fn sum_wide(
        &self,
        plan: &Plan,
        rows: Rows<'_>,
        columns: &Columns,
        sums: &mut [f32],
    ) {
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
                    self.walk_block(tree, rows, &mut add);
                }
                continue;
            }
            for from in (0..rows.count).step_by(SLICE_ROWS) {
                let count = (rows.count - from).min(SLICE_ROWS);
                for tree in run.clone() {
                    let start = self.starts[tree] as usize;
                    let leaves = plan.leaves(tree, columns, from);
                    for (row, leaf) in leaves.into_iter().enumerate().take(count) {
                        add(from + row, start + plan.node_of_leaf(tree, leaf));
                    }
                }
            }
        }
    }

    /// Tells of each row of a block which node a tree leads it to.
    fn walk_block(&self, tree: usize, rows: Rows<'_>, mut reached: impl FnMut(usize, usize)) {
        let mut from = 0;
        while from + IN_STEP <= rows.count {
            let at = if rows.missing {
                self.walk_rows::<IN_STEP, true>(tree, rows, from)
            } else {
                self.walk_rows::<IN_STEP, false>(tree, rows, from)
            };
            for (row, at) in at.into_iter().enumerate() {
                reached(from + row, at);
            }
            from += IN_STEP;
        }
        for row in from..rows.count {
            let [at] = if rows.missing {
                self.walk_rows::<1, true>(tree, rows, row)
            } else {
                self.walk_rows::<1, false>(tree, rows, row)
            };
            reached(row, at);
        }
    }

    /// The nodes that a tree leads `ROWS` rows from number `from` on to.
    #[inline(always)]
    fn walk_rows<const ROWS: usize, const MISSING: bool>(
        &self,
        tree: usize,
        rows: Rows<'_>,
        from: usize,
    ) -> [usize; ROWS] {
        let width = self.features() << u32::from(MISSING);
        let values = &rows.values[from * width..][..ROWS * width];
        let nodes = &self.nodes[self.starts[tree] as usize..];
        let mut at = [0_u32; ROWS];
        for _ in 0..self.depths[tree] {
            for (row, at) in at.iter_mut().enumerate() {
                // SAFETY: `Ensemble::checked` found each child among its tree's nodes and each feature among the card's;
                // `values` holds `ROWS` rows of one value each of these, or of two where any is missing.
                let (node, x) = unsafe {
                    let node = Node(*nodes.get_unchecked(*at as usize));
                    let place = if MISSING { node.side() } else { node.feature() };
                    (node, *values.get_unchecked(row * width + place))
                };
                *at += node.step(x);
            }
        }
        at.map(|at| self.starts[tree] as usize + at as usize)
    }
}

const _: () = assert!(BLOCK_ROWS.is_multiple_of(SLICE_ROWS));
