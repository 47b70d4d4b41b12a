//! An ensemble's integer form: [`detector_common::ensemble`], which the kernel can evaluate.

use detector_common::ensemble::{Labelling, RankNode, RankedEnsemble, THRESHOLDS_MAX, order};

use super::{ensemble::Ensemble, error::ModelError, node::Node, summation::PostTransform};

/// Bits of the largest value of a leaf in integers.
const VALUE_BITS: f64 = (1_u64 << 30) as f64;

/// The arrays of an ensemble in integers.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedTables {
    thresholds: Vec<i32>,
    features: Vec<u32>,
    roots: Vec<u32>,
    nodes: Vec<RankNode>,
    values: Vec<i32>,
    width: usize,
    tree_sums: Vec<u16>,
    base: Vec<i64>,
    labelling: Labelling,
    /// What one of the values is in integers.
    unit: f64,
}

impl RankedTables {
    /// The ensemble over these arrays.
    #[must_use]
    pub fn ensemble(&self) -> RankedEnsemble<'_> {
        RankedEnsemble {
            thresholds: &self.thresholds,
            features: &self.features,
            roots: &self.roots,
            nodes: &self.nodes,
            values: &self.values,
            width: self.width,
            tree_sums: &self.tree_sums,
            base: &self.base,
            labelling: self.labelling,
        }
    }

    /// What 1 is in its integers.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.unit
    }
}

impl Ensemble {
    /// The same trees in integers, with values rounded to 2⁻³⁰ of the largest. Splits decide exactly as they do here;
    /// labels are those of the largest score before calibration, of two classes with one sum that of a score above one
    /// half, and can differ where scores differ by no more than the rounding of sums.
    ///
    /// # Errors
    /// [`ModelError::Count`] where a feature has more thresholds than ranks can tell apart.
    pub fn ranked(&self) -> Result<RankedTables, ModelError> {
        let mut by_feature = vec![Vec::new(); self.features()];
        for &node in self.nodes.iter().filter(|node| Node(**node).left() != 0) {
            let node = Node(node);
            by_feature[node.feature()].extend(order(node.threshold().to_bits()));
        }
        let (mut thresholds, mut features) = (Vec::new(), vec![0]);
        for of_feature in &mut by_feature {
            of_feature.sort_unstable();
            of_feature.dedup();
            if of_feature.len() > THRESHOLDS_MAX {
                return Err(ModelError::Count {
                    what: "thresholds of a feature",
                    found: of_feature.len() as u64,
                    max: THRESHOLDS_MAX as u64,
                });
            }
            thresholds.extend_from_slice(of_feature);
            features.push(thresholds.len() as u32);
        }
        let nodes = self.nodes.iter().map(|&node| {
            let node = Node(node);
            if node.left() == 0 {
                return RankNode {
                    rank: 0,
                    side: 0,
                    left: 0,
                };
            }
            let of_feature = &by_feature[node.feature()];
            let key = order(node.threshold().to_bits());
            RankNode {
                rank: of_feature.partition_point(|t| Some(*t) < key) as u16,
                side: node.side() as u16,
                left: node.left(),
            }
        });
        let nodes = nodes.collect();
        let largest = self
            .values
            .iter()
            .fold(0.0_f32, |max, value| max.max(value.abs()));
        let unit = if largest > 0.0 {
            VALUE_BITS / f64::from(largest)
        } else {
            1.0
        };
        let summation = &self.card.summation;
        let mut base: Vec<i64> = summation
            .base
            .iter()
            .map(|base| (f64::from(*base) * unit) as i64)
            .collect();
        base.resize(self.card.sums(), 0);
        Ok(RankedTables {
            thresholds,
            features,
            roots: self.starts[..self.trees()].to_vec(),
            nodes,
            values: self
                .values
                .iter()
                .map(|value| (f64::from(*value) * unit).round() as i32)
                .collect(),
            width: self.card.node_values(),
            tree_sums: summation.tree_sums.clone(),
            base,
            labelling: self.labelling(unit),
            unit,
        })
    }

    fn labelling(&self, unit: f64) -> Labelling {
        let scale = f64::from(self.card.summation.scale);
        match self.card.post_transform {
            PostTransform::Logistic if self.card.sums() < self.classes() && scale > 0.0 => {
                Labelling::Above(0)
            }
            PostTransform::Logistic if self.card.sums() < self.classes() => Labelling::AtMost(-1),
            // 2 to this power is one half.
            PostTransform::IsolationScore => Labelling::AtMost((unit / -scale) as i64),
            _ => Labelling::Largest,
        }
    }
}
