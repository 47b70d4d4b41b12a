//! Gradient boosting on binned features: trees that each mend what those before got wrong.

use serde::{Deserialize, Serialize};

use super::{
    bins::Binned,
    blank_card::blank_card,
    boost_tree::{GradientSample, GrownTree, TreeLimits, grow},
    forest::{ClassWeights, TrainError, thread_count},
    random::Random,
    table::Table,
};
use crate::model::{Ensemble, PostTransform, Summation, TREES_MAX, Tree};

/// How trees are boosted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoostOptions {
    /// Rounds, each with one tree, or of more than two classes one a class.
    pub rounds: usize,
    /// What share of a tree's correction is made.
    pub learning_rate: f64,
    /// Leaves of a tree, at most.
    pub leaves_max: usize,
    /// Splits from a root to a leaf, at most.
    pub depth_max: usize,
    /// Least rows of a leaf.
    pub leaf_rows_min: u32,
    /// Least sum of second derivatives of a leaf.
    pub leaf_hessian_min: f64,
    /// What leaves' values are held down by (λ).
    pub regularisation: f64,
    /// Share of the features that a tree chooses among.
    pub features_per_tree: f64,
    /// Rounds without a better loss on the validation rows after which it ends; 0: all rounds.
    pub patience: usize,
    /// What the classes weigh.
    pub class_weights: ClassWeights,
    /// The same seed gives the same trees.
    pub seed: u64,
    /// Threads to train with, 0 for as many as there are CPUs. No matter for the result.
    #[serde(skip)]
    pub threads: usize,
}

impl Default for BoostOptions {
    fn default() -> Self {
        Self {
            rounds: 200,
            learning_rate: 0.1,
            leaves_max: 31,
            depth_max: 24,
            leaf_rows_min: 10,
            leaf_hessian_min: 1e-3,
            regularisation: 1.0,
            features_per_tree: 0.8,
            patience: 20,
            class_weights: ClassWeights::None,
            seed: 0,
            threads: 0,
        }
    }
}

/// A boosted ensemble and how many rounds of it were kept.
#[derive(Clone, Debug)]
pub struct Boosted {
    /// The ensemble, without a name, a calibration or metrics.
    pub ensemble: Ensemble,
    /// Rounds.
    pub rounds: usize,
}

/// Trains on `rows` of a table (Friedman, "Greedy function approximation", 2001; leaf by leaf with histograms as Ke et al.,
/// "LightGBM", 2017): logistic loss for two classes, softmax for more. With `validation` rows it ends where their loss no
/// longer falls, and keeps the rounds up to its least. `progress` is called after each round.
///
/// The trees depend on the rows and the options alone, not on the number of threads.
///
/// # Errors
/// [`TrainError`] where an option is out of range or there is nothing to learn from.
pub fn train_boost(
    table: &Table,
    rows: &[u32],
    validation: Option<(&Table, &[u32])>,
    options: &BoostOptions,
    progress: &(dyn Fn() + Sync),
) -> Result<Boosted, TrainError> {
    let classes = table.classes();
    let sums = PostTransform::Softmax.sums(classes);
    let sums = if classes == 2 { 1 } else { sums };
    options.check(sums)?;
    let weights = options.class_weights.of_rows(table, rows);
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Err(TrainError::Empty);
    }
    let threads = thread_count(options.threads);
    let binned = Binned::new(table, rows, options.seed, threads);
    let labels: Vec<u16> = rows
        .iter()
        .map(|&row| table.labels()[row as usize])
        .collect();
    let base = base(&labels, &weights, classes, sums);
    let mut margins = starting(&base, rows.len());
    let mut judge = validation.map(|(table, rows)| Validation::new(table, rows, &base));
    let mut trees: Vec<Tree> = Vec::new();
    let rounds = options.rounds.min(TREES_MAX / sums);
    for round in 0..rounds {
        let gradients = Gradients {
            labels: &labels,
            weights: &weights,
            margins: &margins,
            sums,
        };
        let grown = round_trees(&binned, &gradients, options, round, threads);
        for (sum, (grown, at)) in grown.into_iter().enumerate() {
            for (row, node) in at.iter().enumerate() {
                margins[row * sums + sum] += f64::from(grown.tree.values[*node as usize]);
            }
            if let Some(judge) = &mut judge {
                judge.add(&grown.tree, sum);
            }
            trees.push(grown.tree);
        }
        progress();
        if let Some(judge) = &mut judge
            && judge.is_over(round, options.patience)
        {
            break;
        }
    }
    if let Some(judge) = &judge
        && options.patience > 0
    {
        trees.truncate((judge.best_round + 1) * sums);
    }
    let mut card = blank_card(table, "boost", options);
    card.post_transform = if sums == 1 {
        PostTransform::Logistic
    } else {
        PostTransform::Softmax
    };
    card.summation =
        Summation::boosting(base.iter().map(|base| *base as f32).collect(), trees.len());
    let rounds = trees.len() / sums;
    card.training
        .insert("rounds_kept".to_owned(), rounds.into());
    Ok(Boosted {
        ensemble: Ensemble::from_trees(card, &trees)?,
        rounds,
    })
}

