//! Judging: how good probabilities are, given what the rows are.
//!
//! Every measure takes weights and agrees with scikit-learn's of the same name.
mod classes;
pub mod page;
mod probability;
mod ranking;
mod report;

#[cfg(test)]
mod tests;

pub use classes::{ClassScore, Confusion};
pub use probability::{brier, calibration_error, log_loss};
pub use ranking::{Ranking, Threshold};
pub use report::{Detection, JudgeError, Report, judge};
