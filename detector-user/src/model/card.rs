//! What a model says of itself: the JSON section of its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    calibration::Curve,
    error::ModelError,
    golden::Golden,
    reference::Reference,
    summation::{PostTransform, Summation},
};

/// Thresholds chosen so that false alarms stay at or below a rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// Name of the rate, such as `1e-3`.
    pub name: String,
    /// Share of the rows of other classes at or above the threshold, at most.
    pub false_alarm_rate: f64,
    /// Per class: alarm at this probability and above; none where no threshold keeps the rate. Of a benign class: alarm
    /// where the probability of its opposite is so high.
    pub thresholds: Vec<Option<f32>>,
}

/// What a model says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name of the model.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// Name and version of the feature set, such as `flow/1`.
    pub feature_set: String,
    /// Names of the features, in the order of a row.
    pub features: Vec<String>,
    /// [`feature_hash`] of the two.
    pub feature_hash: String,
    /// Names of the classes, in the order of the probabilities.
    pub classes: Vec<String>,
    /// What becomes of the sums over the leaves reached.
    pub post_transform: PostTransform,
    /// How the values of leaves are summed.
    #[serde(default, skip_serializing_if = "Summation::is_default")]
    pub summation: Summation,
    /// Thresholds at named false-alarm rates.
    pub operating_points: Vec<OperatingPoint>,
    /// A curve per class, or none: probabilities are then as the trees say.
    pub calibration: Vec<Curve>,
    /// Name and version of the model this one was made from, if any.
    pub parent: Option<String>,
    /// Fingerprint of the data it was trained on, SHA-256 in hexadecimal digits.
    pub data_fingerprint: String,
    /// How it was trained: learner, options, seed.
    pub training: serde_json::Map<String, serde_json::Value>,
    /// How well it did, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Rows whose scores are checked at each load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
    /// What the rows looked like that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// SHA-256, in hexadecimal digits, of the feature set's name and the features' names, each
/// ended by a line feed.
#[must_use]
pub fn feature_hash<S: AsRef<str>>(set: &str, names: &[S]) -> String {
    let mut hash = Sha256::new();
    for name in std::iter::once(set).chain(names.iter().map(AsRef::as_ref)) {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    hexadecimal(&hash.finalize())
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Card {
    /// Whether it agrees with itself.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        let fault = |field, cause: &str| {
            Err(ModelError::Card {
                field,
                cause: cause.to_owned(),
            })
        };
        self.check_summation()?;
        if self.feature_hash != feature_hash(&self.feature_set, &self.features) {
            return fault("feature_hash", "is not that of its features");
        }
        for (field, names) in [("features", &self.features), ("classes", &self.classes)] {
            let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
            sorted.sort_unstable();
            if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                return fault(field, "have a name twice");
            }
        }
        if !self.calibration.is_empty() && self.calibration.len() != self.classes.len() {
            return fault("calibration", "has not one curve a class");
        }
        if let Some(cause) = self.calibration.iter().find_map(Curve::fault) {
            return fault("calibration", cause);
        }
        if !self.metrics.values().all(|value| value.is_finite()) {
            return fault("metrics", "have a value that JSON cannot hold");
        }
        for point in &self.operating_points {
            if point.thresholds.len() != self.classes.len() {
                return fault("operating_points", "have not one threshold a class");
            }
            if !(0.0..=1.0).contains(&point.false_alarm_rate)
                || point.thresholds.iter().flatten().any(|t| !t.is_finite())
            {
                return fault("operating_points", "have numbers out of range");
            }
        }
        self.reference
            .as_ref()
            .map_or(Ok(()), |reference| reference.check(self))
    }

    /// Whether rows of this feature set fit.
    pub(super) fn check_features(&self, set: &str, names: &[&str]) -> Result<(), ModelError> {
        if self.feature_set != set {
            return Err(ModelError::FeatureSet {
                model: self.feature_set.clone(),
                here: set.to_owned(),
            });
        }
        if self.features.iter().eq(names) {
            return Ok(());
        }
        let of_model = || self.features.iter().map(String::as_str);
        let missing: Vec<&str> = of_model().filter(|name| !names.contains(name)).collect();
        let extra: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !of_model().any(|other| other == *name))
            .collect();
        let mut causes = Vec::new();
        if !missing.is_empty() {
            causes.push(format!("it needs {}", missing.join(", ")));
        }
        if !extra.is_empty() {
            causes.push(format!("it does not know {}", extra.join(", ")));
        }
        if causes.is_empty() {
            let place = of_model().zip(names).position(|(a, b)| a != *b);
            causes.push(match place {
                Some(place) => format!(
                    "its features have another order: feature {place} is {} there and {} here",
                    self.features[place], names[place]
                ),
                None => "a feature's name is there twice".to_owned(),
            });
        }
        Err(ModelError::Features(causes.join(" and ")))
    }
}
