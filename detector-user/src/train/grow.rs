//! Growing one tree on binned rows.

use super::{
    bins::{BINS, Binned, MISSING},
    random::Random,
    split::{Cut, Search, purity, search},
};
use crate::model::{Split, TREE_NODES_MAX, Tree, TreeNode};

/// A gain must be more than what rounding makes of none.
const PURITY_GAIN_MIN: f64 = 1e-10;

/// One row in a tree. Weights are whole numbers, so that sums of them are exact in any order
/// and a histogram less another is what a new one would be.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) row: u32,
    pub(super) label: u32,
    pub(super) weight: u32,
}

/// What bounds a tree.
pub(super) struct Limits {
    pub(super) depth_max: usize,
    /// Least weight of a leaf, in the samples' units.
    pub(super) leaf_weight_min: u64,
    pub(super) features_per_split: usize,
}

/// A grown tree; `cuts` has the bin of each node's threshold.
pub(super) struct Grown {
    pub(super) tree: Tree,
    cuts: Vec<u8>,
}

impl Grown {
    /// The node at which a row of the binned table ends.
    pub(super) fn leaf_of(&self, binned: &Binned, row: u32) -> usize {
        let mut at = 0;
        while let TreeNode::Split(split) = self.tree.nodes[at] {
            let bin = binned.column(usize::from(split.feature))[row as usize];
            let left = goes_left(bin, self.cuts[at], split.missing_left);
            at = if left { split.left } else { split.right } as usize;
        }
        at
    }
}

fn goes_left(bin: u8, cut: u8, missing_left: bool) -> bool {
    bin <= cut || bin == MISSING && missing_left
}

/// A node whose split is still to be found.
struct Pending {
    node: usize,
    from: usize,
    to: usize,
    depth: usize,
    totals: Vec<u32>,
    /// Histograms of all features, where all are looked at.
    histograms: Option<Vec<u32>>,
}

