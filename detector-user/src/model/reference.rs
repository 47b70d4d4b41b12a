//! What a model was trained on, in a few numbers: how the values of each feature that it looks at are spread, and its own
//! scores. Live rows are held against it ([`drift`](crate::drift)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::output::units::grouped;

use super::{card::Card, ensemble::Ensemble, error::ModelError, node::Node};

/// Where values are cut, as shares of the rows: finer at both ends, where what is unusual shows first.
const LEVELS: [f64; 7] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99];
/// There, below all values that there were, and above them.
const EDGES_MAX: usize = LEVELS.len() + 2;
/// Bins of a spread at most: those that the edges part, and one for missing values.
pub const BINS_MAX: usize = EDGES_MAX + 2;
/// How far shares, each rounded, may be from 1 together.
const SUM_TOLERANCE: f32 = 1e-3;

/// How values are spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Rising: a value is in the first bin whose edge is not below it, or in the last one.
    edges: Vec<f32>,
    /// Of the rows, by bin; one more than there are edges, then that of missing values.
    shares: Vec<f32>,
}

impl Spread {
    /// Of some values.
    #[must_use]
    pub fn of(mut values: Vec<f32>) -> Self {
        let all = values.len().max(1) as f64;
        let mut spread = Self::default();
        values.retain(|value| !value.is_nan());
        values.sort_unstable_by(f32::total_cmp);
        let at = |level: f64| {
            let place = (level * values.len() as f64).ceil() as usize;
            values.get(place.saturating_sub(1)).copied()
        };
        let below_all = values.first().map(|least| least.next_down());
        let edges = below_all
            .into_iter()
            .chain(LEVELS.into_iter().filter_map(at));
        for edge in edges.chain(values.last().copied()) {
            // JSON knows no infinity.
            let edge = edge.clamp(f32::MIN, f32::MAX);
            if spread.edges.last().is_none_or(|last| *last < edge) {
                spread.edges.push(edge);
            }
        }
        let share = |count: usize| (count as f64 / all * 1e6).round() as f32 / 1e6;
        let mut below = 0;
        for edge in &spread.edges {
            let to = values.partition_point(|value| value <= edge);
            spread.shares.push(share(to - below));
            below = to;
        }
        spread.shares.push(share(values.len() - below));
        spread.shares.push(share(all as usize - values.len()));
        spread
    }

    /// Which bin a value is in.
    #[must_use]
    #[inline]
    pub fn bin(&self, value: f32) -> usize {
        if value.is_nan() {
            return self.edges.len() + 1;
        }
        self.edges.partition_point(|edge| *edge < value)
    }

    /// Of the rows, by bin.
    #[must_use]
    pub fn shares(&self) -> &[f32] {
        &self.shares
    }

    fn fault(&self) -> Option<&'static str> {
        let Self { edges, shares } = self;
        if edges.len() > EDGES_MAX {
            return Some("has too many edges");
        }
        if shares.len() != edges.len() + 2 {
            return Some("has not one share a bin and one of missing values");
        }
        if !edges.iter().all(|edge| edge.is_finite()) || !edges.is_sorted_by(|a, b| a < b) {
            return Some("has edges that are no numbers or do not rise");
        }
        if !shares.iter().all(|share| (0.0..=1.0).contains(share)) {
            return Some("has a share that is not from 0 to 1");
        }
        let sum: f32 = shares.iter().sum();
        ((sum - 1.0).abs() > SUM_TOLERANCE).then_some("has shares that are not 1 together")
    }
}

/// What a model was trained on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// How many rows it was counted on.
    pub rows: u64,
    /// The class whose probability is the score. Where it is benign, only rows of it are counted.
    pub class: String,
    /// Of rows that were not learnt from, where there are such.
    pub score: Spread,
    /// By feature, those that the trees look at.
    pub features: BTreeMap<String, Spread>,
}

impl Reference {
    /// In a few words.
    #[must_use]
    pub fn shown(&self) -> String {
        format!(
            "{} rows, {} features, score: {}",
            grouped(self.rows),
            self.features.len(),
            self.class
        )
    }

    /// Whether it fits a model's card.
    pub(super) fn check(&self, card: &Card) -> Result<(), ModelError> {
        let fault = |cause: String| {
            Err(ModelError::Card {
                field: "reference",
                cause,
            })
        };
        if self.rows == 0 {
            return fault("was counted on no row".to_owned());
        }
        if !card.classes.contains(&self.class) {
            return fault(format!(
                "is of class {:?}, which the model has not",
                self.class
            ));
        }
        if let Some(cause) = self.score.fault() {
            return fault(format!("{cause}, in the score's spread"));
        }
        for (feature, spread) in &self.features {
            if !card.features.contains(feature) {
                return fault(format!("has feature {feature:?}, which the model has not"));
            }
            if let Some(cause) = spread.fault() {
                return fault(format!("{cause}, in the spread of {feature}"));
            }
        }
        Ok(())
    }
}

impl Ensemble {
    /// The numbers of the features that some tree looks at, rising.
    #[must_use]
    pub fn used_features(&self) -> Vec<usize> {
        let mut used = vec![false; self.features()];
        for node in self.nodes.iter().map(|&node| Node(node)) {
            used[node.feature()] |= node != Node::LEAF;
        }
        (0..used.len()).filter(|&feature| used[feature]).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => -1e3_f32..1e3,
            2 => (0_u8..4).prop_map(f32::from),
            1 => Just(f32::NAN),
            1 => prop::sample::select(vec![f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0]),
        ]
    }

    proptest! {
        #[test]
        fn bins_conserve_rows(values in prop::collection::vec(value(), 1..500)) {
            let spread = Spread::of(values.clone());
            prop_assert_eq!(spread.fault(), None);
            let mut counts = vec![0; spread.shares.len()];
            for value in &values {
                counts[spread.bin(*value)] += 1;
            }
            for (count, share) in counts.into_iter().zip(&spread.shares) {
                let exact = f64::from(count) / values.len() as f64;
                prop_assert!((exact - f64::from(*share)).abs() < 1e-6, "{exact} {share}");
            }
        }
    }

    #[test]
    fn what_was_never_there_has_bins_of_its_own() {
        let spread = Spread::of(vec![7.0; 100]);
        assert_eq!(spread.shares, [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(
            [6.9, 7.0, 7.1, f32::NAN].map(|x| spread.bin(x)),
            [0, 1, 2, 3]
        );
        let empty = Spread::of(vec![f32::NAN; 3]);
        assert_eq!((empty.edges.len(), &empty.shares[..]), (0, &[0.0, 1.0][..]));
    }
}
