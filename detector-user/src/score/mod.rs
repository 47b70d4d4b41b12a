//! Scores: what the model says of a row. No allocation but where something is explained.

use std::{fs, path::Path};

use crate::{
    decide::family::Family,
    features::{self, COUNT, Row},
    model::{Ensemble, ModelError, Scratch},
};

/// The model that is built in, made by `cargo xtask default-model`.
const DEFAULT: &[u8] = include_bytes!("../../../models/default/model.bin");
/// Classes that a model may have.
const CLASSES_MAX: usize = 16;
/// Features that an explanation names.
const NAMED: usize = 3;
/// The operating point whose thresholds are used, the first that a model has of these. Evidence of many flows makes up for
/// the false alarms of one: with all of benign/ or all of protocols/ unseen, replaying them gave no verdict and at most one alert
/// by the model, with each of three seeds. The share of a source's flows that is asked for was chosen by the same replays.
const OPERATING_POINTS: [&str; 2] = ["1e-3", "1e-4"];
/// Where a model has no threshold for a family, its probability must be at least this.
const THRESHOLD_DEFAULT: f32 = 0.9;
/// No threshold is below this: a family is not even likely then.
const THRESHOLD_MIN: f32 = 0.5;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScorerError {
    /// It cannot be read.
    #[error("reading model {path}: {cause}")]
    Read {
        /// From where.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It is no model, or none for these features.
    #[error("model {path}: {cause}")]
    Model {
        /// From where.
        path: String,
        /// Why.
        cause: ModelError,
    },
    /// Its classes are not families.
    #[error(
        "model {path}: class {class:?} is no family; a model for the agent has benign and any of flood, amplification, \
         scan, brute-force, app-dos, web-attack"
    )]
    Class {
        /// From where.
        path: String,
        /// Which.
        class: String,
    },
}

/// Scores rows by a model.
pub struct Scorer {
    ensemble: Ensemble,
    /// By class.
    families: Vec<(Family, f32)>,
    built_in: bool,
}

impl Scorer {
    /// Makes a scorer of a model file's bytes; `path` is what errors call it.
    ///
    /// # Errors
    /// [`ScorerError`].
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, ScorerError> {
        let failed = |cause| ScorerError::Model {
            path: path.to_owned(),
            cause,
        };
        let ensemble = Ensemble::from_bytes(bytes).map_err(failed)?;
        ensemble
            .check_features(features::SET, &features::NAMES)
            .map_err(failed)?;
        let card = ensemble.card();
        let point = OPERATING_POINTS.iter().find_map(|name| {
            let mut points = card.operating_points.iter();
            points.find(|point| point.name == *name)
        });
        let mut families = Vec::new();
        for (class, name) in card.classes.iter().enumerate() {
            let family = Family::by_name(name).filter(|_| class < CLASSES_MAX);
            let family = family.ok_or_else(|| ScorerError::Class {
                path: path.to_owned(),
                class: name.clone(),
            })?;
            let threshold = point.and_then(|point| point.thresholds[class]);
            let threshold = threshold.unwrap_or(THRESHOLD_DEFAULT).max(THRESHOLD_MIN);
            families.push((family, threshold));
        }
        Ok(Self {
            ensemble,
            families,
            built_in: false,
        })
    }

    /// The model in a file, or the one that is built in.
    ///
    /// # Errors
    /// [`ScorerError`].
    pub fn of(path: Option<&Path>) -> Result<Self, ScorerError> {
        match path {
            Some(path) => Self::from_bytes(&read(path)?, &path.display().to_string()),
            None => Self::from_bytes(DEFAULT, "(built in)").map(|scorer| Self {
                built_in: true,
                ..scorer
            }),
        }
    }

    /// Whether it is the model that comes with the program: of many networks, and of none in particular.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// The model's name and version.
    #[must_use]
    pub fn name(&self) -> String {
        let card = self.ensemble.card();
        format!("{} {}", card.name, card.version)
    }

    /// The family that a row is of, and its probability; `None` where it is not found to be an attack: where no family
    /// reaches its threshold, nor all together that of an attack of any kind, which is the benign class's.
    #[must_use]
    pub fn find(&self, row: &Row) -> Option<(Family, f32)> {
        let mut probabilities = [0.0; CLASSES_MAX];
        let probabilities = &mut probabilities[..self.families.len()];
        self.probabilities(row, probabilities);
        self.judge(probabilities)
    }

    /// The probabilities of a row's classes, in the order of [`Scorer::families`].
    ///
    /// # Panics
    /// Where there is not one place a class.
    pub fn probabilities(&self, row: &Row, probabilities: &mut [f32]) {
        self.ensemble.score(row, probabilities);
    }

    /// The same of many rows at once (rows × features, one after the other): rows × classes, to the bit those of
    /// [`Scorer::probabilities`].
    ///
    /// # Panics
    /// Where there is not one place a class and row.
    pub fn probabilities_of_rows(
        &self,
        rows: &[f32],
        probabilities: &mut [f32],
        scratch: &mut Scratch,
    ) {
        self.ensemble.score_rows(rows, probabilities, scratch);
    }

    /// The classes, each with the probability from which on a row is found to be of it.
    #[must_use]
    pub fn families(&self) -> &[(Family, f32)] {
        &self.families
    }

    /// The trees and their card.
    #[must_use]
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// What [`Scorer::find`] finds in a row of these probabilities.
    #[must_use]
    pub fn judge(&self, probabilities: &[f32]) -> Option<(Family, f32)> {
        let scored = || self.families.iter().zip(probabilities.iter());
        let found = scored().any(|((family, threshold), p)| {
            let attack = if *family == Family::Benign {
                1.0 - p
            } else {
                *p
            };
            attack >= *threshold
        });
        let attacks = scored().filter(|((family, _), _)| *family != Family::Benign);
        let likeliest = attacks.max_by(|(_, a), (_, b)| a.total_cmp(b));
        likeliest
            .filter(|_| found)
            .map(|((family, _), p)| (*family, *p))
    }

    /// What spoke most for a family, for a person: features and their values.
    #[must_use]
    pub fn explain(&self, row: &Row, family: Family) -> String {
        let Some(class) = self.families.iter().position(|(one, _)| *one == family) else {
            return String::new();
        };
        let mut contributions = [0.0; COUNT];
        self.ensemble.explain(row, class, &mut contributions);
        let mut order: Vec<usize> = (0..COUNT).collect();
        order.sort_by(|a, b| contributions[*b].total_cmp(&contributions[*a]));
        let named: Vec<String> = order
            .iter()
            .take(NAMED)
            .map(|place| format!("{} {}", features::NAMES[*place], short(row[*place])))
            .collect();
        named.join(", ")
    }
}

/// The bytes of a model file.
///
/// # Errors
/// [`ScorerError::Read`].
pub fn read(path: &Path) -> Result<Vec<u8>, ScorerError> {
    fs::read(path).map_err(|cause| ScorerError::Read {
        path: path.display().to_string(),
        cause,
    })
}

/// A number in few digits.
fn short(value: f32) -> String {
    if value == value.trunc() || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_is_built_in_fits_the_features() {
        let scorer = Scorer::of(None).unwrap_or_else(|error| panic!("{error}"));
        let card = scorer.ensemble.card();
        assert_eq!(card.feature_set, features::SET);
        assert_eq!(card.classes, Family::ALL.map(Family::name));
        assert!(
            card.operating_points
                .iter()
                .any(|point| point.name == OPERATING_POINTS[0])
        );
    }
}
