//! What learns, with its options.

use serde::Serialize;

use super::{
    boost::{BoostOptions, train_boost},
    forest::{ForestOptions, TrainError, train_forest},
    isolation::{IsolationOptions, train_isolation},
    linfa_tree::{LinfaOptions, train_linfa},
    table::Table,
};
use crate::model::Ensemble;

/// A learner.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learner {
    /// A random forest.
    Forest(ForestOptions),
    /// Gradient boosting.
    Boost(BoostOptions),
    /// An isolation forest.
    Isolation(IsolationOptions),
    /// One tree of the linfa-trees crate.
    Linfa(LinfaOptions),
}

impl Learner {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forest(_) => "forest",
            Self::Boost(_) => "boost",
            Self::Isolation(_) => "isolation",
            Self::Linfa(_) => "linfa",
        }
    }

    /// Trees, or rounds, that it will tell of.
    #[must_use]
    pub fn steps(&self) -> usize {
        match self {
            Self::Forest(options) => options.trees,
            Self::Boost(options) => options.rounds,
            Self::Isolation(options) => options.trees,
            Self::Linfa(_) => 1,
        }
    }

    /// Trains on `rows`; `validation` rows say where boosting ends. What comes back beside the model is the learner that
    /// makes the like of it without them.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn fit(
        &self,
        table: &Table,
        rows: &[u32],
        validation: Option<(&Table, &[u32])>,
        progress: &(dyn Fn() + Sync),
    ) -> Result<(Ensemble, Self), TrainError> {
        Ok(match self {
            Self::Forest(options) => {
                let trained = train_forest(table, rows, options, progress)?;
                (trained.ensemble, self.clone())
            }
            Self::Boost(options) => {
                let boosted = train_boost(table, rows, validation, options, progress)?;
                let again = BoostOptions {
                    rounds: boosted.rounds,
                    patience: 0,
                    ..options.clone()
                };
                (boosted.ensemble, Self::Boost(again))
            }
            Self::Isolation(options) => (
                train_isolation(table, rows, options, progress)?,
                self.clone(),
            ),
            Self::Linfa(options) => {
                let tree = train_linfa(table, rows, options)?;
                progress();
                (tree, self.clone())
            }
        })
    }
}
