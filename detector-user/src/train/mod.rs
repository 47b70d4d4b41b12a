//! Training: from a table of labelled rows to an [`Ensemble`](crate::model::Ensemble).
mod bins;
mod blank_card;
mod boost;
mod boost_tree;
mod bootstrap;
mod finish;
mod folds;
mod forest;
mod grow;
mod held_out;
mod importance;
mod isolation;
mod isotonic;
mod leaks;
mod learner;
mod linfa_tree;
pub mod model_card;
mod parts;
mod platt;
mod predict;
mod random;
mod reference;
mod search;
mod smote;
mod split;
mod table;
mod walk_tree;

#[cfg(test)]
mod learner_tests;
#[cfg(test)]
mod tests;

pub use boost::{BoostOptions, Boosted, train_boost};
pub use bootstrap::Bootstrap;
pub use finish::{Calibration, FinishError, Unseen, conclude, finish};
pub use folds::{FoldsError, folds};
pub use forest::{
    ClassWeights, FeaturesPerSplit, ForestOptions, TrainError, Trained, train_forest,
};
pub use held_out::{FamilyResult, GroupResult, HeldOut, held_out};
pub use importance::{Importance, importances};
pub use isolation::{IsolationOptions, train_isolation};
pub use isotonic::calibration;
pub use leaks::{Leak, leaks, leaks_of};
pub use learner::Learner;
pub use linfa_tree::{LinfaOptions, train_linfa};
pub use parts::{Parts, PartsError, SplitBy, parts};
pub use platt::platt;
pub use predict::{out_of_fold, predict};
pub use reference::{usual, with_reference};
pub use search::{Searched, Space, search};
pub use smote::smote;
pub use table::{Schema, Table, TableError};
