//! Drift: whether live traffic still looks like what the model in force was trained on. Rows go in, a state comes out; no clock
//! is read and no kernel touched.

mod psi;
mod report;
mod tally;
mod watch;

pub use psi::psi;
pub use report::{Drift, FeatureDrift, State};
pub use tally::{Tally, Told};
pub use watch::{Counts, Watch};

use serde::{Deserialize, Serialize};

/// When live traffic is told to have drifted from what the model was trained on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct DriftSettings {
    /// Rows that a window has at least.
    pub window_rows: u64,
    /// And how long it lasts at least, s.
    pub window_s: u64,
    /// From this PSI (population stability index) of the model's score on, traffic is shifting.
    pub shifting: f64,
    /// And from this on it has drifted. A feature has moved from this PSI on.
    pub drifted: f64,
    /// It has drifted, too, where this share of the features has moved, and is shifting where half of that has: a model is as sure of
    /// itself among what it has never seen.
    pub moved_share: f64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            window_rows: 10_000,
            window_s: 600,
            shifting: 0.1,
            drifted: 0.25,
            moved_share: 0.5,
        }
    }
}
