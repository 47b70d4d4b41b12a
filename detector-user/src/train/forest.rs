//! A random forest on binned features.

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    bins::Binned,
    blank_card::blank_card,
    bootstrap::{Bootstrap, Urn},
    folds::FoldsError,
    grow::{Grower, Grown, Limits, Sample},
    random::Random,
    table::Table,
};
use crate::model::{DEPTH_MAX, Ensemble, ModelError, TREES_MAX, Tree};

/// Why training did not begin or end.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An option is out of range.
    #[error("cannot train: {option} is {found}, allowed is {allowed}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// There is nothing to learn from.
    #[error("cannot train: the chosen rows have no weight in all; choose rows of weight above 0")]
    Empty,
    /// A row is not there.
    #[error("cannot train: row {row} was chosen, the table has {rows}; choose rows of it")]
    Row {
        /// The row chosen.
        row: u32,
        /// Rows there are.
        rows: usize,
    },
    /// The linfa-trees crate refuses the rows.
    #[error("cannot train: linfa-trees says {0}; use --learner forest")]
    Linfa(String),
    /// The rows cannot be parted.
    #[error(transparent)]
    Folds(#[from] FoldsError),
    /// The model cannot be made of the trees.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// How many features a split chooses among.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeaturesPerSplit {
    /// The square root of all, as Breiman has it for classification.
    #[default]
    SquareRoot,
    /// All.
    All,
    /// So many, or all where there are fewer.
    Count(usize),
}

/// What a class's rows weigh, beside their own weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// 1.
    #[default]
    None,
    /// Such that all classes there are weigh the same and the sum stays as it is.
    Balanced,
    /// So much each.
    Each(Vec<f32>),
}

impl ClassWeights {
    /// What each of the rows weighs, its class's weight included.
    pub(super) fn of_rows(&self, table: &Table, rows: &[u32]) -> Vec<f64> {
        let of_row = |&row: &u32| {
            let row = row as usize;
            let label = usize::from(table.labels()[row]);
            (label, f64::from(table.weights()[row]))
        };
        let of_class: Vec<f64> = match self {
            Self::None => vec![1.0; table.classes()],
            Self::Each(weights) => weights.iter().copied().map(f64::from).collect(),
            Self::Balanced => {
                let mut sums = vec![0.0; table.classes()];
                for (label, weight) in rows.iter().map(of_row) {
                    sums[label] += weight;
                }
                let present = sums.iter().filter(|sum| **sum > 0.0).count() as f64;
                let even = sums.iter().sum::<f64>() / present;
                let weight = |sum: &f64| if *sum > 0.0 { even / sum } else { 0.0 };
                sums.iter().map(weight).collect()
            }
        };
        let weighed = rows.iter().map(of_row);
        weighed
            .map(|(label, weight)| weight * of_class[label])
            .collect()
    }
}

/// How a forest is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForestOptions {
    /// Trees.
    pub trees: usize,
    /// Splits from a root to a leaf, at most.
    pub depth_max: usize,
    /// Least weight of the rows of a leaf, in units of the rows' weights.
    pub leaf_weight_min: f64,
    /// Features a split chooses among.
    pub features_per_split: FeaturesPerSplit,
    /// Which rows a tree sees.
    pub bootstrap: Bootstrap,
    /// What the classes weigh.
    pub class_weights: ClassWeights,
    /// The same seed gives the same forest.
    pub seed: u64,
    /// Threads to train with, 0 for as many as there are CPUs. No matter for the result.
    #[serde(skip)]
    pub threads: usize,
}

impl Default for ForestOptions {
    fn default() -> Self {
        Self {
            trees: 100,
            depth_max: 12,
            leaf_weight_min: 1.0,
            features_per_split: FeaturesPerSplit::default(),
            bootstrap: Bootstrap::default(),
            class_weights: ClassWeights::default(),
            seed: 0,
            threads: 0,
        }
    }
}

/// A forest and what its own trees say of rows they did not see.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The forest, without a name, a calibration or metrics.
    pub ensemble: Ensemble,
    /// Per chosen row (rows × classes): the mean over the trees that did not see it, NaN where
    /// all did.
    pub out_of_bag: Vec<f32>,
}

/// Whole units that the weights of a tree's rows sum to.
const WEIGHT_UNITS: f64 = (1_u64 << 31) as f64;
/// What of the least leaf weight rounding weights to whole units may take.
const ROUNDING_SLACK: f64 = 1e-3;
/// Whole units of an out-of-bag probability: votes of [`TREES_MAX`] trees fit 32 bits, and their
/// sum is the same in any order.
const VOTE_UNITS: f32 = (1 << 19) as f32;

/// Trains a forest (Breiman, "Random forests", 2001) on the given rows of a table: Gini
/// impurity, splits between at most 255 quantile bins a feature, missing values sent to the
/// side where they gain more. `progress` is called, by any thread, after each tree.
///
/// The forest depends on the rows and the options alone, not on the number of threads.
///
/// # Errors
/// [`TrainError`] where an option or a row is out of range.
pub fn train_forest(
    table: &Table,
    rows: &[u32],
    options: &ForestOptions,
    progress: &(dyn Fn() + Sync),
) -> Result<Trained, TrainError> {
    options.check(table)?;
    if let Some(&row) = rows.iter().find(|&&row| row as usize >= table.rows()) {
        let rows = table.rows();
        return Err(TrainError::Row { row, rows });
    }
    let weights = options.class_weights.of_rows(table, rows);
    if !weights.iter().any(|&weight| weight > 0.0) {
        return Err(TrainError::Empty);
    }
    let threads = thread_count(options.threads);
    let groups: Vec<u32> = rows
        .iter()
        .map(|&row| table.groups()[row as usize])
        .collect();
    let work = Work {
        options,
        binned: &Binned::new(table, rows, options.seed, threads),
        labels: rows
            .iter()
            .map(|&row| table.labels()[row as usize])
            .collect(),
        weights,
        urn: Urn::new(options.bootstrap, &groups),
        classes: table.classes(),
        next: AtomicUsize::new(0),
        done: Mutex::new(Done {
            trees: vec![Tree::default(); options.trees],
            votes: vec![0; rows.len() * table.classes()],
            voters: vec![0; rows.len()],
        }),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(options.trees) {
            scope.spawn(|| work.run(progress));
        }
    });
    let done = work
        .done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let shares = done.votes.chunks(table.classes()).zip(&done.voters);
    let out_of_bag = shares.flat_map(|(votes, &voters)| {
        let all = voters as f32 * VOTE_UNITS;
        votes.iter().map(move |&vote| vote as f32 / all)
    });
    Ok(Trained {
        out_of_bag: out_of_bag.collect(),
        ensemble: Ensemble::from_trees(blank_card(table, "forest", options), &done.trees)?,
    })
}

