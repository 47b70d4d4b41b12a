//! What this host has and lacks: each thing that the data plane needs, why, and what to
//! do where it is missing. Nothing is changed by looking.

mod attached;
mod host;
mod interfaces;
mod kernel;

use serde::Serialize;

use super::{interface::Interface, pins::Pins};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but worse than it could.
    Warn,
    /// It does not work.
    Fail,
}

impl State {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub subject: String,
    /// How it came out.
    pub state: State,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do; empty where nothing need be done.
    pub remedy: String,
    /// It failed for want of permission.
    pub permission: bool,
}

impl Check {
    fn ok(subject: impl Into<String>, found: impl Into<String>, why: &'static str) -> Self {
        Self {
            subject: subject.into(),
            state: State::Ok,
            found: found.into(),
            why,
            remedy: String::new(),
            permission: false,
        }
    }

    fn warn(self, remedy: impl Into<String>) -> Self {
        Self {
            state: State::Warn,
            remedy: remedy.into(),
            ..self
        }
    }

    fn fail(self, remedy: impl Into<String>) -> Self {
        Self {
            state: State::Fail,
            remedy: remedy.into(),
            ..self
        }
    }

    fn denied(self, remedy: impl Into<String>) -> Self {
        Self {
            permission: true,
            ..self.fail(remedy)
        }
    }
}

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where everything is, or would be, pinned.
    pub pins: &'a Pins,
    /// Interfaces to look at.
    pub interfaces: &'a [Interface],
    /// They were named: what hinders attaching to one of them is a failure.
    pub named: bool,
}

/// Everything, one after another.
#[must_use]
pub fn run(subject: &Subject<'_>) -> Vec<Check> {
    let mut checks = host::checks(subject.pins);
    checks.extend(kernel::checks());
    for interface in subject.interfaces {
        checks.extend(interfaces::checks(subject.pins, interface, subject.named));
    }
    checks.extend(attached::checks(subject.pins));
    checks
}