/// What the sums begin with: the log-odds of the classes' shares.
fn base(labels: &[u16], weights: &[f64], classes: usize, sums: usize) -> Vec<f64> {
    let mut shares = vec![0.0; classes];
    for (label, weight) in labels.iter().zip(weights) {
        shares[usize::from(*label)] += weight;
    }
    let total: f64 = shares.iter().sum();
    // A class that is not there gets a share all the same: no logarithm of 0.
    let log = |share: f64| (share / total).max(1e-6).ln();
    if sums == 1 {
        let second = shares.get(1).copied().unwrap_or(0.0);
        return vec![log(second) - log(total - second)];
    }
    shares.into_iter().map(log).collect()
}

fn starting(base: &[f64], rows: usize) -> Vec<f64> {
    base.iter()
        .copied()
        .cycle()
        .take(rows * base.len())
        .collect()
}

struct Gradients<'a> {
    labels: &'a [u16],
    weights: &'a [f64],
    margins: &'a [f64],
    sums: usize,
}

impl Gradients<'_> {
    /// First and second derivative of the loss by a sum, row by row.
    fn samples(&self, sum: usize) -> Vec<GradientSample> {
        let mut samples = Vec::with_capacity(self.labels.len());
        let rows = self.labels.iter().zip(self.weights).enumerate();
        for (row, (&label, &weight)) in rows {
            if weight <= 0.0 {
                continue;
            }
            let margins = &self.margins[row * self.sums..][..self.sums];
            let (p, truth) = if self.sums == 1 {
                (logistic(margins[0]), label == 1)
            } else {
                (softmax_of(margins, sum), usize::from(label) == sum)
            };
            let truth = f64::from(u8::from(truth));
            samples.push(GradientSample {
                row: row as u32,
                gradient: (weight * (p - truth)) as f32,
                hessian: (weight * (p * (1.0 - p)).max(1e-12)) as f32,
            });
        }
        samples
    }
}

pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softmax_of(margins: &[f64], class: usize) -> f64 {
    let largest = margins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = margins.iter().map(|x| (x - largest).exp()).sum();
    (margins[class] - largest).exp() / sum
}

/// The trees of a round, one a sum, and the node at which each training row ends.
fn round_trees(
    binned: &Binned,
    gradients: &Gradients<'_>,
    options: &BoostOptions,
    round: usize,
    threads: usize,
) -> Vec<(GrownTree, Vec<u32>)> {
    let usable = binned.usable();
    let sums = gradients.sums;
    let one = |sum: usize, threads: usize| {
        let mut random = Random::new(options.seed, (round * sums + sum) as u64);
        let features = chosen(&usable, options.features_per_tree, &mut random);
        let mut samples = gradients.samples(sum);
        let limits = TreeLimits {
            leaves_max: options.leaves_max,
            depth_max: options.depth_max,
            leaf_rows_min: options.leaf_rows_min,
            leaf_hessian_min: options.leaf_hessian_min,
            regularisation: options.regularisation,
            learning_rate: options.learning_rate,
        };
        let grown = grow(binned, &features, &mut samples, &limits, threads);
        let at = (0..gradients.labels.len() as u32)
            .map(|row| grown.leaf_of(binned, row))
            .collect();
        (grown, at)
    };
    if sums == 1 {
        return vec![one(0, threads)];
    }
    // The classes' trees know nothing of one another within a round.
    let mut all: Vec<Option<(GrownTree, Vec<u32>)>> = (0..sums).map(|_| None).collect();
    let share = sums.div_ceil(threads);
    std::thread::scope(|scope| {
        for (number, places) in all.chunks_mut(share).enumerate() {
            let one = &one;
            scope.spawn(move || {
                for (place, grown) in places.iter_mut().enumerate() {
                    *grown = Some(one(number * share + place, 1));
                }
            });
        }
    });
    all.into_iter().flatten().collect()
}

