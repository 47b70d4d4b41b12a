//! Large trees behind their heads: sixteen rows in step through one tree.

use super::{
    columns::{BLOCK_ROWS, Columns, Rows},
    plan::Plan,
    sliced::SLICE_ROWS,
};
use crate::model::{ensemble::Ensemble, node::Node};

/// Rows walked in step: what was quickest of 4 to 32.
const IN_STEP: usize = 16;
/// In blocks of fewer slices fetching the next tree takes longer than it saves.
const SLICES_TO_FETCH: usize = 8;
/// Nodes, and values, in a line of the cache.
const LINE_NODES: usize = 8;
const LINE_VALUES: usize = 16;

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
            if plan.trees[run.start].rest > 0 {
                for tree in run {
                    let sums = &mut sums[place(tree)..][..BLOCK_ROWS];
                    let add = |row: usize, at: usize| sums[row] += self.values[at];
                    self.walk_block(plan, tree, rows, columns, add);
                }
                continue;
            }
            for from in (0..rows.count).step_by(SLICE_ROWS) {
                for tree in run.clone() {
                    let sums = &mut sums[place(tree) + from..][..SLICE_ROWS];
                    plan.add_leaves(tree, columns, from / SLICE_ROWS, sums);
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
        if width == 2 {
            // Two classes are the common case, worth a loop without a loop in it.
            let ((sums, _), (values, _)) =
                (sums.as_chunks_mut::<2>(), self.values.as_chunks::<2>());
            for tree in 0..self.trees() {
                self.walk_block(plan, tree, rows, columns, |row, at| {
                    let [a, b] = values[at];
                    sums[row][0] += a;
                    sums[row][1] += b;
                });
            }
            return;
        }
        let mut add = |row: usize, at: usize| {
            let sums = &mut sums[row * width..][..width];
            for (sum, value) in sums.iter_mut().zip(&self.values[at * width..][..width]) {
                *sum += value;
            }
        };
        for tree in 0..self.trees() {
            self.walk_block(plan, tree, rows, columns, &mut add);
        }
    }

    /// Tells of each row of a block which node a tree leads it to.
    fn walk_block(
        &self,
        plan: &Plan,
        tree: usize,
        rows: Rows<'_>,
        columns: &Columns,
        mut reached: impl FnMut(usize, usize),
    ) {
        let steps = plan.trees[tree].rest;
        let slices = rows.count.div_ceil(SLICE_ROWS);
        for from in (0..rows.count).step_by(SLICE_ROWS) {
            if slices >= SLICES_TO_FETCH {
                self.fetch_part(tree + 1, from / SLICE_ROWS, slices);
            }
            let exits = plan.exits(tree, columns, from / SLICE_ROWS);
            let count = (rows.count - from).min(SLICE_ROWS);
            let (groups, single) = exits[..count].as_chunks::<IN_STEP>();
            for (group, &exits) in groups.iter().enumerate() {
                let from = from + group * IN_STEP;
                let ends = self.walk_rows(tree, rows, from, exits, steps);
                for (row, end) in ends.into_iter().enumerate() {
                    reached(from + row, end);
                }
            }
            let from = from + groups.len() * IN_STEP;
            for (row, &exit) in single.iter().enumerate() {
                let [end] = self.walk_rows(tree, rows, from + row, [exit], steps);
                reached(from + row, end);
            }
        }
    }

    /// Asks memory for one of so many parts of a tree, if there is that tree: a forest that is larger than the caches is on its
    /// way a tree ahead.
    #[inline]
    fn fetch_part(&self, tree: usize, part: usize, parts: usize) {
        let Some(&[start, end]) = self
            .starts
            .get(tree..tree + 2)
            .and_then(|ends| ends.as_array())
        else {
            return;
        };
        let at = |part| start as usize + (end - start) as usize * part / parts;
        let width = self.card.node_values();
        for node in (at(part)..at(part + 1)).step_by(LINE_NODES) {
            fetch(&raw const self.nodes[node]);
        }
        for value in (at(part) * width..at(part + 1) * width).step_by(LINE_VALUES) {
            fetch(&raw const self.values[value]);
        }
    }

    /// The nodes to which a tree leads `ROWS` rows from number `from` on, in so many steps.
    #[inline(always)]
    fn walk_rows<const ROWS: usize>(
        &self,
        tree: usize,
        rows: Rows<'_>,
        from: usize,
        at: [u32; ROWS],
        steps: u16,
    ) -> [usize; ROWS] {
        if rows.missing {
            self.walk_rows_by(tree, rows, from, at, steps, Node::side)
        } else {
            self.walk_rows_by(tree, rows, from, at, steps, Node::feature)
        }
    }

    /// The same; `place` is where a node finds its value in a row.
    #[inline(always)]
    fn walk_rows_by<const ROWS: usize>(
        &self,
        tree: usize,
        rows: Rows<'_>,
        from: usize,
        mut at: [u32; ROWS],
        steps: u16,
        place: impl Fn(Node) -> usize,
    ) -> [usize; ROWS] {
        let width = self.features() << u32::from(rows.missing);
        let values = &rows.values[from * width..][..ROWS * width];
        let nodes = &self.nodes[self.starts[tree] as usize..];
        for _ in 0..steps {
            for (row, at) in at.iter_mut().enumerate() {
                // SAFETY: `Ensemble::checked` found each child among its tree's nodes and each feature among the card's, and
                // an exit of a head is such a child; `values` holds `ROWS` rows of one value each of these, or of two where
                // any is missing.
                let (node, x) = unsafe {
                    let node = Node(*nodes.get_unchecked(*at as usize));
                    (node, *values.get_unchecked(row * width + place(node)))
                };
                *at += node.step(x);
            }
        }
        at.map(|at| self.starts[tree] as usize + at as usize)
    }
}

/// Asks memory for the line of the cache that something is in.
#[inline(always)]
fn fetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: fetching ahead reads nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

const _: () = assert!(BLOCK_ROWS.is_multiple_of(SLICE_ROWS));
