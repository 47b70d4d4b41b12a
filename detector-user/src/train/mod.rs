//! Training: from a table of labelled rows to an [`Ensemble`](crate::model::Ensemble).
mod bins;
mod bootstrap;
mod finish;
mod folds;
mod forest;
mod grow;
mod held_out;
mod importance;
mod isotonic;
pub mod model_card;
mod predict;
mod random;
mod split;
mod table;

#[cfg(test)]
mod tests;

pub use bootstrap::Bootstrap;
pub use finish::{FinishError, Unseen, finish};
pub use folds::{FoldsError, folds};
pub use forest::{
    ClassWeights, FeaturesPerSplit, ForestOptions, TrainError, Trained, train_forest,
};
pub use held_out::{FamilyResult, GroupResult, HeldOut, held_out};
pub use importance::{Importance, importances};
pub use isotonic::calibration;
pub use predict::{out_of_fold, predict};
pub use table::{Schema, Table, TableError};