fn chosen(usable: &[u16], share: f64, random: &mut Random) -> Vec<u16> {
    let count = ((usable.len() as f64 * share).round() as usize).clamp(1, usable.len().max(1));
    let mut features = usable.to_vec();
    for place in 0..count.min(features.len()) {
        let other = place + random.below(features.len() - place);
        features.swap(place, other);
    }
    features.truncate(count);
    features.sort_unstable();
    features
}

/// Rows by which the end is found.
struct Validation<'a> {
    table: &'a Table,
    rows: &'a [u32],
    margins: Vec<f64>,
    sums: usize,
    best_loss: f64,
    best_round: usize,
}

impl<'a> Validation<'a> {
    fn new(table: &'a Table, rows: &'a [u32], base: &[f64]) -> Self {
        Self {
            table,
            rows,
            margins: starting(base, rows.len()),
            sums: base.len(),
            best_loss: f64::INFINITY,
            best_round: 0,
        }
    }

    fn add(&mut self, tree: &Tree, sum: usize) {
        for (place, &row) in self.rows.iter().enumerate() {
            let node =
                tree.leaf_of(|feature| self.table.column(usize::from(feature))[row as usize]);
            self.margins[place * self.sums + sum] += f64::from(tree.values[node]);
        }
    }

    /// Whether the loss has not fallen for so many rounds.
    fn is_over(&mut self, round: usize, patience: usize) -> bool {
        let mut loss = 0.0;
        for (place, &row) in self.rows.iter().enumerate() {
            let label = self.table.labels()[row as usize];
            let margins = &self.margins[place * self.sums..][..self.sums];
            let p = if self.sums == 1 {
                let p = logistic(margins[0]);
                if label == 1 { p } else { 1.0 - p }
            } else {
                softmax_of(margins, usize::from(label))
            };
            loss -= p.max(1e-15).ln();
        }
        if loss < self.best_loss {
            self.best_loss = loss;
            self.best_round = round;
        }
        patience > 0 && round - self.best_round >= patience
    }
}

impl BoostOptions {
    fn check(&self, sums: usize) -> Result<(), TrainError> {
        let unit = |x: f64| x.is_finite() && x > 0.0 && x <= 1.0;
        let rounds_max = TREES_MAX / sums;
        let all = [
            (
                "the number of rounds",
                self.rounds.to_string(),
                format!("1 to {TREES_MAX}"),
                (1..=TREES_MAX).contains(&self.rounds) && rounds_max > 0,
            ),
            (
                "the learning rate",
                self.learning_rate.to_string(),
                "above 0, at most 1".to_owned(),
                unit(self.learning_rate),
            ),
            (
                "the share of features of a tree",
                self.features_per_tree.to_string(),
                "above 0, at most 1".to_owned(),
                unit(self.features_per_tree),
            ),
            (
                "the greatest number of leaves",
                self.leaves_max.to_string(),
                "2 to 4096".to_owned(),
                (2..=4096).contains(&self.leaves_max),
            ),
            (
                "the greatest depth",
                self.depth_max.to_string(),
                "1 to 64".to_owned(),
                (1..=64).contains(&self.depth_max),
            ),
            (
                "the regularisation",
                self.regularisation.to_string(),
                "a number not below 0".to_owned(),
                self.regularisation.is_finite() && self.regularisation >= 0.0,
            ),
        ];
        match all.into_iter().find(|(_, _, _, fits)| !fits) {
            None => Ok(()),
            Some((option, found, allowed, _)) => Err(TrainError::Option {
                option,
                found,
                allowed,
            }),
        }
    }
}
