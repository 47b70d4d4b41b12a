//! How each tree of an ensemble is gone through, by its shape and the processor.
//!
//! A tree's first levels have few nodes that many rows pass: bit-sliced, all of them take less time than one row's step
//! from each to the next. Further down it is the other way round. So a tree has a head, which is bit-sliced, and what is left
//! of the way is walked; the head of a small tree is the whole of it.

use std::ops::Range;

use super::{instructions::Instructions, ranks::Ranks};
use crate::model::{ensemble::Ensemble, node::Node};

/// Exits of a head that a byte can tell apart.
const EXITS_MAX: usize = 256;
/// Words that say which rows came to each node of a head; one is to spare.
pub(super) const WORDS: usize = 2 * EXITS_MAX;

/// How one tree is gone through.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TreePlan {
    /// Of the inner nodes of the head.
    inner: Range<usize>,
    /// Of the nodes that lead out of the head.
    exits: Range<usize>,
    /// Of their values, where the head is the whole tree.
    values: Range<usize>,
    /// Steps to walk behind the head.
    pub(super) rest: u16,
}

/// An inner node: what it compares and where in its tree it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlicedNode {
    pub(super) threshold: f32,
    /// [`Node::side`], below 2^12.
    pub(super) side: u16,
    /// Its number in its tree, below [`WORDS`].
    pub(super) at: u16,
    /// As [`Self::side`], of the column of ranks instead of the feature.
    pub(super) rank_side: u32,
    /// The threshold's rank there.
    pub(super) rank: u8,
}

/// How each tree of an ensemble is gone through.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::model) struct Plan {
    pub(super) instructions: Instructions,
    pub(super) trees: Vec<TreePlan>,
    /// What AVX-512 compares; empty otherwise.
    pub(super) ranks: Ranks,
    inner: Vec<SlicedNode>,
    /// Numbers in their tree.
    exits: Vec<u16>,
    /// Of exits that are leaves, where nodes have one value; a power of two a tree, from 32 on.
    values: Vec<f32>,
}

/// A head with its arrays.
#[derive(Clone, Copy)]
pub(super) struct Slices<'a> {
    pub(super) inner: &'a [SlicedNode],
    pub(super) exits: &'a [u16],
    pub(super) values: &'a [f32],
    /// Of the plan.
    pub(super) rank_columns: usize,
}

/// The levels of a tree that are bit-sliced.
struct Head {
    /// Inner nodes.
    inner: usize,
    /// Steps behind it.
    rest: u16,
}

impl Head {
    /// What is quickest, where so many inner nodes take as long as a step.
    fn of(nodes: &[[u32; 2]], depth: u16, nodes_a_step: usize) -> Self {
        let walked = usize::from(depth) * nodes_a_step;
        let mut best = (
            walked,
            Self {
                inner: 0,
                rest: depth,
            },
        );
        if nodes_a_step == 0 {
            // Nothing is sliced: a tree of one leaf is walked, too, a step to itself.
            best.1.rest = depth.max(1);
            return best.1;
        }
        // A level's nodes follow one another.
        let (mut level, mut inner) = (0..1, 0);
        for levels in 1..=depth {
            let of_level = nodes[level.clone()]
                .iter()
                .filter(|&&node| Node(node).left() != 0)
                .count();
            inner += of_level;
            level = level.end..level.end + 2 * of_level;
            if inner >= EXITS_MAX {
                break;
            }
            let rest = depth - levels;
            let enter = if rest == 0 { 0 } else { ENTER_STEPS };
            let cost = inner + (usize::from(rest) + enter) * nodes_a_step;
            if cost <= best.0 {
                best = (cost, Self { inner, rest });
            }
        }
        best.1
    }
}

/// Steps that take as long as to begin a walk behind a head: what was measured.
const ENTER_STEPS: usize = 1;

/// The inner nodes of a tree, by their numbers.
fn inner_nodes(nodes: &[[u32; 2]]) -> impl Iterator<Item = (usize, Node)> {
    let nodes = nodes.iter().map(|&node| Node(node)).enumerate();
    nodes.filter(|(_, node)| node.left() != 0)
}

impl Plan {
    /// Plans for an ensemble that was checked.
    pub(in crate::model) fn new(ensemble: &Ensemble, instructions: Instructions) -> Self {
        let mut plan = Self {
            instructions,
            ..Self::default()
        };
        let trees = || {
            ensemble
                .starts
                .windows(2)
                .map(|ends| ends[0] as usize..ends[1] as usize)
        };
        let heads: Vec<Head> = trees()
            .zip(&ensemble.depths)
            .map(|(tree, &depth)| {
                Head::of(&ensemble.nodes[tree], depth, instructions.nodes_a_step())
            })
            .collect();
        if instructions == Instructions::Avx512 {
            let mut thresholds = vec![Vec::new(); ensemble.features()];
            for (tree, head) in trees().zip(&heads) {
                for (_, node) in inner_nodes(&ensemble.nodes[tree]).take(head.inner) {
                    thresholds[node.feature()].push(node.threshold());
                }
            }
            plan.ranks = Ranks::new(thresholds);
        }
        for (tree, head) in trees().zip(heads) {
            plan.add(ensemble, tree, head);
        }
        plan
    }

    fn add(&mut self, ensemble: &Ensemble, tree: Range<usize>, head: Head) {
        let (inner, exits, values) = (self.inner.len(), self.exits.len(), self.values.len());
        for (at, node) in inner_nodes(&ensemble.nodes[tree.clone()]).take(head.inner) {
            let (column, rank) = match self.instructions {
                Instructions::Avx512 => self.ranks.place(node.feature(), node.threshold()),
                _ => (0, 0),
            };
            self.inner.push(SlicedNode {
                threshold: node.threshold(),
                side: node.side() as u16,
                at: at as u16,
                rank_side: (2 * column + node.side() % 2) as u32,
                rank,
            });
        }
        // The head's inner nodes and their children are the first nodes of the tree.
        let mut head_nodes = self.inner[inner..].iter().map(|node| node.at).peekable();
        let out = (0..=2 * head.inner as u16).filter(|at| head_nodes.next_if_eq(at).is_none());
        self.exits.extend(out);
        if head.rest == 0 && ensemble.card.node_values() == 1 {
            let leaves = self.exits[exits..]
                .iter()
                .map(|&at| tree.start + usize::from(at));
            self.values.extend(leaves.map(|leaf| ensemble.values[leaf]));
            let table = (self.exits.len() - exits).next_power_of_two().max(32);
            self.values.resize(values + table, 0.0);
        }
        self.trees.push(TreePlan {
            inner: inner..self.inner.len(),
            exits: exits..self.exits.len(),
            values: values..self.values.len(),
            rest: head.rest,
        });
    }

    /// Trees one after the other that have something to walk, or that have not.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let same = |a: &TreePlan, b: &TreePlan| (a.rest == 0) == (b.rest == 0);
        self.trees.chunk_by(same).scan(0, |start, run| {
            let range = *start..*start + run.len();
            *start = range.end;
            Some(range)
        })
    }

    /// Whether any tree has a head, and so needs columns.
    pub(super) fn slices_any(&self) -> bool {
        self.instructions != Instructions::Scalar
    }

    /// The head of a tree.
    pub(super) fn head(&self, tree: usize) -> Slices<'_> {
        let tree = &self.trees[tree];
        Slices {
            inner: &self.inner[tree.inner.clone()],
            exits: &self.exits[tree.exits.clone()],
            values: &self.values[tree.values.clone()],
            rank_columns: self.ranks.columns.len(),
        }
    }
}
