//! One regression tree of boosting, grown leaf by leaf: always at the leaf that gains most.

use super::bins::{BINS, Binned, MISSING};
use crate::model::{Split, Tree, TreeNode};

/// Rows of a node from which its histograms are shared among threads.
const SHARED_ROWS: usize = 32_768;

/// A row and the derivatives of its loss.
#[derive(Clone, Copy, Default)]
pub(super) struct GradientSample {
    pub(super) row: u32,
    pub(super) gradient: f32,
    pub(super) hessian: f32,
}

/// What bounds a tree.
pub(super) struct TreeLimits {
    pub(super) leaves_max: usize,
    pub(super) depth_max: usize,
    pub(super) leaf_rows_min: u32,
    pub(super) leaf_hessian_min: f64,
    pub(super) regularisation: f64,
    pub(super) learning_rate: f64,
}

/// A tree and the bins of its thresholds.
pub(super) struct GrownTree {
    pub(super) tree: Tree,
    cuts: Vec<u8>,
}

impl GrownTree {
    /// The node at which a row of the binned table ends.
    pub(super) fn leaf_of(&self, binned: &Binned, row: u32) -> u32 {
        let mut at = 0;
        while let TreeNode::Split(split) = self.tree.nodes[at as usize] {
            let bin = binned.column(usize::from(split.feature))[row as usize];
            let left = goes_left(bin, self.cuts[at as usize], split.missing_left);
            at = if left { split.left } else { split.right };
        }
        at
    }
}

fn goes_left(bin: u8, cut: u8, missing_left: bool) -> bool {
    bin <= cut && bin != MISSING || bin == MISSING && missing_left
}

/// Sums over rows.
#[derive(Clone, Copy, Default)]
struct Sums {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }

    fn less(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    fn score(self, regularisation: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + regularisation)
    }
}

#[derive(Clone, Copy)]
struct BestCut {
    gain: f64,
    feature: u16,
    bin: u8,
    missing_left: bool,
    left: Sums,
}

struct Leaf {
    node: usize,
    from: usize,
    to: usize,
    depth: usize,
    sums: Sums,
    histograms: Vec<Sums>,
    best: Option<BestCut>,
}

/// Grows a tree on `samples`, which it reorders.
pub(super) fn grow(
    binned: &Binned,
    features: &[u16],
    samples: &mut [GradientSample],
    limits: &TreeLimits,
    threads: usize,
) -> GrownTree {
    let mut sums = Sums::default();
    for sample in &*samples {
        sums.add(of(sample));
    }
    let mut grown = GrownTree {
        tree: Tree::default(),
        cuts: Vec::new(),
    };
    let root = add_leaf(&mut grown, sums, limits);
    let histograms = histograms(binned, features, samples, threads);
    let mut leaves = vec![leaf(
        root,
        0,
        samples.len(),
        0,
        sums,
        histograms,
        binned,
        features,
        limits,
    )];
    let mut right_side = vec![GradientSample::default(); samples.len()];
    while leaves.len() < limits.leaves_max {
        let gain = |leaf: &Leaf| leaf.best.map_or(f64::NEG_INFINITY, |best| best.gain);
        let place =
            (0..leaves.len()).max_by(|&a, &b| gain(&leaves[a]).total_cmp(&gain(&leaves[b])));
        let Some((place, cut)) = place.and_then(|place| Some((place, leaves[place].best?))) else {
            break;
        };
        let parent = leaves.swap_remove(place);
        let here = &mut samples[parent.from..parent.to];
        let column = binned.column(usize::from(cut.feature));
        let (mut lefts, mut rights) = (0, 0);
        for n in 0..here.len() {
            let sample = here[n];
            let left = goes_left(column[sample.row as usize], cut.bin, cut.missing_left);
            // Both are written and one counts: the side of a row is not predictable.
            here[lefts] = sample;
            right_side[rights] = sample;
            lefts += usize::from(left);
            rights += usize::from(!left);
        }
        here[lefts..].copy_from_slice(&right_side[..rights]);
        let (left, right) = here.split_at(lefts);
        let right_sums = parent.sums.less(cut.left);
        let mut larger = parent.histograms;
        let smaller = self::histograms(
            binned,
            features,
            if lefts <= rights { left } else { right },
            threads,
        );
        for (all, part) in larger.iter_mut().zip(&smaller) {
            *all = all.less(*part);
        }
        let (of_left, of_right) = if lefts <= rights {
            (smaller, larger)
        } else {
            (larger, smaller)
        };
        let left_node = add_leaf(&mut grown, cut.left, limits);
        let right_node = add_leaf(&mut grown, right_sums, limits);
        let edges = &binned.edges[usize::from(cut.feature)];
        grown.cuts[parent.node] = cut.bin;
        grown.tree.nodes[parent.node] = TreeNode::Split(Split {
            feature: cut.feature,
            threshold: edges
                .get(usize::from(cut.bin))
                .copied()
                .unwrap_or(f32::INFINITY),
            missing_left: cut.missing_left,
            left: left_node as u32,
            right: right_node as u32,
        });
        let middle = parent.from + lefts;
        let depth = parent.depth + 1;
        leaves.push(leaf(
            left_node,
            parent.from,
            middle,
            depth,
            cut.left,
            of_left,
            binned,
            features,
            limits,
        ));
        leaves.push(leaf(
            right_node, middle, parent.to, depth, right_sums, of_right, binned, features, limits,
        ));
    }
    grown
}

