//! Values as ranks among the thresholds that nodes compare them with: one byte says of a value all that a node asks.
//!
//! `x <= t` is so just where the number of thresholds that are below `x` is at most `t`'s own number among them. A feature
//! of more thresholds than a byte can number has several columns of ranks, each for a part of them.

use std::ops::Range;

/// Thresholds of a column.
const THRESHOLDS_MAX: usize = 255;
/// Values of the smallest search tree: what one register of 512 bits holds.
pub(super) const TREE_MIN: usize = 16;

/// A column of ranks: of which feature, among which thresholds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RankColumn {
    pub(super) feature: usize,
    /// The thresholds as a search tree, breadth first from place 1: the children of place n are 2n and 2n + 1. As many
    /// values as a power of two from [`TREE_MIN`] to 256, filled up with +∞.
    pub(super) tree: Vec<f32>,
}

/// All columns of ranks of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranks {
    pub(super) columns: Vec<RankColumn>,
    /// Sorted thresholds of all features.
    thresholds: Vec<f32>,
    /// Of each feature, its thresholds and its first column.
    features: Vec<(Range<usize>, usize)>,
}

impl Ranks {
    /// For the thresholds that nodes compare each feature with.
    pub(super) fn new(mut by_feature: Vec<Vec<f32>>) -> Self {
        let mut ranks = Self::default();
        for (feature, thresholds) in by_feature.iter_mut().enumerate() {
            thresholds.sort_unstable_by(f32::total_cmp);
            thresholds.dedup_by_key(|threshold| threshold.to_bits());
            let start = ranks.thresholds.len();
            ranks.thresholds.extend_from_slice(thresholds);
            ranks
                .features
                .push((start..ranks.thresholds.len(), ranks.columns.len()));
            ranks
                .columns
                .extend(thresholds.chunks(THRESHOLDS_MAX).map(|part| RankColumn {
                    feature,
                    tree: search_tree(part),
                }));
        }
        ranks
    }

    /// The column that a node looks at, and the rank of its threshold there.
    pub(super) fn place(&self, feature: usize, threshold: f32) -> (usize, u8) {
        let (range, column) = &self.features[feature];
        let number = self.thresholds[range.clone()]
            .partition_point(|other| other.total_cmp(&threshold).is_lt());
        (
            column + number / THRESHOLDS_MAX,
            (number % THRESHOLDS_MAX) as u8,
        )
    }
}

/// Sorted thresholds as [`RankColumn::tree`].
fn search_tree(sorted: &[f32]) -> Vec<f32> {
    let size = (sorted.len() + 1).next_power_of_two().max(TREE_MIN);
    (0..size)
        .map(|place: usize| {
            // Of the 2^level places of a level, each parts so many thresholds into two halves.
            let level = place.max(1).ilog2();
            let half = size >> (level + 1);
            let number = (2 * (place.max(1) - (1 << level)) + 1) * half - 1;
            sorted.get(number).copied().unwrap_or(f32::INFINITY)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the search with registers goes.
    fn rank(tree: &[f32], x: f32) -> usize {
        let mut place = 1;
        while place < tree.len() {
            place = 2 * place + usize::from(x.partial_cmp(&tree[place]).is_none_or(|o| o.is_gt()));
        }
        place - tree.len()
    }

    proptest! {
        #[test]
        fn a_rank_decides_as_the_value_does(
            thresholds in prop::collection::vec(prop::num::f32::ANY.prop_filter("a number", |x| !x.is_nan()), 1..700),
            x in prop::num::f32::ANY,
        ) {
            let ranks = Ranks::new(vec![Vec::new(), thresholds.clone()]);
            prop_assert_eq!(ranks.columns.len(), ranks.thresholds.len().div_ceil(THRESHOLDS_MAX));
            for x in thresholds.iter().copied().chain([x, f32::NAN, f32::INFINITY, 0.0, -0.0]) {
                for &threshold in &thresholds {
                    let (column, number) = ranks.place(1, threshold);
                    let rank = rank(&ranks.columns[column].tree, x);
                    prop_assert_eq!(x <= threshold, rank <= usize::from(number));
                }
            }
        }
    }
}
