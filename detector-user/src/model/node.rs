//! One node in eight bytes.

/// Features a model can have: what a node's eleven bits can name.
pub const FEATURES_MAX: usize = 1 << FEATURE_BITS;
/// Nodes a tree can have: what a node's twenty bits can name.
pub const TREE_NODES_MAX: usize = 1 << CHILD_BITS;

const CHILD_BITS: u32 = 20;
const FEATURE_BITS: u32 = 11;

/// A node as it lies in the file and is walked: the threshold's bits, then from the lowest bit
/// the number of the left child in its tree (20 bits; the right one follows it), the feature
/// (11 bits), and whether a missing value goes right (1 bit).
///
/// The one test is `x <= threshold`. A leaf is its own left child with threshold +∞, so that
/// a walk that goes on stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(pub(super) [u32; 2]);

impl Node {
    pub(super) fn split(feature: u16, threshold: f32, missing_right: bool, left: u32) -> Self {
        let place = left | u32::from(feature) << CHILD_BITS | u32::from(missing_right) << 31;
        Self([threshold.to_bits(), place])
    }

    pub(super) fn leaf(itself: u32) -> Self {
        Self([f32::INFINITY.to_bits(), itself])
    }

    #[inline(always)]
    pub(super) fn threshold(self) -> f32 {
        f32::from_bits(self.0[0])
    }

    #[inline(always)]
    pub(super) fn left(self) -> u32 {
        self.0[1] & ((1 << CHILD_BITS) - 1)
    }

    #[inline(always)]
    pub(super) fn feature(self) -> usize {
        (self.0[1] >> CHILD_BITS) as usize & (FEATURES_MAX - 1)
    }

    #[inline(always)]
    pub(super) fn missing_right(self) -> bool {
        self.0[1] >> 31 == 1
    }

    /// The child that `x` leads to, by its number in the tree.
    #[inline(always)]
    pub(super) fn next(self, x: f32) -> u32 {
        let right = x > self.threshold() || x.is_nan() && self.missing_right();
        self.left() + u32::from(right)
    }

    /// The same for an `x` that is a number.
    #[inline(always)]
    pub(super) fn next_of_number(self, x: f32) -> u32 {
        self.left() + u32::from(x > self.threshold())
    }
}
