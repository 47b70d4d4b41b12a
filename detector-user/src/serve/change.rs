//! What may be asked of the agent's loop while it runs. It alone decides when, between two ticks.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::score::Scorer;

/// A change.
pub enum Change {
    /// Read the configuration and the model again.
    Reload,
    /// Act, or only tell. Until the next start: the configuration says how the agent begins.
    Mode {
        /// Act.
        enforce: bool,
    },
    /// Score by this model from the next tick on; the former is kept for [`Change::Rollback`].
    Model(Arc<Scorer>),
    /// Score by the former model again.
    Rollback,
}

/// What became of a change: a sentence, either way.
pub type Outcome = Result<String, Refused>;

/// Why a change was not made. What was in force stays in force.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A change, and where its outcome is waited for.
pub struct Asked {
    /// What.
    pub change: Change,
    /// Where; whoever asked may have gone.
    pub answer: oneshot::Sender<Outcome>,
}