/// The threads asked for, or one a CPU.
pub(super) fn thread_count(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        asked => asked,
    }
}

/// What the threads share.
struct Work<'a> {
    options: &'a ForestOptions,
    binned: &'a Binned,
    labels: Vec<u16>,
    weights: Vec<f64>,
    urn: Urn,
    classes: usize,
    next: AtomicUsize,
    done: Mutex<Done>,
}

struct Done {
    trees: Vec<Tree>,
    /// Rows × classes, in [`VOTE_UNITS`].
    votes: Vec<u32>,
    voters: Vec<u32>,
}

impl Work<'_> {
    fn run(&self, progress: &(dyn Fn() + Sync)) {
        let mut grower = Grower::new(self.binned, self.classes);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.options.trees {
                return;
            }
            let (grown, out_of_bag) = self.tree(&mut grower, number);
            let leaves: Vec<usize> = out_of_bag
                .iter()
                .map(|&row| grown.leaf_of(self.binned, row))
                .collect();
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            for (&row, leaf) in out_of_bag.iter().zip(leaves) {
                let values = &grown.tree.values[leaf * self.classes..][..self.classes];
                let votes = &mut done.votes[row as usize * self.classes..][..self.classes];
                for (vote, value) in votes.iter_mut().zip(values) {
                    *vote += (value * VOTE_UNITS) as u32;
                }
                done.voters[row as usize] += 1;
            }
            done.trees[number] = grown.tree;
            drop(done);
            progress();
        }
    }

    fn tree(&self, grower: &mut Grower<'_>, number: usize) -> (Grown, Vec<u32>) {
        let mut random = Random::new(self.options.seed, number as u64);
        // A draw that has no weight at all (rows of weight 0 are in the urn too) is none.
        let (drawn, sum) = loop {
            let drawn = self.urn.draw(&mut random);
            let weights = drawn.times.iter().zip(&self.weights);
            let sum: f64 = weights.map(|(&times, w)| f64::from(times) * w).sum();
            if sum > 0.0 {
                break (drawn, sum);
            }
        };
        let units = WEIGHT_UNITS / sum;
        let rows = drawn.times.iter().zip(&self.weights).zip(&self.labels);
        let mut samples: Vec<Sample> = rows
            .enumerate()
            .filter(|(_, ((times, weight), _))| **times > 0 && **weight > 0.0)
            .map(|(row, ((times, weight), label))| Sample {
                row: row as u32,
                label: u32::from(*label),
                weight: times * (weight * units).round().max(1.0) as u32,
            })
            .collect();
        let least = self.options.leaf_weight_min * units * (1.0 - ROUNDING_SLACK);
        let limits = Limits {
            depth_max: self.options.depth_max,
            leaf_weight_min: least as u64,
            features_per_split: self.options.features(self.binned.edges.len()),
        };
        (
            grower.grow(&mut samples, limits, &mut random),
            drawn.out_of_bag,
        )
    }
}

impl ForestOptions {
    fn check(&self, table: &Table) -> Result<(), TrainError> {
        let class_weights = match &self.class_weights {
            ClassWeights::Each(weights) => {
                weights.len() == table.classes()
                    && weights.iter().all(|w| w.is_finite() && *w >= 0.0)
            }
            ClassWeights::None | ClassWeights::Balanced => true,
        };
        let all = [
            (
                "the number of trees",
                self.trees.to_string(),
                format!("1 to {TREES_MAX}"),
                (1..=TREES_MAX).contains(&self.trees),
            ),
            (
                "the greatest depth",
                self.depth_max.to_string(),
                format!("1 to {DEPTH_MAX}"),
                (1..=DEPTH_MAX).contains(&self.depth_max),
            ),
            (
                "the least weight of a leaf",
                self.leaf_weight_min.to_string(),
                "a number not below 0".to_owned(),
                self.leaf_weight_min.is_finite() && self.leaf_weight_min >= 0.0,
            ),
            (
                "the number of features per split",
                "0".to_owned(),
                "1 and more".to_owned(),
                self.features_per_split != FeaturesPerSplit::Count(0),
            ),
            (
                "the list of class weights",
                format!("{:?}", self.class_weights),
                format!("{} numbers not below 0", table.classes()),
                class_weights,
            ),
        ];
        for (option, found, allowed, fits) in all {
            if !fits {
                return Err(TrainError::Option {
                    option,
                    found,
                    allowed,
                });
            }
        }
        Ok(())
    }

    fn features(&self, all: usize) -> usize {
        match self.features_per_split {
            FeaturesPerSplit::SquareRoot => all.isqrt().max(1),
            FeaturesPerSplit::All => all,
            FeaturesPerSplit::Count(count) => count.min(all),
        }
    }
}
