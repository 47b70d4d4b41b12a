//! One node in eight bytes.

/// Features a model can have: what a node's eleven bits can name.
pub const FEATURES_MAX: usize = 1 << FEATURE_BITS;
/// Nodes a tree can have: what a node's twenty bits can name.
pub const TREE_NODES_MAX: usize = 1 << CHILD_BITS;

const CHILD_BITS: u32 = 20;
const FEATURE_BITS: u32 = 11;

/// A node as it lies in the file and is walked: the threshold's bits, then from the lowest bit
/// how far behind it its left child is (20 bits; the right one follows it), whether a missing
/// value goes right (1 bit), and the feature (11 bits).
///
/// The one test is `x <= threshold`. A leaf is its own left child with threshold +∞, so that
/// a walk that goes on stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(pub(super) [u32; 2]);

impl Node {
    pub(super) const LEAF: Self = Self([f32::INFINITY.to_bits(), 0]);

    /// A node whose left child is `left` nodes behind it.
    pub(super) fn split(feature: u16, threshold: f32, missing_right: bool, left: u32) -> Self {
        let place =
            left | u32::from(missing_right) << CHILD_BITS | u32::from(feature) << (CHILD_BITS + 1);
        Self([threshold.to_bits(), place])
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
        (self.0[1] >> (CHILD_BITS + 1)) as usize
    }

    /// Twice the feature, and one more where a missing value goes right: where to look in
    /// [`sides`].
    #[inline(always)]
    pub(super) fn side(self) -> usize {
        (self.0[1] >> CHILD_BITS) as usize
    }

    /// How far behind this node is the child that `x` leads to. NaN leads right.
    #[inline(always)]
    #[expect(
        clippy::neg_cmp_op_on_partial_ord,
        reason = "NaN is to lead right, and this way it is one instruction on x86: add with carry"
    )]
    pub(super) fn step(self, x: f32) -> u32 {
        self.left() + u32::from(!(self.threshold() >= x))
    }
}

/// What a node sees of a value, by where it sends a missing one: left with what is not above
/// any threshold, or right as NaN does by itself.
#[inline(always)]
pub(super) fn sides(x: f32) -> [f32; 2] {
    [if x.is_nan() { f32::NEG_INFINITY } else { x }, x]
}
