//! Changes: who was promoted, rolled back, archived, and what holds since.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::gate::Figures;

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Agents that follow the registry run it.
    Production,
    /// It is to be tried, in an agent's shadow for one.
    Staging,
    /// It is kept, and never run again.
    Archived,
}

impl Stage {
    /// Its name, as in the registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Archived => "archived",
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A version was given a stage.
    Promote,
    /// The version in production before is there again.
    Rollback,
}

/// Which version has which stage. A version that is named nowhere was only pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// In production.
    pub production: Option<Version>,
    /// Were in production before, the last one last: where a rollback leads.
    pub former: Vec<Version>,
    /// In staging.
    pub staging: Option<Version>,
    /// Archived.
    pub archived: BTreeSet<Version>,
}

/// Former versions that are remembered.
const FORMER_MAX: usize = 32;

impl Stages {
    /// Where a version stands.
    #[must_use]
    pub fn of(&self, version: &Version) -> Option<Stage> {
        if self.production.as_ref() == Some(version) {
            Some(Stage::Production)
        } else if self.staging.as_ref() == Some(version) {
            Some(Stage::Staging)
        } else if self.archived.contains(version) {
            Some(Stage::Archived)
        } else {
            None
        }
    }

    /// Gives a version a stage; whether that changes anything.
    pub(super) fn put(&mut self, version: &Version, stage: Stage) -> bool {
        if self.of(version) == Some(stage) {
            return false;
        }
        self.take(version);
        match stage {
            Stage::Production => {
                if let Some(former) = self.production.replace(version.clone()) {
                    self.former.push(former);
                    let surplus = self.former.len().saturating_sub(FORMER_MAX);
                    self.former.drain(..surplus);
                }
            }
            Stage::Staging => self.staging = Some(version.clone()),
            Stage::Archived => {
                self.archived.insert(version.clone());
            }
        }
        true
    }

    /// Puts the former version back into production; which it is.
    pub(super) fn roll_back(&mut self) -> Option<Version> {
        let former = self.former.pop()?;
        self.take(&former);
        self.production = Some(former.clone());
        Some(former)
    }

    fn take(&mut self, version: &Version) {
        for stage in [&mut self.production, &mut self.staging] {
            if stage.as_ref() == Some(version) {
                *stage = None;
            }
        }
        self.archived.remove(version);
    }
}

/// One change, and what holds since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When, RFC 3339.
    pub at: String,
    /// What was done.
    pub action: Action,
    /// With which version.
    pub version: Version,
    /// Which stage it has since.
    pub stage: Stage,
    /// By whom, and why, as they said.
    pub reason: String,
    /// What the version showed at the gate.
    pub figures: Option<Figures>,
    /// What holds since.
    pub stages: Stages,
}
