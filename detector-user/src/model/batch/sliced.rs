//! Small trees: every node compares for many rows at once, and a bit of a word says which rows came there.
//!
//! In breadth-first order the children of the k-th inner node are nodes 2k + 1 and 2k + 2, so each inner node needs only
//! its own place. The work is that of all nodes of a tree whatever the rows, with no branch and no waiting for memory.

use std::ops::Range;

use super::columns::Columns;
use crate::model::{ensemble::Ensemble, node::Node};

/// Rows that go through a tree at once.
pub(super) const SLICE_ROWS: usize = 64;
/// Leaves that a byte can tell apart.
const LEAVES_MAX: usize = 256;
/// Words that say which rows came to each node of a tree with so many leaves; one is to spare.
pub(super) const WORDS: usize = 2 * LEAVES_MAX;

/// What a processor can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::model) enum Instructions {
    /// Nothing beyond what any can: all trees are walked.
    #[default]
    Scalar,
    /// AVX2.
    Avx2,
    /// AVX-512 F, BW and DQ, with BMI 1 and 2.
    Avx512,
}

impl Instructions {
    /// This processor's.
    pub(in crate::model) fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Scalar
    }

    /// Inner nodes for each step of a tree's depth up to which slicing wins: what was measured.
    fn nodes_a_step(self) -> usize {
        match self {
            Self::Scalar => 0,
            Self::Avx2 => 12,
            Self::Avx512 => 19,
        }
    }
}

/// How a tree is gone through.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TreePlan {
    /// Row by row, sixteen in step.
    Walked,
    /// Bit-sliced.
    Sliced(SlicedTree),
}

/// Where a tree lies in a plan's arrays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SlicedTree {
    inner: Range<usize>,
    leaves: Range<usize>,
    values: Range<usize>,
}

/// An inner node: what it compares and where in its tree it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlicedNode {
    pub(super) threshold: f32,
    /// [`Node::side`], below 2^12.
    pub(super) side: u16,
    /// Its number in its tree, below [`WORDS`].
    pub(super) at: u16,
}

/// How each tree of an ensemble is gone through, chosen by its shape and the processor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::model) struct Plan {
    instructions: Instructions,
    features: usize,
    pub(super) trees: Vec<TreePlan>,
    inner: Vec<SlicedNode>,
    /// Numbers of the leaves in their tree.
    leaves: Vec<u16>,
    /// Values of the leaves, where nodes have one value; a power of two a tree, from 32 on.
    values: Vec<f32>,
}

/// A tree with its arrays.
#[derive(Clone, Copy)]
pub(super) struct Slices<'a> {
    pub(super) inner: &'a [SlicedNode],
    pub(super) leaves: &'a [u16],
    pub(super) values: &'a [f32],
    /// Features of the ensemble.
    pub(super) features: usize,
}

impl Plan {
    /// Plans for an ensemble that was checked.
    pub(in crate::model) fn new(ensemble: &Ensemble, instructions: Instructions) -> Self {
        let mut plan = Self {
            instructions,
            features: ensemble.features(),
            trees: Vec::with_capacity(ensemble.trees()),
            inner: Vec::new(),
            leaves: Vec::new(),
            values: Vec::new(),
        };
        for (tree, ends) in ensemble.starts.windows(2).enumerate() {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            let inner = (end - start) / 2;
            let most = instructions.nodes_a_step() * usize::from(ensemble.depths[tree]);
            let planned = if inner < LEAVES_MAX && inner <= most && most > 0 {
                TreePlan::Sliced(plan.slice(ensemble, start, end))
            } else {
                TreePlan::Walked
            };
            plan.trees.push(planned);
        }
        plan
    }

    fn slice(&mut self, ensemble: &Ensemble, start: usize, end: usize) -> SlicedTree {
        let (inner, leaves, values) = (self.inner.len(), self.leaves.len(), self.values.len());
        for (at, &node) in ensemble.nodes[start..end].iter().enumerate() {
            let node = Node(node);
            if node.left() == 0 {
                self.leaves.push(at as u16);
                if ensemble.card.node_values() == 1 {
                    self.values.push(ensemble.values[start + at]);
                }
            } else {
                self.inner.push(SlicedNode {
                    threshold: node.threshold(),
                    side: node.side() as u16,
                    at: at as u16,
                });
            }
        }
        let table = (self.values.len() - values).next_power_of_two().max(32);
        self.values.resize(values + table, 0.0);
        SlicedTree {
            inner: inner..self.inner.len(),
            leaves: leaves..self.leaves.len(),
            values: values..self.values.len(),
        }
    }

    /// Trees one after the other that are gone through in the same way.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let same =
            |a: &TreePlan, b: &TreePlan| (*a == TreePlan::Walked) == (*b == TreePlan::Walked);
        self.trees.chunk_by(same).scan(0, |start, run| {
            let range = *start..*start + run.len();
            *start = range.end;
            Some(range)
        })
    }

    /// Whether any tree is gone through bit-sliced, and so needs columns.
    pub(super) fn slices_any(&self) -> bool {
        !self.inner.is_empty() || !self.leaves.is_empty()
    }

    fn slices(&self, tree: usize) -> Option<Slices<'_>> {
        let TreePlan::Sliced(tree) = &self.trees[tree] else {
            return None;
        };
        Some(Slices {
            inner: &self.inner[tree.inner.clone()],
            leaves: &self.leaves[tree.leaves.clone()],
            values: &self.values[tree.values.clone()],
            features: self.features,
        })
    }

    /// Adds to the sums of [`SLICE_ROWS`] rows from number `from` on the values of the leaves that a sliced tree leads
    /// them to.
    pub(super) fn add_leaves(&self, tree: usize, columns: &Columns, from: usize, sums: &mut [f32]) {
        let (Some(slices), Ok(sums)) =
            (self.slices(tree), <&mut [f32; SLICE_ROWS]>::try_from(sums))
        else {
            return;
        };
        #[cfg(target_arch = "x86_64")]
        match self.instructions {
            Instructions::Scalar => {}
            // SAFETY: an ensemble's plan is made for `Instructions::here`, that of a test for what it found.
            Instructions::Avx2 => unsafe { super::avx2::add_leaves(slices, columns, from, sums) },
            // SAFETY: as above.
            Instructions::Avx512 => unsafe {
                super::avx512::add_leaves(slices, columns, from, sums)
            },
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (slices, columns, from, sums);
    }

    /// Which of its leaves a sliced tree leads [`SLICE_ROWS`] rows to.
    pub(super) fn leaves(&self, tree: usize, columns: &Columns, from: usize) -> [u8; SLICE_ROWS] {
        let mut leaves = [0; SLICE_ROWS];
        let Some(slices) = self.slices(tree) else {
            return leaves;
        };
        #[cfg(target_arch = "x86_64")]
        match self.instructions {
            Instructions::Scalar => {}
            // SAFETY: an ensemble's plan is made for `Instructions::here`, that of a test for what it found.
            Instructions::Avx2 => unsafe {
                super::avx2::store_leaves(slices, columns, from, &mut leaves)
            },
            // SAFETY: as above.
            Instructions::Avx512 => unsafe {
                super::avx512::store_leaves(slices, columns, from, &mut leaves)
            },
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (slices, columns, from, &mut leaves);
        leaves
    }

    /// The number in its tree of a sliced tree's leaf.
    pub(super) fn node_of_leaf(&self, tree: usize, leaf: u8) -> usize {
        self.slices(tree)
            .map_or(0, |slices| usize::from(slices.leaves[usize::from(leaf)]))
    }
}
