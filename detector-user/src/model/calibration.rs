//! From a score to a probability: a monotone piecewise-linear table.

use serde::{Deserialize, Serialize};

/// A monotone curve through points, straight between them and level beyond the ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// Scores, rising.
    pub x: Vec<f32>,
    /// Probabilities at those scores, never falling, 0 to 1.
    pub y: Vec<f32>,
}

impl Curve {
    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if self.x.is_empty() || self.x.len() != self.y.len() {
            Some("has not one probability for each of one or more scores")
        } else if !self.x.iter().all(|x| x.is_finite()) || !self.x.is_sorted_by(|a, b| a < b) {
            Some("has scores that do not rise")
        } else if !self.y.iter().all(|y| (0.0..=1.0).contains(y)) || !self.y.is_sorted() {
            Some("has probabilities that fall or are none")
        } else {
            None
        }
    }

    /// The probability at score `x`.
    #[must_use]
    pub fn at(&self, x: f32) -> f32 {
        let right = self.x.partition_point(|&point| point < x);
        match (right.checked_sub(1), self.x.get(right)) {
            (Some(left), Some(&end)) => {
                let (start, low, high) = (self.x[left], self.y[left], self.y[right]);
                let value = low + (high - low) * ((x - start) / (end - start));
                value.clamp(low, high)
            }
            (None, _) => self.y.first().copied().unwrap_or(x),
            (Some(left), None) => self.y[left],
        }
    }

    /// Sends each class's score through its curve, if there are curves, and makes the sum one
    /// again. Where every curve says 0 the scores stay as they are.
    pub fn calibrate(curves: &[Self], probabilities: &mut [f32]) {
        let sum: f32 = curves
            .iter()
            .zip(&*probabilities)
            .map(|(curve, &p)| curve.at(p))
            .sum();
        if sum > 0.0 {
            for (curve, p) in curves.iter().zip(probabilities) {
                *p = curve.at(*p) / sum;
            }
        }
    }
}
