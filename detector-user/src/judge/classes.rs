//! What depends on the class decided alone.

use serde::Serialize;

/// Weights by true class (rows) and decided class (columns).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    /// Classes × classes.
    pub weights: Vec<Vec<f64>>,
}

/// How well one class is told from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClassScore {
    /// Share of the rows decided to be of the class that are; 0 where none are.
    pub precision: f64,
    /// Share of the rows of the class that are decided to be; 0 where there are none.
    pub recall: f64,
    /// Harmonic mean of the two; 0 where both are.
    pub f1: f64,
    /// Weight of the rows of the class.
    pub support: f64,
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl Confusion {
    /// Counts rows of (true class, decided class, weight).
    ///
    /// # Panics
    /// Where a class is not below `classes`.
    pub fn new(classes: usize, rows: impl Iterator<Item = (usize, usize, f32)>) -> Self {
        let mut weights = vec![vec![0.0; classes]; classes];
        for (truth, decided, weight) in rows {
            weights[truth][decided] += f64::from(weight);
        }
        Self { weights }
    }

    fn of_truth(&self, class: usize) -> f64 {
        self.weights[class].iter().sum()
    }

    fn of_decided(&self, class: usize) -> f64 {
        self.weights.iter().map(|row| row[class]).sum()
    }

    fn total(&self) -> f64 {
        self.weights.iter().flatten().sum()
    }

    fn diagonal(&self) -> f64 {
        (0..self.weights.len()).map(|n| self.weights[n][n]).sum()
    }

    /// How well a class is told from the others.
    ///
    /// # Panics
    /// Where there is no such class.
    #[must_use]
    pub fn class(&self, class: usize) -> ClassScore {
        let (hit, truth) = (self.weights[class][class], self.of_truth(class));
        let decided = self.of_decided(class);
        ClassScore {
            precision: ratio(hit, decided),
            recall: ratio(hit, truth),
            f1: ratio(2.0 * hit, truth + decided),
            support: truth,
        }
    }

    /// The mean over the classes that are there or were decided, each counting the same;
    /// `support` is their sum.
    #[must_use]
    pub fn macro_average(&self) -> ClassScore {
        let seen = |&class: &usize| self.of_truth(class) + self.of_decided(class) > 0.0;
        let seen: Vec<ClassScore> = (0..self.weights.len())
            .filter(seen)
            .map(|class| self.class(class))
            .collect();
        let mean = |of: fn(&ClassScore) -> f64| ratio(seen.iter().map(of).sum(), seen.len() as f64);
        ClassScore {
            precision: mean(|score| score.precision),
            recall: mean(|score| score.recall),
            f1: mean(|score| score.f1),
            support: self.total(),
        }
    }

    /// The mean over the classes, each counting as its rows weigh; `support` is their sum.
    #[must_use]
    pub fn weighted_average(&self) -> ClassScore {
        let all: Vec<ClassScore> = (0..self.weights.len())
            .map(|class| self.class(class))
            .collect();
        let total = self.total();
        let mean = |of: fn(&ClassScore) -> f64| {
            ratio(
                all.iter().map(|score| of(score) * score.support).sum(),
                total,
            )
        };
        ClassScore {
            precision: mean(|score| score.precision),
            recall: mean(|score| score.recall),
            f1: mean(|score| score.f1),
            support: total,
        }
    }

    /// Share of the rows decided rightly.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio(self.diagonal(), self.total())
    }

    /// Cohen's κ (1960): agreement beyond that expected by chance, over the most there could
    /// be. None where all rows are of one class and decided so.
    #[must_use]
    pub fn kappa(&self) -> Option<f64> {
        let total = self.total();
        let classes = 0..self.weights.len();
        let chance: f64 = classes
            .map(|n| self.of_truth(n) * self.of_decided(n) / (total * total))
            .sum();
        (chance < 1.0).then(|| (self.diagonal() / total - chance) / (1.0 - chance))
    }
}