/// Grows trees one after the other, keeping what it needs to do so.
pub(super) struct Grower<'a> {
    binned: &'a Binned,
    /// Features that vary; a split chooses among them.
    usable: Vec<u16>,
    classes: usize,
    limits: Limits,
    histogram: Vec<u32>,
    right: Vec<Sample>,
    spare: Vec<Vec<u32>>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(binned: &'a Binned, classes: usize) -> Self {
        Self {
            binned,
            usable: binned.usable(),
            classes,
            limits: Limits {
                depth_max: 0,
                leaf_weight_min: 0,
                features_per_split: 0,
            },
            histogram: vec![0; BINS * classes],
            right: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Grows a tree on `samples`, which it reorders.
    pub(super) fn grow(
        &mut self,
        samples: &mut [Sample],
        limits: Limits,
        random: &mut Random,
    ) -> Grown {
        self.limits = limits;
        self.usable.sort_unstable();
        self.right.resize(samples.len(), Sample::default());
        let mut grown = Grown {
            tree: Tree::default(),
            cuts: Vec::new(),
        };
        let totals = self.totals(samples);
        add_leaf(&mut grown, &totals);
        // Subtraction pays where children share their features: where all are looked at. With
        // few of many drawn per split, new histograms of those alone are cheaper.
        let histograms = (self.limits.features_per_split >= self.usable.len())
            .then(|| self.all_histograms(samples));
        let mut stack = vec![Pending {
            node: 0,
            from: 0,
            to: samples.len(),
            depth: 0,
            totals,
            histograms,
        }];
        while let Some(mut pending) = stack.pop() {
            let here = &mut samples[pending.from..pending.to];
            let found = self.best(&pending, here, grown.tree.nodes.len(), random);
            let Some((feature, cut)) = found else {
                self.spare.extend(pending.histograms);
                continue;
            };
            let middle = self.part(here, feature, cut);
            let (left, right) = here.split_at(middle);
            let left_totals = self.totals(left);
            let right_totals: Vec<u32> = pending
                .totals
                .iter()
                .zip(&left_totals)
                .map(|(all, left)| all - left)
                .collect();
            let (of_left, of_right) = match pending.histograms.take() {
                None => (None, None),
                Some(mut all) => {
                    let left_smaller = left.len() <= right.len();
                    let smaller = self.all_histograms(if left_smaller { left } else { right });
                    for (all, part) in all.iter_mut().zip(&smaller) {
                        *all -= part;
                    }
                    if left_smaller {
                        (Some(smaller), Some(all))
                    } else {
                        (Some(all), Some(smaller))
                    }
                }
            };
            let edges = &self.binned.edges[usize::from(feature)];
            grown.cuts[pending.node] = cut.bin;
            grown.tree.nodes[pending.node] = TreeNode::Split(Split {
                feature,
                threshold: edges
                    .get(usize::from(cut.bin))
                    .copied()
                    .unwrap_or(f32::INFINITY),
                missing_left: cut.missing_left,
                left: grown.tree.nodes.len() as u32,
                right: grown.tree.nodes.len() as u32 + 1,
            });
            let middle = pending.from + middle;
            for (from, to, totals, histograms) in [
                (pending.from, middle, left_totals, of_left),
                (middle, pending.to, right_totals, of_right),
            ] {
                stack.push(Pending {
                    node: add_leaf(&mut grown, &totals),
                    from,
                    to,
                    depth: pending.depth + 1,
                    totals,
                    histograms,
                });
            }
        }
        grown
    }

    /// The best cut over features drawn without replacement until enough of them vary among
    /// the node's rows.
    fn best(
        &mut self,
        pending: &Pending,
        samples: &[Sample],
        nodes: usize,
        random: &mut Random,
    ) -> Option<(u16, Cut)> {
        let weight: u64 = pending.totals.iter().map(|&w| u64::from(w)).sum();
        let pure = pending.totals.iter().filter(|&&w| w > 0).count() < 2;
        if pure
            || pending.depth >= self.limits.depth_max
            || weight < 2 * self.limits.leaf_weight_min
            || nodes + 2 > TREE_NODES_MAX
        {
            return None;
        }
        let mut purity_best = purity(&pending.totals) * (1.0 + PURITY_GAIN_MIN);
        let mut best = None;
        let mut wanted = self.limits.features_per_split;
        let stride = BINS * self.classes;
        let mut left = vec![0; self.classes];
        for drawn in 0..self.usable.len() {
            if wanted == 0 {
                break;
            }
            if pending.histograms.is_none() {
                let other = drawn + random.below(self.usable.len() - drawn);
                self.usable.swap(drawn, other);
            }
            let feature = self.usable[drawn];
            let histogram = match &pending.histograms {
                Some(all) => &all[drawn * stride..][..stride],
                None => {
                    self.histogram.fill(0);
                    let column = self.binned.column(usize::from(feature));
                    fill(&mut self.histogram, column, samples, self.classes);
                    &self.histogram
                }
            };
            let bins = self.binned.edges[usize::from(feature)].len() + 1;
            let weight_min = self.limits.leaf_weight_min;
            let totals = &pending.totals[..];
            // Two classes are the common case: known to the compiler, the loops over them go.
            let found = match (totals, &mut left[..]) {
                ([_, _], [a, b]) => {
                    let mut two = [*a, *b];
                    search(
                        histogram,
                        bins,
                        &[totals[0], totals[1]],
                        weight_min,
                        purity_best,
                        &mut two,
                    )
                }
                (totals, left) => search(histogram, bins, totals, weight_min, purity_best, left),
            };
            match found {
                Search::Constant => {}
                Search::Cut(cut) => {
                    wanted -= 1;
                    if let Some(cut) = cut {
                        purity_best = cut.purity;
                        best = Some((feature, cut));
                    }
                }
            }
        }
        best
    }

    /// Puts the rows that go left before the others, both in the order they had; how many do.
    fn part(&mut self, samples: &mut [Sample], feature: u16, cut: Cut) -> usize {
        let column = self.binned.column(usize::from(feature));
        let (mut lefts, mut rights) = (0, 0);
        for n in 0..samples.len() {
            let sample = samples[n];
            let left = goes_left(column[sample.row as usize], cut.bin, cut.missing_left);
            // Both are written and one counts: the side of a row is not predictable.
            samples[lefts] = sample;
            self.right[rights] = sample;
            lefts += usize::from(left);
            rights += usize::from(!left);
        }
        samples[lefts..].copy_from_slice(&self.right[..rights]);
        lefts
    }

    fn totals(&self, samples: &[Sample]) -> Vec<u32> {
        let mut totals = vec![0; self.classes];
        for sample in samples {
            totals[sample.label as usize] += sample.weight;
        }
        totals
    }

    fn all_histograms(&mut self, samples: &[Sample]) -> Vec<u32> {
        let stride = BINS * self.classes;
        let mut all = self.spare.pop().unwrap_or_default();
        all.clear();
        all.resize(self.usable.len() * stride, 0);
        for (histogram, &feature) in all.chunks_mut(stride).zip(&self.usable) {
            let column = self.binned.column(usize::from(feature));
            fill(histogram, column, samples, self.classes);
        }
        all
    }
}

fn fill(histogram: &mut [u32], column: &[u8], samples: &[Sample], classes: usize) {
    for sample in samples {
        let bin = usize::from(column[sample.row as usize]);
        histogram[bin * classes + sample.label as usize] += sample.weight;
    }
}

/// Adds a leaf with the class fractions of its rows; its number.
fn add_leaf(grown: &mut Grown, totals: &[u32]) -> usize {
    let sum: u64 = totals.iter().map(|&weight| u64::from(weight)).sum();
    let fraction = |&weight: &u32| (f64::from(weight) / sum as f64) as f32;
    grown.tree.values.extend(totals.iter().map(fraction));
    grown.cuts.push(0);
    grown.tree.nodes.push(TreeNode::Leaf);
    grown.tree.nodes.len() - 1
}