fn of(sample: &GradientSample) -> Sums {
    Sums {
        gradient: f64::from(sample.gradient),
        hessian: f64::from(sample.hessian),
        rows: 1,
    }
}

#[allow(clippy::too_many_arguments, reason = "a leaf is all of this")]
fn leaf(
    node: usize,
    from: usize,
    to: usize,
    depth: usize,
    sums: Sums,
    histograms: Vec<Sums>,
    binned: &Binned,
    features: &[u16],
    limits: &TreeLimits,
) -> Leaf {
    let can = depth < limits.depth_max && sums.rows >= 2 * limits.leaf_rows_min.max(1);
    let best = can
        .then(|| best(&histograms, sums, binned, features, limits))
        .flatten();
    Leaf {
        node,
        from,
        to,
        depth,
        sums,
        // What is not cut needs none.
        histograms: if best.is_some() {
            histograms
        } else {
            Vec::new()
        },
        best,
    }
}

fn add_leaf(grown: &mut GrownTree, sums: Sums, limits: &TreeLimits) -> usize {
    let value = -sums.gradient / (sums.hessian + limits.regularisation) * limits.learning_rate;
    let value = if value.is_finite() { value as f32 } else { 0.0 };
    grown.tree.values.push(value);
    grown.cuts.push(0);
    grown.tree.nodes.push(TreeNode::Leaf);
    grown.tree.nodes.len() - 1
}

fn histograms(
    binned: &Binned,
    features: &[u16],
    samples: &[GradientSample],
    threads: usize,
) -> Vec<Sums> {
    let mut all = vec![Sums::default(); features.len() * BINS];
    let fill = |features: &[u16], part: &mut [Sums]| {
        for (histogram, &feature) in part.chunks_mut(BINS).zip(features) {
            let column = binned.column(usize::from(feature));
            for sample in samples {
                histogram[usize::from(column[sample.row as usize])].add(of(sample));
            }
        }
    };
    if threads < 2 || samples.len() < SHARED_ROWS {
        fill(features, &mut all);
        return all;
    }
    let share = features.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (features, part) in features.chunks(share).zip(all.chunks_mut(share * BINS)) {
            let fill = &fill;
            scope.spawn(move || fill(features, part));
        }
    });
    all
}

fn best(
    histograms: &[Sums],
    total: Sums,
    binned: &Binned,
    features: &[u16],
    limits: &TreeLimits,
) -> Option<BestCut> {
    let before = total.score(limits.regularisation);
    // Less is what rounding makes of none.
    let mut gain_best = 1e-9 * before.abs() + 1e-12;
    let mut best = None;
    for (histogram, &feature) in histograms.chunks_exact(BINS).zip(features) {
        let bins = binned.edges[usize::from(feature)].len() + 1;
        let missing = histogram[usize::from(MISSING)];
        let mut left = Sums::default();
        for (bin, here) in histogram[..bins].iter().enumerate() {
            if here.rows == 0 {
                continue;
            }
            left.add(*here);
            for missing_left in [false, true] {
                if missing_left && missing.rows == 0 {
                    continue;
                }
                let mut left = left;
                if missing_left {
                    left.add(missing);
                }
                let right = total.less(left);
                let least = limits.leaf_rows_min.max(1);
                if left.rows < least
                    || right.rows < least
                    || left.hessian < limits.leaf_hessian_min
                    || right.hessian < limits.leaf_hessian_min
                {
                    continue;
                }
                let gain =
                    left.score(limits.regularisation) + right.score(limits.regularisation) - before;
                if gain > gain_best {
                    gain_best = gain;
                    best = Some(BestCut {
                        gain,
                        feature,
                        bin: bin as u8,
                        // Where none is missing here, those to come go with the more.
                        missing_left: missing_left || missing.rows == 0 && left.rows > right.rows,
                        left,
                    });
                }
            }
        }
    }
    best
}
