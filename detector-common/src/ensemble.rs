//! A tree ensemble in integers: for where there is no floating point.
//!
//! The rank of a value among a feature's own sorted thresholds decides every split on that feature. So a row is turned
//! into ranks once, and trees compare ranks only. Floats are never computed with: what is needed of them is their order,
//! and that is the order of integers made of their bits.

use core::cmp::Ordering;

/// Features an ensemble can have.
pub const FEATURES_MAX: usize = 1 << 11;
/// Splits from a root to a leaf, at most.
pub const DEPTH_MAX: usize = 256;
/// The rank of a value that is missing.
pub const MISSING: u16 = u16::MAX;
/// Thresholds of a feature, at most: ranks go from 0 to this.
pub const THRESHOLDS_MAX: usize = MISSING as usize - 1;

/// A number that has the order of the float with these bits; none where that is NaN. Both zeros are one.
#[must_use]
pub const fn order(bits: u32) -> Option<i32> {
    const SIGN: u32 = 1 << 31;
    const INFINITY: u32 = 0xff << 23;
    let magnitude = bits & !SIGN;
    if magnitude > INFINITY {
        None
    } else if bits & SIGN == 0 {
        Some(magnitude as i32)
    } else {
        Some(-(magnitude as i32))
    }
}

/// A node: a split, or where `left` is 0 a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RankNode {
    /// Ranks up to this go left. Of a leaf: 0.
    pub rank: u16,
    /// Twice the feature, and one more where a missing value goes right. Of a leaf: 0.
    pub side: u16,
    /// How far behind it the left child is; the right one follows that.
    pub left: u32,
}

/// What becomes of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labelling {
    /// The class of the largest sum, the first of several.
    Largest,
    /// The second of two classes where the one sum is above this.
    Above(i64),
    /// The second of two classes where the one sum is at most this.
    AtMost(i64),
}

/// An ensemble over arrays that lie elsewhere. Whatever they hold, nothing here panics or goes on without end: where
/// they contradict one another there is no answer.
#[derive(Clone, Copy, Debug)]
pub struct RankedEnsemble<'a> {
    /// Thresholds as [`order`] has them, those of each feature rising.
    pub thresholds: &'a [i32],
    /// Where each feature's thresholds begin, and where the last one's end.
    pub features: &'a [u32],
    /// Where each tree's nodes begin.
    pub roots: &'a [u32],
    /// The nodes of all trees.
    pub nodes: &'a [RankNode],
    /// `width` values a node, in units of the ensemble's own.
    pub values: &'a [i32],
    /// Values of a node.
    pub width: usize,
    /// Which sum each tree adds to, where nodes have one value and there are several sums; else empty.
    pub tree_sums: &'a [u16],
    /// What each sum begins with.
    pub base: &'a [i64],
    /// What becomes of the sums.
    pub labelling: Labelling,
}

