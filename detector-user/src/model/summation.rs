//! From the leaves reached to a score for each class.

use serde::{Deserialize, Serialize};

use super::{card::Card, error::ModelError};

/// Values of leaves and bases are at most this far from 0, so that no sum of them can overflow.
const VALUE_MAX: f32 = 1e30;
/// Scales are at most this far from 0, for the same reason.
const SCALE_MAX: f32 = 1e3;
/// How far the fractions of a node may be from summing to one.
const FRACTION_SLACK: f32 = 1e-3;

/// What becomes of the sums over the leaves reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostTransform {
    /// Their mean over the trees: leaves hold class fractions.
    #[default]
    Mean,
    /// Nothing: leaves hold what is to be said of each class.
    Identity,
    /// Softmax of them: leaves hold log-odds of several classes.
    Softmax,
    /// Logistic function of each: leaves hold log-odds. Of two classes there is one sum, that of the second, and the
    /// first gets what is left.
    Logistic,
    /// Liu, Ting and Zhou's anomaly score for the second of two classes, the first gets what is left: leaves hold path
    /// lengths, the depth and [`average_path_length`] of the rows they ended with.
    IsolationScore,
}

impl PostTransform {
    /// Its name, as in the card.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Identity => "identity",
            Self::Softmax => "softmax",
            Self::Logistic => "logistic",
            Self::IsolationScore => "isolation-score",
        }
    }

    /// Sums that are needed for so many classes.
    #[must_use]
    pub fn sums(self, classes: usize) -> usize {
        match self {
            Self::Logistic if classes == 2 => 1,
            Self::IsolationScore => 1,
            _ => classes,
        }
    }
}

/// How the values of leaves are summed: `scale × (base + Σ value)`, added in the order of the trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summation {
    /// What each sum begins with; empty where all begin with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base: Vec<f32>,
    /// What the sums are multiplied by before the post-transform: 1 for boosting (LightGBM's `sigmoid`), see
    /// [`Summation::isolation`] for isolation forests. The mean divides by the number of trees instead.
    pub scale: f32,
    /// The sum that each tree adds to: its nodes then have one value each. Empty where every node has a value for each
    /// sum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tree_sums: Vec<u16>,
}

impl Default for Summation {
    fn default() -> Self {
        Self {
            base: Vec::new(),
            scale: 1.0,
            tree_sums: Vec::new(),
        }
    }
}

impl Summation {
    /// Boosting: what the sums begin with, and trees that take turns in adding to them, one value a node.
    #[must_use]
    pub fn boosting(base: Vec<f32>, trees: usize) -> Self {
        let sums = base.len();
        let turns = (0..trees).map(|tree| (tree % sums.max(1)) as u16);
        Self {
            tree_sums: if sums > 1 {
                turns.collect()
            } else {
                Vec::new()
            },
            base,
            scale: 1.0,
        }
    }

    /// An isolation forest of trees grown from `rows` rows each: 2 to the scaled sum of its path lengths is the score
    /// (Liu, Ting and Zhou, "Isolation forest", 2008).
    #[must_use]
    pub fn isolation(trees: usize, rows: usize) -> Self {
        let longest = average_path_length(rows as f64) * trees as f64;
        Self {
            scale: (-1.0 / longest) as f32,
            ..Self::default()
        }
    }

    /// Whether it says no more than the default: then the card does not mention it.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The mean number of comparisons of an unsuccessful search in a binary search tree of `rows` rows: what a path would
/// have gone on for at a leaf that ended with so many.
#[must_use]
pub fn average_path_length(rows: f64) -> f64 {
    const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;
    if rows <= 1.0 {
        0.0
    } else if rows <= 2.0 {
        1.0
    } else {
        2.0 * ((rows - 1.0).ln() + EULER_GAMMA) - 2.0 * (rows - 1.0) / rows
    }
}

impl Card {
    /// Sums that a row needs.
    #[must_use]
    pub fn sums(&self) -> usize {
        self.post_transform.sums(self.classes.len())
    }

