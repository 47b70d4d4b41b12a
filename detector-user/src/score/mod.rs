//! Scores: what the model says of a row.

use crate::{decide::family::Family, features::Row};

/// Scores rows by a model.
pub struct Scorer {}

impl Scorer {
    /// The family that a row is of, and its probability; `None` where none reaches its threshold.
    #[must_use]
    pub fn find(&self, _row: &Row) -> Option<(Family, f32)> {
        None
    }

    /// What spoke most for a family, for a person.
    #[must_use]
    pub fn explain(&self, _row: &Row, _family: Family) -> String {
        String::new()
    }
}