impl RankedEnsemble<'_> {
    /// The rank of the float with these bits among a feature's thresholds.
    #[must_use]
    pub fn rank(&self, feature: usize, bits: u32) -> Option<u16> {
        let start = *self.features.get(feature)? as usize;
        let end = *self.features.get(feature.checked_add(1)?)? as usize;
        let thresholds = self.thresholds.get(start..end)?;
        let Some(x) = order(bits) else {
            return Some(MISSING);
        };
        let below = thresholds.partition_point(|t| t.cmp(&x) == Ordering::Less);
        u16::try_from(below).ok().filter(|rank| *rank < MISSING)
    }

    /// The ranks of a row's floats, given by their bits.
    #[must_use]
    pub fn ranks(&self, row: &[u32], ranks: &mut [u16]) -> Option<()> {
        for (feature, (rank, bits)) in ranks.iter_mut().zip(row).enumerate() {
            *rank = self.rank(feature, *bits)?;
        }
        Some(())
    }

    /// The sums over the leaves that all trees lead these ranks to; there are as many as bases.
    #[must_use]
    pub fn sums(&self, ranks: &[u16], sums: &mut [i64]) -> Option<()> {
        if sums.len() != self.base.len() {
            return None;
        }
        sums.copy_from_slice(self.base);
        for (tree, root) in self.roots.iter().enumerate() {
            let leaf = self.leaf(*root as usize, ranks)?;
            let values = self
                .values
                .get(leaf.checked_mul(self.width)?..)?
                .get(..self.width)?;
            let to = match self.tree_sums.get(tree) {
                Some(&sum) => sums.get_mut(usize::from(sum)..)?,
                None => &mut *sums,
            };
            for (sum, value) in to.iter_mut().zip(values) {
                *sum = sum.saturating_add(i64::from(*value));
            }
        }
        Some(())
    }

    /// The class that sums say.
    #[must_use]
    pub fn label(&self, sums: &[i64]) -> Option<usize> {
        let first = *sums.first()?;
        match self.labelling {
            Labelling::Above(bound) => Some(usize::from(first > bound)),
            Labelling::AtMost(bound) => Some(usize::from(first <= bound)),
            Labelling::Largest => {
                let mut best = (0, first);
                for (class, &sum) in sums.iter().enumerate() {
                    if sum > best.1 {
                        best = (class, sum);
                    }
                }
                Some(best.0)
            }
        }
    }

    /// The leaf that a tree leads to.
    fn leaf(&self, root: usize, ranks: &[u16]) -> Option<usize> {
        let mut at = root;
        for _ in 0..=DEPTH_MAX {
            let node = self.nodes.get(at)?;
            if node.left == 0 {
                return Some(at);
            }
            let rank = *ranks.get(usize::from(node.side >> 1))?;
            let right = if rank == MISSING {
                node.side & 1 == 1
            } else {
                rank > node.rank
            };
            at = at
                .checked_add(node.left as usize)?
                .checked_add(usize::from(right))?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn orders_are_those_of_floats(a in any::<u32>(), b in any::<u32>()) {
            let floats = (f32::from_bits(a), f32::from_bits(b));
            match (order(a), order(b)) {
                (Some(x), Some(y)) => prop_assert_eq!(Some(x.cmp(&y)), floats.0.partial_cmp(&floats.1)),
                _ => prop_assert!(floats.0.is_nan() || floats.1.is_nan()),
            }
        }

        #[test]
        fn arrays_of_anything_do_no_harm(
            thresholds in prop::collection::vec(any::<i32>(), 0..8),
            features in prop::collection::vec(0_u32..10, 0..5),
            roots in prop::collection::vec(0_u32..9, 0..4),
            nodes in prop::collection::vec((any::<u16>(), 0_u16..12, 0_u32..5), 0..9),
            values in prop::collection::vec(any::<i32>(), 0..20),
            width in 0_usize..4,
            tree_sums in prop::collection::vec(0_u16..4, 0..4),
            base in prop::collection::vec(any::<i64>(), 0..4),
            row in prop::collection::vec(any::<u32>(), 0..6),
        ) {
            let nodes: std::vec::Vec<RankNode> =
                nodes.into_iter().map(|(rank, side, left)| RankNode { rank, side, left }).collect();
            let ensemble = RankedEnsemble {
                thresholds: &thresholds, features: &features, roots: &roots, nodes: &nodes, values: &values, width,
                tree_sums: &tree_sums, base: &base, labelling: Labelling::Largest,
            };
            let mut ranks = std::vec![0; row.len()];
            let mut sums = std::vec![0; base.len()];
            let _ = ensemble.ranks(&row, &mut ranks);
            if ensemble.sums(&ranks, &mut sums).is_some() {
                let _ = ensemble.label(&sums);
            }
        }
    }

    #[test]
    fn zeros_are_equal_and_infinities_are_the_ends() {
        assert_eq!(order((-0.0_f32).to_bits()), order(0));
        assert!(order(f32::INFINITY.to_bits()) > order(f32::MAX.to_bits()));
        assert!(order(f32::NEG_INFINITY.to_bits()) < order(f32::MIN.to_bits()));
    }
}
