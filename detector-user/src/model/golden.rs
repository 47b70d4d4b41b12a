//! Rows with the scores that the library which trained a model gives them: a model that does not reproduce them is
//! refused, each time it is loaded.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{ensemble::Ensemble, error::ModelError};

/// Golden rows of a model, at most.
pub const GOLDEN_ROWS_MAX: usize = 256;
/// How far a score may be from the golden one, in units of it where it is above 1.
pub const GOLDEN_TOLERANCE: f32 = 1e-6;

/// Rows and the scores they must get before calibration. JSON knows neither NaN nor infinity, so numbers are kept as
/// base64 of little-endian 32-bit floats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Rows × features.
    inputs: String,
    /// Rows × classes.
    scores: String,
}

impl Golden {
    /// Keeps rows (rows × features) and their scores (rows × classes), as many of them as may be, spread over all.
    #[must_use]
    pub fn new(inputs: &[f32], features: usize, scores: &[f32], classes: usize) -> Self {
        let rows = (inputs.len() / features.max(1)).min(scores.len() / classes.max(1));
        let step = rows.div_ceil(GOLDEN_ROWS_MAX).max(1);
        let kept = |values: &[f32], width: usize| {
            let rows = values.chunks_exact(width.max(1)).take(rows).step_by(step);
            let bytes: Vec<u8> = rows
                .flatten()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            STANDARD.encode(bytes)
        };
        Self {
            inputs: kept(inputs, features),
            scores: kept(scores, classes),
        }
    }
}

/// The numbers in base64.
fn numbers(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (numbers, []) = bytes.as_chunks::<4>() else {
        return None;
    };
    Some(numbers.iter().copied().map(f32::from_le_bytes).collect())
}

impl Ensemble {
    /// Whether the golden rows of the card, if it has any, get their scores.
    pub(super) fn check_golden(&self) -> Result<(), ModelError> {
        let Some(golden) = &self.card.golden else {
            return Ok(());
        };
        let fault = |cause: &str| ModelError::Card {
            field: "golden",
            cause: cause.to_owned(),
        };
        let (Some(inputs), Some(scores)) = (numbers(&golden.inputs), numbers(&golden.scores))
        else {
            return Err(fault("rows are no numbers in base64"));
        };
        let (features, classes) = (self.features(), self.classes());
        let rows = inputs.len() / features;
        if rows > GOLDEN_ROWS_MAX
            || inputs.len() != rows * features
            || scores.len() != rows * classes
        {
            return Err(fault("rows are too many or have not one score a class"));
        }
        let mut found = vec![0.0; classes];
        let pairs = inputs
            .chunks_exact(features)
            .zip(scores.chunks_exact(classes));
        for (row, (values, wanted)) in pairs.enumerate() {
            self.score_raw(values, &mut found);
            for (class, (&found, &wanted)) in found.iter().zip(wanted).enumerate() {
                // Not so for NaN.
                let close = (found - wanted).abs() <= GOLDEN_TOLERANCE * wanted.abs().max(1.0);
                if !close {
                    return Err(ModelError::Golden {
                        row,
                        class: self.card.classes[class].clone(),
                        found,
                        wanted,
                    });
                }
            }
        }
        Ok(())
    }
}
