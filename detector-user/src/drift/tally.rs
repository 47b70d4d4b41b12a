//! Rows counted into the bins of a reference.

use super::{psi, report::FeatureDrift};
use crate::model::{BINS_MAX, Card, Reference, Spread};

/// Features that are named.
const NAMED_MAX: usize = 5;

type Counts = [u32; BINS_MAX];

/// Counts rows by the bins of a model's reference.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Which class's probability the score is.
    class: usize,
    score: (Spread, Counts),
    /// Place in the row, name, bins.
    features: Vec<(usize, String, Spread, Counts)>,
    rows: u64,
}

/// How far the rows are from the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Rows that were counted.
    pub rows: u64,
    /// PSI of the score.
    pub score_psi: f64,
    /// PSI of every feature, the greatest first.
    pub features: Vec<FeatureDrift>,
}

impl Tally {
    /// Of a model's reference; none where it has none.
    #[must_use]
    pub fn of(card: &Card) -> Option<Self> {
        let Reference {
            class,
            score,
            features,
            ..
        } = card.reference.as_ref()?;
        let place = |names: &[String], name: &String| names.iter().position(|one| one == name);
        let features = features.iter().filter_map(|(name, spread)| {
            let place = place(&card.features, name)?;
            Some((place, name.clone(), spread.clone(), [0; BINS_MAX]))
        });
        Some(Self {
            class: place(&card.classes, class)?,
            score: (score.clone(), [0; BINS_MAX]),
            features: features.collect(),
            rows: 0,
        })
    }

    /// Counts a row and its probabilities.
    pub fn add(&mut self, row: &[f32], probabilities: &[f32]) {
        let (spread, counts) = &mut self.score;
        counts[spread.bin(probabilities[self.class])] += 1;
        for (place, _, spread, counts) in &mut self.features {
            counts[spread.bin(row[*place])] += 1;
        }
        self.rows += 1;
    }

    /// Rows that were counted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Features that are compared.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features.len()
    }

    /// How far the rows are from the reference; counting begins anew.
    pub fn take(&mut self) -> Told {
        let rows = std::mem::take(&mut self.rows);
        let from = |spread: &Spread, counts: &mut Counts| {
            let counts = std::mem::take(counts);
            let live = counts
                .iter()
                .map(|count| f64::from(*count) / rows.max(1) as f64);
            psi(spread
                .shares()
                .iter()
                .map(|share| f64::from(*share))
                .zip(live))
        };
        let score_psi = from(&self.score.0, &mut self.score.1);
        let mut features: Vec<FeatureDrift> = self
            .features
            .iter_mut()
            .map(|(_, name, spread, counts)| FeatureDrift {
                feature: name.clone(),
                psi: from(spread, counts),
            })
            .collect();
        features.sort_by(|a, b| b.psi.total_cmp(&a.psi));
        Told {
            rows,
            score_psi,
            features,
        }
    }
}

impl Told {
    /// How many features have moved so far or further.
    #[must_use]
    pub fn moved(&self, psi: f64) -> usize {
        self.features.partition_point(|one| one.psi >= psi)
    }

    /// Those that have moved most.
    #[must_use]
    pub fn top(&self) -> &[FeatureDrift] {
        &self.features[..self.features.len().min(NAMED_MAX)]
    }
}
