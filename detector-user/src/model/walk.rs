//! Scoring: twenty trees walked in step for one row.
//!
//! A walk down one tree waits for memory at every node. Many walks side by side wait
//! together, and a leaf that leads to itself lets them all take the same number of steps
//! without a branch that could be mispredicted.

use super::{
    calibration::Curve,
    ensemble::Ensemble,
    node::{FEATURES_MAX, Node, sides},
};

/// Trees walked in step: what was quickest of 8 to 32.
const IN_STEP: usize = 20;
/// Features for which there is a smaller buffer, quicker to clear.
const FEATURES_FEW: usize = 128;

impl Ensemble {
    /// The scores of a row's classes (probabilities, but for an identity post-transform), calibrated where the card has
    /// curves. NaN is a missing value.
    ///
    /// `row` has as many values as there are features, `scores` as there are classes.
    ///
    /// # Panics
    /// Where a slice has another length.
    pub fn score(&self, row: &[f32], scores: &mut [f32]) {
        self.score_raw(row, scores);
        Curve::calibrate(&self.card.calibration, scores);
    }

    /// The same without the calibration: what a calibration is fitted to.
    ///
    /// # Panics
    /// As [`Ensemble::score`].
    pub fn score_raw(&self, row: &[f32], scores: &mut [f32]) {
        assert_eq!(row.len(), self.features(), "values in a row");
        assert_eq!(scores.len(), self.classes(), "classes");
        let sums = &mut scores[..self.card.sums()];
        match &self.card.summation.base[..] {
            [] => sums.fill(0.0),
            base => sums.copy_from_slice(base),
        }
        if row.iter().any(|x| x.is_nan()) {
            if row.len() <= FEATURES_FEW {
                self.sum_with_missing::<FEATURES_FEW>(row, sums);
            } else {
                self.sum_with_missing::<FEATURES_MAX>(row, sums);
            }
        } else {
            self.sum(row, sums, Node::feature);
        }
        self.card.transform(scores, self.trees());
    }

    /// The sum for a row that has missing values: both sides of each value lie side by side, so
    /// that a walk takes no more steps for them. At most `FEATURES` values.
    fn sum_with_missing<const FEATURES: usize>(&self, row: &[f32], sums: &mut [f32]) {
        let mut both = [[0.0; 2]; FEATURES];
        for (both, &x) in both.iter_mut().zip(row) {
            *both = sides(x);
        }
        self.sum(both[..row.len()].as_flattened(), sums, Node::side);
    }

    /// Adds up the leaves that all trees lead to. `place` is where a node finds its value among
    /// the `values`: one a feature for [`Node::feature`], two for [`Node::side`].
    #[inline(always)]
    fn sum(&self, values: &[f32], sums: &mut [f32], place: impl Fn(Node) -> usize + Copy) {
        let trees = self.trees();
        let mut tree = 0;
        while tree + IN_STEP <= trees {
            self.sum_of::<IN_STEP>(tree, values, sums, place);
            tree += IN_STEP;
        }
        while tree + IN_STEP / 2 <= trees {
            self.sum_of::<{ IN_STEP / 2 }>(tree, values, sums, place);
            tree += IN_STEP / 2;
        }
        while tree + 4 <= trees {
            self.sum_of::<4>(tree, values, sums, place);
            tree += 4;
        }
        while tree < trees {
            self.sum_of::<1>(tree, values, sums, place);
            tree += 1;
        }
    }

    /// Adds up the leaves that `TREES` trees from number `first` on lead to.
    #[inline(always)]
    fn sum_of<const TREES: usize>(
        &self,
        first: usize,
        values: &[f32],
        sums: &mut [f32],
        place: impl Fn(Node) -> usize,
    ) {
        let mut at: [usize; TREES] = std::array::from_fn(|i| self.starts[first + i] as usize);
        let depths = &self.depths[first..first + TREES];
        for _ in 0..depths.iter().copied().max().unwrap_or(0) {
            for at in &mut at {
                // Checked again here the walk takes a fifth longer.
                // SAFETY: `Ensemble::checked`, through which every ensemble is made, found each start and each child among
                // the nodes and each feature among the card's; nothing changes them afterwards, and `score_raw` asserts
                // that the row has as many values as the card has features, of which `sum` is given one or both sides each.
                let (node, x) = unsafe {
                    let node = Node(*self.nodes.get_unchecked(*at));
                    (node, *values.get_unchecked(place(node)))
                };
                *at += node.step(x) as usize;
            }
        }
        if let Some(tree_sums) = self.card.summation.tree_sums.get(first..first + TREES) {
            for (at, &sum) in at.into_iter().zip(tree_sums) {
                sums[usize::from(sum)] += self.values[at];
            }
            return;
        }
        if let [sum] = sums {
            for at in at {
                *sum += self.values[at];
            }
            return;
        }
        // Two classes are the common case, worth a loop without a loop in it.
        if let [first, second] = sums {
            let (rows, _) = self.values.as_chunks::<2>();
            for at in at {
                let [a, b] = rows[at];
                *first += a;
                *second += b;
            }
            return;
        }
        for at in at {
            for (sum, value) in sums.iter_mut().zip(self.values_of(at)) {
                *sum += value;
            }
        }
    }

    /// The values of a node, by its number over all trees.
    pub(super) fn values_of(&self, node: usize) -> &[f32] {
        let width = self.card.node_values();
        &self.values[node * width..][..width]
    }
}