    /// Values of a node.
    #[must_use]
    pub fn node_values(&self) -> usize {
        if self.summation.tree_sums.is_empty() {
            self.sums()
        } else {
            1
        }
    }

    /// Whether sums can be made as it says.
    pub(super) fn check_summation(&self) -> Result<(), ModelError> {
        let fault = |field, cause: &str| {
            Err(ModelError::Card {
                field,
                cause: cause.to_owned(),
            })
        };
        let Summation {
            base,
            scale,
            tree_sums,
        } = &self.summation;
        if !base.is_empty() && base.len() != self.sums() {
            return fault("summation", "has not one base a sum");
        }
        if base.iter().any(|base| !is_bounded(*base)) {
            return fault("summation", "has a base that is no number or too large");
        }
        if !scale.is_finite() || *scale == 0.0 || scale.abs() > SCALE_MAX {
            return fault("summation", "has a scale that is none or too large");
        }
        if tree_sums.iter().any(|&sum| usize::from(sum) >= self.sums()) {
            return fault(
                "summation",
                "has a tree that adds to a sum that is not there",
            );
        }
        match self.post_transform {
            PostTransform::Mean if !self.summation.is_default() => {
                fault("summation", "is not that of a mean")
            }
            PostTransform::IsolationScore if self.classes.len() != 2 => {
                fault("classes", "are not the two of an isolation forest")
            }
            PostTransform::IsolationScore if *scale > 0.0 => {
                fault("summation", "makes long paths anomalous")
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with the values of a node, if anything.
    pub(super) fn value_fault(&self, values: &[f32]) -> Option<&'static str> {
        match self.post_transform {
            PostTransform::Mean => {
                let sum: f32 = values.iter().sum();
                let fractions = values.iter().all(|v| (0.0..=1.0).contains(v));
                (!fractions || (sum - 1.0).abs() > FRACTION_SLACK)
                    .then_some("has values that are no class fractions")
            }
            PostTransform::IsolationScore if values.iter().any(|v| *v < 0.0) => {
                Some("has a negative path length")
            }
            _ => (!values.iter().copied().all(is_bounded))
                .then_some("has a value that is no number or too large"),
        }
    }

    /// A sum of values as it counts for a class, before a post-transform that bends it.
    pub(super) fn weigh(&self, sum: f32, class: usize, trees: usize) -> f32 {
        match self.post_transform {
            PostTransform::Mean => sum / trees as f32,
            // The first of two classes gets what the second leaves.
            _ if self.sums() < self.classes.len() && class == 0 => -self.summation.scale * sum,
            _ => self.summation.scale * sum,
        }
    }

    /// Turns the sums over `trees` trees, which stand first in `scores`, into a score for each class.
    #[inline]
    pub(super) fn transform(&self, scores: &mut [f32], trees: usize) {
        let scale = self.summation.scale;
        match (self.post_transform, scores) {
            (PostTransform::Mean, scores) => {
                let trees = trees as f32;
                for score in scores {
                    *score /= trees;
                }
            }
            (PostTransform::Identity, scores) => {
                for score in scores {
                    *score *= scale;
                }
            }
            (PostTransform::Logistic, [first, second]) => {
                *second = logistic(*first * scale);
                *first = 1.0 - *second;
            }
            (PostTransform::Logistic, scores) => {
                for score in scores {
                    *score = logistic(*score * scale);
                }
            }
            (PostTransform::Softmax, scores) => softmax(scores, scale),
            (PostTransform::IsolationScore, [first, second]) => {
                *second = (*first * scale).exp2();
                *first = 1.0 - *second;
            }
            // `check_summation` wants two classes.
            (PostTransform::IsolationScore, _) => {}
        }
    }
}

fn is_bounded(value: f32) -> bool {
    // Not so for NaN.
    value.abs() <= VALUE_MAX
}

fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn softmax(scores: &mut [f32], scale: f32) {
    let largest = (scores.iter().map(|score| score * scale)).fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = (*score * scale - largest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}
