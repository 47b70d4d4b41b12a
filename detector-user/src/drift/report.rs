//! What is told of drift.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::output::Rfc3339;

/// How live traffic compares with what the model was trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The model says nothing of it, or there is none.
    #[default]
    Unknown,
    /// The first window is not full yet.
    Gathering,
    /// As it was.
    Stable,
    /// No longer quite so.
    Shifting,
    /// Not any more: what the model says is not to be relied on.
    Drifted,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Gathering,
        Self::Stable,
        Self::Shifting,
        Self::Drifted,
    ];

    /// As it is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Gathering => "gathering",
            Self::Stable => "stable",
            Self::Shifting => "shifting",
            Self::Drifted => "drifted",
        }
    }
}

/// How far a feature has moved.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FeatureDrift {
    /// Its name.
    pub feature: String,
    /// Its population stability index.
    pub psi: f64,
}

/// What is known of drift, as of the last full window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Drift {
    /// How traffic compares.
    pub state: State,
    /// Since when it is so: µs of the clock of the rows, where it is served of Unix time.
    #[serde(rename = "since", serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>)]
    pub since_us: Option<u64>,
    /// Full windows under this model.
    pub windows: u64,
    /// Rows counted in the present window.
    pub gathered: u64,
    /// Rows that a window has at least.
    pub wanted: u64,
    /// PSI of the model's score; none before a full window.
    pub score_psi: Option<f64>,
    /// Features that are compared.
    pub features: usize,
    /// Of them, those that have moved.
    pub moved: usize,
    /// Those that have moved most, the furthest first.
    pub top: Vec<FeatureDrift>,
}

fn rfc3339<S: Serializer>(us: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    us.map(|us| Rfc3339(us).to_string()).serialize(to)
}

impl Drift {
    /// The same in Unix time, of which `epoch_us` is time 0 of the clock of the rows.
    #[must_use]
    pub fn since_epoch(self, epoch_us: u64) -> Self {
        Self {
            since_us: self.since_us.map(|since| since + epoch_us),
            ..self
        }
    }

    /// The same in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let psi = self.score_psi.map_or_else(String::new, |psi| {
            let moved: Vec<String> = (self.top.iter().take(3))
                .map(|one| format!("{} {:.2}", one.feature, one.psi))
                .collect();
            format!(
                ": PSI of the score {psi:.2}, {} of {} features have moved, most of all {}",
                self.moved,
                self.features,
                moved.join(", ")
            )
        });
        format!("drift {}{psi}", self.state.name())
    }
}
